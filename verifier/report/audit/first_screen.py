"""The first screen of an audit: verdict, what is known and how well, the next step, the worst.

It has at most about thirty lines of eighty cells; every check, claim, finding and source stands in
the full report (`-v`).
"""

from typing import Final

from rich.text import Text

from verifier.model.report import Report, SubjectReport
from verifier.model.result import Verdict
from verifier.report.audit import beside, chosen, instances, sentences
from verifier.report.audit.answers import Standing, statements
from verifier.report.audit.families import mark
from verifier.report.escape import visible
from verifier.report.page import LABEL, Page, beginning, bold

_FINDINGS: Final = 3  # of the worst ones that are named
_NOTES: Final = 2  # of what there is to say of several guests
_NOT_COUNTED: Final = 2  # of the checks that fail or warn and that the policy does not ask for
_STANDING_STYLES: Final = {
    Standing.PROVEN: "bold green",
    Standing.MATCHED: "bold cyan",
    Standing.SAID: "bold yellow",
    Standing.NOT_KNOWN: "bold magenta",
}
VERDICT_STYLES: Final = {
    Verdict.AFFIRMING: "bold green",
    Verdict.WARNING: "bold yellow",
    Verdict.NONE: "bold magenta",
    Verdict.CONTRAINDICATED: "bold red",
}


def write_first_screen(page: Page, report: Report) -> None:
    """Put the first screen on a page."""
    subject = sentences.worst_subject(report)
    _verdict(page, report, subject)
    page.blank()
    write_statements(page, report, subject)
    page.blank()
    write_next_step(page, report)
    _findings(page, report, subject)
    if not page.full:
        page.entry(bold("More"), LABEL, sentences.more(report))


def _verdict(page: Page, report: Report, subject: SubjectReport) -> None:
    title = Text(f"{report.verdict.value.upper()}: ", VERDICT_STYLES[report.verdict])
    page.entry(title, title.cell_len, sentences.HEADLINES[report.verdict])
    if report.root_note:
        page.entry(Text("UNSAFE ROOT", "bold red"), LABEL, report.root_note)
    meaning = (sentences.verdict_sentence(report), sentences.plain_meaning(report))
    page.entry(Text(), 2, " ".join(filter(None, meaning)))
    page.blank()
    page.value("App", sentences.about(report))
    if len(report.subjects) > 1:
        page.value("Guest", sentences.subject_name(subject))
    if instances.several(report):
        _instances(page, report)
    page.value("Time", sentences.when(report) if page.full else sentences.as_of(report))
    for label, text in (
        ("Not verified", sentences.retold(report)),
        ("Outdated", sentences.outdated(report)),
        ("Project file", chosen.by_project(report)),
    ):
        if text:
            page.value(label, text)
    page.value("Checks", sentences.tally(subject.checks))
    for check in sentences.not_counted(subject)[:_NOT_COUNTED]:
        said = f"{check.id} {mark(check).value}: {check.summary}"
        page.entry(bold("Not counted"), LABEL, said, sentences.anchor_note(check), lines=2)
    if reader := sentences.second_reader(report):
        page.value("Second reader", reader)
    if silent := sentences.silent_sources(report):
        page.value("Sources", silent)
    for item in report.comparisons:
        page.entry(
            bold("Beside"),
            LABEL,
            f"{item.name} shows {item.shows}; here: {beside.tally(item)}",
            lines=3,
        )


def _instances(page: Page, report: Report) -> None:
    page.entry(bold("Instances"), LABEL, instances.summary(report), lines=3)
    for note in instances.notes(report)[:_NOTES]:
        page.entry(bold("Differs"), LABEL, note, lines=3)


def write_statements(page: Page, report: Report, subject: SubjectReport) -> None:
    """Put what is known, and how well, on a page."""
    for item in statements(subject):
        style = _STANDING_STYLES[item.standing]
        if item.standing is Standing.PROVEN and not item.facts:
            style = "bold red"
        page.entry(Text(item.standing.value.upper(), style), LABEL, item.why)
        for label, value in item.facts:
            note = sentences.claim_note(report, item.standing)
            page.entry(Text(f"  {label}"), LABEL, value, note, lines=1)
    if changed := sentences.change_of_app(report):
        note = report.anchor.mark if report.anchor is not None else ""
        page.entry(bold("Changed by"), LABEL, changed, note, lines=3)


def write_next_step(page: Page, report: Report) -> None:
    """Put the weakest link, and what to do about it, on a page."""
    link = sentences.weakest_link(report)
    if link is None:
        return
    said = f"{link.id} {mark(link).value}: {link.summary}"
    page.entry(bold("Weakest link"), LABEL, said, sentences.anchor_note(link), lines=3)
    page.entry(bold("Next"), LABEL, sentences.what_to_do(link), lines=3)


def _findings(page: Page, report: Report, subject: SubjectReport) -> None:
    if not sentences.asks_for_findings(subject):
        return
    found = sentences.grouped(report.findings)
    if not found:
        return
    page.entry(bold("Findings"), LABEL, sentences.tally_findings(report.findings))
    for group in [item for item in found if sentences.is_grave(item)][:_FINDINGS]:
        line = beginning(visible(sentences.brief(group)), page.width - LABEL)
        page.entry(Text(f"  {visible(group[0].severity)[:8]}"), LABEL, line)
