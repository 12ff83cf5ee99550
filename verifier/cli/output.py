"""Where a report goes, and how an audit ends."""

import hashlib
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from verifier.cli.options import Format, Written
from verifier.cli.streams import (
    is_terminal,
    terminal_width,
    uses_color,
    warn,
    write_stdout,
)
from verifier.errors import EvidenceError, UsageError
from verifier.model.report import Report
from verifier.model.result import Verdict

if TYPE_CHECKING:
    from verifier.evidence.bundle import Bundle

EXIT_CODES: Final = {
    Verdict.AFFIRMING: 0,
    Verdict.NONE: 3,
    Verdict.CONTRAINDICATED: 4,
    Verdict.WARNING: 5,
}
"""The code of each verdict; a policy may accept a warning, which then exits with 0."""
SIGNABLE: Final = (Format.STATEMENT, Format.VSA, Format.EAR)
"""Forms that `verify sign` takes: made of evidence alone."""


def exit_code(report: Report) -> int:
    """0 when the policy accepts the verdict, else the verdict's own code."""
    return 0 if report.accepted else EXIT_CODES[report.verdict] or 3


def write_report(report: Report, written: Written) -> None:
    """Render a report to a file or to stdout. Raises UsageError for an unwritable file, once the
    others are written."""
    failed: list[UsageError] = []
    for form, file in written.others:
        try:
            write(_render(report, replace(written, form=form, output=file)), file, "the report")
        except UsageError as unwritable:
            failed.append(unwritable)
    write(_render(report, written), written.output, "the report")
    if written.output is not None:
        from verifier.report.audit.sentences import verdict_line  # noqa: PLC0415

        warn(f"{verdict_line(report)}; the report is in {written.output}")
    for error in failed:
        raise error


def say_how_to_repeat(report: Report, saved: Path) -> None:
    """The command that repeats an audit on the evidence that it kept, when somebody watches."""
    from verifier.report.audit.sentences import repeat_words  # noqa: PLC0415

    if is_terminal(sys.stderr):
        warn(f"{saved} holds the evidence as received, secrets in it too; audit it again with:")
        warn(" ".join(repeat_words(report, str(saved))))


def write(raw: bytes, output: Path | None, what: str) -> None:
    """Write to a file, or to stdout. Raises UsageError where that cannot be written."""
    try:
        if output is not None:
            _write_file(raw, output)
        else:
            write_stdout(raw)
    except BrokenPipeError:
        raise
    except OSError as error:
        if output is not None:
            # The report matters more than the file that it should go to.
            write_stdout(raw)
        raise UsageError(
            f"{output or 'stdout'}: cannot write {what}: {error.strerror}",
            hint="it is on stdout; name a writable file with -o"
            if output is not None
            else "name a writable file with -o",
        ) from error


def check_report_places(written: Written, save: Path | None = None) -> None:
    """Raise UsageError where one of the forms of a report, or its bundle, could not be written, or
    where one would replace another: before anything is asked."""
    check_places(written.output, save)
    taken = {written.output.resolve()} if written.output is not None else set[Path]()
    for form, file in written.others:
        option = f"--report {form}="
        check_places(file, save, option=option)
        place = file.resolve()
        if place in taken and (place.is_file() or not place.exists()):
            raise UsageError(f"{option}{file}: another report goes there", hint="name another file")
        taken.add(place)


def check_places(
    output: Path | None, save: Path | None = None, kept_by: str = "--save", option: str = "-o "
) -> None:
    """Raise UsageError where a report or a bundle could not be written: before anything is asked
    that would then be lost. `kept_by` is the option that names the bundle, `option` what names the
    report."""
    try:
        if output is not None:
            _check_output(output, f"{option}{output}")
        if save is not None:
            _check_save(save, kept_by)
        if output is None or save is None:
            return
        written, kept = output.resolve(), save.resolve()
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else None
        name = f"{option}{output}" if save is None else f"{kept_by} {save}"
        raise UsageError(f"{name}: {told or error}", hint="name another place") from error
    if written == kept or kept in written.parents:
        raise UsageError(
            f"{option}{output}: the bundle is kept there", hint="name another file for the report"
        )


def _check_output(path: Path, named: str) -> None:
    if path.is_dir():
        raise UsageError(f"{named}: it is a directory", hint="name a file")
    if not _is_there(path):
        _check_folder(path.parent, named)
    elif not os.access(path, os.W_OK):
        raise UsageError(f"{named}: it cannot be written", hint="name a writable file")


def _check_save(path: Path, option: str) -> None:
    if _is_there(path):
        raise UsageError(f"{option} {path}: it exists already", hint="name a new directory or tar")
    folder = path.parent
    while not _is_there(folder) and folder != folder.parent:
        folder = folder.parent
    _check_folder(folder, f"{option} {path}")


def _is_there(path: Path) -> bool:
    """Whether the path exists, also as a broken link. Raises OSError for a name that cannot
    exist."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_folder(folder: Path, what: str) -> None:
    if not folder.is_dir():
        raise UsageError(f"{what}: {folder} is no directory", hint="make it, or name another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{what}: {folder} cannot be written", hint="name another place")


def _write_file(raw: bytes, path: Path) -> None:
    """Write a file, all of it or nothing: beside its place, and renamed. What is no file, such as a
    pipe, and what lies where no other file can be made, is written as it is. Raises OSError."""
    place = path.resolve()
    is_other = place.exists() and not place.is_file()
    if is_other or not os.access(place.parent, os.W_OK | os.X_OK):
        path.write_bytes(raw)
        return
    part = place.with_name(f".{hashlib.sha256(raw).hexdigest()[:16]}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as stream:  # not through a link that somebody put there
            stream.write(raw)
        if place.exists():
            shutil.copymode(place, part)
        part.replace(place)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def save_bundle(bundle: "Bundle", path: Path | None) -> UsageError | None:
    """Keep a bundle; a failure is given back, so that the report is not lost for it."""
    if path is None:
        return None
    from verifier.evidence.bundle import save  # noqa: PLC0415 - help needs none

    try:
        save(bundle, path)
    except EvidenceError as error:
        return UsageError(error.message, hint="name a place that can be written")
    return None


def keep_interrupted(bundle: "Bundle", path: Path | None) -> None:
    """Say what became of the evidence that was collected before the user ended the collection, and
    keep it where they asked for that."""
    received = sum(item.sha256 is not None for item in bundle.artifacts)
    if path is None or not received:
        warn(
            f"interrupted: {received} answers were collected and are not kept",
            "`verify TARGET --save PLACE` keeps what was collected, also then"
            if path is None
            else "",
        )
        return
    unsaved = save_bundle(bundle, path)
    if unsaved is not None:
        warn(f"interrupted: {unsaved.message}", unsaved.hint)
    else:
        warn(
            f"interrupted: the {received} answers that were collected are in {path}",
            f"audit them with `verify {path} --trust-bundle sha256:{bundle.digest}`",
        )


def json_for(raw: bytes, *, to_terminal: bool) -> bytes:
    """A JSON report as it is, or indented where somebody reads it."""
    if to_terminal and is_terminal(sys.stdout):
        # RFC 8785 leaves C1 and bidi controls as they are, and a terminal acts on them.
        return (json.dumps(json.loads(raw), indent=2) + "\n").encode("ascii")
    return raw


def _render(report: Report, written: Written) -> bytes:
    to_terminal = written.output is None
    if written.quiet and written.form is Format.TERMINAL:
        from verifier.report.audit.sentences import verdict_line  # noqa: PLC0415

        return (verdict_line(report) + "\n").encode("utf-8")
    if written.form is Format.JSON:
        from verifier.report.audit.json import render_json  # noqa: PLC0415

        return json_for(render_json(report), to_terminal=to_terminal)
    if written.form in SIGNABLE:
        from verifier.report.audit import ear, statement  # noqa: PLC0415

        return {
            Format.STATEMENT: statement.render_statement,
            Format.VSA: statement.render_vsa,
            Format.EAR: ear.render_ear,
        }[written.form](report)
    if written.form is not Format.TERMINAL:
        return _document(report, written.form).encode("utf-8")
    from verifier.report.audit.terminal import render_terminal  # noqa: PLC0415

    color = to_terminal and uses_color()
    text = render_terminal(report, color=color, width=terminal_width(), verbose=written.verbose)
    return text.encode("utf-8")


def _document(report: Report, form: Format) -> str:
    """The report in a form that is the same wherever it goes."""
    if form is Format.MARKDOWN:
        from verifier.report.audit.markdown import render_markdown  # noqa: PLC0415

        return render_markdown(report)
    if form is Format.SUMMARY:
        from verifier.report.audit.publication import render_summary  # noqa: PLC0415

        return render_summary(report)
    if form is Format.HTML:
        from verifier.report.audit.html import render_html  # noqa: PLC0415

        return render_html(report)
    if form is Format.PROOF:
        from verifier.report.audit.proof import render_proof  # noqa: PLC0415

        return render_proof(report)
    if form is Format.JUNIT:
        from verifier.report.audit.junit import render_junit  # noqa: PLC0415

        return render_junit(report)
    from verifier.report.audit import badge  # noqa: PLC0415

    return badge.render_svg(report) if form is Format.BADGE else badge.render_shields(report)
