"""BLD: what keeps an image from being built again, and what a Dockerfile gives away."""

from collections.abc import Callable, Iterable

from verifier.manifest.build import Build, Step
from verifier.manifest.rule import Hit, Need, RuleText
from verifier.model.result import Location, Severity

Detect = Callable[[Build], Iterable[Hit]]


class BuildRule(RuleText, frozen=True, kw_only=True):
    """One rule about Dockerfiles, with its detection."""

    detect: Detect


def build_rule(  # noqa: PLR0913 - the fields of a catalogue entry
    identifier: str, severity: Severity, title: str, *, why: str, fix: str, source: str
) -> Callable[[Detect], BuildRule]:
    """Make a rule of a detection function; its docstring becomes `what`."""

    def make(detect: Detect) -> BuildRule:
        return BuildRule(
            id=identifier,
            severity=severity,
            title=title,
            what=" ".join((detect.__doc__ or "").split()),
            why=why,
            fix=fix,
            source=source,
            needs=(Need.DOCKERFILE,),
            escalates=False,
            detect=detect,
        )

    return make


def at(
    step: Step,
    message: str,
    line: int = 0,
    severity: Severity | None = None,
    *,
    conditional: bool = False,
) -> Hit:
    """A hit at a step, or on one line of it."""
    return Hit(
        message=message,
        place=Location(pointer="", line=line or step.instruction.line, column=1),
        service=step.service,
        severity=severity,
        conditional=conditional,
    )
