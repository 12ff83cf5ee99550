"""The chain as a report shows it: families of checks in order, and one mark per outcome."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.model.result import CheckResult, Requirement, SkipKind, Status


class Mark(StrEnum):
    """The outcome of one check in one word, readable without colour: its status, and of a skip
    its kind. A failure is written in capitals. `NOT_ASKED` is the mark of a whole family."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    WARN = "warn"
    FAIL = "FAIL"
    ERROR = "error"
    MISSING = "missing"
    BLOCKED = "blocked"
    NOT_APPLICABLE = "n/a"
    NOT_ASKED = "not asked"


MEANINGS: Final = {
    Mark.PASS: "holds",
    Mark.WARN: "holds with a reservation",
    Mark.FAIL: "contradicted by the evidence",
    Mark.ERROR: "could not be evaluated: an error",
    Mark.MISSING: "evidence is missing",
    Mark.BLOCKED: "not evaluated: a check it rests on does not hold",
    Mark.NOT_APPLICABLE: "does not apply",
    Mark.NOT_ASKED: "the policy asks for none of these",
}

# Worst first: the mark of a family is the first of these that one of its checks has.
_SEVERITY: Final = (
    Mark.FAIL,
    Mark.ERROR,
    Mark.MISSING,
    Mark.BLOCKED,
    Mark.WARN,
    Mark.PASS,
    Mark.NOT_APPLICABLE,
)


class Family(Struct, frozen=True):
    """One link of the chain: the checks whose ids start with `key.`, and what they are about."""

    key: str
    title: str
    about: str


FAMILIES: Final = (
    Family("hardware", "Hardware", "a genuine Intel TDX guest"),
    Family("boot", "Boot", "the operating system that started"),
    Family("runtime", "Runtime", "the event log behind RTMR3"),
    Family("application", "Application", "which app runs, and from which manifest"),
    Family("key_management", "Key management", "who holds the app's keys"),
    Family("authorization", "Authorization", "who may run and change the app"),
    Family("manifest", "Manifest", "what the manifest allows"),
    Family("provenance", "Provenance", "where the images come from"),
    Family("endpoint", "Endpoint", "the server that answers"),
)

# The family that each family's evidence is made genuine by.
RESTS_ON: Final = {
    "boot": "hardware",
    "runtime": "boot",
    "application": "runtime",
    "key_management": "runtime",
    "authorization": "key_management",
    "manifest": "application",
    "provenance": "application",
    "endpoint": "application",
}


def mark(check: CheckResult) -> Mark:
    """The mark of one check."""
    return mark_of(check.status, check.skip_kind)


def mark_of(status: Status, skip_kind: SkipKind | None = None) -> Mark:
    """The mark of an outcome. A skip without a kind counts as missing evidence."""
    if status is Status.SKIP:
        skips = {
            SkipKind.BLOCKED: Mark.BLOCKED,
            SkipKind.NOT_APPLICABLE: Mark.NOT_APPLICABLE,
        }
        return skips.get(skip_kind or SkipKind.MISSING_EVIDENCE, Mark.MISSING)
    return {
        Status.PASS: Mark.PASS,
        Status.WARN: Mark.WARN,
        Status.FAIL: Mark.FAIL,
        Status.ERROR: Mark.ERROR,
    }[status]


def needs_attention(check: CheckResult) -> bool:
    """Whether the check is neither a pass nor not applicable."""
    return mark(check) not in (Mark.PASS, Mark.NOT_APPLICABLE)


def family_mark(checks: Iterable[CheckResult]) -> Mark:
    """The worst mark among the checks of a family that are asked for; that none is, else."""
    asked = (item for item in checks if item.requirement is not Requirement.NOT_ASKED)
    return min(map(mark, asked), key=_SEVERITY.index, default=Mark.NOT_ASKED)


def by_family(checks: Iterable[CheckResult]) -> tuple[tuple[Family, tuple[CheckResult, ...]], ...]:
    """Every check under its family, in chain order; unknown families last, in order of appearance.

    Families without a check are left out.
    """
    grouped: dict[str, list[CheckResult]] = {family.key: [] for family in FAMILIES}
    for check in checks:
        grouped.setdefault(check.id.partition(".")[0], []).append(check)
    known = {family.key: family for family in FAMILIES}
    return tuple(
        (known.get(key) or Family(key, key, "other checks"), tuple(members))
        for key, members in grouped.items()
        if members
    )


def in_chain_order(checks: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """The checks from the root of trust outwards."""
    return tuple(check for _, members in by_family(checks) for check in members)


def weakest(checks: Iterable[CheckResult]) -> CheckResult | None:
    """The check that weighs most against the app, the first in chain order among equals.

    A failure outweighs a required check without result, and that a warning or an advisory check
    without result. A blocked check gives way to the one that blocked it.
    """
    heaviest, found = 0, None
    for check in in_chain_order(checks):
        if (weight := _weight(check)) > heaviest:
            heaviest, found = weight, check
    return found


def _weight(check: CheckResult) -> int:
    outcome = mark(check)
    if outcome in (Mark.PASS, Mark.NOT_APPLICABLE) or check.requirement is Requirement.NOT_ASKED:
        return 0
    if outcome in (Mark.FAIL, Mark.WARN):
        return 5 if outcome is Mark.FAIL else 2
    return (3 if check.requirement is Requirement.REQUIRED else 1) + (outcome is not Mark.BLOCKED)
