"""Lints as every form tells them: what their JSON holds, schema `dstack-audit/lint/v1`.

Every form is rendered of these records alone, so that the JSON of an earlier lint gives each form
again, byte for byte. Nothing is judged again: the author of the file is the author of it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import MAX_LISTED, parse_json_object
from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.result import SEVERITIES, Finding, Severity
from verifier.report.lint.places import (
    EXIT_CLEAN,
    EXIT_FINDINGS,
    EXIT_NOT_EVALUABLE,
    Kind,
    Lint,
    Spot,
    Unread,
    named_fingerprints,
    spots,
)

SCHEMA: Final = "dstack-audit/lint/v1"


class ToldPlace(Struct, frozen=True, kw_only=True):
    """Where a finding stands; lines and columns from 1, 0 for what is not known.

    pointer      into the manifest, going on into docker_compose_file
    line         in the compose file or Dockerfile
    column       in that line
    file_line    in the file that was given
    file_column  in that line
    source_line  the line of the compose file or Dockerfile that is shown; 0 for none
    """

    pointer: str
    line: int
    column: int
    file_line: int
    file_column: int
    source_line: int


class ToldFinding(Struct, frozen=True, kw_only=True):
    """One finding, as in `Finding`.

    rule         the id of its rule
    severity     how much it matters
    title        the rule's title
    service      the service or build stage; "" for none
    location     where it stands
    message      what is wrong
    fix          what to do
    conditional  whether it holds only under a condition that is not known
    fingerprint  what stays when lines move
    """

    rule: str
    severity: Severity
    title: str
    service: str
    location: ToldPlace
    message: str
    fix: str
    conditional: bool
    fingerprint: str


class ToldIgnored(ToldFinding, frozen=True, kw_only=True):
    """A finding that a comment or a baseline sets aside, and why."""

    reason: str


class ToldMissing(Struct, frozen=True):
    """A rule that could not be judged, and what it lacks."""

    rule: str
    reason: str


class ToldLint(Struct, frozen=True, kw_only=True):
    """The lint of one text.

    name           what the user calls it
    kind           `app-compose`, `compose` or `dockerfile`
    sha256         of its bytes, lower-case hex
    min_severity   the least severity that was asked for
    exit_code      that of this text alone
    problem        why it could not be judged; "" where it could
    findings       those that count
    ignored        those that are set aside
    not_evaluable  the rules that could not be judged
    notes          what a reader has to know about ignoring
    lines          the lines that findings stand on, by their number, without secrets
    """

    name: str
    kind: Kind
    sha256: str
    min_severity: Severity
    exit_code: int
    problem: str
    findings: tuple[ToldFinding, ...]
    ignored: tuple[ToldIgnored, ...]
    not_evaluable: tuple[ToldMissing, ...]
    notes: tuple[str, ...]
    lines: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether it is a manifest."""
        return self.kind == "app-compose"

    @property
    def counted(self) -> tuple[ToldFinding, ...]:
        """The findings at or above the least severity that was asked for."""
        return tuple(filter(self.counts, self.findings))

    def counts(self, finding: ToldFinding) -> bool:
        """Whether a finding is at or above the least severity that was asked for."""
        return finding.severity.rank <= self.min_severity.rank

    def source(self, finding: ToldFinding) -> str:
        """The line that a finding stands on, "" where none is shown."""
        return self.lines.get(str(finding.location.source_line), "")

    def missing_reasons(self) -> dict[str, list[str]]:
        """The rules that could not be judged, by what they need."""
        reasons: dict[str, list[str]] = {}
        for item in self.not_evaluable:
            reasons.setdefault(item.reason, []).append(item.rule)
        return reasons


class ToldUnread(Struct, frozen=True):
    """What could not be read, why, and what to do."""

    name: str
    problem: str
    hint: str


class ToldLints(Struct, frozen=True, kw_only=True):
    """Lints, and what could not be read; `tool` is name and version of who made them."""

    schema: str = SCHEMA
    tool: str
    files: tuple[ToldLint, ...]
    unread: tuple[ToldUnread, ...]

    @property
    def exit_code(self) -> int:
        """The largest of all; 3 at least where something was not read."""
        return max((item.exit_code for item in self.files), default=0) or (3 if self.unread else 0)


def tally(findings: Iterable[ToldFinding]) -> str:
    """`2 critical, 1 high`, or `none`."""
    counts = Counter(finding.severity for finding in findings)
    return (
        ", ".join(f"{counts[item]} {item.value}" for item in SEVERITIES if counts[item]) or "none"
    )


def tell(lints: Iterable[Lint], tool: str, unread: Iterable[Unread] = ()) -> ToldLints:
    """What there is to tell of lints."""
    return ToldLints(
        tool=tool,
        files=tuple(map(_lint, lints)),
        unread=tuple(ToldUnread(item.name, item.problem, item.hint) for item in unread),
    )


def read_lints(raw: bytes) -> ToldLints:
    """The lints that their JSON holds. Raises EvidenceError."""
    what = "the lint"
    try:
        found = msgspec.convert(parse_json_object(raw, what, MAX_LISTED), ToldLints)
    except msgspec.ValidationError as error:
        raise EvidenceError(
            f"{what} cannot be rendered again: {error}",
            hint="run `verify lint` again: an earlier version wrote less than every form needs",
        ) from error
    named = {item.rule for lint in found.files for item in (*lint.findings, *lint.ignored)}
    if found.schema != SCHEMA or not named <= TEXTS.keys():
        raise EvidenceError(
            f"{what} is no {SCHEMA}, or has rules that this version does not know",
            hint="render it with the version that its `tool` names",
        )
    for lint in found.files:
        judged = (EXIT_FINDINGS,) if lint.counted else (EXIT_CLEAN,)
        if lint.exit_code not in ((EXIT_FINDINGS, EXIT_NOT_EVALUABLE) if lint.problem else judged):
            raise EvidenceError(
                f"{what} contradicts itself: its findings do not give exit code {lint.exit_code}",
                hint="it was changed after the lint; run `verify lint` on the file",
            )
    return found


def _lint(lint: Lint) -> ToldLint:
    prints, places = named_fingerprints(lint), spots(lint)

    def told(finding: Finding) -> dict[str, object]:
        return _finding(finding, places[finding], prints[finding])

    return ToldLint(
        name=lint.name,
        kind=lint.kind,
        sha256=lint.audit.sha256,
        min_severity=lint.min_severity,
        exit_code=lint.exit_code,
        problem=lint.audit.compose_problem,
        findings=tuple(msgspec.convert(told(item), ToldFinding) for item in lint.findings),
        ignored=tuple(
            msgspec.convert({**told(item.finding), "reason": item.reason}, ToldIgnored)
            for item in lint.ignored
        ),
        not_evaluable=tuple(
            ToldMissing(item.rule, item.reason) for item in lint.audit.not_evaluable
        ),
        notes=lint.notes,
        lines={str(spot.source_line): spot.source for spot in places.values() if spot.source_line},
    )


def _finding(finding: Finding, spot: Spot, fingerprint: str) -> dict[str, object]:
    place = finding.location
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "title": finding.title,
        "service": finding.service,
        "location": ToldPlace(
            pointer=place.pointer,
            line=place.line,
            column=place.column,
            file_line=spot.line,
            file_column=spot.column,
            source_line=spot.source_line,
        ),
        "message": finding.message,
        "fix": finding.fix,
        "conditional": finding.conditional,
        "fingerprint": fingerprint,
    }
