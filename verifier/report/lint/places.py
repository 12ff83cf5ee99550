"""The lint of one manifest, as the renderers see it, and what they share."""

from typing import Final, Literal

from msgspec import Struct

from verifier.evidence.compose.app_compose import ComposePositions
from verifier.evidence.compose.compose_yaml import lines_of
from verifier.manifest.audit import ManifestAudit
from verifier.manifest.ignore import Ignored, fingerprints
from verifier.manifest.secret_text import masked
from verifier.model.result import Finding, Severity

Kind = Literal["app-compose", "compose", "dockerfile"]
"""What was linted."""

EXIT_CLEAN: Final = 0
EXIT_NOT_EVALUABLE: Final = 3
EXIT_FINDINGS: Final = 4
_UNPARSED: Final = frozenset({"MAN-010", "MAN-011"})


class Unread(Struct, frozen=True):
    """What could not be read, why, and what to do."""

    name: str
    problem: str
    hint: str = ""


class Lint(Struct, frozen=True, kw_only=True):
    """One linted text.

    name          what the user calls it
    raw           its bytes
    whole         whether it is a manifest, not a compose file or Dockerfile alone
    audit         every finding about it, and what could not be judged
    findings      those that count
    ignored       those that a comment or a baseline sets aside, and why
    notes         what a reader has to know about ignoring; () for nothing
    min_severity  the least severity that was asked for
    """

    name: str
    raw: bytes
    whole: bool
    audit: ManifestAudit
    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...]
    notes: tuple[str, ...]
    min_severity: Severity

    @property
    def kind(self) -> Kind:
        """What was linted: `dockerfile`, `app-compose` (a manifest) or `compose`."""
        if self.audit.dockerfile:
            return "dockerfile"
        return "app-compose" if self.whole else "compose"

    @property
    def counted(self) -> tuple[Finding, ...]:
        """The findings at or above the least severity that was asked for."""
        return tuple(f for f in self.findings if self.counts(f))

    def counts(self, finding: Finding) -> bool:
        """Whether a finding is at or above the least severity that was asked for."""
        return Severity(finding.severity).rank <= self.min_severity.rank

    @property
    def exit_code(self) -> int:
        """4 with findings that count, 3 when the compose file could not be judged, else 0."""
        problem = bool(self.audit.compose_problem)
        if any(not (problem and finding.rule in _UNPARSED) for finding in self.counted):
            return EXIT_FINDINGS
        return EXIT_NOT_EVALUABLE if problem else EXIT_CLEAN


class Spot(Struct, frozen=True):
    """A finding's place in the file that was given (line and column from 1, 0 = not known), and
    the source line that it stands on."""

    line: int
    column: int
    source: str
    source_line: int


def spots(lint: Lint) -> dict[Finding, Spot]:
    """The spot of every finding, ignored ones included."""
    lines = lines_of(masked(lint.audit.compose_text)) if lint.audit.compose_text else []
    positions = ComposePositions(lint.raw) if lint.whole else None
    found: dict[Finding, Spot] = {}
    for finding in (*lint.findings, *(item.finding for item in lint.ignored)):
        place = finding.location
        if not lint.audit.in_text(finding):
            found[finding] = Spot(place.line, place.column, "", 0)
            continue
        line, column = place.line, place.column
        if positions is not None:
            line, column = positions.raw_place(line, column)
        found[finding] = Spot(line, column, lines[place.line - 1], place.line)
    return found


def named_fingerprints(lint: Lint) -> dict[Finding, str]:
    """The fingerprint of every finding."""
    return dict(zip(lint.audit.findings, fingerprints(lint.audit), strict=True))
