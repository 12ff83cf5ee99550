"""`verify lint FILE`: what a manifest lets the operator do."""

import shutil
import sys
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.output import uses_color
from verifier.errors import EvidenceError, PolicyError

if TYPE_CHECKING:
    from verifier.manifest.ignore import BaselineEntry
    from verifier.report.lint import Lint

_MAX_FILE_BYTES: Final = 32 << 20
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


def lint_manifest(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="app-compose.json, a compose file, a metadata page, an Info answer or a bundle.",
        ),
    ],
    form: Annotated[
        LintFormat, typer.Option("--format", help="How to write it.")
    ] = LintFormat.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
    ] = None,
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
) -> None:
    """Say what a manifest lets its operator do.

    Comments `# verify: ignore RULE reason` and a baseline count for a file of your own; of
    evidence, such as a page or a bundle, every finding counts.

    Examples:

      verify lint app-compose.json

      verify lint compose.yaml --format sarif -o lint.sarif

    Exit codes: 0 no finding, 2 usage, 3 not evaluable, 4 findings.
    """
    from verifier.manifest.ignore import parse_baseline  # noqa: PLC0415

    entries = parse_baseline(_read(baseline, PolicyError)) if baseline else ()
    today = datetime.now(UTC).date()
    lints = _lints(file, entries, today, Level(min_severity).value, expect_compose_hash)
    _write(_render(lints, form, to_terminal=output is None, verbose=verbose), output)
    codes = {lint.exit_code for lint in lints}
    raise typer.Exit(max(codes, default=0))


def _lints(
    path: Path, baseline: "tuple[BaselineEntry, ...]", today: date, level: str, compose_hash: str
) -> "tuple[Lint, ...]":
    from verifier.evidence.codec import parse_hex  # noqa: PLC0415
    from verifier.manifest.audit import (  # noqa: PLC0415
        audit_compose_file,
        audit_manifest,
    )
    from verifier.manifest.context import Context  # noqa: PLC0415
    from verifier.manifest.ignore import sift  # noqa: PLC0415
    from verifier.manifest.rule import Severity  # noqa: PLC0415
    from verifier.report.lint import Lint  # noqa: PLC0415

    if compose_hash:
        digits = compose_hash.removeprefix("sha256:")
        try:
            compose_hash = parse_hex(
                digits, "--expect-compose-hash", length=32, allow_0x=True
            ).hex()
        except EvidenceError as error:
            raise PolicyError(error.message) from error
    context = Context(compose_hash=compose_hash)
    given = _texts(path)
    found = []
    for name, raw, whole, own in given:
        audit = (audit_manifest if whole else audit_compose_file)(raw, context)
        sifted = sift(audit, baseline if own else (), today, comments=own)
        found.append(
            Lint(
                name=name,
                raw=raw,
                whole=whole,
                audit=audit,
                findings=sifted.findings,
                ignored=sifted.ignored,
                notes=sifted.notes,
                min_severity=Severity(level),
            )
        )
    return tuple(found)


def _texts(path: Path) -> list[tuple[str, bytes, bool, bool]]:
    """The texts to lint: name, bytes, whether each is a manifest, whether it is the user's own."""
    if path.is_dir() or path.suffix == ".tar":
        return _from_bundle(path)
    raw = _read(path, EvidenceError)
    start = raw.lstrip()[:1]
    if start == b"{" and b'"docker_compose_file"' not in raw and b'"runner"' not in raw:
        is_compose = b'"services"' in raw and b'"app_compose"' not in raw
        return [(str(path), raw, False, True)] if is_compose else _from_evidence(path, raw)
    if start == b"<" or (start == b"{" and b'"app_compose"' in raw):
        return _from_evidence(path, raw)
    return [(str(path), raw, start == b"{", True)]


def _from_evidence(path: Path, raw: bytes) -> list[tuple[str, bytes, bool, bool]]:
    from verifier.evidence.shapes import import_files  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    subject = read_subject(import_files([(path.name, raw)], collected_at=0), "")
    manifests = {item.value: None for item in subject.manifests}
    if not manifests:
        raise EvidenceError(
            f"{path}: there is no manifest in it",
            hint="the app may hide it: public_tcbinfo is false",
        )
    return [(str(path), manifest, True, False) for manifest in manifests]


def _from_bundle(path: Path) -> list[tuple[str, bytes, bool, bool]]:
    from verifier.evidence.bundle import load  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    bundle = load(path)
    names = sorted({artifact.subject for artifact in bundle.artifacts})
    manifests = {
        item.value: None for name in names for item in read_subject(bundle, name).manifests
    }
    if not manifests:
        raise EvidenceError(f"{path}: there is no manifest in this bundle")
    return [(str(path), manifest, True, False) for manifest in manifests]


def _render(
    lints: "tuple[Lint, ...]", form: LintFormat, *, to_terminal: bool, verbose: bool
) -> str:
    from verifier.report import lint_text, sarif  # noqa: PLC0415

    if form is LintFormat.MARKDOWN:
        return "\n".join(lint_text.render_lint_markdown(lint) for lint in lints)
    if form is LintFormat.GITHUB:
        return sarif.render_github(lints)
    if form in {LintFormat.JSON, LintFormat.SARIF}:
        from verifier.audit import DISTRIBUTION, tool_version  # noqa: PLC0415

        if form is LintFormat.SARIF:
            return sarif.render_sarif(lints, tool_version())
        return sarif.render_lint_json(lints, f"{DISTRIBUTION} {tool_version()}")
    color = to_terminal and uses_color()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    return "\n".join(
        lint_text.render_lint(lint, color=color, width=min(width, _WIDTH), verbose=verbose)
        for lint in lints
    )


def _write(text: str, output: Path | None) -> None:
    raw = text.encode("utf-8", "backslashreplace")
    if output is None:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(raw)
    except OSError as error:
        raise PolicyError(f"{output}: cannot write: {error.strerror}") from error


def _read(path: Path, failure: type[EvidenceError] | type[PolicyError]) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise failure(f"{path}: cannot read it: {error.strerror or error}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise failure(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
    return raw
