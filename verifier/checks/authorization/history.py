"""From the app's contracts to their past: is it completely known who could run what, and when."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from verifier.chain.view import ChainView, DisagreementError
from verifier.checks import boot, runtime
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, holds, not_applicable, passed, warned
from verifier.checks.hardware.quote import GENUINE
from verifier.errors import Blocked, EvidenceError, MissingEvidence, VerifierError
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.plan import HistoryPlan
from verifier.model.chain import OPERATORS, ZERO_ADDRESS, Role
from verifier.model.identifiers import format_time
from verifier.model.result import EvidenceRef

if TYPE_CHECKING:
    from verifier.model.timeline import Coverage, Timeline
    from verifier.timeline.exposures import Attested, Running
    from verifier.timeline.history import History, Stream

_UNSEEN: Final = (
    "no guest gave evidence: this is the history of the contracts that were asked for, under the "
    "KMS that was named, and says nothing of what runs"
)
_UNKNOWN_OS: Final = (
    "the operating system of the guest is not identified: which KMS it has, and what it runs, is "
    "its own word"
)
NO_LOG: Final = (
    "no public log: the keys come from a KMS without a contract, whose operator can authorize "
    "any manifest at any time, unseen"
)
_GOVERNED: Final = (Role.APP, Role.KMS)
_UNBOUND: Final = "ran unknown code, or said what cannot be followed"
_NO_EVENTS: Final = frozenset({"unknown", "undecodable"})

NOT_BY_FACTORY: Final = (
    "the KMS's factory is not known to have created the app: its creator may have allowed more "
    "than any event says"
)


@check(
    "authorization.history",
    "The history of app and KMS contract is complete",
    requires=("key_management.provider",),
)
def history(case: Case) -> Outcome:
    """The logs of the app's contract and the governance logs of the KMS's contract are known from
    their creation to a finalized block without a gap; every endpoint, and every explorer, that gave
    a block's logs gave the same; and the events, in their order, explain every value that the
    contracts hold there: each manifest, device and OS image that was ever named, each flag, owner
    and implementation.
    What every source leaves out, and a later event undid, shows only where that event says what was
    before it, as those of owners and delays do: agreement is all that is known of the rest. A value
    that the events of two operators do not explain is a failure that is named, and so is code that
    the app once ran and nobody knows: code that was swapped and swapped back may have allowed
    anything in between.
    A log that one endpoint has and another lacks is an error that names both, and so is what one
    operator alone, or an earlier answer, contradicts: nobody can tell who is wrong. One operator
    alone, a beginning that had to be assumed, an app that the KMS's factory is not known to have
    created, whose creator may have set anything silently, code that changes state without events,
    events that nobody knows or dates, and flags that nothing tells are reservations."""
    found = history_of(case)
    if found is None:
        return without_contract(case)
    timeline, evidence = _told(case, found), _scans(case)
    problems = [text for item in timeline.coverage for text in item.problems]
    if problems:
        return failed(
            "; ".join(problems[:3]),
            expected="logs on which endpoints agree, and which explain the state",
            actual=[*problems],
            evidence=evidence,
            remediation="it changed without a log, or all sources hide one: do not rely on it",
        )
    _refuse_disputes(timeline)
    once = unknown_upgrades(case, found)
    if once:
        return _accused(found, once, evidence)
    missing = [text for item in timeline.coverage for text in _missing(item)]
    if missing:
        raise MissingEvidence(
            f"the history is not complete: {missing[0]}",
            hint="audit online, and name an endpoint that gives old logs with --rpc-url",
        )
    app, kms = timeline.coverage[0], timeline.coverage[1]
    summary = (
        f"{app.logs} app logs and {kms.logs} KMS logs up to block {timeline.as_of.block} "
        f"({format_time(timeline.as_of.time)}) explain all {app.compared + kms.compared} values "
        "in storage"
    )
    doubts = _doubts(timeline)
    if doubts:
        return warned(f"{summary}; {'; '.join(doubts)}", evidence=evidence)
    return passed(summary, evidence=evidence)


def _doubts(timeline: "Timeline") -> list[str]:
    """What of a history that explains the state is not known for sure."""
    app, kms = timeline.coverage[0], timeline.coverage[1]
    return [
        text
        for text, doubted in (
            ("from one operator only", timeline.single_source),
            (app.origin.words, app.origin.assumed),
            (NOT_BY_FACTORY, app.origin.silent),
            (f"KMS: {kms.origin.words}", kms.origin.assumed),
            (f"the app {_UNBOUND}", not timeline.app_state.continuous),
            (f"the KMS {_UNBOUND}", not timeline.kms_state.continuous),
            *_unknowns(timeline),
        )
        if doubted
    ]


def _refuse_disputes(timeline: "Timeline") -> None:
    """Raise DisagreementError where sources differ, or one alone contradicts the state."""
    disputed = [text for item in timeline.coverage for text in item.disputed]
    if disputed:
        raise DisagreementError(
            "; ".join(disputed[:3]),
            hint="one of these sources is wrong: ask another one with --rpc-url, and leave out an "
            "--explorer-url that lags behind",
        )


def unknown_upgrades(case: Case, found: "History") -> list[str]:
    """Implementations of the app, by the Upgraded events that somebody gave, that are no known
    build. A proxy emits the first when it is created."""
    topic = bytes.fromhex(contracts.UPGRADED[2:])
    logs = [item.log for item in found.app_stream.agreed.logs]
    upgrades = [log for log in logs if log.topics[:1] == (topic,)]
    block = hex(found.reader.number)
    if not upgrades and found.app_stream.agreed.sources:
        present = contracts.get_implementation(found.app, block)
        slot = found.reader.value(present, contracts.decode_address)
        told = ["the app's logs have no Upgraded event, which every proxy emits"]
        return [] if slot.lower() == ZERO_ADDRESS else told
    problems, unread = list[str](), list[VerifierError]()
    for data in sorted({log.topics[1:] for log in upgrades}):
        # Unknown code says what it likes, as often as it likes: none of it spoils the rest.
        try:
            address = _implementation_of(data)
        except EvidenceError as error:
            problems.append(f"the app once ran unknown code, which gave {error.message}")
            continue
        try:
            code = found.reader.value(contracts.get_code(address, block), contracts.decode_bytes)
        except (EvidenceError, MissingEvidence) as error:
            unread.append(error)
            continue
        if contracts.identify_code(case.reference.contracts, code, "app") is None:
            problems.append(f"the app once ran the unknown implementation {address}")
    if unread and not problems:
        raise unread[0]
    return problems


def _implementation_of(indexed: tuple[bytes, ...]) -> str:
    if len(indexed) != 1:  # Upgraded(address indexed implementation)
        raise EvidenceError("an Upgraded event without its implementation")
    return contracts.decode_address("0x" + indexed[0].hex(), "an Upgraded event")


def _accused(found: "History", problems: list[str], evidence: tuple[EvidenceRef, ...]) -> Outcome:
    """The failure, where two operators gave in this audit what it rests on.

    Raises DisagreementError.
    """
    view, agreed = found.reader, found.app_stream.agreed
    said = "; ".join(problems[:3])
    lone = view.single_source or agreed.pieced or agreed.cached > 0
    if lone or view.operators_of(agreed.sources) < OPERATORS:
        raise DisagreementError(
            f"by what one operator alone says, or said in an earlier audit: {said}",
            hint="ask another endpoint of the same chain with --rpc-url",
        )
    return failed(
        said,
        expected="known DstackApp builds behind the app's proxy, ever since its creation",
        actual=[*problems],
        evidence=evidence,
        remediation="unknown code may have allowed anything in between, unseen by any event",
    )


def _unknowns(timeline: "Timeline") -> tuple[tuple[str, bool], ...]:
    """Questions that a history without a gap may leave open, and whether this one does."""
    app = timeline.app_state
    governing = [event for event in timeline.events if event.role in _GOVERNED]
    return (
        ("whether any device may run it is not known", app.any_device.value is None),
        ("whether its code can be replaced is not known", app.upgrades_disabled.value is None),
        ("whether the TCB must be current is unknown", app.require_tcb_up_to_date.value is None),
        (
            "there are events that no known contract has",
            any(event.name in _NO_EVENTS and not event.provisional for event in governing),
        ),
        (
            "some events have no time",
            any(event.time is None and not event.provisional for event in governing),
        ),
    )


def history_of(case: Case) -> "History | None":
    """The logs of the app's contracts, one for all guests of an app; None when the KMS has no
    public contract.

    Raises MissingEvidence when nobody vouches for chain reads or no endpoint answered.
    """

    def read() -> "History | None":
        view = _view(case)
        if view is None:
            return None
        from verifier.chain.agreed_logs import Scans  # noqa: PLC0415
        from verifier.chain.safe_queues import SafeQueues  # noqa: PLC0415
        from verifier.timeline.history import History  # noqa: PLC0415 - only for apps on a chain

        app = view.app_address()
        if not app:
            raise MissingEvidence("the KMS contract has no such app registered")
        scans = case.exchanges.once(Scans, lambda: Scans(case.evidence.bundle))
        queues = SafeQueues(case.evidence.bundle)
        plan, question = view.plan, case.question
        # Of what is asked, a history has no part that is about one guest.
        about = (plan.chain_id, plan.kms, plan.generation, plan.deployed_block, plan.app_id)
        key = (History, *about, question.trusted, question.at)
        return case.exchanges.once(key, lambda: History(view, scans, plan, app, queues))

    return case.once("history", read)


def _view(case: Case) -> ChainView | None:
    """The contracts of the attested app; those that the relying party names itself, where the app
    gives no evidence: the history of an app that no longer runs is public, too."""
    try:
        found = case.kms_contract()
    except (MissingEvidence, EvidenceError):
        plan = None if case.evidence.quotes else case.question.chain_plan
        if plan is None:
            raise
        return case.chain_view(plan)
    return None if found is None else found[1]


def plan_history(case: Case, *, gateways: bool) -> HistoryPlan:
    """What to ask next about the past of the app's contracts, and of the gateway's own."""
    found = history_of(case)
    if found is None:
        return HistoryPlan()
    key = (HistoryPlan, id(found), gateways)
    return case.exchanges.once(key, lambda: found.plan_further(gateways=gateways))


def doubted_logs(case: Case) -> tuple[LogFilter, ...]:
    """The filters of logs that earlier audits were given and that do not fit the rest of the
    evidence: they accuse nobody before they were asked for again."""
    found = history_of(case)
    if found is None:
        return ()
    recalled = [item for item in found.streams() if item.agreed.cached]
    if not recalled:
        return ()
    every = tuple(item.filter for item in recalled)
    try:
        timeline, accused = _told(case, found), _accusing(case, found)
    except EvidenceError:
        return every
    if any(item.disputed for item in timeline.coverage):
        return every
    return tuple(item.filter for item in recalled if not item.events or item in accused)


def _accusing(case: Case, found: "History") -> "tuple[Stream, ...]":
    """The app's logs, where they accuse it of unknown code."""
    with suppress(MissingEvidence):
        if unknown_upgrades(case, found):
            return (found.app_stream,)
    return ()


def timeline_of(case: Case, on: int | None = None) -> "Timeline | None":
    """The timeline of the app, crossed with what this attester runs; None without a contract.

    `on` (Unix seconds) asks for how things stood at an earlier time.

    Raises MissingEvidence when no endpoint gave logs, EvidenceError for contradictory reads.
    """
    found = history_of(case)
    return None if found is None else _told(case, found, on)


def _told(case: Case, found: "History", on: int | None = None) -> "Timeline":
    """The timeline of a history; raises what `timeline_of` raises."""

    def build() -> "Timeline":
        from verifier.timeline.build import tell  # noqa: PLC0415 - as in history_of

        if not any(stream.agreed.sources or stream.agreed.problems for stream in found.streams()):
            raise MissingEvidence(
                f"no endpoint gave the logs of {found.app}: {_first_refusal(found)}",
                hint="audit online, and name an endpoint that gives old logs with --rpc-url",
            )
        told = case.exchanges.once(
            (tell, id(found), on), lambda: tell(found, case.reference.contracts, on=on)
        )
        timeline = told.beside(_attested(case))
        notes = (*_reservations(case), *timeline.notes)
        return replace(timeline, root_note=case.reference.unsafe, notes=notes)

    return case.once(("timeline", on), build)


def proven_timeline(case: Case, on: int | None = None) -> "Timeline | None":
    """`timeline_of` for who shows it without a verdict beside it: a guest that gives evidence has
    to prove which app it is, and be the one that was asked for.

    Raises what `timeline_of` raises, MissingEvidence for evidence that proves no app, and
    EvidenceError for another app.
    """
    if case.evidence.quotes:
        for spec in (*GENUINE, *runtime.CHECKS):
            if not holds(spec, case):
                raise MissingEvidence(
                    f"the guest's evidence does not prove which app it is: {spec.id} does not hold",
                    hint="`verify` the app first: its report says what is wrong",
                )
        asked, measured = case.question.app_id, case.identity.app_id.hex()
        if asked is not None and asked != measured:
            raise EvidenceError(
                f"the guest that answered is the app {measured}, not {asked}",
                hint="check the app id, or name the gateway that serves the app with --gateway",
            )
    return timeline_of(case, on)


def without_contract(case: Case) -> Outcome:
    """What a check of the chain says where no contract decides."""
    if case.identity.provider != "kms":
        return not_applicable("the guest has no KMS, so no contract decides")
    return warned(NO_LOG)


def _reservations(case: Case) -> tuple[str, ...]:
    """What the timeline says nothing about, or only by the guest's word."""
    if not case.evidence.quotes:
        return (_UNSEEN,)
    return () if holds(boot.image, case) else (_UNKNOWN_OS,)


def _attested(case: Case) -> "Attested":
    from verifier.timeline.exposures import Attested  # noqa: PLC0415 - as in history_of

    question, running = case.question, _running(case)
    manifests = dict(question.manifests)
    if running is not None:
        with suppress(MissingEvidence):
            case.measured_manifest  # noqa: B018 - raises where it was not given
            manifests.setdefault(running.compose_hash, "attested")
    return Attested(running=running, sightings=question.sightings, manifests=manifests)


def _running(case: Case) -> "Running | None":
    """What a verified guest runs; None where its evidence does not prove that."""
    from verifier.timeline.exposures import Running  # noqa: PLC0415 - as in history_of

    try:
        compose_hash = case.identity.compose_hash
        case.verified  # noqa: B018 - raises where the quote did not verify
    except (MissingEvidence, Blocked, EvidenceError):
        return None
    proofs = (*GENUINE, *runtime.CHECKS, boot.image)
    if compose_hash is None or not all(holds(spec, case) for spec in proofs):
        return None
    seen = [
        item.collected_at
        for item in case.evidence.bundle.artifacts
        if item.sha256 == case.presented.evidence.blob
    ]
    record = case.kms_record
    return Running(
        compose_hash=compose_hash.hex(),
        quote_time=max(seen, default=None),
        root_key=record.k256 if record is not None else "",
    )


def _scans(case: Case) -> tuple[EvidenceRef, ...]:
    kinds = (Kind.LOG_SCAN, Kind.EXPLORER_LOGS)
    return tuple(item.ref for kind in kinds for item in case.evidence.bundle.of(kind))


def _missing(item: "Coverage") -> list[str]:
    """What is not known of one contract's logs."""
    texts = (*_unanswered(item.sources, item.partial), *item.unproven)
    return [f"{item.role.value} {item.address}: {text}" for text in texts]


def _unanswered(sources: tuple[str, ...], partial: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Why no source gave every block, if none did."""
    if sources:
        return ()
    return tuple(f"{endpoint}: {text}" for endpoint, text in partial) or ("nobody was asked",)


def _first_refusal(found: "History") -> str:
    partial = [text for stream in found.streams() for text in stream.agreed.partial]
    return f"{partial[0][0]}: {partial[0][1]}" if partial else "nobody was asked"


CHECKS: Final = (history,)
