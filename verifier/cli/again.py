"""Earlier documents in any of their forms: of an audit, a timeline, a lint or a comparison."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import Struct

from verifier.cli.options import Format, Output, Written
from verifier.cli.output import write
from verifier.errors import UsageError


class Form(StrEnum):
    """Every form that some document has."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"
    SUMMARY = "summary"
    JUNIT = "junit"
    BADGE = "badge"
    SHIELDS = "shields"
    STATEMENT = "statement"
    VSA = "vsa"
    EAR = "ear"
    PROOF = "proof"
    CSV = "csv"
    SARIF = "sarif"
    GITHUB = "github"


_Forms = TypeVar("_Forms", bound=StrEnum)


class Again(Struct, frozen=True, kw_only=True):
    """How an earlier document is written."""

    form: Annotated[Form, typer.Option("--format", help="Form of the document.")] = Form.TERMINAL
    output: Output = None
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--report",
            metavar="FORMAT=FILE",
            help="Write it in this form, too (repeatable).",
        ),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The verdict line alone.")] = False
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Everything, and nothing shortened.")
    ] = 0

    def of_an_audit(self) -> Written:
        """The same of an audit. Raises UsageError for a form that an audit has not."""
        return Written(
            form=self._as(Format, self.form, "an audit"),
            output=self.output,
            also=self.also,
            quiet=self.quiet,
            verbose=bool(self.verbose),
        )

    def places(self, forms: type[_Forms], what: str) -> tuple[tuple[_Forms, Path | None], ...]:
        """Every form that is asked for, and where it goes: None for stdout. Raises UsageError for
        one that such a document has not."""
        if self.quiet:
            raise UsageError(f"{what} has no verdict line", hint="leave -q out")
        found: list[tuple[_Forms, Path | None]] = []
        for item in self.also or ():
            form, _, file = item.partition("=")
            if not file:
                raise UsageError(f"--report {item!a} is not FORMAT=FILE")
            found.append((self._as(forms, form, what), Path(file)))
        return (*found, (self._as(forms, self.form, what), self.output))

    def _as(self, forms: type[_Forms], name: str, what: str) -> _Forms:
        try:
            return forms(name)
        except ValueError as error:
            raise UsageError(
                f"{what} has no form {name}", hint=f"it has {', '.join(forms)}"
            ) from error


def write_again(kind: str, raw: bytes, again: Again) -> int:
    """Write the earlier document of a kind in its forms: the exit code of who wrote it. Raises
    UsageError, EvidenceError."""
    return {"diff": _diff, "lint": _lint, "timeline": _timeline}[kind](raw, again)


KINDS = frozenset({"diff", "lint", "timeline"})
"""The documents besides an audit's that are rendered again."""


def _diff(raw: bytes, again: Again) -> int:
    from verifier.cli.commands import diff  # noqa: PLC0415 - only for one
    from verifier.report.diff.told import read_diff  # noqa: PLC0415

    told = read_diff(raw)

    def render(form: diff.Format, to_terminal: bool) -> bytes:
        return diff.render(told, form, to_file=not to_terminal, verbose=bool(again.verbose))

    _write(again.places(diff.Format, "a comparison"), render)
    return diff.exit_code(told)


def _lint(raw: bytes, again: Again) -> int:
    from verifier.cli.commands import lint  # noqa: PLC0415 - only for one
    from verifier.report.lint.told import read_lints  # noqa: PLC0415

    told = read_lints(raw)

    def render(form: lint.LintFormat, to_terminal: bool) -> bytes:
        text = lint.render(told, form, to_terminal=to_terminal, verbose=bool(again.verbose))
        return text.encode("utf-8", "backslashreplace")

    _write(again.places(lint.LintFormat, "a lint"), render)
    return told.exit_code


def _timeline(raw: bytes, again: Again) -> int:
    from verifier.cli.commands import timeline  # noqa: PLC0415 - only for one
    from verifier.report.timeline.earlier import read_timeline  # noqa: PLC0415

    found = read_timeline(raw)

    def render(form: timeline.TimelineFormat, to_terminal: bool) -> bytes:
        return timeline.render(found, form, again.verbose, to_terminal=to_terminal)

    _write(again.places(timeline.TimelineFormat, "a timeline"), render)
    return timeline.exit_code(found)


def _write(
    places: tuple[tuple[_Forms, Path | None], ...], render: Callable[[_Forms, bool], bytes]
) -> None:
    for form, place in places:
        write(render(form, place is None), place, "the document")
