"""The report for a terminal: what to do first, then link by link what it rests on.

Text reaches Rich only as `Text`, never as markup, and only through `escape.visible`.
"""

from collections.abc import Iterable
from io import StringIO
from itertools import groupby
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from verifier.model.identifiers import format_time
from verifier.model.result import (
    CheckResult,
    EvidenceRef,
    Finding,
    Report,
    SubjectReport,
    Verdict,
)
from verifier.report import summary
from verifier.report.chain import (
    MEANINGS,
    Mark,
    by_family,
    in_chain_order,
    mark,
    needs_attention,
)
from verifier.report.escape import visible
from verifier.report.limits import LIMITS

MIN_WIDTH: Final = 40
_LABEL: Final = 14  # column of the values in the header and the footer
_ID: Final = 7  # column of the check ids: two spaces, a mark of four letters, one space
_MAX_ID: Final = 26  # the longest check id in use
_DETAIL: Final = _ID + 9  # leaves the 64 digits of a sha256 on one line of 80
_FINDING: Final = 11  # two spaces, a severity of up to eight letters, one space
_MIN_SUMMARY: Final = 30  # below this the summary goes under the id
_MAX_LINES: Final = 6  # of one text that is not shown in full
_MAX_REFS: Final = 3
_ELLIPSIS: Final = "..."

_MARK_STYLES: Final = {
    Mark.OK: "green",
    Mark.WARN: "yellow",
    Mark.FAIL: "bold red",
    Mark.ERROR: "bold red",
    Mark.MISSING: "magenta",
    Mark.BLOCKED: "magenta",
    Mark.NOT_APPLICABLE: "dim",
}
_VERDICT_STYLES: Final = {
    Verdict.AFFIRMING: "bold green",
    Verdict.WARNING: "bold yellow",
    Verdict.NONE: "bold magenta",
    Verdict.CONTRAINDICATED: "bold red",
}


def render_terminal(
    report: Report, *, color: bool, width: int, verbose: int = 0, quiet: bool = False
) -> str:
    """The report as text for a terminal of `width` cells.

    Without `color` there is no escape byte in it, whatever the environment says. `verbose` shows
    every check's details and nothing shortened; `quiet` gives the verdict line alone.
    """
    if quiet:
        return summary.verdict_line(report) + "\n"
    page = _Page(width, full=verbose > 0)
    _header(page, report)
    worst = summary.worst_subject(report)
    _chain(page, report, worst.checks)
    _claims(page, report, worst)
    _other_subjects(page, report)
    _findings(page, report.findings)
    _sources(page, report)
    _bullets(page, "Not covered by this audit", report.gaps)
    _bullets(page, "What attestation cannot prove", LIMITS)
    _footer(page, report)
    return page.render(color=color)


class _Page:
    """Lines of a fixed width: a lead at the left, and a body that wraps in a column beside it."""

    def __init__(self, width: int, *, full: bool) -> None:
        self.width = max(width, MIN_WIDTH)
        self.full = full
        self._lines: list[Text] = []
        self._measure = Console(file=StringIO(), width=self.width, force_terminal=False)

    def blank(self) -> None:
        """An empty line, unless there is one already."""
        if self._lines and self._lines[-1].cell_len:
            self._lines.append(Text())

    def heading(self, title: str, about: str = "") -> None:
        """A title of our own and what it is about, between empty lines."""
        self.blank()
        self._lines.append(Text(title.upper(), "bold").append(f"  {about}".rstrip(), "not bold"))
        self.blank()

    def unwrapped(self, text: str) -> None:
        """One line that may exceed the width, so that it can be copied whole."""
        self._lines.append(Text(visible(text)))

    def entry(self, lead: Text, column: int, body: str, note: str = "", *, lines: int = 6) -> None:
        """`lead`, then from `column` on the body and a note, in `lines` lines at most.

        What is longer loses its middle, unless the page shows everything.
        """
        cells = self.width - column
        shown = visible(body) if self.full else middle(visible(body), cells * lines)
        text = Text(shown).append(visible(note), "dim")
        line = lead.copy()
        for wrapped in text.wrap(self._measure, cells, overflow="fold") or [Text()]:
            line.pad_right(column - line.cell_len)
            line.append_text(wrapped)
            line.rstrip()
            self._lines.append(line)
            line = Text()

    def value(self, label: str, text: str, *, indent: int = 0, column: int = _LABEL) -> None:
        """A labelled value on one line, or in full."""
        self.entry(Text(" " * indent + label, "dim"), column, text, lines=1)

    def render(self, *, color: bool) -> str:
        """All lines; with `color` in the sixteen standard colours."""
        console = Console(
            file=StringIO(),
            force_terminal=color,
            no_color=not color,
            color_system="standard" if color else None,
            width=self.width,
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )
        with console.capture() as capture:
            console.print(Text("\n").join(self._lines), soft_wrap=True)
        return capture.get()


def middle(text: str, cells: int) -> str:
    """`text` in at most `cells` terminal cells, with an ellipsis for a middle that is left out."""
    if len(text) <= cells and cell_len(text) <= cells:
        return text
    head = (cells - len(_ELLIPSIS) + 1) // 2
    tail = cells - len(_ELLIPSIS) - head
    front, back = text[:head], text[-tail:]
    while cell_len(front) > head:
        front = front[:-1]
    while cell_len(back) > tail:
        back = back[1:]
    return front + _ELLIPSIS + back


def _header(page: _Page, report: Report) -> None:
    title = Text(f"{report.verdict.value.upper()}: ", _VERDICT_STYLES[report.verdict])
    page.entry(title, title.cell_len, summary.HEADLINES[report.verdict])
    for label, note in (("UNSAFE ROOT", report.root_note), ("TIME", report.time_note)):
        if note:
            page.entry(Text(label, "bold red"), _LABEL, note)
    page.blank()
    page.entry(Text(), 2, summary.verdict_sentence(report))
    page.blank()
    subject = summary.worst_subject(report)
    page.value("App", summary.about(report))
    if subject.name:
        page.value("Guest", subject.name)
    page.value("Judged as of", format_time(report.evaluated_at))
    page.value("Checks", summary.tally(subject.checks))
    if link := summary.weakest_link(report):
        page.blank()
        page.entry(_label("Weakest link"), _LABEL, summary.outcome(link))
        page.entry(_label("What to do"), _LABEL, summary.what_to_do(link))
    page.blank()
    _statements(page, report, subject)


def _statements(page: _Page, report: Report, subject: SubjectReport) -> None:
    for standing, group in groupby(summary.statements(subject), key=lambda item: item.standing):
        label = standing.value
        for item in group:
            support = f"{item.support}{summary.claim_note(report, standing)}"
            page.entry(_label(label), _LABEL, f"{support}:")
            for name, value in item.facts:
                page.value("", f"{name} {value}", column=_LABEL + 2)
            if item.more:
                page.value("", f"and {item.more} more, listed below", column=_LABEL + 2)
            label = ""


def _chain(page: _Page, report: Report, checks: tuple[CheckResult, ...]) -> None:
    page.heading("Chain", "each link rests on those above")
    if not checks:
        page.entry(Text(), 2, "  No check was evaluated.")
    for family, members in by_family(checks):
        page.entry(Text("  "), 2, family.title, f": {family.about}")
        for check in members:
            _check(page, report, check)
        page.blank()
    shown = {mark(check) for check in checks} - {Mark.OK}
    for item in Mark:
        if item in shown:
            page.entry(_mark(item), _ID, "", MEANINGS[item])


def _check(page: _Page, report: Report, check: CheckResult) -> None:
    lead = _mark(mark(check)).append(middle(visible(check.id), _MAX_ID))
    column = _ID + _MAX_ID + 2
    if page.width - column < _MIN_SUMMARY:
        page.entry(lead, _ID, "")
        lead, column = Text(), _ID
    page.entry(lead, column, check.summary, summary.check_note(report, check))
    if page.full or needs_attention(check):
        _details(page, check)


def _details(page: _Page, check: CheckResult) -> None:
    rows: list[tuple[str, str]] = []
    if page.full:
        rows += [("holds if", check.title)]
    rows += [
        (label, summary.value_text(value))
        for label, value in (("expected", check.expected), ("actual", check.actual))
        if value is not None
    ]
    rows += [
        (label, text) for label, text in (("why", check.reason), ("do", check.remediation)) if text
    ]
    if page.full and check.requires:
        rows += [("rests on", ", ".join(check.requires))]
    for label, text in rows:
        lines = 1 if label in ("expected", "actual") else 6
        page.entry(Text(" " * _ID + label, "dim"), _DETAIL, text, lines=lines)
    _evidence(page, check.evidence)


def _evidence(page: _Page, refs: tuple[EvidenceRef, ...]) -> None:
    shown = refs if page.full else refs[:_MAX_REFS]
    for ref in shown:
        page.value("evidence", f"{ref.blob} {ref.pointer}".rstrip(), indent=_ID, column=_DETAIL)
    if len(refs) > len(shown):
        page.value("", f"and {len(refs) - len(shown)} more", column=_DETAIL)


def _claims(page: _Page, report: Report, subject: SubjectReport) -> None:
    if not subject.claims:
        return
    page.heading("Claims", "facts, and what supports them")
    marks = {check.id: mark(check).value for check in subject.checks}
    names = max(cell_len(visible(claim.name)) for claim in subject.claims)
    column = 2 + min(names, _MAX_ID) + 1
    for (basis, conditions), group in groupby(
        subject.claims, key=lambda claim: (claim.basis, claim.conditions)
    ):
        rests_on = ", ".join(f"{item} {marks.get(item, 'absent')}" for item in conditions)
        page.entry(_label(f"  {basis.value}"), _LABEL, f"rests on {rests_on or 'nothing else'}")
        for claim in group:
            note = summary.claim_note(report, summary.standing(claim, subject.checks))
            page.entry(
                Text(f"  {middle(visible(claim.name), _MAX_ID)}"),
                column,
                summary.value_text(claim.value),
                note,
                lines=1,
            )
            if page.full:
                _evidence(page, claim.evidence)
        page.blank()


def _other_subjects(page: _Page, report: Report) -> None:
    if len(report.subjects) < 2:
        return
    page.heading("Other guests")
    for subject in report.subjects[1:]:
        name = f"{summary.subject_name(subject)}: {summary.tally(subject.checks)}"
        verdict = Text(f"  {subject.verdict.value}: ", _VERDICT_STYLES[subject.verdict])
        page.entry(verdict, verdict.cell_len, name)
        for check in in_chain_order(subject.checks):
            if page.full or needs_attention(check):
                _check(page, report, check)
        page.blank()


def _findings(page: _Page, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    page.heading("Findings about the manifest")
    for finding in findings:
        severity = middle(visible(finding.severity), 8)
        page.entry(_label(f"  {severity}"), _FINDING, summary.finding_title(finding))
        page.entry(Text(), _FINDING, finding.message)
        page.entry(Text(), _FINDING, f"fix: {finding.fix}")


def _sources(page: _Page, report: Report) -> None:
    shown = [item for item in report.sources if page.full or item.error]
    if not shown:
        return
    page.heading("Sources", "" if page.full else "those that gave no evidence")
    for source in shown:
        page.entry(Text("  "), 4, f"{source.kind} from {source.source}", lines=2)
        page.entry(Text("  "), 6, source.error or f"sha256:{source.blob}", lines=2)


def _bullets(page: _Page, title: str, items: Iterable[str]) -> None:
    listed = tuple(items)
    if listed:
        page.heading(title)
    for item in listed:
        page.entry(Text("  - "), 4, item)


def _footer(page: _Page, report: Report) -> None:
    page.heading("To repeat this audit offline")
    page.unwrapped(f"  {summary.repeat_command(report)}")
    page.blank()
    for label, text in summary.provenance(report):
        page.entry(_label(label), _LABEL, text)


def _label(text: str) -> Text:
    return Text(text, "bold")


def _mark(item: Mark) -> Text:
    return Text(f"  {item.value:<5}", _MARK_STYLES[item])
