"""`verify lint FILE|TARGET`: what a manifest lets the operator do."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import names_target, read_file
from verifier.cli.gather import gather
from verifier.cli.options import Output, Reach, command
from verifier.cli.output import terminal_width, uses_color, write
from verifier.errors import EvidenceError, PolicyError
from verifier.manifest.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verifier.api import Audit
    from verifier.checks.case import Case
    from verifier.manifest.ignore import BaselineEntry
    from verifier.model.report import Report, SubjectReport
    from verifier.report.lint import Lint

_WIDTH: Final = 100


class LintFormat(StrEnum):
    """How a lint is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class Level(StrEnum):
    """The severities."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@command
def lint_manifest(
    *,
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|TARGET",
            help="app-compose.json, a compose file, a page, an Info answer, a bundle; or an app "
            "id, a metadata URL, a domain.",
        ),
    ],
    form: Annotated[
        LintFormat, typer.Option("--format", help="How to write it.")
    ] = LintFormat.TERMINAL,
    output: Output = None,
    min_severity: Annotated[
        Level, typer.Option(help="Exit with 4 for findings of this severity or worse.")
    ] = Level.MEDIUM,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Findings that you live with (TOML).")
    ] = None,
    expect_compose_hash: Annotated[
        str, typer.Option(metavar="HASH", help="The measured hash, for rule MAN-001.")
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every finding.")] = False,
    reach: Reach,
) -> None:
    """Say what a manifest lets its operator do.

    Comments `# verify: ignore RULE reason` and a baseline count for a file of your own; of
    evidence, such as a page, a bundle or a running app, every finding counts. A running app and a
    bundle are audited first: the manifest that was measured is judged with what the audit knows
    besides; what is only shown is said to be.

    Examples:

      verify lint app-compose.json

      verify lint compose.yaml --format sarif -o lint.sarif

      verify lint APP_ID --min-severity high

    Exit codes: 0 no finding, 2 usage, 3 not evaluable, 4 findings.
    """
    entries, expected = _baseline(baseline), _digest(expect_compose_hash)
    today = datetime.fromtimestamp(reach.at, UTC).date()
    given = _given(target, reach)
    lints = _lints(given, entries, today, Level(min_severity).value, expected)
    text = _render(lints, form, to_terminal=output is None, verbose=verbose)
    write(text.encode("utf-8", "backslashreplace"), output, "the findings")
    codes = {lint.exit_code for lint in lints}
    raise typer.Exit(max(codes, default=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """One text to lint. `whole` tells a manifest from a compose file; `own` is the user's own file,
    in which comments count; `note` says what the text is worth."""

    name: str
    raw: bytes
    whole: bool = True
    own: bool = False
    context: Context = field(default_factory=Context)
    note: str = ""


def _baseline(path: Path | None) -> "tuple[BaselineEntry, ...]":
    from verifier.manifest.ignore import parse_baseline  # noqa: PLC0415

    if path is None:
        return ()
    try:
        raw = read_file(path)
    except EvidenceError as error:
        raise PolicyError(error.message, hint=error.hint) from error
    return parse_baseline(raw)


def _digest(text: str) -> str:
    """A compose hash as 64 hex digits, "" for none. Raises PolicyError."""
    from verifier.evidence.codec import parse_hex  # noqa: PLC0415

    if not text:
        return ""
    try:
        digits = text.removeprefix("sha256:")
        return parse_hex(digits, "--expect-compose-hash", length=32, allow_0x=True).hex()
    except EvidenceError as error:
        raise PolicyError(error.message) from error


def _lints(
    given: "list[_Given]",
    baseline: "tuple[BaselineEntry, ...]",
    today: date,
    level: str,
    compose_hash: str,
) -> "tuple[Lint, ...]":
    from verifier.manifest.audit import (  # noqa: PLC0415
        audit_compose_file,
        audit_manifest,
    )
    from verifier.manifest.ignore import sift  # noqa: PLC0415
    from verifier.model.result import Severity  # noqa: PLC0415
    from verifier.report.lint import Lint  # noqa: PLC0415

    found = []
    for item in given:
        expected = compose_hash or item.context.compose_hash
        context = replace(item.context, compose_hash=expected)
        audit = (audit_manifest if item.whole else audit_compose_file)(item.raw, context)
        sifted = sift(audit, baseline if item.own else (), today, comments=item.own)
        found.append(
            Lint(
                name=item.name,
                raw=item.raw,
                whole=item.whole,
                audit=audit,
                findings=sifted.findings,
                ignored=sifted.ignored,
                notes=((item.note,) if item.note else ()) + sifted.notes,
                min_severity=Severity(level),
            )
        )
    return tuple(found)


def _given(target: str, reach: Reach) -> "list[_Given]":
    """The texts that the argument names."""
    from verifier.api import Past  # noqa: PLC0415

    if names_target(target):
        return _from_audit(gather(target, reach, past=Past.APP))
    path = Path(target)
    raw = read_file(path)
    start = raw.lstrip()[:1]
    if start == b"{" and b'"docker_compose_file"' not in raw and b'"runner"' not in raw:
        is_compose = b'"services"' in raw and b'"app_compose"' not in raw
        if is_compose:
            return [_Given(name=target, raw=raw, whole=False, own=True)]
        return _from_evidence(path, raw)
    if start == b"<" or (start == b"{" and b'"app_compose"' in raw):
        return _from_evidence(path, raw)
    return [_Given(name=target, raw=raw, whole=start == b"{", own=True)]


def _from_evidence(path: Path, raw: bytes) -> "list[_Given]":
    from verifier.evidence.shapes import import_files  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    subject = read_subject(import_files([(path.name, raw)], collected_at=0), "")
    manifests = {item.value: None for item in subject.manifests}
    if not manifests:
        raise EvidenceError(
            f"{path}: there is no manifest in it",
            hint="the app may hide it: public_tcbinfo is false",
        )
    return [_Given(name=str(path), raw=manifest) for manifest in manifests]


def _from_audit(audit: "Audit") -> "list[_Given]":
    """What each attester measured, or, where that is not proven, every manifest that it shows."""
    from verifier.checks.case import Case  # noqa: PLC0415
    from verifier.evidence.json_rpc import Exchanges  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    report = audit.report(load_policy("baseline"))
    several = len(report.subjects) > 1
    exchanges = Exchanges(audit.bundle)
    found: dict[tuple[bytes, str], _Given] = {}
    for subject in report.subjects:
        name = f"{audit.target}: {subject.name}" if several else audit.target
        case = Case(read_subject(audit.bundle, subject.name), audit.question, exchanges)
        for item in _manifests(name, subject, case):
            found.setdefault((item.raw, item.note), item)
    if not found:
        raise EvidenceError(f"{audit.target}: there is no manifest{_why(report)}")
    return list(found.values())


def _manifests(name: str, subject: "SubjectReport", case: "Case") -> "Iterator[_Given]":
    from verifier.checks.manifest_context import context_of  # noqa: PLC0415
    from verifier.model.result import Status  # noqa: PLC0415

    result = next(item for item in subject.checks if item.id == "application.manifest")
    shown = dict.fromkeys(item.value for item in case.evidence.manifests)
    if result.status is Status.PASS:
        note = "this manifest was measured: application.manifest passes"
        raw = case.measured_manifest.value
        yield _Given(name=name, raw=raw, context=context_of(case), note=note)
        return
    why = result.reason or result.summary
    for raw in shown:
        note = f"this manifest is shown, and not proven to be what runs: {why}"
        yield _Given(name=name, raw=raw, note=note)


def _why(report: "Report") -> str:
    """What kept the evidence from coming, if anything did."""
    error = next((source.error for source in report.sources if source.error), "")
    return f": {error}" if error else " in it; the app may hide it: public_tcbinfo is false"


def _render(
    lints: "tuple[Lint, ...]", form: LintFormat, *, to_terminal: bool, verbose: bool
) -> str:
    from verifier.report import lint_text, sarif  # noqa: PLC0415

    if form is LintFormat.MARKDOWN:
        return "\n".join(lint_text.render_lint_markdown(lint) for lint in lints)
    if form is LintFormat.GITHUB:
        return sarif.render_github(lints)
    if form in {LintFormat.JSON, LintFormat.SARIF}:
        from verifier.version import DISTRIBUTION, tool_version  # noqa: PLC0415

        if form is LintFormat.SARIF:
            return sarif.render_sarif(lints, tool_version())
        return sarif.render_lint_json(lints, f"{DISTRIBUTION} {tool_version()}")
    color = to_terminal and uses_color()
    width = terminal_width(_WIDTH)
    return "\n".join(
        lint_text.render_lint(lint, color=color, width=width, verbose=verbose) for lint in lints
    )
