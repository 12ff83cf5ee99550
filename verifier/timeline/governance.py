"""Who could change a contract, at each time.

A plain key acts alone and at once. A Safe acts when `threshold` of its owners sign, or when one of
its modules says so. A timelock (OpenZeppelin TimelockController) acts after its delay, for whoever
holds the proposer role. What an owner contract says of itself is a fact only where its code is a
known build of Safe or OpenZeppelin; every period that rests on the word of other code says so.
Known code says what it holds in storage, which nobody has followed from its creation on: where a
proof shows all that an owner stores, it holds that and no more. Without one a delay counts only
where known code created the timelock: another creator may have left operations in its storage that
are due and stand in no log. Where its events contradict its word, neither counts.

Sources: safe-global/safe-smart-account OwnerManager, ModuleManager, GuardManager; OpenZeppelin
TimelockController, whose constructor emits MinDelayChange(0, delay) and whose onlyRole lets the
zero address propose nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.codec import whole_number
from verifier.model.chain import ZERO_ADDRESS, OwnerKind, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Governance, TimelineEvent
from verifier.timeline.initial import CONSTRUCTED
from verifier.timeline.owners import (
    UNANNOUNCED,
    Behind,
    OwnerReads,
    Past,
    Then,
    stored,
    unless_hidden,
)

ADMIN_ROLES: Final = ("00" * 32, keccak256(b"TIMELOCK_ADMIN_ROLE").hex())
PROPOSER_ROLE: Final = keccak256(b"PROPOSER_ROLE").hex()
EXECUTOR_ROLE: Final = keccak256(b"EXECUTOR_ROLE").hex()
OWN_WORD: Final = "the owner contract says this of itself: its code is not known to this audit"
CONTRADICTED: Final = "what the owner contract says of itself is not what its events say"
BEHIND_OWN_WORD: Final = (
    "how many keys it takes is the word of a contract behind the owner, whose code is not known to "
    "this audit"
)
NOT_FOLLOWED: Final = (
    "neither is known code shown to have created it, nor does a proof show what it stores: its "
    "creator may have put operations into it that no log announced, and that need no delay"
)
SET_UP_BY_CODE: Final = (
    "its setup ran code of {}, which may have given it keys and modules that it does not list"
)
REPLACED: Final = "the owner contract replaced its own code: how it decides since then is unknown"
AS_NOW: Final = "no node tells what it was then: it is judged as it is now"
NOT_YET: Final = "it had no code yet then: whoever could create it acted for it"
OTHER_CODE: Final = (
    "it ran other code then than it has now: how many keys it took, and how fast they were, is not "
    "known"
)
MAX_RULES: Final = 256
"""How many changes of an owner contract's own rules make periods: the latest ones."""

_HARMLESS_SETUPS: Final = frozenset(
    {"", ZERO_ADDRESS, "0xBD89A1CE4DDe368FFAB0eC35506eEcE0b1fFdc54"}
)
"""What a Safe's setup may run: nothing, or SafeToL2Setup 1.4.1, which writes the singleton alone
(safe-global/safe-deployments)."""
_CONTRACTS: Final = (Role.APP, Role.KMS)
_RULES: Final = frozenset(
    {
        *("SafeSetup", "AddedOwner", "RemovedOwner", "ChangedThreshold"),
        *("EnabledModule", "DisabledModule", "ChangedGuard", "ChangedMasterCopy"),
        *("MinDelayChange", "RoleGranted", "RoleRevoked", "RoleAdminChanged"),
    }
)
_NAMED: Final = 3


class Governed(Struct, frozen=True):
    """The periods of one contract in time order, and where events and reads contradict."""

    periods: tuple[Governance, ...]
    problems: tuple[str, ...]


class _Rules(Struct, frozen=True, kw_only=True):
    """What an owner contract's events, and its reads, make of it at one time.

    threshold    how many signers of a Safe decide; None where it is not known
    signers      the signers of a Safe; () where they are not known
    modules      what acts for a Safe without the threshold; () for nothing, None where it is not
                 known
    guard        the contract that may forbid what a Safe does; "" for none
    set_up_by    the contract whose code a Safe's setup ran; "" for none, or where no log tells
    delay        a timelock's delay in seconds; None where it is not known
    roles        role (32 bytes of hex) → who holds it
    admin_roles  the roles whose holders decide who may propose
    complete     whether every change of the rules is known
    replaced     whether its code is another one than it was created with
    """

    threshold: int | None = None
    signers: tuple[str, ...] = ()
    modules: tuple[str, ...] | None = None
    guard: str = ""
    set_up_by: str = ""
    delay: int | None = None
    roles: Mapping[str, tuple[str, ...]] = {}
    admin_roles: tuple[str, ...] = ADMIN_ROLES
    complete: bool = True
    replaced: bool = False

    def holders(self, *roles: str) -> tuple[str, ...]:
        return tuple(sorted({item for role in roles for item in self.roles.get(role, ())}))


def governance(  # noqa: PLR0913 - each tells something else about who governs
    role: Role,
    events: Sequence[TimelineEvent],
    reads: Mapping[str, OwnerReads],
    *,
    notice_period: int | None = None,
    replaceable: Callable[[Place | None], bool] = lambda _: False,
    then: Then | None = None,
) -> Governed:
    """Who could change the contract of `role` (APP or KMS), from its first event on.

    `events` are all events of the timeline in chain order; those of owner contracts are found by
    their address. `reads` is by EIP-55 address, for owners and for holders of a timelock's roles.
    `notice_period` (seconds) is what the app says of a delay of its own, which is only its word;
    `replaceable` says whether its code could be replaced at a place, None for the present. `then`
    tells the code of an owner when it became one; without it a past owner is judged as it is now.
    Before the first transfer of ownership, and without any, the owner is unknown.
    """
    owned: dict[str, list[TimelineEvent]] = {}
    for event in events:
        if event.role not in _CONTRACTS and event.name in _RULES:
            owned.setdefault(event.address, []).append(event)
    behind = Behind(reads, {event.address for event in events if event.role in _CONTRACTS})
    tracks: dict[str, _Track] = {}
    periods: list[Governance] = []
    for owner, since, until in _spans(role, events):
        found = reads.get(owner, OwnerReads(code=None))
        if owner not in tracks:
            tracks[owner] = _Track(owned.get(owner, []), found)
        marks = [since, *tracks[owner].within(since, until)]
        for mark, end in zip(marks, [*marks[1:], until], strict=True):
            period = _period(role, owner, found.kind, (mark, end))
            period = _detailed(period, tracks[owner], behind)
            if then is not None and end is not None and mark.address != owner:
                period = _as_then(period, found, then(owner, since.place))
            if role is Role.APP and notice_period:
                named = _own_delay(period, replaceable=replaceable(period.until))
                period = replace(period, remarks=(*period.remarks, *named))
            if periods and _same(periods[-1], period):
                before = periods.pop()
                period = replace(period, since=before.since, since_time=before.since_time)
            periods.append(period)
    problems = (text for track in tracks.values() for text in track.problems)
    return Governed(tuple(periods), tuple(dict.fromkeys(problems)))


def accounts(events: Sequence[TimelineEvent]) -> tuple[str, ...]:
    """Every account whose `OwnerReads` governance needs: owners of app and KMS, pending owners,
    holders of roles of timelocks among them, and owners of Safes among them."""
    found: dict[str, None] = {}
    for event in events:
        if event.name in ("OwnershipTransferred", "OwnershipTransferStarted"):
            if event.role in _CONTRACTS:
                found.setdefault(str(event.args.get("newOwner")))
        elif event.name == "RoleGranted" and event.role in (Role.APP_OWNER, Role.KMS_OWNER):
            found.setdefault(str(event.args.get("account")))
        elif event.name == "AddedOwner" and event.role in (Role.APP_OWNER, Role.KMS_OWNER):
            found.setdefault(str(event.args.get("owner")))
    found.pop(ZERO_ADDRESS, None)
    return tuple(found)


def _as_then(period: Governance, found: OwnerReads, was: Past) -> Governance:
    """A period that is over, by what its owner was when it began; what an owner contract says of
    itself in a later event, it says when it has its code."""
    if not period.owner or found.code is None:
        return period
    if was.code is None:
        return replace(period, remarks=(*period.remarks, AS_NOW))
    if was.code == found.code or (was.kind is OwnerKind.EOA and found.kind is OwnerKind.EOA):
        return period
    unknown = Governance(
        role=period.role,
        owner=period.owner,
        kind=was.kind,
        since=period.since,
        since_time=period.since_time,
        until=period.until,
        until_time=period.until_time,
        remarks=(OTHER_CODE,),
    )
    if was.kind is OwnerKind.EOA:
        return replace(unknown, kind=OwnerKind.UNKNOWN, remarks=(NOT_YET,))
    return unknown


def _own_delay(period: Governance, *, replaceable: bool) -> Iterator[str]:
    """What the delay that an app names itself is worth."""
    yield "the app names a delay of its own, which is its own word alone"
    if replaceable and period.kind not in (OwnerKind.TIMELOCK, OwnerKind.RENOUNCED):
        yield "its owner can go round that delay: whoever replaces the app's code needs no delay"


def _spans(
    role: Role, events: Sequence[TimelineEvent]
) -> Iterator[tuple[str, TimelineEvent, TimelineEvent | None]]:
    """Each owner's time: from one transfer to the next, or to the present; "" is an unknown one."""
    own = [event for event in events if event.role is role]
    transfers = [event for event in own if event.name in ("OwnershipTransferred", CONSTRUCTED)]
    first = transfers[0] if transfers else None
    if own and (first is None or first.transaction != own[0].transaction):
        yield "", own[0], first
    for event, until in zip(transfers, [*transfers[1:], None], strict=False):
        yield str(event.args.get("newOwner")), event, until


def _period(
    role: Role, owner: str, kind: OwnerKind, bounds: tuple[TimelineEvent, TimelineEvent | None]
) -> Governance:
    since, until = bounds
    renounced = owner == ZERO_ADDRESS
    kind = kind if owner else OwnerKind.UNKNOWN
    return Governance(
        role=role,
        owner="" if renounced else owner,
        kind=OwnerKind.RENOUNCED if renounced else kind,
        since=since.place,
        since_time=since.time,
        until=until.place if until is not None else None,
        until_time=until.time if until is not None else None,
    )


def _detailed(period: Governance, track: "_Track", behind: Behind) -> Governance:
    rules = track.at(period.since)
    match period.kind:
        case OwnerKind.EOA:
            return replace(period, keys=1, notice=0)
        case OwnerKind.SAFE:
            period = _safe(period, rules, behind)
        case OwnerKind.TIMELOCK:
            period = _timelock(period, rules, behind)
        case OwnerKind.CONTRACT:
            return replace(period, remarks=("it is a contract that this audit does not know",))
        case OwnerKind.UNKNOWN if not period.owner:
            return replace(period, remarks=("no event names its owner",))
        case _:
            disputed = behind.of(period.owner).disputed
            return replace(period, disputed=disputed, remarks=(disputed,) if disputed else ())
    proven = period.until is None and behind.of(period.owner).whole
    if rules.replaced and not proven:
        period = replace(period, keys=None, notice=None, remarks=(*period.remarks, REPLACED))
    if track.problems:
        return replace(period, keys=None, notice=None, remarks=(*period.remarks, CONTRADICTED))
    return period


def _safe(period: Governance, rules: _Rules, behind: Behind) -> Governance:
    found = behind.of(period.owner)
    remarks = [OWN_WORD] if found.own_word else []
    if rules.modules is None:
        remarks.append("whether modules go round its threshold is not known")
    elif rules.modules:
        remarks.append(f"modules go round its threshold: {_listed(rules.modules)}")
    if not rules.complete:
        remarks.append("it changed its own rules too often for all of them to be followed")
    harmless = rules.set_up_by in _HARMLESS_SETUPS or (found.whole and period.until is None)
    if not harmless:
        remarks.append(SET_UP_BY_CODE.format(rules.set_up_by))
    listed = rules.modules == () and rules.complete
    keys, said = behind.keys_of_safe(rules.threshold, rules.signers)
    if period.until is None:
        keys, passed_on = behind.passing_on(found, keys)
        said = (*said, *passed_on)
    return replace(
        period,
        threshold=rules.threshold,
        signers=rules.signers,
        modules=rules.modules or (),
        guard=rules.guard,
        keys=unless_hidden(found, keys if listed and harmless else None),
        notice=0,
        own_word=found.own_word,
        remarks=(*remarks, *said, *stored(found)),
    )


def _timelock(period: Governance, rules: _Rules, accounts: Behind) -> Governance:
    proposers, admins = rules.holders(PROPOSER_ROLE), rules.holders(*rules.admin_roles)
    own_word = accounts.of(period.owner).own_word
    remarks = [OWN_WORD] if own_word else []
    outside = tuple(item for item in admins if item != period.owner)
    remarks.extend(_risky(proposers, rules.holders(EXECUTOR_ROLE)))
    if outside:
        remarks.append(f"who may propose is decided without the delay by {_listed(outside)}")
    found = accounts.of(period.owner)
    followed = found.followed or found.own_word
    complete = rules.complete and followed and not found.lone_logs
    if not followed:
        remarks.append(NOT_FOLLOWED if found.whole is None else UNANNOUNCED)
    if not complete:
        remarks.append("not everything that it was ever told is known: others may propose, too")
    elif not proposers:
        remarks.append("who may propose is not known")
    behind = [accounts.of(item) for item in (*proposers, *outside)]
    if any(item.own_word for item in behind):
        own_word = True
        remarks.append(BEHIND_OWN_WORD)
    counted = [accounts.keys(item) for item in behind]
    keys = [number for number, _ in counted]
    remarks.extend(dict.fromkeys(text for _, said in counted for text in said))
    disputed = next((item.disputed for item in behind if item.disputed), "")
    remarks.extend([disputed] if disputed else [])
    known = [item for item in keys if item is not None]
    certain = bool(proposers) and complete and len(known) == len(keys)
    return replace(
        period,
        delay=rules.delay,
        proposers=proposers,
        executors=rules.holders(EXECUTOR_ROLE),
        admins=admins,
        keys=min(known) if certain or 1 in known else None,
        notice=rules.delay if followed or rules.delay == 0 else None,
        own_word=own_word,
        disputed=disputed,
        remarks=tuple(remarks),
    )


def _risky(proposers: Sequence[str], executors: Sequence[str]) -> Iterator[str]:
    """What a timelock lets happen besides its delay."""
    if ZERO_ADDRESS in proposers:
        yield (
            "the zero address may propose: in OpenZeppelin's code that is nobody, in another one "
            "it may be anybody"
        )
    both = [item for item in proposers if item in executors]
    if both:
        yield f"who proposes may also carry out, with nobody in between: {_listed(both)}"


def _listed(accounts: Sequence[str]) -> str:
    more = f" and {len(accounts) - _NAMED} more" if len(accounts) > _NAMED else ""
    return ", ".join(accounts[:_NAMED]) + more


def _same(one: Governance, other: Governance) -> bool:
    """Whether two periods, one after the other, are one."""
    return replace(
        one, since=other.since, since_time=None, until=other.until, until_time=None
    ) == replace(other, since_time=None, until_time=None)


class _Track:
    """An owner contract's rules over time.

    Sets are followed backward from what is read at the present, because a contract may be older
    than the logs that were asked for; single values forward from the events that set them, and
    roles, which nothing lists, from their events alone.
    """

    def __init__(self, events: Sequence[TimelineEvent], found: OwnerReads) -> None:
        self._events = events[-MAX_RULES:]
        self._places = [event.place for event in self._events]
        self.problems: tuple[str, ...] = ()
        if found.kind in (OwnerKind.SAFE, OwnerKind.TIMELOCK):
            self.problems = tuple(_contradictions(events, found))
        state = _State(events, found)
        left_out = events[: len(events) - len(self._events)]
        for event in left_out:
            state.apply(event)
        self._rules = [state.rules(complete=not left_out)]
        for event in self._events:
            state.apply(event)
            self._rules.append(state.rules(complete=True))

    def at(self, place: Place) -> _Rules:
        """The rules after the event at a place."""
        return self._rules[bisect_right(self._places, place)]

    def within(self, since: TimelineEvent, until: TimelineEvent | None) -> list[TimelineEvent]:
        """The changes between two events."""
        first = bisect_right(self._places, since.place)
        last = len(self._places) if until is None else bisect_right(self._places, until.place)
        return list(self._events[first:last])


class _State:
    """The rules of an owner contract while its events are applied, from before the first one."""

    def __init__(self, events: Sequence[TimelineEvent], found: OwnerReads) -> None:
        names = {event.name for event in events}
        self._signers = set(found.signers or ())
        self._modules = None if found.modules is None else set(found.modules)
        for event in reversed(events):
            self._sets(event, back=True)
        set_later = names & {"SafeSetup", "ChangedThreshold"}
        self._threshold = None if set_later else found.threshold
        setups = (item.args.get("initializer") for item in events if item.name == "SafeSetup")
        self._set_up_by = str(next(setups, None) or "")
        self._guard = "" if "ChangedGuard" in names else found.guard or ""
        delays = [event.args for event in events if event.name == "MinDelayChange"]
        self._delay = whole_number(delays[0].get("oldDuration")) if delays else found.min_delay
        self._whole = found.kind is not OwnerKind.TIMELOCK or self._delay == 0
        self._roles: dict[str, set[str]] = {}
        self._admin_roles = dict.fromkeys(ADMIN_ROLES)
        self._replaced = False
        self._set_up_in = {item.transaction for item in events if item.name == "SafeSetup"}
        self._singleton = found.singleton

    def apply(self, event: TimelineEvent) -> None:
        args = event.args
        self._sets(event, back=False)
        match event.name:
            case "ChangedThreshold" | "SafeSetup":
                self._threshold = whole_number(args.get("threshold"))
            case "ChangedGuard":
                guard = str(args.get("guard"))
                self._guard = "" if guard == ZERO_ADDRESS else guard
            case "ChangedMasterCopy":
                set_up = event.transaction in self._set_up_in
                self._replaced |= not set_up or args.get("masterCopy") != self._singleton
            case "MinDelayChange":
                self._delay = whole_number(args.get("newDuration"))
            case "RoleGranted":
                self._roles.setdefault(str(args.get("role")), set()).add(str(args.get("account")))
            case "RoleRevoked":
                held = self._roles.setdefault(str(args.get("role")), set())
                held.discard(str(args.get("account")))
            case "RoleAdminChanged" if args.get("role") == PROPOSER_ROLE:
                self._admin_roles.setdefault(str(args.get("newAdminRole")))

    def rules(self, *, complete: bool) -> _Rules:
        return _Rules(
            threshold=self._threshold,
            signers=tuple(sorted(self._signers)),
            modules=None if self._modules is None else tuple(sorted(self._modules)),
            guard=self._guard,
            set_up_by=self._set_up_by,
            delay=self._delay,
            roles={role: tuple(held) for role, held in self._roles.items()},
            admin_roles=tuple(self._admin_roles),
            complete=complete and self._whole,
            replaced=self._replaced,
        )

    def _sets(self, event: TimelineEvent, *, back: bool) -> None:
        match event.name:
            case "AddedOwner" | "RemovedOwner":
                _put(self._signers, event.args.get("owner"), (event.name == "AddedOwner") != back)
            case "EnabledModule" | "DisabledModule" if self._modules is not None:
                added = (event.name == "EnabledModule") != back
                _put(self._modules, event.args.get("module"), added)


def _put(members: set[str], account: JsonValue, inside: bool) -> None:  # noqa: FBT001 - a state
    (members.add if inside else members.discard)(str(account))


def _contradictions(events: Sequence[TimelineEvent], found: OwnerReads) -> Iterator[str]:
    """Where an owner contract's last events say something else than it answers."""
    if not events:
        return
    who = f"{found.kind.value} {events[0].address}"
    for names, argument, read in (
        (("ChangedThreshold", "SafeSetup"), "threshold", found.threshold),
        (("MinDelayChange",), "newDuration", found.min_delay),
    ):
        said = _last(events, names, argument)
        if said is not None and whole_number(said) != read:
            yield f"the {who} answers {read}, and its last {names[0]} says {said}"
    signers = set(found.signers or ())
    for event in reversed(events):
        began = event.args.get("owners")
        if event.name == "SafeSetup" and isinstance(began, list):
            if set(map(str, began)) != signers:
                yield f"the signers of the {who} are not those that its events make"
            return
        if event.name in ("AddedOwner", "RemovedOwner"):
            _put(signers, event.args.get("owner"), event.name == "RemovedOwner")


def _last(events: Iterable[TimelineEvent], names: tuple[str, ...], argument: str) -> JsonValue:
    values = [event.args.get(argument) for event in events if event.name in names]
    return values[-1] if values else None
