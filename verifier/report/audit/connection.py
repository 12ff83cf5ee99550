"""One answer of an audit for people: whether the connection to an address ends in this guest."""

from typing import Final

from verifier.evidence.bundle import Kind
from verifier.evidence.unanswered import why_unanswered
from verifier.model.report import Report
from verifier.model.result import CheckResult, SkipKind, Status, Verdict
from verifier.report.audit import sentences
from verifier.report.audit.families import mark
from verifier.report.audit.first_screen import (
    VERDICT_STYLES,
    write_next_step,
    write_statements,
)
from verifier.report.page import LABEL, Page, bold, styled

_CHECK: Final = "endpoint.tls"
_ANSWERS: Final = {
    Verdict.AFFIRMING: ("YES", "the connection to {} ends in this guest."),
    Verdict.WARNING: ("YES, WITH RESERVATIONS", "the connection to {} ends in this guest."),
    Verdict.NONE: ("NOT KNOWN", "nothing shows in which guest the connection to {} ends."),
    Verdict.CONTRAINDICATED: ("NO", "do not rely on the connection to {}."),
}
_AT_GATEWAY: Final = ("AT THE GATEWAY", "the connection to {} ends in another attested TD.")
_UNSURE: Final = ("NOT PROVEN", "no quote shows that the connection to {} ends in this guest.")


def render_connection(report: Report, endpoint: str, width: int, *, color: bool) -> str:
    """The answer, what it rests on, and how to see the key oneself, in lines of `width` cells."""
    page, subject = Page(width, full=False), sentences.worst_subject(report)
    met = _met(report)
    verdict = report.verdict
    answer, words = _ANSWERS[verdict]
    if verdict in (Verdict.AFFIRMING, Verdict.WARNING) and not (met and met.status is Status.PASS):
        answer, words = _AT_GATEWAY if _holder(met) == "gateway" else _UNSURE
    title = styled(f"{answer}: ", VERDICT_STYLES[verdict])
    page.entry(title, title.cell_len, words.format(endpoint))
    if report.root_note:
        page.entry(styled("UNSAFE ROOT", "bold red"), LABEL, report.root_note)
    page.blank()
    unnamed = report.requested_app_id is None
    page.value("App", "none was named: --app-id APP_ID" if unnamed else sentences.about(report))
    page.value("Guest", sentences.subject_name(subject))
    page.value("Time", sentences.as_of(report))
    if unmet := _unmet(report):
        page.entry(bold("Connection"), LABEL, f"none was made: {unmet}", lines=4)
    elif met is not None and met is not sentences.weakest_link(report):
        note = sentences.anchor_note(met)
        page.entry(bold("Connection"), LABEL, f"{mark(met).value}: {met.summary}", note, lines=4)
    page.blank()
    write_statements(page, report, subject)
    page.blank()
    write_next_step(page, report)
    match met.actual if met is not None else None:
        case {"key": str(key)}:
            page.blank()
            page.entry(bold("See yourself"), LABEL, f"your client meets the key {key}:")
            page.unwrapped(f"  {_command(endpoint)}")
    page.entry(bold("More"), LABEL, "the whole report: --format json, or verify app --endpoint")
    return page.render(color=color)


def _met(report: Report) -> CheckResult | None:
    """The result about the guest that was met; of several, about the worst."""
    found = [
        result
        for subject in report.subjects
        for result in subject.checks
        if result.id == _CHECK and result.skip_kind is not SkipKind.NOT_APPLICABLE
    ]
    return found[0] if found else None


def _unmet(report: Report) -> str:
    """Why nobody was met at the address, "" where somebody was."""
    asked = [item for item in report.sources if item.kind == Kind.TLS_PEER]
    silent = [(item.source, item.error) for item in asked if item.error]
    return why_unanswered(silent) if silent and len(silent) == len(asked) else ""


def _holder(met: CheckResult | None) -> str:
    match met.actual if met is not None else None:
        case {"held_by": str(holder)}:
            return holder
    return ""


def _command(endpoint: str) -> str:
    """A shell command that prints the sha256 of the key that a TLS server holds."""
    host = endpoint.rpartition(":")[0]
    return (
        f"openssl s_client -connect {endpoint} -servername {host} </dev/null 2>/dev/null "
        "| openssl x509 -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256"
    )
