"""Attestation results: claims, check results and verdicts (RFC 9334 terms).

Every value here is already decided; nothing in this module verifies or renders anything.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class Status(StrEnum):
    """Outcome of one check. Only `pass` and `warn` make the evidence usable by later checks."""

    PASS = "pass"  # noqa: S105 - a status, not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


class SkipKind(StrEnum):
    """Why a check was not evaluated."""

    MISSING_EVIDENCE = "missing-evidence"
    BLOCKED = "blocked"
    NOT_APPLICABLE = "not-applicable"


class Basis(StrEnum):
    """The direct support of a claim, strongest first."""

    HARDWARE = "hardware"
    MEASURED = "measured"
    CHAIN = "chain"
    KMS = "kms"
    REFERENCE = "reference"
    WITNESS = "witness"
    ASSERTED = "asserted"
    UNKNOWN = "unknown"


BASIS_ORDER: Final = tuple(Basis)


class Verdict(StrEnum):
    """EAR trust tiers, from best to worst as `VERDICT_ORDER` lists them."""

    AFFIRMING = "affirming"
    WARNING = "warning"
    NONE = "none"
    CONTRAINDICATED = "contraindicated"


VERDICT_ORDER: Final = tuple(Verdict)


class Requirement(StrEnum):
    """What a policy asks of one check."""

    REQUIRED = "required"
    ADVISORY = "advisory"
    NOT_ASKED = "not-asked"


class Anchor(StrEnum):
    """A trust anchor other than Intel's."""

    UNSAFE_ROOT = "unsafe root"
    SIMULATED = "simulated"

    @property
    def mark(self) -> str:
        """What stands at the end of every line that rests on it."""
        return f" [{Anchor.UNSAFE_ROOT.value}]"


class Severity(StrEnum):
    """How much a finding matters, worst first.

    critical: someone gets code, a shell or the app's keys while the compose hash stays, or the
    audited text is not the attested one. high: an unmeasured value moves user data, trust or
    identity; code from a tag. medium: measured, but breaks isolation, leaks, or is not reviewable.
    low, info: hygiene and context.
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    __hash__ = str.__hash__  # that of an enum is slow, and each finding is looked up by it

    @property
    def rank(self) -> int:
        """0 for critical, 4 for info."""
        return RANKS[self]

    def up(self) -> "Severity":
        """One level worse."""
        return SEVERITIES[max(self.rank - 1, 0)]


SEVERITIES: Final = tuple(Severity)
RANKS: Final[dict[str, int]] = {severity: rank for rank, severity in enumerate(SEVERITIES)}


class EvidenceRef(Struct, frozen=True, gc=False):
    """Where in the bundle a statement comes from.

    `blob` is the sha256 of the raw bytes (lower-case hex); `pointer` is an RFC 6901 JSON pointer
    into them, or `bytes=FIRST-LAST` for a byte range, or empty for the whole blob.
    """

    blob: str
    pointer: str = ""


class Claim(Struct, frozen=True, kw_only=True):
    """One named fact and what supports it.

    `conditions` names the checks that the fact further rests on: it means what it says only while
    each of them is `pass` or `warn`.
    """

    name: str
    value: JsonValue
    basis: Basis
    conditions: tuple[str, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()


class CheckResult(Struct, frozen=True, kw_only=True):
    """The result of one registered check.

    id           the check's id, such as `hardware.quote`
    title        one statement, which is true exactly when the status is `pass`
    status       the outcome
    summary      what was found, one line
    requirement  what the policy asks of the check
    expected     what would pass, as JSON; None where that is not one value
    actual       the value that was found, as JSON; None where there is none
    evidence     where in the bundle the result comes from; () for nothing that can be pointed at
    reason       why the check was not evaluated, or more than the summary says; "" for nothing to
                 add
    skip_kind    why the check was skipped; None for any other status
    remediation  what to do about it; "" for nothing to advise
    requires     ids of the checks that must pass or warn before this one counts
    anchor       the trust anchor that the result rests on where it is not Intel's; None for Intel's
    """

    id: str
    title: str
    status: Status
    summary: str
    requirement: Requirement = Requirement.REQUIRED
    expected: JsonValue = None
    actual: JsonValue = None
    evidence: tuple[EvidenceRef, ...] = ()
    reason: str = ""
    skip_kind: SkipKind | None = None
    remediation: str = ""
    requires: tuple[str, ...] = ()
    anchor: Anchor | None = None


class Location(Struct, frozen=True, kw_only=True, gc=False):
    """Where a finding stands: a pointer, and line and column from 1 (0 = not known).

    The pointer is an RFC 6901 pointer into the manifest that goes on into docker_compose_file as
    if it were an object; line and column are within docker_compose_file for those, else within the
    raw manifest.
    """

    pointer: str
    line: int = 0
    column: int = 0


class Finding(Struct, frozen=True, kw_only=True):
    """One finding about the manifest.

    rule         the rule's id, such as `ENV-001`
    severity     a value of `Severity`
    title        the rule's title
    service      the service that it is about, or the stage of a Dockerfile; "" for neither
    location     where it stands
    message      what is wrong here, with secrets masked
    fix          what to change
    conditional  whether it holds only under a condition that is not known; the message names it
    names        the variables that it is about; () for none
    """

    rule: str
    severity: str
    title: str
    service: str
    location: Location
    message: str
    fix: str
    conditional: bool
    names: tuple[str, ...] = ()
