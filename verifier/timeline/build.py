"""The timeline of one app: logs and reads → events, states, who governs, what it leaves open."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain import calls
from verifier.chain.storage import proven_account
from verifier.chain.view import DisagreementError
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.constructor import (
    TIMELOCK_CREATION_ROLE,
    constructor_terms,
    created_by,
)
from verifier.evidence.chain.creation_calldata import InitialTerms, initial_terms
from verifier.model.chain import OPERATORS, ContractCode, OwnerKind, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import (
    AsOf,
    Coverage,
    Governance,
    Timeline,
    TimelineEvent,
)
from verifier.reference.generations import newest_like
from verifier.reference.values import generation_of
from verifier.timeline.completeness import charged, coverage
from verifier.timeline.exposures import Attested, exposures
from verifier.timeline.fold import Fold, fold
from verifier.timeline.governance import Governed, governance
from verifier.timeline.history import History, Stream
from verifier.timeline.initial import (
    LARGEST_NUMBER,
    InitialFlags,
    constructed,
    constructor_flags,
    initial_flags,
)
from verifier.timeline.notice import changes
from verifier.timeline.outlook import Present, ahead
from verifier.timeline.owner_storage import safe_root, timelock_root
from verifier.timeline.owners import OwnerReads, Past, Then
from verifier.timeline.permissions import permissions

T = TypeVar("T")


class Told(Struct, frozen=True):
    """What logs and reads say about an app, whatever runs: its timeline without exposures and
    permissions, the settled events in chain order, and what follows from them."""

    timeline: Timeline
    settled: tuple[TimelineEvent, ...]
    folded: Fold

    def beside(self, attested: Attested) -> Timeline:
        """The timeline, with what it means for what is known besides the chain."""
        bare, settled = self.timeline, self.settled
        end = bare.as_of.time
        now = end if bare.on is None else min(bare.on, end)
        attested = _until(attested, bare.on)
        return replace(
            bare,
            exposures=exposures(self.folded, settled, bare.governance, now=now, attested=attested),
            permissions=permissions(self.folded, settled, attested.sightings),
            manifests=attested.manifests,
        )


def build_timeline(
    history: History,
    known: tuple[ContractCode, ...],
    attested: Attested,
    *,
    on: int | None = None,
) -> Timeline:
    """Everything that the collected logs and reads say about an app, now or `on` a time, beside
    what is known besides the chain. Raises what `tell` raises."""
    return tell(history, known, on=on).beside(attested)


def tell(history: History, known: tuple[ContractCode, ...], *, on: int | None = None) -> Told:
    """What the collected logs and reads say about an app, now or `on` a time (Unix seconds).

    `known` are the reference builds of contracts. Raises EvidenceError where endpoints contradict
    each other about a block or a transaction.
    """
    reader = history.reader
    head = history.header(reader.number)
    if head is None:
        raise EvidenceError(f"no endpoint gave the header of block {reader.number}")
    created = _constructed(history, known)
    events = created.among(history.events())
    settled = tuple(event for event in events if not event.provisional)
    codes = _codes(history, known)
    flags = created.flags or _initial_flags(history, settled, codes)
    folded = fold(settled, initial=flags, codes=codes)
    covered = _covered(history, folded, flags, created)
    notice_period = _find(history, history.app, calls.NOTICE_PERIOD, contracts.decode_uint)
    accounts = _Accounts(_reads(history, known), _then(history, known))
    word = None if created.events else notice_period
    governed = created.bound(_governed(history, accounts, settled, folded, word))
    periods = tuple(period for item in governed for period in item.periods)
    if on is not None:
        events = settled = tuple(event for event in settled if _before(event, on))
        flags = flags if flags.code is None or _before(created.events[0], on) else InitialFlags()
        folded = fold(settled, initial=flags, codes=codes)
        periods = tuple(_period_until(item, on) for item in periods if _began(item, on))
    now = head.time if on is None else min(on, head.time)
    app, kms = folded.app_state(), folded.kms_state()
    present = Present(periods, app, kms, accounts.reads)
    about_to_change = ahead(history, present, settled, now, on is not None)
    timeline = Timeline(
        chain_id=history.plan.chain_id,
        app_id=history.plan.app_id.hex(),
        app=history.app,
        kms=history.plan.kms,
        as_of=AsOf(block=reader.number, hash=head.hash, time=head.time),
        coverage=covered,
        events=events,
        app_state=app,
        kms_state=kms,
        governance=periods,
        pending=about_to_change.operations,
        outlook=about_to_change.outlook,
        changes=changes(settled, notice_period=notice_period),
        exposures=(),
        permissions=(),
        manifests={},
        on=on,
        single_source=reader.single_source
        or any(item.operators < OPERATORS for item in covered[:2]),
        notes=(*created.notes, *_notes(flags, folded, governed), *_left_out(history)),
    )
    return Told(timeline, settled, folded)


def _covered(
    history: History, folded: Fold, flags: InitialFlags, created: "_Constructed"
) -> tuple[Coverage, ...]:
    """How far each contract's logs can be relied on."""
    covered = coverage(history, folded.app_state(), folded.kms_state())
    if created.disputed:
        app = replace(covered[0], disputed=(*covered[0].disputed, created.disputed))
        covered = (app, *covered[1:])
    if not flags.problems:
        return covered
    # Only code that changes state without an event can bring these about.
    return (charged(covered[0], flags.problems), *covered[1:])


def _reads(history: History, known: tuple[ContractCode, ...]) -> dict[str, OwnerReads]:
    """What every account behind the app and its KMS says of itself."""
    streams = {stream.address: stream for stream in history.owner_streams}
    found = {}
    for account in history.accounts:
        reads, stream = _owner_reads(history, known, account), streams.get(account)
        whole = _is_whole(history, account, reads, stream.events if stream else ())
        found[account] = replace(
            reads,
            whole=whole,
            lone_logs=stream is not None and _is_lone(history, stream) and not whole,
            followed=stream is not None and _is_created(stream, known) if whole is None else whole,
        )
    return found


def _is_whole(
    history: History, account: str, reads: OwnerReads, events: tuple[TimelineEvent, ...]
) -> bool | None:
    """Whether a proof shows that an owner of known code stores what it answers and what its logs
    say, and nothing else; None where nobody proves it."""
    root = timelock_root if reads.kind is OwnerKind.TIMELOCK else safe_root
    expected = None if reads.known is None or reads.own_word else root(reads, events)
    header = history.header(history.reader.number)
    if expected is None or header is None:
        return None
    block = hex(history.reader.number)
    proven = proven_account(history.reader, header.hash, account, block)
    return None if proven is None else proven.storage_root == expected


def _is_created(stream: Stream, known: tuple[ContractCode, ...]) -> bool:
    """Whether the first log of a contract is of a transaction that created it by the known creation
    code of a timelock: any other code may have put into its storage what it likes, such as
    operations that nothing announced."""
    first = next(iter(stream.events), None)
    return (
        first is not None
        and not first.to
        and created_by(known, first.calldata, TIMELOCK_CREATION_ROLE) is not None
    )


class _Accounts(Struct, frozen=True):
    """What accounts say of themselves at present, and what they were before."""

    reads: Mapping[str, OwnerReads]
    then: Then


def _then(history: History, known: tuple[ContractCode, ...]) -> Then:
    """What an account was, by the code that an archive node gives of it."""
    roles = {"safe-proxy": "safe", "safe": "safe", "timelock": "timelock"}

    def then(account: str, at: Place) -> Past:
        call = contracts.get_code(account, hex(at.block))
        try:
            code = history.reader.find(call, contracts.decode_bytes, marks=False)
        except EvidenceError:
            return Past(None)
        found = (name for name in roles if code and contracts.identify_code(known, code, name))
        return Past(code, roles.get(next(found, ""), ""))

    return then


def _governed(
    history: History,
    accounts: _Accounts,
    settled: tuple[TimelineEvent, ...],
    whole: Fold,
    notice_period: int | None,
) -> tuple[Governed, ...]:
    """Who could change the app and its KMS, over the whole history."""
    proxy = bool(history.implementations(Role.APP))

    def replaceable(at: Place | None) -> bool:
        return proxy and whole.upgrades_disabled(at).value is not True

    return tuple(
        governance(
            role,
            settled,
            accounts.reads,
            notice_period=notice_period,
            replaceable=replaceable,
            then=accounts.then,
        )
        for role in (Role.APP, Role.KMS)
    )


def _is_lone(history: History, stream: Stream) -> bool:
    """Whether no two operators give all logs of a contract: roles stand in logs alone."""
    agreed = stream.agreed
    return agreed.pieced or history.reader.operators_of(agreed.sources) < OPERATORS


def _before(event: TimelineEvent, on: int) -> bool:
    """Whether an event is known to be no later than a time."""
    return event.time is not None and event.time <= on


def _began(period: Governance, on: int) -> bool:
    return period.since_time is not None and period.since_time <= on


def _period_until(period: Governance, on: int) -> Governance:
    """A period as it was known at a time: one that ended later had no end yet."""
    if period.until_time is not None and period.until_time <= on:
        return period
    return replace(period, until=None, until_time=None)


def _until(attested: Attested, on: int | None) -> Attested:
    """What was attested up to a time: what runs now says nothing about then."""
    if on is None:
        return attested
    seen = tuple(item for item in attested.sightings if item.first <= on)
    return replace(attested, running=None, sightings=seen)


def _notes(flags: InitialFlags, folded: Fold, governed: tuple[Governed, ...]) -> tuple[str, ...]:
    problems = (text for item in governed for text in item.problems)
    return tuple(dict.fromkeys((*flags.problems, *folded.notes, *problems)))


def _left_out(history: History) -> tuple[str, ...]:
    left_out = history.gateways_left_out
    return (f"{left_out} more gateways that the KMS names, or named, were not followed",) * bool(
        left_out
    )


def _codes(history: History, known: tuple[ContractCode, ...]) -> dict[str, ContractCode | None]:
    """Implementation address → the known build that its code is, None for code nobody knows."""
    found: dict[str, ContractCode | None] = {}
    for role in (Role.APP, Role.KMS):
        for address in history.implementations(role):
            found[address] = _identified(history, known, address, role.value)
    if _identified(history, known, history.app, "proxy") is None:
        # What is no known proxy shows any implementation it likes, and runs another one.
        found |= dict.fromkeys(history.implementations(Role.APP))
    return found


def _identified(
    history: History, known: tuple[ContractCode, ...], address: str, role: str
) -> ContractCode | None:
    call = contracts.get_code(address, hex(history.reader.number))
    code = history.reader.find(call, contracts.decode_bytes)
    return contracts.identify_code(known, code, role) if code else None


def _initial_flags(
    history: History,
    events: tuple[TimelineEvent, ...],
    codes: Mapping[str, ContractCode | None],
) -> InitialFlags:
    created = history.created
    first = next(iter(history.implementations(Role.APP)), "")
    generation = generation_of(codes.get(first))
    # A setting that the first code lacks is read where later code finds it after an upgrade.
    slots = None if generation is None else newest_like(generation).app

    def word(slot: int | None, block: int | None) -> bytes | None:
        if block is None or slot is None:
            return None
        call = calls.storage(history.app, slot, hex(block))
        return history.reader.find(call, contracts.decode_word, marks=terms is None)

    terms = _executed_terms(history)
    at_creation, now = created.block if created is not None else None, history.reader.number
    flags, tcb = (None, None) if slots is None else (slots.flags, slots.require_tcb)
    return initial_flags(
        events,
        terms,
        storage_at_creation=word(flags, at_creation),
        storage_now=word(flags, now),
        tcb_at_creation=word(tcb, at_creation),
        tcb_now=word(tcb, now),
    )


class _Constructed(Struct, frozen=True, kw_only=True):
    """What the constructor of an app without a proxy set: an event and flags, where that is known;
    else what is said of it, and what endpoints disagree about."""

    events: tuple[TimelineEvent, ...] = ()
    flags: InitialFlags | None = None
    notes: tuple[str, ...] = ()
    disputed: str = ""
    notice_period: int = 0

    def bound(self, governed: tuple[Governed, ...]) -> tuple[Governed, ...]:
        """Who governs, where known code keeps to its notice period whoever owns the app; what any
        other says of one is its own word."""
        app, *rest = governed
        periods = tuple(
            replace(period, notice=max(period.notice or 0, self.notice_period))
            for period in app.periods
        )
        return (replace(app, periods=periods), *rest) if self.events else governed

    def among(self, events: tuple[TimelineEvent, ...]) -> tuple[TimelineEvent, ...]:
        """These events and the constructor's, in chain order."""
        return tuple(sorted((*self.events, *events), key=lambda event: event.place))


def _constructed(history: History, known: tuple[ContractCode, ...]) -> _Constructed:
    search = history.creation
    if not search.calls:
        return _Constructed()
    creation = search.creation
    header = None if creation is None else history.header(creation.block)
    if creation is None or header is None or header.hash != creation.block_hash:
        said = "what the app's constructor set is not known: no endpoint gave the transaction that "
        return _Constructed(notes=(f"{said}created it",), disputed=search.disputed)
    terms = constructor_terms(known, creation.input)
    if terms is None:
        said = "what the app's constructor set is not known: no reference value is of the creation "
        return _Constructed(notes=(f"{said}code in transaction 0x{creation.transaction}",))
    event = constructed(history.app, creation, header.time, terms)
    return _Constructed(
        events=(event,),
        flags=constructor_flags(terms),
        notice_period=min(terms.notice_period, LARGEST_NUMBER),
    )


def _executed_terms(history: History) -> InitialTerms | None:
    """The terms of the creation, where its transaction called the KMS's factory or the app itself:
    what another contract was called with is only what somebody wrote, not what was executed."""
    if history.created is None:
        return None
    first = history.app_stream.events[0]
    terms = initial_terms(first.calldata, bytes.fromhex(history.app[2:]))
    called = first.to.lower() in (history.plan.kms.lower(), history.app.lower())
    return terms if terms is not None and called and not terms.nested else None


def _owner_reads(history: History, known: tuple[ContractCode, ...], account: str) -> OwnerReads:
    try:
        return _owner_answers(history, known, account)
    except DisagreementError as error:
        return OwnerReads(code=None, disputed=error.message)


def _owner_answers(history: History, known: tuple[ContractCode, ...], account: str) -> OwnerReads:
    """What an account answers. Raises DisagreementError where endpoints contradict each other."""
    block = hex(history.reader.number)
    code = history.reader.find(contracts.get_code(account, block), contracts.decode_bytes)
    if not code:
        return OwnerReads(code=code)
    modules = next(
        call for call in calls.owner_calls(account, block) if calls.GET_MODULES in str(call[1])
    )
    guard, handler = (
        calls.storage(account, slot, block) for slot in (calls.GUARD_SLOT, calls.HANDLER_SLOT)
    )
    return OwnerReads(
        code=code,
        known=_known_owner(history, known, account, code),
        threshold=_find(history, account, calls.GET_THRESHOLD, contracts.decode_uint),
        signers=_find(history, account, calls.GET_OWNERS, contracts.decode_addresses),
        version=_find(history, account, calls.SAFE_VERSION, contracts.decode_string),
        nonce=_find(history, account, calls.SAFE_NONCE, contracts.decode_uint),
        modules=history.reader.said(modules, contracts.decode_modules),
        guard=history.reader.said(guard, calls.decode_optional_account),
        handler=history.reader.said(handler, calls.decode_optional_account),
        singleton=history.singleton(account),
        min_delay=_find(history, account, calls.GET_MIN_DELAY, contracts.decode_uint),
    )


def _known_owner(
    history: History, known: tuple[ContractCode, ...], account: str, code: bytes
) -> ContractCode | None:
    """The known build of a Safe or a timelock that an owner runs, behind a Safe's proxy or not."""
    if contracts.identify_code(known, code, "safe-proxy") is not None:
        singleton = history.singleton(account)
        return _identified(history, known, singleton, "safe") if singleton else None
    found = (contracts.identify_code(known, code, role) for role in ("safe", "timelock"))
    return next((item for item in found if item is not None), None)


def _find(
    history: History, address: str, selector: str, decode: Callable[[JsonValue, str], T]
) -> T | None:
    call = contracts.eth_call(address, selector, hex(history.reader.number))
    return history.reader.said(call, decode)
