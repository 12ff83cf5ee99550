"""What a rule is: one entry of the catalogue, with its detection.

A rule is written as one function under `@rule`: its docstring is what it detects, the decorator
holds the rest of its text. It yields hits; `verifier.manifest.audit` makes findings of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from verifier.manifest.model import Manifest


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

    @property
    def rank(self) -> int:
        """0 for critical, 4 for info."""
        return SEVERITIES.index(self)

    def up(self) -> "Severity":
        """One level worse."""
        return SEVERITIES[max(self.rank - 1, 0)]

    def down(self) -> "Severity":
        """One level better."""
        return SEVERITIES[min(self.rank + 1, len(SEVERITIES) - 1)]


SEVERITIES: Final = tuple(Severity)


class Need(StrEnum):
    """Evidence without which a rule cannot be evaluated, and what is said then."""

    COMPOSE = "the compose file, which is hidden, absent or could not be parsed"
    MANIFEST = "the whole app-compose manifest: only a compose file was given"
    ALLOWED_ENVS = "allowed_envs: not given, or absent on an OS of unknown version"
    COMPOSE_HASH = "the measured compose hash"
    OS = "the identity of the OS image"
    OS_VERSION = "the version of the OS"
    KEY_PROVIDER = "the measured key provider"
    AUTHORIZATION = "whether the app's contract allows the compose hash"
    ALLOWED_HASHES = "every compose hash that the app's contract allows, from its whole history"
    GOVERNANCE = "who owns the contracts of app and KMS"
    DEVICES = "which machines the app's contract allows"
    KMS_RELEASE = "an answer of the KMS that shows its release"
    KMS_CLAIMS = "an identified KMS, and what others say about it"
    PAGE = "the guest's metadata page"
    ENDPOINT = "an answer of the running app"
    TAGS = "the registry's answers over time, for images that a tag names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a hit stands: a pointer, and line and column from 1 (0 = not known).

    The pointer is an RFC 6901 pointer into the manifest that goes on into docker_compose_file as
    if it were an object; line and column are within docker_compose_file for those, else within the
    raw manifest.
    """

    pointer: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One detection. `severity` None means the rule's own. `conditional` says that it holds only
    if something that is not known here is so, which the message names. `names` are the variables
    that it is about."""

    message: str
    place: Place
    service: str = ""
    severity: Severity | None = None
    conditional: bool = False
    names: tuple[str, ...] = ()


NEVER_COLLECTED: Final = frozenset({Need.ENDPOINT})
"""Evidence that nothing collects: a rule that needs it is described, and asked of no manifest."""

Detect = Callable[["Manifest"], Iterable[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the catalogue. `detect` is None for a rule whose evidence this package never
    has. `escalates`: one level worse in a service whose image can be replaced."""

    id: str
    severity: Severity
    title: str
    what: str
    why: str
    fix: str
    source: str
    needs: tuple[Need, ...]
    escalates: bool
    detect: Detect

    @property
    def asked(self) -> bool:
        """Whether some evidence that can be collected decides the rule."""
        return not NEVER_COLLECTED.intersection(self.needs)

    @property
    def group(self) -> str:
        """The letters of the id."""
        return self.id.partition("-")[0]


def rule(  # noqa: PLR0913 - the fields of a catalogue entry
    identifier: str,
    severity: Severity,
    title: str,
    *,
    why: str,
    fix: str,
    source: str,
    needs: tuple[Need, ...] = (Need.COMPOSE,),
    escalates: bool = False,
) -> Callable[[Detect], Rule]:
    """Make a rule of a detection function; its docstring becomes `what`."""

    def make(detect: Detect) -> Rule:
        return Rule(
            id=identifier,
            severity=severity,
            title=title,
            what=" ".join((detect.__doc__ or "").split()),
            why=why,
            fix=fix,
            source=source,
            needs=needs,
            escalates=escalates,
            detect=detect,
        )

    return make
