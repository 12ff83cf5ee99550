"""Who could change a contract, at each time.

A plain key acts alone and at once. A Safe acts when `threshold` of its owners sign, or when one of
its modules says so. A timelock (OpenZeppelin TimelockController) acts after its delay, for whoever
holds the proposer role. What an owner contract is, it says itself: its code is not compared with
that of Safe or OpenZeppelin, and every period that rests on its word says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from verifier.evidence.ethereum import keccak256
from verifier.timeline.fold import Fold
from verifier.timeline.model import (
    ZERO_ADDRESS,
    Governance,
    OwnerKind,
    Place,
    Role,
    TimelineEvent,
)

ADMIN_ROLES: Final = ("00" * 32, keccak256(b"TIMELOCK_ADMIN_ROLE").hex())
PROPOSER_ROLE: Final = keccak256(b"PROPOSER_ROLE").hex()
EXECUTOR_ROLE: Final = keccak256(b"EXECUTOR_ROLE").hex()
OWN_WORD: Final = "the owner contract says this of itself: its code is not known to this audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReads:
    """What an account says of itself at the agreed block; None is what was not answered.

    `code` is empty for a plain key. Addresses are EIP-55; `guard` is "" for none.
    """

    code: bytes | None
    threshold: int | None = None
    signers: tuple[str, ...] | None = None
    version: str | None = None
    modules: tuple[str, ...] | None = None
    guard: str | None = None
    min_delay: int | None = None

    @property
    def kind(self) -> OwnerKind:
        """What the account is, by its code and its own word."""
        if self.code is None:
            return OwnerKind.UNKNOWN
        if not self.code:
            return OwnerKind.EOA
        if self.threshold is not None and self.signers:
            return OwnerKind.SAFE
        return OwnerKind.CONTRACT if self.min_delay is None else OwnerKind.TIMELOCK


@dataclass(frozen=True, slots=True)
class Governed:
    """The periods of one contract in time order, and where events and reads contradict."""

    periods: tuple[Governance, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """One owner's time: from an event to another, or to the present."""

    owner: str
    since: TimelineEvent
    until: TimelineEvent | None

    def holds(self, event: TimelineEvent) -> bool:
        return self.since.place < event.place and (
            self.until is None or event.place < self.until.place
        )


@dataclass
class _State:
    """What an owner contract's events, and its reads, make of it at one time."""

    threshold: int | None = None
    signers: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    guard: str = ""
    delay: int | None = None
    roles: dict[str, set[str]] = field(default_factory=dict)

    def holders(self, *roles: str) -> tuple[str, ...]:
        return tuple(sorted({item for role in roles for item in self.roles.get(role, ())}))


def governance(
    role: Role,
    events: Sequence[TimelineEvent],
    fold: Fold,
    reads: Mapping[str, OwnerReads],
    *,
    notice_period: int | None = None,
) -> Governed:
    """Who could change the contract of `role` (APP or KMS), from its first event on.

    `events` are all events of the timeline in chain order; those of owner contracts are found by
    their address. `reads` is by EIP-55 address, for owners and for holders of a timelock's roles.
    """
    periods: list[Governance] = []
    problems: list[str] = []
    for span in _spans(role, events):
        own = [event for event in events if event.address == span.owner]
        found = reads.get(span.owner, OwnerReads(code=None))
        states = _states(own, found, problems)
        marks: list[TimelineEvent] = [span.since, *(item for item in own if span.holds(item))]
        for index, mark in enumerate(marks):
            end = marks[index + 1] if index + 1 < len(marks) else span.until
            period = _period(role, span.owner, found.kind, (mark, end))
            period = _detailed(period, states(mark.place), reads)
            period = _with_own_delay(period, fold, notice_period)
            if periods and _same(periods[-1], period):
                period = replace(period, since=periods[-1].since, since_time=periods[-1].since_time)
                periods.pop()
            periods.append(period)
    return Governed(tuple(periods), tuple(dict.fromkeys(problems)))


def accounts(events: Sequence[TimelineEvent]) -> tuple[str, ...]:
    """Every account whose `OwnerReads` governance needs: owners of app and KMS, pending owners,
    and holders of roles of timelocks among them."""
    found: dict[str, None] = {}
    for event in events:
        if event.name in ("OwnershipTransferred", "OwnershipTransferStarted"):
            if event.role in (Role.APP, Role.KMS):
                found.setdefault(str(event.args.get("newOwner")))
        elif event.name == "RoleGranted":
            found.setdefault(str(event.args.get("account")))
    found.pop(ZERO_ADDRESS, None)
    return tuple(found)


def _spans(role: Role, events: Sequence[TimelineEvent]) -> Iterator[_Span]:
    transfers = [
        event for event in events if event.role is role and event.name == "OwnershipTransferred"
    ]
    for index, event in enumerate(transfers):
        until = transfers[index + 1] if index + 1 < len(transfers) else None
        yield _Span(str(event.args.get("newOwner")), event, until)


def _period(
    role: Role, owner: str, kind: OwnerKind, bounds: tuple[TimelineEvent, TimelineEvent | None]
) -> Governance:
    since, until = bounds
    renounced = owner == ZERO_ADDRESS
    return Governance(
        role=role,
        owner="" if renounced else owner,
        kind=OwnerKind.RENOUNCED if renounced else kind,
        since=since.place,
        since_time=since.time,
        until=until.place if until is not None else None,
        until_time=until.time if until is not None else None,
    )


def _detailed(period: Governance, state: _State, reads: Mapping[str, OwnerReads]) -> Governance:
    match period.kind:
        case OwnerKind.EOA:
            return replace(period, keys=1, notice=0)
        case OwnerKind.SAFE:
            modules = tuple(sorted(state.modules))
            round_it = (f"{len(modules)} modules go round its threshold",) if modules else ()
            return replace(
                period,
                threshold=state.threshold,
                signers=tuple(sorted(state.signers)),
                modules=modules,
                guard=state.guard,
                keys=None if modules else state.threshold,
                notice=0,
                remarks=(OWN_WORD, *round_it),
            )
        case OwnerKind.TIMELOCK:
            return _timelock(period, state, reads)
        case OwnerKind.CONTRACT:
            return replace(period, remarks=("it is a contract that this audit does not know",))
        case _:
            return period


def _timelock(period: Governance, state: _State, reads: Mapping[str, OwnerReads]) -> Governance:
    proposers = state.holders(PROPOSER_ROLE)
    admins = state.holders(*ADMIN_ROLES)
    remarks = [OWN_WORD]
    outside = [item for item in admins if item != period.owner]
    if outside:
        remarks.append(f"{', '.join(outside)} may decide who proposes, without the delay")
    if not proposers:
        remarks.append("who may propose is not known")
    keys = [_keys(reads.get(item, OwnerReads(code=None))) for item in (*proposers, *outside)]
    known = [item for item in keys if item is not None]
    return replace(
        period,
        delay=state.delay,
        proposers=proposers,
        executors=state.holders(EXECUTOR_ROLE),
        admins=admins,
        keys=min(known) if proposers and (len(known) == len(keys) or 1 in known) else None,
        notice=state.delay,
        remarks=tuple(remarks),
    )


def _keys(found: OwnerReads) -> int | None:
    """How many keys act for an account; None where that is unknown."""
    if found.kind is OwnerKind.EOA:
        return 1
    return found.threshold if found.kind is OwnerKind.SAFE and found.modules == () else None


def _with_own_delay(period: Governance, fold: Fold, notice_period: int | None) -> Governance:
    """A delay that the app's own code keeps holds only while that code cannot be replaced."""
    if period.role is not Role.APP or not notice_period or period.notice != 0:
        return period
    state = fold.app_state(period.since)
    if not state.continuous or not state.code:
        return replace(
            period,
            remarks=(*period.remarks, "the app names a delay of its own, in code nobody knows"),
        )
    if state.upgrades_disabled.value is not True:
        return replace(
            period,
            remarks=(*period.remarks, "an upgrade of the app's code goes round its own delay"),
        )
    return replace(period, notice=notice_period)


def _same(one: Governance, other: Governance) -> bool:
    """Whether two periods, one after the other, are one."""
    return replace(
        one, since=other.since, since_time=None, until=other.until, until_time=None
    ) == replace(other, since_time=None, until_time=None)


def _states(
    own: Sequence[TimelineEvent], found: OwnerReads, problems: list[str]
) -> Callable[[Place], _State]:
    """The state of an owner contract after the event at a place.

    Sets are followed backward from what is read at the present, because a contract may be older
    than the logs that were asked for; single values forward from the events that set them.
    """
    if found.kind is OwnerKind.SAFE:
        _compare_safe(own, found, problems)
    if found.kind is OwnerKind.TIMELOCK:
        last = [item.args.get("newDuration") for item in own if item.name == "MinDelayChange"]
        if last and last[-1] != found.min_delay:
            problems.append(f"a timelock's delay is {found.min_delay}, its events say {last[-1]}")

    def at(place: Place) -> _State:
        state = _State(signers=set(found.signers or ()), modules=set(found.modules or ()))
        for event in reversed([item for item in own if item.place > place]):
            _undo(state, event)
        state.threshold = _single(own, place, ("ChangedThreshold", "SafeSetup"), "threshold")
        if state.threshold is None and not _later(own, place, "ChangedThreshold"):
            state.threshold = found.threshold
        state.guard = _guard(own, place, found)
        state.delay = _delay(own, place, found)
        for event in own:
            if event.place <= place:
                _follow_role(state, event)
        return state

    return at


def _undo(state: _State, event: TimelineEvent) -> None:
    args = event.args
    match event.name:
        case "AddedOwner":
            state.signers.discard(str(args.get("owner")))
        case "RemovedOwner":
            state.signers.add(str(args.get("owner")))
        case "EnabledModule":
            state.modules.discard(str(args.get("module")))
        case "DisabledModule":
            state.modules.add(str(args.get("module")))


def _follow_role(state: _State, event: TimelineEvent) -> None:
    role, account = str(event.args.get("role")), str(event.args.get("account"))
    if event.name == "RoleGranted":
        state.roles.setdefault(role, set()).add(account)
    elif event.name == "RoleRevoked":
        state.roles.setdefault(role, set()).discard(account)


def _single(
    own: Iterable[TimelineEvent], place: Place, names: tuple[str, ...], argument: str
) -> int | None:
    values = [
        event.args.get(argument) for event in own if event.name in names and event.place <= place
    ]
    return values[-1] if values and isinstance(values[-1], int) else None


def _later(own: Iterable[TimelineEvent], place: Place, name: str) -> bool:
    return any(event.name == name and event.place > place for event in own)


def _guard(own: Sequence[TimelineEvent], place: Place, found: OwnerReads) -> str:
    past = [item for item in own if item.name == "ChangedGuard" and item.place <= place]
    if past:
        guard = str(past[-1].args.get("guard"))
        return "" if guard == ZERO_ADDRESS else guard
    return "" if _later(own, place, "ChangedGuard") else found.guard or ""


def _delay(own: Sequence[TimelineEvent], place: Place, found: OwnerReads) -> int | None:
    changes = [item for item in own if item.name == "MinDelayChange"]
    past = [item for item in changes if item.place <= place]
    if past:
        value = past[-1].args.get("newDuration")
    elif changes:
        value = changes[0].args.get("oldDuration")
    else:
        value = found.min_delay
    return value if isinstance(value, int) else None


def _compare_safe(own: Sequence[TimelineEvent], found: OwnerReads, problems: list[str]) -> None:
    setups = [item for item in own if item.name == "SafeSetup"]
    if not setups:
        return
    setup = setups[-1]
    state = _State(signers=set(found.signers or ()))
    for event in reversed([item for item in own if item.place > setup.place]):
        _undo(state, event)
    began = setup.args.get("owners")
    if isinstance(began, list) and set(map(str, began)) != state.signers:
        problems.append(f"the signers of the Safe {setup.address} are not those of its events")
    threshold = _single(own, own[-1].place, ("ChangedThreshold", "SafeSetup"), "threshold")
    if threshold != found.threshold:
        problems.append(f"the threshold of the Safe {setup.address} is not that of its events")
