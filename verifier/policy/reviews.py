"""Reviews: what a person judged of one manifest, where no machine can tell.

    [[reviews]]
    requirement = 2               which requirement of `verify stage`, as it numbers them
    compose_hash = "…"            the manifest that was reviewed: the review holds for no other one
    reason = "…"                  what was looked at, and what was found
    reviewer = "…"                who answers for it
    expires = 2027-01-31          the first day on which it no longer holds, UTC

A review is the relying party's own word, and the assessment says so. It answers what
`verify stage` leaves to a person; no check, and no verdict of an audit, rests on it. A requirement
that is contradicted, or lacks evidence, stays so whatever a review says.
"""

import calendar
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from msgspec import Struct

from verifier.errors import EvidenceError, PolicyError
from verifier.evidence.codec import parse_hex
from verifier.model.result import JsonValue
from verifier.policy.document import refuse_unknown

KEYS: Final = ("requirement", "compose_hash", "reason", "reviewer", "expires")
REQUIREMENTS: Final = 7
"""How many requirements stage 1 has."""

_HASH_BYTES: Final = 32


class Review(Struct, frozen=True, kw_only=True):
    """One judged requirement of one manifest (`compose_hash`, lower-case hex); see the module."""

    requirement: int
    compose_hash: str
    reason: str
    reviewer: str
    expires: date

    def holds(self, now: int) -> bool:
        """Whether it still holds at a time (Unix seconds)."""
        return now < calendar.timegm(self.expires.timetuple())

    def to_json(self) -> dict[str, JsonValue]:
        """Its fields, for the policy's digest and for reports."""
        return {
            "requirement": self.requirement,
            "compose_hash": self.compose_hash,
            "reason": self.reason,
            "reviewer": self.reviewer,
            "expires": self.expires.isoformat(),
        }


def review_of(
    reviews: Iterable[Review], requirement: int, compose_hash: str, now: int
) -> Review | None:
    """The review of a requirement of this manifest that holds longest, None for none."""
    named = [
        item
        for item in reviews
        if (item.requirement, item.compose_hash) == (requirement, compose_hash) and item.holds(now)
    ]
    return max(named, key=lambda item: (item.expires, *_place(item)), default=None)


def parse_reviews(document: object, where: str) -> tuple[Review, ...]:
    """The reviews of a policy document, in a settled order. Raises PolicyError."""
    if not isinstance(document, list):
        raise PolicyError(f"policy {where}: reviews are not a list: write [[reviews]]")
    found = (_review(item, f"policy {where}: a review") for item in document)
    return tuple(sorted(found, key=_place))


def _place(item: Review) -> tuple[object, ...]:
    return item.requirement, item.compose_hash, item.expires, item.reviewer, item.reason


def _review(entry: object, where: str) -> Review:
    if not isinstance(entry, dict):
        raise PolicyError(f"{where} is not a table")
    refuse_unknown(entry, KEYS, where)
    absent = [key for key in KEYS if key not in entry]
    if absent:
        raise PolicyError(f"{where} has no {absent[0]!a}", hint=f"its keys are {', '.join(KEYS)}")
    number, expires = entry["requirement"], entry["expires"]
    if type(number) is not int or not 1 <= number <= REQUIREMENTS:
        raise PolicyError(f"{where}: requirement is not a number from 1 to {REQUIREMENTS}")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise PolicyError(f"{where}: expires is not a date", hint="write it as 2026-12-31, bare")
    return Review(
        requirement=number,
        compose_hash=_compose_hash(entry, where),
        reason=_said(entry, "reason", where),
        reviewer=_said(entry, "reviewer", where),
        expires=expires,
    )


def _compose_hash(entry: dict[str, Any], where: str) -> str:
    try:
        return parse_hex(entry["compose_hash"], "compose_hash", length=_HASH_BYTES).hex()
    except EvidenceError as error:
        raise PolicyError(
            f"{where}: compose_hash is not {_HASH_BYTES} bytes of hex",
            hint="a review holds for the one manifest that was read: name its hash",
        ) from error


def _said(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{where}: {key} is empty or not a text")
    return value
