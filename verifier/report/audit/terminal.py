"""The report for a terminal: the first screen, or, in full, link by link what it rests on.

Text reaches Rich only as `Text`, never as markup, and only through `escape.visible`.
"""

from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from verifier.model.report import Comparison, Report, SubjectReport
from verifier.model.result import CheckResult, Finding, Requirement
from verifier.report import pending
from verifier.report.audit import beside, instances, sentences
from verifier.report.audit.answers import SUPPORT, standing, value_text
from verifier.report.audit.families import (
    MEANINGS,
    Mark,
    by_family,
    in_chain_order,
    mark,
)
from verifier.report.audit.first_screen import VERDICT_STYLES, write_first_screen
from verifier.report.escape import visible
from verifier.report.limits import LIMITS
from verifier.report.page import LABEL, Page, bold, middle
from verifier.report.words import AUDIT_WORDS, explained

_ID: Final = 10  # column of the check ids: two spaces, a mark of up to seven letters, one space
_MAX_ID: Final = 26  # the longest check id in use
_DETAIL_LABEL: Final = 4
_DETAIL: Final = _DETAIL_LABEL + 10  # leaves the 64 digits of a sha256 on one line of 80
_FINDING: Final = 11  # two spaces, a severity of up to eight letters, one space
_MIN_SUMMARY: Final = 30  # below this the summary goes under the id
_MARGIN: Final = 4
_INSTANCE: Final = 16  # column beside twelve digits of an instance id
_WORD: Final = 16  # column of the meaning of a word

_MARK_STYLES: Final = {
    Mark.PASS: "green",
    Mark.WARN: "yellow",
    Mark.FAIL: "bold red",
    Mark.ERROR: "bold red",
    Mark.MISSING: "magenta",
    Mark.BLOCKED: "magenta",
    Mark.NOT_APPLICABLE: "dim",
    Mark.NOT_ASKED: "dim",
}


def render_terminal(
    report: Report, *, color: bool, width: int, verbose: int = 0, quiet: bool = False
) -> str:
    """The report as text for a terminal of `width` cells: the first screen, or with `verbose`
    every check, claim, finding and source, and nothing shortened.

    Without `color` there is no escape byte in it, whatever the environment says. `quiet` gives the
    verdict line alone.
    """
    if quiet:
        return sentences.verdict_line(report) + "\n"
    page = Page(width, full=verbose > 0)
    write_first_screen(page, report)
    if page.full:
        _everything(page, report)
    return page.render(color=color)


def _everything(page: Page, report: Report) -> None:
    worst = sentences.worst_subject(report)
    _chain(page, worst.checks)
    if worst.claims:
        _claims(page, report, worst)
    _instances(page, report)
    _other_subjects(page, report)
    for item in report.comparisons:
        _comparison(page, item)
    _bullets(page, pending.TITLE, pending.about_to_change(report.pending, report.outlook))
    _bullets(page, "History", sentences.history(report))
    _bullets(page, "Manifests that the contract allows", instances.allowed(report))
    _findings(page, report.findings)
    _sources(page, report)
    _bullets(page, "Not covered by this audit", report.gaps)
    _bullets(page, "What attestation cannot prove", LIMITS)
    _words(page)
    _footer(page, report)


def _chain(page: Page, checks: tuple[CheckResult, ...]) -> None:
    page.heading("Chain", "each link rests on those above")
    if not checks:
        page.entry(Text(), 2, "No check was evaluated.")
    for family, members in by_family(checks):
        page.entry(Text("  "), 2, f"{family.title}: {family.about}")
        for check in members:
            _check(page, check, checks)
        page.blank()
    shown = {mark(check) for check in checks} - {Mark.PASS}
    for item in Mark:
        if item in shown:
            page.entry(_mark(item, _MARK_STYLES[item]), _ID, MEANINGS[item])


def _check(page: Page, check: CheckResult, checks: tuple[CheckResult, ...]) -> None:
    outcome = mark(check)
    asked = check.requirement is not Requirement.NOT_ASKED
    lead = _mark(outcome, _MARK_STYLES[outcome] if asked else "dim")
    lead.append(middle(visible(check.id), _MAX_ID))
    column = _ID + _MAX_ID + 1
    longest = max(map(cell_len, visible(check.summary).split(" ")))
    if longest > page.width - column or page.width - column < _MIN_SUMMARY:
        page.entry(lead, _ID, "")
        lead, column = Text(), _DETAIL_LABEL
    note = sentences.anchor_note(check) + sentences.requirement_note(check)
    page.entry(lead, column, check.summary, note)
    page.entry(_detail("holds if"), _DETAIL, check.title)
    for label, text in sentences.details(check, checks):
        page.entry(_detail(label), _DETAIL, text)
    if check.requires:
        page.entry(_detail("rests on"), _DETAIL, ", ".join(check.requires))
    for blob, pointers in sentences.evidence_by_blob(check):
        page.entry(_detail("evidence"), _DETAIL, f"{blob} {', '.join(pointers)}".rstrip())


def _claims(page: Page, report: Report, subject: SubjectReport) -> None:
    page.heading("Claims", "facts, and what supports them")
    marks = {check.id: mark(check).value for check in subject.checks}
    names = max(cell_len(visible(claim.name)) for claim in subject.claims)
    column = _MARGIN + min(names, _MAX_ID) + 1
    for (basis, conditions), members in sentences.groups(subject.claims):
        rests_on = ", ".join(f"{item} {marks.get(item, 'absent')}" for item in conditions)
        about = "; rests on ".join(filter(None, (SUPPORT[basis], rests_on)))
        page.entry(bold(f"  {basis.value}"), LABEL, about)
        for claim in members:
            note = sentences.claim_note(report, standing(claim, subject.checks))
            name = Text(f"{' ' * _MARGIN}{middle(visible(claim.name), _MAX_ID)}")
            page.entry(name, column, value_text(claim.value), note)
        page.blank()


def _comparison(page: Page, comparison: Comparison) -> None:
    page.heading(
        f"Beside {comparison.name}", beside.sentence(comparison) if comparison.rows else ""
    )
    page.entry(Text("  "), 2, f"it shows {comparison.shows}; here: {beside.tally(comparison)}")
    for row in comparison.rows:
        said = f"{row.beside.value}: {row.theirs}{f'; here {row.ours}' if row.ours else ''}"
        page.entry(Text(f"  {row.topic}"), _ID + _MAX_ID + 1, said)
    for question, ours in comparison.unseen:
        page.entry(Text("  not looked at"), _ID + _MAX_ID + 1, f"{question}: {ours}")


def _instances(page: Page, report: Report) -> None:
    """A row for each guest, and what they differ in."""
    if not report.subjects:
        return
    page.heading("Instances")
    page.entry(Text(), 2, sentences.capital(instances.summary(report)))
    for name, *cells in instances.table(report):
        known = zip(instances.HEAD[1:], cells, strict=True)
        said = "; ".join(f"{title} {cell}" for title, cell in known)
        page.entry(Text(f"  {visible(name)}"), _INSTANCE, said)
    for note in instances.notes(report):
        page.entry(Text("  - "), 4, note)


def _other_subjects(page: Page, report: Report) -> None:
    others = report.subjects[1:]
    if others:
        page.heading("Other guests")
    for subject in others:
        name = f"{sentences.subject_name(subject)}: {sentences.tally(subject.checks)}"
        verdict = Text(f"  {subject.verdict.value}: ", VERDICT_STYLES[subject.verdict])
        page.entry(verdict, verdict.cell_len, name)
        for check in in_chain_order(subject.checks):
            _check(page, check, subject.checks)
        page.blank()


def _findings(page: Page, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    page.heading("Findings about the manifest")
    for group in sentences.grouped(findings):
        first = group[0]
        severity = middle(visible(first.severity), 8)
        page.entry(bold(f"  {severity}"), _FINDING, sentences.group_title(group))
        for finding in group:
            page.entry(Text(), _FINDING, f"- {sentences.short_place(finding)}: {finding.message}")
        if sentences.has_fix(first.fix):
            page.entry(Text(), _FINDING, f"fix: {first.fix}")


def _sources(page: Page, report: Report) -> None:
    if not report.sources:
        return
    page.heading("Sources")
    for source in report.sources:
        page.entry(Text("  "), 4, f"{source.kind} from {source.source}")
        page.entry(Text("    "), 6, source.error or f"sha256:{source.blob}")


def _words(page: Page) -> None:
    page.heading("Words")
    for word, meaning in explained(AUDIT_WORDS):
        page.entry(Text(f"  {word}"), _WORD, meaning)


def _bullets(page: Page, title: str, items: Iterable[str]) -> None:
    listed = tuple(items)
    if listed:
        page.heading(title)
    for item in listed:
        page.entry(Text("  - "), 4, item)


def _footer(page: Page, report: Report) -> None:
    page.heading("To repeat this audit offline", sentences.BUNDLE_NOTE)
    page.command(sentences.repeat_words(report))
    page.blank()
    for label, text in sentences.provenance(report):
        page.entry(bold(label), LABEL, text)


def _detail(label: str) -> Text:
    return Text(f"{' ' * _DETAIL_LABEL}{label}", "dim")


def _mark(item: Mark, style: str) -> Text:
    return Text(f"  {item.value:<{_ID - 2}}", style)
