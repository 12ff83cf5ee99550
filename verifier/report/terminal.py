"""The report for a terminal: what to do first, then link by link what it rests on.

Text reaches Rich only as `Text`, never as markup, and only through `escape.visible`.
"""

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from verifier.model.report import Report, SubjectReport
from verifier.model.result import Anchor, CheckResult, Finding, Verdict
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
from verifier.report.facts import SUPPORT, Standing, standing, statements, value_text
from verifier.report.limits import LIMITS

MIN_WIDTH: Final = 40
_LABEL: Final = 14  # column of the values in the header and the footer; leaves 64 digits of 80
_ID: Final = 7  # column of the check ids: two spaces, a mark of four letters, one space
_MAX_ID: Final = 26  # the longest check id in use
_DETAIL: Final = _ID + 9  # leaves the 64 digits of a sha256 on one line of 80
_FINDING: Final = 11  # two spaces, a severity of up to eight letters, one space
_MIN_SUMMARY: Final = 30  # below this the summary goes under the id
_MARGIN: Final = 4  # where a long word may begin: beyond the column of the marks
_MAX_LINES: Final = 9  # of one text that is not shown in full
_ELLIPSIS: Final = "..."
_MARK: Final = Anchor.UNSAFE_ROOT.mark
_UNBROKEN_MARK: Final = " " + _MARK.strip().replace(" ", "\xa0")  # visible text has no such space

_MARK_STYLES: Final = {
    Mark.OK: "green",
    Mark.WARN: "yellow",
    Mark.FAIL: "bold red",
    Mark.ERROR: "bold red",
    Mark.MISSING: "magenta",
    Mark.BLOCKED: "magenta",
    Mark.NOT_APPLICABLE: "dim",
}
_STANDING_STYLES: Final = {
    Standing.PROVEN: "bold green",
    Standing.MATCHED: "bold cyan",
    Standing.SAID: "bold yellow",
    Standing.NOT_KNOWN: "bold magenta",
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
    every check's details, every claim, and nothing shortened; `quiet` gives the verdict line alone.
    """
    if quiet:
        return summary.verdict_line(report) + "\n"
    page = Page(width, full=verbose > 0)
    _header(page, report)
    worst = summary.worst_subject(report)
    _chain(page, worst.checks)
    if page.full and worst.claims:
        _claims(page, report, worst)
    _other_subjects(page, report)
    _bullets(page, "History", summary.history(report))
    _findings(page, report.findings)
    _sources(page, report)
    _bullets(page, "Not covered by this audit", report.gaps)
    _bullets(page, "What attestation cannot prove", LIMITS)
    _footer(page, report)
    return page.render(color=color)


class Page:
    """Lines of a fixed width: a lead at the left, and a body that wraps in a column beside it."""

    def __init__(self, width: int, *, full: bool) -> None:
        self.width = max(width, MIN_WIDTH)
        self.full = full
        self._lines: list[Text] = []

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

    def entry(
        self, lead: Text, column: int, body: str, note: str = "", *, lines: int = _MAX_LINES
    ) -> None:
        """`lead`, then from `column` on the body and a note, in about `lines` lines at most.

        What is longer loses its middle, unless the page shows everything. The note is our own text:
        it is never shortened, and the mark of a trust anchor in it never broken.
        """
        shown = visible(body)
        if not self.full:
            shown = middle(shown, (self.width - column) * lines)
        line = Text().append_text(lead)  # a style of its own would spread to the body
        note = note.replace(_MARK, _UNBROKEN_MARK)
        for indent, text in self._wrapped(f"{shown}{note}", column):
            if indent < column and line:
                self._lines.append(line)
                line = Text()
            line.pad_right(indent - line.cell_len)
            line.append(text.replace("\xa0", " "))
            line.rstrip()
            self._lines.append(line)
            line = Text()

    def _wrapped(self, text: str, column: int) -> Iterator[tuple[int, str]]:
        """Lines and their columns. A word too long for the column, such as a hash, has a line of
        its own, further left, where it fits; only what fits nowhere is broken."""
        cells = self.width - column
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if cell_len(longer) <= cells:
                line = longer
                continue
            if line:
                yield column, line
            line, length = "", cell_len(word)
            if cells < length <= self.width - _MARGIN:
                room = min(column, self.width - length)
                yield next(item for item in (_DETAIL, _ID, _MARGIN) if item <= room), word
            else:
                *full, line = chop_cells(word, cells) or [""]
                yield from ((column, part) for part in full)
        if line or not text.strip(" "):
            yield column, line

    def value(self, label: str, text: str) -> None:
        """A labelled value on one or two lines, or in full."""
        self.entry(_label(label), _LABEL, text, lines=2)

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
    """`text` in at most `cells` terminal cells, with an ellipsis for a middle that is left out.

    Words stay whole where there are any.
    """
    if len(text) <= cells and cell_len(text) <= cells:
        return text
    head = (cells - len(_ELLIPSIS) + 1) // 2
    tail = cells - len(_ELLIPSIS) - head
    front, back = text[:head], text[-tail:]
    while cell_len(front) > head:
        front = front[:-1]
    while cell_len(back) > tail:
        back = back[1:]
    front = front[: front.rfind(" ") + 1] or front
    return front + _ELLIPSIS + (back[back.find(" ") :] if " " in back else back)


def _header(page: Page, report: Report) -> None:
    title = Text(f"{report.verdict.value.upper()}: ", _VERDICT_STYLES[report.verdict])
    page.entry(title, title.cell_len, summary.HEADLINES[report.verdict])
    if report.root_note:
        page.entry(Text("UNSAFE ROOT", "bold red"), _LABEL, report.root_note)
    page.entry(Text(), 2, summary.verdict_sentence(report))
    page.blank()
    subject = summary.worst_subject(report)
    page.value("App", summary.about(report))
    if subject.name and (page.full or len(report.subjects) > 1):
        page.value("Guest", subject.name)
    page.entry(_label("Time"), _LABEL, summary.when(report))
    page.value("Checks", summary.tally(subject.checks))
    if reader := summary.second_reader(report):
        page.entry(_label("Second reader"), _LABEL, reader)
    if link := summary.weakest_link(report):
        note = summary.anchor_note(link)
        page.entry(_label("Weakest link"), _LABEL, summary.outcome(link), note)
        page.entry(_label("What to do"), _LABEL, summary.what_to_do(link))
    page.blank()
    _statements(page, report, subject)


def _statements(page: Page, report: Report, subject: SubjectReport) -> None:
    for item in statements(subject):
        style = _STANDING_STYLES[item.standing]
        if item.standing is Standing.PROVEN and not item.facts:
            style = "bold red"
        page.entry(Text(item.standing.value.upper(), style), _LABEL, item.why)
        for label, value in item.facts:
            note = summary.claim_note(report, item.standing)
            page.entry(Text(f"  {label}"), _LABEL, value, note, lines=2)
    if (more := summary.more_claims(report, subject)) and not page.full:
        page.entry(_label("MORE"), _LABEL, "", f"{more}: -v, or --format json")


def _chain(page: Page, checks: tuple[CheckResult, ...]) -> None:
    page.heading("Chain", "each link rests on those above")
    if not checks:
        page.entry(Text(), 2, "No check was evaluated.")
    for family, members in by_family(checks):
        page.entry(Text("  "), 2, f"{family.title}: {family.about}")
        for check in members:
            _check(page, check, checks)
        page.blank()
    shown = {mark(check) for check in checks} - {Mark.OK}
    for item in Mark:
        if item in shown:
            page.entry(_mark(item), _ID, MEANINGS[item])


def _check(page: Page, check: CheckResult, checks: tuple[CheckResult, ...]) -> None:
    lead = _mark(mark(check)).append(middle(visible(check.id), _MAX_ID))
    column = _ID + _MAX_ID + 1
    if page.width - column < _MIN_SUMMARY:
        page.entry(lead, _ID, "")
        lead, column = Text(), _ID
    note = summary.anchor_note(check) + summary.requirement_note(check)
    page.entry(lead, column, check.summary, note)
    if page.full:
        page.entry(_detail("holds if"), _DETAIL, check.title)
    if page.full or summary.explains(check):
        for label, text in summary.details(check, checks):
            lines = 1 if label in ("expected", "actual") else _MAX_LINES
            page.entry(_detail(label), _DETAIL, text, lines=lines)
    if page.full:
        if check.requires:
            page.entry(_detail("rests on"), _DETAIL, ", ".join(check.requires))
        for ref in check.evidence:
            page.entry(_detail("evidence"), _DETAIL, f"{ref.blob} {ref.pointer}".rstrip())


def _claims(page: Page, report: Report, subject: SubjectReport) -> None:
    page.heading("Claims", "facts, and what supports them")
    marks = {check.id: mark(check).value for check in subject.checks}
    names = max(cell_len(visible(claim.name)) for claim in subject.claims)
    column = _MARGIN + min(names, _MAX_ID) + 1
    for (basis, conditions), members in summary.groups(subject.claims):
        rests_on = ", ".join(f"{item} {marks.get(item, 'absent')}" for item in conditions)
        about = "; rests on ".join(filter(None, (SUPPORT[basis], rests_on)))
        page.entry(_label(f"  {basis.value}"), _LABEL, about)
        for claim in members:
            note = summary.claim_note(report, standing(claim, subject.checks))
            name = Text(f"{' ' * _MARGIN}{middle(visible(claim.name), _MAX_ID)}")
            page.entry(name, column, value_text(claim.value), note)
        page.blank()


def _other_subjects(page: Page, report: Report) -> None:
    others = report.subjects[1:]
    if others:
        page.heading("Other guests")
    for subject in others:
        name = f"{summary.subject_name(subject)}: {summary.tally(subject.checks)}"
        verdict = Text(f"  {subject.verdict.value}: ", _VERDICT_STYLES[subject.verdict])
        page.entry(verdict, verdict.cell_len, name)
        for check in in_chain_order(subject.checks):
            if page.full or needs_attention(check):
                _check(page, check, subject.checks)
        page.blank()


def _findings(page: Page, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    page.heading("Findings about the manifest")
    for finding in findings:
        severity = middle(visible(finding.severity), 8)
        page.entry(_label(f"  {severity}"), _FINDING, summary.finding_title(finding))
        page.entry(Text(), _FINDING, finding.message)
        page.entry(Text(), _FINDING, f"fix: {finding.fix}")


def _sources(page: Page, report: Report) -> None:
    shown = [item for item in report.sources if page.full or item.error]
    if not shown:
        return
    page.heading("Sources", "" if page.full else "those that gave no evidence")
    for source in shown:
        page.entry(Text("  "), 4, f"{source.kind} from {source.source}", lines=2)
        page.entry(Text("  "), 6, source.error or f"sha256:{source.blob}", lines=2)


def _bullets(page: Page, title: str, items: Iterable[str]) -> None:
    listed = tuple(items)
    if listed:
        page.heading(title)
    for item in listed:
        page.entry(Text("  - "), 4, item)


def _footer(page: Page, report: Report) -> None:
    page.heading("To repeat this audit offline")
    page.unwrapped(f"  {summary.repeat_command(report)}")
    page.blank()
    for label, text in summary.provenance(report):
        page.entry(_label(label), _LABEL, text)


def _label(text: str) -> Text:
    return Text(text, "bold")


def _detail(label: str) -> Text:
    return Text(f"{' ' * _ID}{label}", "dim")


def _mark(item: Mark) -> Text:
    return Text(f"  {item.value:<5}", _MARK_STYLES[item])
