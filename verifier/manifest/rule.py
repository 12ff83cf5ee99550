"""What a rule is: one entry of the catalogue, with its detection.

A rule is written as one function under `@rule`: its docstring is what it detects, the decorator
holds the rest of its text. It yields hits; `verifier.manifest.audit` makes findings of them.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.model.result import Location, Severity

if TYPE_CHECKING:
    from verifier.manifest.model import Manifest, Service, Text

_MAX_LISTED: Final = 40


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

    __hash__ = str.__hash__  # that of an enum is slow, and each rule asks by it
    DOCKERFILE = "a Dockerfile that a builder would read"


class Hit(Struct, frozen=True, kw_only=True):
    """One detection.

    message      what is wrong here
    place        where it stands
    service      the service that it is about, or the stage of a Dockerfile; "" for neither
    severity     how much it matters; None for what the rule says
    conditional  whether it holds only under a condition that is not known; `message` names it
    names        the variables that it is about; () for none
    """

    message: str
    place: Location
    service: str = ""
    severity: Severity | None = None
    conditional: bool = False
    names: tuple[str, ...] = ()


NEVER_COLLECTED: Final = frozenset({Need.ENDPOINT})
"""Evidence that nothing collects: a rule that needs it is described, and asked of no manifest."""

Detect = Callable[["Manifest"], Iterable[Hit]]


class RuleText(Struct, frozen=True, kw_only=True):
    """What is written about a rule.

    id         the rule's id, such as `ENV-001`
    severity   how much a finding matters, where the rule does not say it of each
    title      what is wrong, in one line
    what       what it finds
    why        why this matters
    fix        what to change
    source     where the rule comes from
    needs      the evidence without which it cannot be judged; () where its JSON is enough
    escalates  whether it is one level worse in a service whose image can be replaced
    """

    id: str
    severity: Severity
    title: str
    what: str
    why: str
    fix: str
    source: str
    needs: tuple[Need, ...]
    escalates: bool

    @property
    def asked(self) -> bool:
        """Whether some evidence that can be collected decides the rule."""
        return not NEVER_COLLECTED.intersection(self.needs)

    @property
    def group(self) -> str:
        """The letters of the id."""
        return self.id.partition("-")[0]


class Rule(RuleText, frozen=True, kw_only=True):
    """One rule about manifests, with its detection."""

    detect: Detect

    def hits(self, manifest: "Manifest") -> tuple[Hit, ...]:
        """What it detects: looked for once, for rules build on each other."""
        found = manifest.hits.get(self.id)
        if found is None:
            found = manifest.hits[self.id] = tuple(self.detect(manifest))
        return found


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


def on_text(  # noqa: PLR0913 - the fields of a hit
    text: "Text",
    message: str,
    severity: Severity | None = None,
    *,
    conditional: bool = False,
    offset: int = 0,
    names: Sequence[str] = (),
) -> Hit:
    """A hit at a text of the compose file, or at an offset in it."""
    return Hit(
        message=message,
        place=text.place_of(offset) if offset else text.place,
        service=text.service,
        severity=severity,
        conditional=conditional,
        names=tuple(names),
    )


def on_service(
    service: "Service", message: str, severity: Severity | None = None, *, conditional: bool = False
) -> Hit:
    """A hit about a service as a whole."""
    return Hit(
        message=message,
        place=service.place,
        service=service.name,
        severity=severity,
        conditional=conditional,
    )


def on_field(  # noqa: PLR0913 - the fields of a hit
    manifest: "Manifest",
    name: str,
    message: str,
    severity: Severity | None = None,
    *,
    conditional: bool = False,
    names: Sequence[str] = (),
) -> Hit:
    """A hit at a top-level field of the manifest."""
    return Hit(
        message=message,
        place=manifest.place_of(name),
        severity=severity,
        conditional=conditional,
        names=tuple(names),
    )


def listed(names: Sequence[str]) -> str:
    """Names as one phrase, in order; of very many, the first."""
    shown = ", ".join(names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def at_top(message: str, severity: Severity | None = None, *, conditional: bool = False) -> Hit:
    """A hit about the deployment, for which no line of the manifest stands."""
    place = Location(pointer="")
    return Hit(message=message, place=place, severity=severity, conditional=conditional)
