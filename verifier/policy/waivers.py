"""Waivers: known failures that the relying party accepts, for one app and until a date.

    [[waivers]]
    id = "…"                          unique within the policy
    check = "hardware.freshness"      or "manifest.rules" with rule = "NET-007"
    scope = "…"                       the app id (40 hex digits) that it holds for
    reason = "…"   owner = "…"        why, and who answers for it
    expires = 2026-12-31              the first day on which it no longer holds, UTC
    digests = ["…"]                   of boot.machine, and only there: the ACPI tables that are
                                      accepted (sha384, hex), as the check lists them

A waived result keeps its status, says who waived it, and does not count. A waiver holds for `fail`
and `warn`. A check without a result cannot be waived: there is nothing to accept.
The checks of the floor cannot be waived. A waiver of `boot.machine` accepts a warning about the
tables that it names, and no failure: what else of the firmware differs, nobody can accept.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from verifier.checks.demands import BOOT_MACHINE, MANIFEST_RULES, Waiver
from verifier.errors import PolicyError
from verifier.model.identifiers import parse_app_id
from verifier.patterns import pattern
from verifier.policy.document import refuse_unknown

KEYS: Final = ("id", "check", "rule", "scope", "reason", "owner", "expires", "digests")
_SAYS: Final = {
    "id": "how the waiver is called",
    "check": "which check it is about",
    "scope": "for which app id (40 hex digits) it holds",
    "reason": "why the failure is accepted",
    "owner": "who answers for it",
    "expires": "on which date it ends, such as 2026-12-31",
}
_OPTIONAL: Final = ("rule", "digests")
_DIGEST: Final = pattern(r"[0-9a-fA-F]{96}", re.ASCII)
_ID: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def parse_waivers(document: object, floor: Iterable[str], where: str) -> tuple[Waiver, ...]:
    """The waivers of a policy document, sorted by id. Raises PolicyError."""
    if not isinstance(document, list):
        raise PolicyError(f"policy {where}: waivers are not a list: write [[waivers]]")
    found = sorted((_waiver(item, f"policy {where}") for item in document), key=lambda w: w.id)
    ids = [item.id for item in found]
    for place, item in enumerate(found):
        if item.id in ids[:place]:
            raise PolicyError(f"policy {where}: two waivers have the id {item.id!a}")
        if item.check in set(floor):
            raise PolicyError(
                f"policy {where}: waiver {item.id}: {item.check} cannot be waived",
                hint="no policy goes below the floor: without it nothing else means anything",
            )
    return tuple(found)


def _waiver(entry: object, where: str) -> Waiver:
    if not isinstance(entry, dict):
        raise PolicyError(f"{where}: a waiver is not a table")
    refuse_unknown(entry, KEYS, f"{where}: a waiver")
    name = entry.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise PolicyError(
            f"{where}: a waiver has no id of letters, digits, '.', '_' and '-'",
            hint='give it one, such as id = "W-1"',
        )
    where = f"{where}: waiver {name}"
    absent = [key for key in KEYS if key not in entry and key not in _OPTIONAL]
    if absent:
        raise PolicyError(
            f"{where}: no {absent[0]!a}", hint=f"it says {_SAYS[absent[0]]}, and is required"
        )
    texts = {key: entry.get(key, "") for key in KEYS if key not in ("expires", "digests")}
    for key, value in texts.items():
        given = key in entry
        if not isinstance(value, str) or (given and not value.strip()):
            raise PolicyError(f"{where}: {key} is empty or not a text")
    expires, scope = entry["expires"], parse_app_id(texts["scope"])
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise PolicyError(f"{where}: expires is not a date", hint="write it as 2026-12-31, bare")
    if scope is None:
        raise PolicyError(
            f"{where}: scope is not an app id (40 hex digits)",
            hint="a waiver holds for one app: name it",
        )
    if texts["rule"] and texts["check"] != MANIFEST_RULES:
        raise PolicyError(f"{where}: only {MANIFEST_RULES} has rules")
    digests = _digests(entry, where)
    return Waiver(**{**texts, "scope": scope, "expires": expires, "digests": digests})


def _digests(entry: dict[str, Any], where: str) -> tuple[str, ...]:
    """The digests that a waiver of `boot.machine` has to name."""
    given = entry.get("digests", [])
    if not isinstance(given, list) or not all(
        isinstance(item, str) and _DIGEST.fullmatch(item) for item in given
    ):
        raise PolicyError(f"{where}: digests is not a list of sha384 digests (96 hex digits)")
    if bool(given) != (entry["check"] == BOOT_MACHINE):
        raise PolicyError(
            f"{where}: {BOOT_MACHINE} is waived by its digests, and no other check has any",
            hint="the report lists the digests of tables that no known machine gives",
        )
    return tuple(sorted({item.lower() for item in given}))
