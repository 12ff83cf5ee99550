"""`verify lint FILE|DIR|TARGET...`: what a manifest lets the operator do."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.files import about, read_file
from verifier.cli.lint_given import Given, read_given
from verifier.cli.options import Output, Reach, command
from verifier.cli.output import check_places, write
from verifier.cli.streams import terminal_width, uses_color, warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.manifest.audit import ManifestAudit
    from verifier.manifest.ignore import BaselineEntry
    from verifier.report.lint.places import Lint
    from verifier.report.lint.told import ToldLints

EXIT_NOT_EVALUABLE: Final = 3
_WIDTH: Final = 100
_BASELINE_DAYS: Final = 90
_BASELINE_REASON: Final = "stood there when the baseline was written: say why you live with it"


class LintFormat(StrEnum):
    """How a lint is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    JUNIT = "junit"


class Level(StrEnum):
    """The severities."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Baselines(Struct, frozen=True, kw_only=True):
    """Findings that the user lives with."""

    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Findings that you live with (TOML).")
    ] = None
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline",
            metavar="FILE",
            help="Write the findings that count to a new baseline, until 90 days from now.",
        ),
    ] = None


MinSeverity = Annotated[
    Level, typer.Option(help="Exit with 4 for findings of this severity or worse.")
]


@command
def lint_manifest(
    *,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|TARGET...",
            help="app-compose.json, a compose file, a Dockerfile, a page, an Info answer, a "
            "bundle, a directory; - is standard input; or an app id, a metadata URL, a domain.",
        ),
    ],
    form: Annotated[
        LintFormat, typer.Option("--format", help="How to write it.")
    ] = LintFormat.TERMINAL,
    output: Output = None,
    min_severity: MinSeverity = Level.MEDIUM,
    baselines: Baselines,
    expect_compose_hash: Annotated[
        str, typer.Option(metavar="HASH", help="The measured hash, for rule MAN-001.")
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every finding.")] = False,
    reach: Reach,
) -> None:
    """Say what a manifest lets its operator do, and what a Dockerfile leaves open.

    Comments `# verify: ignore RULE reason` and a baseline count for a file of your own; of
    evidence, such as a page, a bundle or a running app, every finding counts. A running app and a
    bundle are audited first: the manifest that was measured is judged with what the audit knows
    besides; what is only shown is said to be.

    Examples:

      verify lint app-compose.json Dockerfile

      verify lint . --format sarif -o lint.sarif

      verify lint compose.yaml --write-baseline accepted.toml

      verify lint APP_ID --min-severity high

    Exit codes: 0 no finding, 2 usage, 3 not evaluable, 4 findings.
    """
    from verifier.report.lint.told import tell  # noqa: PLC0415
    from verifier.version import DISTRIBUTION, tool_version  # noqa: PLC0415

    check_places(output)
    entries, expected = _baseline(baselines.baseline), _digest(expect_compose_hash)
    _refuse_overwriting(baselines)
    today = datetime.fromtimestamp(reach.judged_at, UTC).date()
    given, unread = read_given(targets, reach)
    lints = _lints(given, entries, today, Level(min_severity).value, expected)
    told = tell(lints, f"{DISTRIBUTION} {tool_version()}", unread)
    text = render(told, form, to_terminal=output is None, verbose=verbose)
    write(text.encode("utf-8", "backslashreplace"), output, "the findings")
    if baselines.write_baseline is not None:
        own = [lint for lint, item in zip(lints, given, strict=True) if item.own]
        _write_baseline(baselines.write_baseline, entries, own, today)
    for item in unread:
        warn(f"{item.name}: {item.problem}", item.hint)
    raise typer.Exit(told.exit_code)


def _refuse_overwriting(baselines: Baselines) -> None:
    """Raise UsageError where somebody's reasons would be lost."""
    new, old = baselines.write_baseline, baselines.baseline
    if new is None or not new.exists() or (old is not None and old.resolve() == new.resolve()):
        return
    raise UsageError(
        f"--write-baseline {new}: it exists already",
        hint=f"give it as --baseline {new} too, so that its entries are kept, or name a new file",
    )


def _write_baseline(
    path: Path, entries: "tuple[BaselineEntry, ...]", lints: "list[Lint]", today: date
) -> None:
    """Write the findings that count, beside the entries that were given."""
    from verifier.manifest.ignore import BaselineEntry, render_baseline  # noqa: PLC0415
    from verifier.report.lint.places import named_fingerprints  # noqa: PLC0415

    found = [
        BaselineEntry(
            rule=finding.rule,
            service=finding.service,
            fingerprint=prints[finding],
            reason=_BASELINE_REASON,
            expires=today + timedelta(days=_BASELINE_DAYS),
        )
        for lint in lints
        for prints in [named_fingerprints(lint)]
        for finding in lint.counted
    ]
    text = render_baseline(dict.fromkeys((*entries, *found)))
    write(text.encode("utf-8"), path, "the baseline")


def _baseline(path: Path | None) -> "tuple[BaselineEntry, ...]":
    from verifier.manifest.ignore import parse_baseline  # noqa: PLC0415

    if path is None:
        return ()
    try:
        raw = read_file(path)
    except EvidenceError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return parse_baseline(raw)


def _digest(text: str) -> str:
    """A compose hash as 64 hex digits, "" for none. Raises UsageError."""
    from verifier.evidence.codec import parse_hex  # noqa: PLC0415

    if not text:
        return ""
    try:
        digits = text.removeprefix("sha256:")
        return parse_hex(digits, "--expect-compose-hash", length=32, allow_0x=True).hex()
    except EvidenceError as error:
        raise UsageError(error.message) from error


def _lints(
    given: "list[Given]",
    baseline: "tuple[BaselineEntry, ...]",
    today: date,
    level: str,
    compose_hash: str,
) -> "tuple[Lint, ...]":
    from verifier.manifest.ignore import sift, stale_entries  # noqa: PLC0415
    from verifier.model.result import Severity  # noqa: PLC0415
    from verifier.report.lint.places import Lint  # noqa: PLC0415

    audits = [_audited(item, compose_hash) for item in given]
    sifted = [
        sift(audit, baseline if item.own else (), today, comments=item.own)
        for item, audit in zip(given, audits, strict=True)
    ]
    used = frozenset(entry for item in sifted for entry in item.used)
    # An entry that one of several files needs is not stale.
    notes = stale_entries(baseline, used, today)
    last = max((place for place, item in enumerate(given) if item.own), default=-1)
    return tuple(
        Lint(
            name=item.name,
            raw=item.raw,
            whole=item.whole,
            audit=audit,
            findings=kept.findings,
            ignored=kept.ignored,
            notes=(
                *((item.note,) if item.note else ()),
                *kept.remarks,
                *(notes if place == last else ()),
            ),
            min_severity=Severity(level),
        )
        for place, (item, audit, kept) in enumerate(zip(given, audits, sifted, strict=True))
    )


def _audited(item: "Given", compose_hash: str) -> "ManifestAudit":
    from verifier.manifest.audit import (  # noqa: PLC0415
        audit_compose_file,
        audit_dockerfile,
        audit_manifest,
    )

    if item.dockerfile:
        return audit_dockerfile(item.raw)
    expected = compose_hash or item.context.compose_hash
    context = replace(item.context, compose_hash=expected)
    with about(item.name):
        return (audit_manifest if item.whole else audit_compose_file)(item.raw, context)


def render(told: "ToldLints", form: LintFormat, *, to_terminal: bool, verbose: bool) -> str:
    """Lints in a form."""
    from verifier.report.lint import sarif, text  # noqa: PLC0415

    if form is LintFormat.MARKDOWN:
        return "\n".join(text.render_lint_markdown(lint) for lint in told.files)
    if form is LintFormat.GITHUB:
        return sarif.render_github(told)
    if form is LintFormat.JUNIT:
        from verifier.report.audit.junit import render_lint_junit  # noqa: PLC0415

        return render_lint_junit(told)
    if form is LintFormat.SARIF:
        return sarif.render_sarif(told, root=Path.cwd())
    if form is LintFormat.JSON:
        return sarif.render_lint_json(told)
    color = to_terminal and uses_color()
    width = terminal_width(_WIDTH)
    return "\n".join(
        text.render_lint(lint, color=color, width=width, verbose=verbose) for lint in told.files
    )
