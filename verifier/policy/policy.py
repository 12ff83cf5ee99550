"""The appraisal policy: a TOML document, and the relying party's own reference values.

    name = "…"                      accept = ["affirming"]        extends = "baseline" (optional)
    [checks]      check id = "required" | "advisory" | "not-asked"
    [tcb]         statuses, reject_advisories, minimum_evaluation_number
    [freshness]   max_collateral_age, max_quote_age (days)
    [expect]      app_id, compose_hash, os_image_hash, device: lists of hex strings

No policy goes below the floor: those checks are always required. The digest is that of the
effective policy, with everything it extends and every expectation folded in.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import rfc8785

from verifier.errors import PolicyError
from verifier.model.result import JsonValue, Requirement, Verdict

BUILT_IN: Final = ("genuine", "baseline", "strict")
FLOOR: Final = (
    "hardware.quote",
    "hardware.td",
    "boot.image",
    "runtime.replay",
    "runtime.events",
    "application.identity",
    "application.manifest",
)
EXPECTABLE: Final = {"app_id": 20, "compose_hash": 32, "os_image_hash": 32, "device": 32}
_SECTIONS: Final = {
    "checks": None,
    "tcb": ("statuses", "reject_advisories", "minimum_evaluation_number"),
    "freshness": ("max_collateral_age", "max_quote_age"),
    "expect": tuple(EXPECTABLE),
}
_MAX_POLICY_BYTES: Final = 1 << 20
_MAX_NUMBER: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An effective appraisal policy. Ages are in days; `expect` maps a name to allowed values."""

    name: str
    accept: tuple[Verdict, ...]
    checks: Mapping[str, Requirement]
    tcb_statuses: tuple[str, ...]
    reject_advisories: tuple[str, ...]
    minimum_evaluation_number: int
    max_collateral_age: int
    max_quote_age: int
    expect: Mapping[str, tuple[str, ...]]

    @property
    def digest(self) -> str:
        """sha256 of the effective policy as RFC 8785 JSON, lower-case hex."""
        document: dict[str, JsonValue] = {
            "name": self.name,
            "accept": [verdict.value for verdict in self.accept],
            "checks": {key: value.value for key, value in self.checks.items()},
            "tcb_statuses": list(self.tcb_statuses),
            "reject_advisories": list(self.reject_advisories),
            "minimum_evaluation_number": self.minimum_evaluation_number,
            "max_collateral_age": self.max_collateral_age,
            "max_quote_age": self.max_quote_age,
            "expect": {key: list(value) for key, value in self.expect.items()},
        }
        return hashlib.sha256(rfc8785.dumps(document)).hexdigest()

    def requirement(self, check_id: str) -> Requirement:
        """What the policy asks of a check; one that it does not name is not asked."""
        return self.checks.get(check_id, Requirement.NOT_ASKED)

    def expecting(self, expect: Mapping[str, tuple[str, ...]]) -> "Policy":
        """The same policy, expecting these values too: what the policy itself expects is narrowed.

        Raises PolicyError for a malformed value, and where no value satisfies both.
        """
        merged = dict(self.expect)
        for name, values in expect.items():
            if not values:
                continue
            wanted = _expected_values(name, list(values))
            both = tuple(sorted(set(wanted) & set(merged.get(name, wanted))))
            if not both:
                raise PolicyError(f"the policy {self.name} expects another {name} than you do")
            merged[name] = both
        return replace(self, expect=merged)


def load_policy(name_or_path: str) -> Policy:
    """A built-in policy by name, or one from a TOML file. Raises PolicyError."""
    return _policy(_document(name_or_path), name_or_path)


def _document(name_or_path: str) -> dict[str, Any]:
    if name_or_path in BUILT_IN:
        raw = resources.files(__package__).joinpath(f"{name_or_path}.toml").read_bytes()
    else:
        try:
            raw = Path(name_or_path).read_bytes()[: _MAX_POLICY_BYTES + 1]
        except OSError as error:
            raise PolicyError(
                f"policy {name_or_path}: {error.strerror or error}",
                hint=f"name a TOML file, or one of {', '.join(BUILT_IN)}",
            ) from error
    if len(raw) > _MAX_POLICY_BYTES:
        raise PolicyError(f"policy {name_or_path}: larger than {_MAX_POLICY_BYTES} bytes")
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(f"policy {name_or_path}: not TOML: {error}") from error
    base = document.pop("extends", None)
    if base is None:
        return document
    if base not in BUILT_IN:
        raise PolicyError(f"policy {name_or_path}: extends {base!r}, not one of {BUILT_IN}")
    return _merge(_document(base), document)


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = {**base[key], **value} if both_tables else value
    return merged


def _policy(document: dict[str, Any], where: str) -> Policy:
    unknown = set(document) - {"name", "accept", *_SECTIONS}
    if unknown:
        raise PolicyError(f"policy {where}: unknown key {min(unknown)!r}")
    sections = {name: _section(document, name, known, where) for name, known in _SECTIONS.items()}
    accepted = _texts(document.get("accept", ["affirming"]), f"policy {where}: accept")
    try:
        checks = {key: Requirement(value) for key, value in sections["checks"].items()}
        accept = tuple(Verdict(value) for value in accepted)
    except ValueError as error:
        raise PolicyError(f"policy {where}: {error}") from error
    if not accept or not set(accept) <= {Verdict.AFFIRMING, Verdict.WARNING}:
        raise PolicyError(f"policy {where}: accept may hold 'affirming' and 'warning' only")
    low = [check_id for check_id in FLOOR if checks.get(check_id) is not Requirement.REQUIRED]
    if low:
        raise PolicyError(
            f"policy {where}: {low[0]} must be required",
            hint="no policy goes below the floor: without it nothing else means anything",
        )
    tcb, freshness = sections["tcb"], sections["freshness"]
    return Policy(
        name=_text(document.get("name", where), f"policy {where}: name"),
        accept=accept,
        checks=checks,
        tcb_statuses=_texts(tcb.get("statuses", ["UpToDate"]), f"policy {where}: statuses"),
        reject_advisories=_texts(
            tcb.get("reject_advisories", []), f"policy {where}: reject_advisories"
        ),
        minimum_evaluation_number=_number(tcb, "minimum_evaluation_number", 0, where),
        max_collateral_age=_number(freshness, "max_collateral_age", 30, where),
        max_quote_age=_number(freshness, "max_quote_age", 0, where),
        expect={
            name: _expected_values(name, values) for name, values in sections["expect"].items()
        },
    )


def _section(
    document: dict[str, Any], name: str, known: tuple[str, ...] | None, where: str
) -> dict[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise PolicyError(f"policy {where}: [{name}] is not a table")
    unknown = set(section) - set(known) if known is not None else set()
    if unknown:
        raise PolicyError(f"policy {where}: unknown key {min(unknown)!r} in [{name}]")
    return section


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise PolicyError(f"{what} is not a string")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise PolicyError(f"{what} is not a list of strings")
    return tuple(_text(item, what) for item in value)


def _number(section: dict[str, Any], name: str, default: int, where: str) -> int:
    value = section.get(name, default)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise PolicyError(f"policy {where}: {name} is not a number from 0 to {_MAX_NUMBER}")
    return value


def _expected_values(name: str, values: object) -> tuple[str, ...]:
    size = EXPECTABLE[name]
    found = []
    for value in _texts([values] if isinstance(values, str) else values, f"expect {name}"):
        digits = value.lower().removeprefix("sha256:").removeprefix("0x")
        if len(digits) != 2 * size or not set(digits) <= set("0123456789abcdef"):
            raise PolicyError(f"expected {name} {value!r} is not {size} bytes of hex")
        found.append(digits)
    if not found:
        raise PolicyError(f"expect {name}: an empty list expects nothing that could be")
    return tuple(sorted(set(found)))
