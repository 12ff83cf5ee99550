"""Which of the quotes that came for an attester an audit rests on.

By one way several may come, and anybody can put one more beside an honest one: neither digest nor
order tells them apart, what they prove does. What the others sign otherwise is not lost:
`application.consistency` holds every quote against the one that is chosen here.
"""

from collections.abc import Iterable
from typing import Any

from verifier.checks.application.app_certificate import problems_of
from verifier.checks.case import Case
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.subject import CHANNELS, PresentedQuote, is_of_leaf
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.unanswered import unreachable_hint, why_absent, why_unreachable


def choose_quote(case: Case) -> PresentedQuote:
    """The quote that an audit rests on: one with the challenge, or that commits to what the relying
    party named, else one about the key of the endpoint that it asks about, else one of the best
    channel; and of several, the one that proves most. Raises MissingEvidence where none came."""
    sources = case.evidence.quotes
    if not sources:
        raise _absent(case)
    asked = bool(case.question.challenge) or any(item.report_data for item in case.question.binds)
    fitting = _fitting(case) if asked else []
    if fitting:
        return most_proven(case, fitting)
    endpoint = case.question.endpoint
    met = case.evidence.quotes_met_at(endpoint.source) if endpoint is not None else []
    best = [item for item in sources if item.channel == sources[0].channel]
    return most_proven(case, met or best)


def _fitting(case: Case) -> list[PresentedQuote]:
    """The quotes that do best what the relying party asked for: they commit to what it named, and
    answer its challenge."""
    found: dict[tuple[bool, bool], list[PresentedQuote]] = {}
    for source in case.evidence.quotes:
        try:
            report_data = parse_quote(source.quote, source.channel).report_data
        except EvidenceError:
            continue
        fits = (case.named_by(report_data) is not None, case.is_answer(report_data))
        if any(fits):
            found.setdefault(fits, []).append(source)
    return found[max(found)] if found else []


def most_proven(case: Case, sources: Iterable[PresentedQuote]) -> PresentedQuote:
    """Of several quotes, at least one, that which proves most. One that came several times is not
    verified for that."""
    first, *others = sources
    if all(_is_same(first, item) for item in others):
        return first
    return min((first, *others), key=lambda item: _doubts(case.resting_on(item)))


def _is_same(one: PresentedQuote, other: PresentedQuote) -> bool:
    return (
        one.quote == other.quote
        and (one.peer, one.exporter) == (other.peer, other.exporter)
        and one.certificate_chain == other.certificate_chain
        and (one.parsed_events, one.log) == (other.parsed_events, other.log)
    )


def _doubts(case: Case) -> tuple[Any, ...]:
    """How little the quote that a case rests on proves, the gravest first, so that less is better:
    it does not verify; its log is not its own; its certificate was made for another key, or not
    issued by the CA that its log names; the log has no boot events that replay; the TCB was better
    at another time, and no update of it is undone. Where all of this is equal, none proves more:
    what was signed decides, for the result to be one."""
    source = case.presented
    *others, boot = case.misfits
    tcb = _tcb(case)
    return (
        not tcb,
        others,
        CHANNELS.index(source.channel),
        _flaws(case),
        boot,
        tcb,
        source.quote,
        (not source.exporter, source.exporter, not source.peer, source.peer),
    )


def _tcb(case: Case) -> tuple[bool, int] | tuple[()]:
    """Whether any part of a quote's TCB has a newer version, and how old the oldest part is; () of
    a quote that does not verify."""
    try:
        found = case.dcap
    except (EvidenceError, MissingEvidence):
        return ()
    if found.failure:
        return ()
    return found.worst_status != "UpToDate", -min((x for _, x in found.level_dates), default=0)


def _flaws(case: Case) -> tuple[bool, bool]:
    """Whether a certificate is about another key than its quote, and whether anything is wrong with
    it under the CA that its own log names."""
    source = case.presented
    if source.certificate_chain is None:
        return False, False
    try:
        return not is_of_leaf(source), bool(problems_of(case, source))
    except (EvidenceError, MissingEvidence, Blocked):
        return True, True


def _absent(case: Case) -> MissingEvidence:
    """Why there is no quote, as far as that is known."""
    evidence, instance = case.evidence, case.evidence.name.rpartition("/")[2]
    if instance in case.question.instances:
        return MissingEvidence(
            f"the instance {instance}, which was named, gave no quote: "
            f"{why_absent(evidence.bundle, instance)}",
            hint="check its id, and that it runs: an instance that is not met is not audited",
        )
    unreachable = why_unreachable(evidence.bundle)
    if unreachable:
        return MissingEvidence(unreachable, hint=unreachable_hint(evidence.bundle))
    pages = _pages_instead(case)
    if pages:
        return MissingEvidence(
            f"what answers in the guest's place gives web pages, and no evidence: {pages}",
            hint="a captive portal, a proxy or another site answers: sign in to the network, "
            "ask from another one, or check the address",
        )
    others = sorted({item.value.platform.words for item in evidence.platforms})
    if others:
        return MissingEvidence(
            f"the attestation is of {' and '.join(others)}, and no TD quote",
            hint="this audit judges guests in TDs; of AMD SEV-SNP, hardware.snp judges the "
            "report alone",
        )
    return MissingEvidence(
        f"no TD quote was collected{_unread(case)}",
        hint="the guest gives one in its app certificate (/prpc/Info) or by "
        "/prpc/GetAttestationForAppKey; or hand one over with `verify import`",
    )


def _pages_instead(case: Case) -> str:
    """Where a guest agent's Info, which is JSON, came as markup; "" where it did not."""
    bundle = case.evidence.bundle
    infos = [item for item in bundle.of(Kind.INFO) if item.sha256 is not None]
    markup = all(bundle.blob(item).lstrip()[:1] == b"<" for item in infos)
    return infos[0].source if infos and markup else ""


def _unread(case: Case) -> str:
    """What came in place of a quote, as far as that is known."""
    unread = case.evidence.malformed
    more = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
    if unread:
        return f"; what came cannot be read: {unread[0][1].message}{more}"
    kinds = (Kind.INFO, Kind.PAGE)
    told = sorted({item.source for kind in kinds for item in case.evidence.artifacts(kind)})
    return f": {told[0]} gives none" if told else ""
