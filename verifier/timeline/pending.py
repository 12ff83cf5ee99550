"""What is about to change: what owners announced, and neither made nor gave up.

A timelock announces calls in its log (`CallScheduled`, one for each call of an operation) under an
id that is the hash of them all, of the salt (`CallSalt`, left out for zero) and of the predecessor:
calls that were left out of what is shown give another id. The operation is over with `CallExecuted`
or `Cancelled`. What its storage says of the id is held against that.

An app may have a delay of its own: TimelockAppAuth (amiller/dstack-tutorial) proposes a manifest,
which anybody may activate after it.

Source: OpenZeppelin TimelockController (`_DONE_TIMESTAMP`, getTimestamp).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct, field

from verifier.evidence.chain.calldata import InnerCall, inner_calls
from verifier.evidence.chain.operation_hashes import TimelockCall, operation_ids
from verifier.evidence.codec import whole_number
from verifier.model.chain import OwnerKind, Role
from verifier.model.pending import Effect, PendingCall, PendingOperation
from verifier.model.result import Basis
from verifier.model.timeline import TimelineEvent

MAX_OPERATIONS: Final = 64
"""Of one account, the latest ones; that there are more is said."""
DONE: Final = 1
"""What a timelock's storage says of an operation that was made, instead of a time."""
SHOWN_DATA: Final = 72
"""How much of calldata that is not read is shown, in hex: the selector and one word."""
_ZERO: Final = "00" * 32
_PROPOSAL_OVER: Final = frozenset({"ComposeHashActivated", "ComposeHashCancelled"})

_OPENS: Final = frozenset(
    {
        *("addComposeHash", "proposeComposeHash", "activateComposeHash", "addDevice"),
        *("upgradeToAndCall", "setKmsInfo", "setKmsQuote", "setKmsEventlog", "setGatewayAppId"),
        *("setAppImplementation", "setAppAuthImplementation"),
        *("addKmsAggregatedMr", "addKmsDevice", "addOsImageHash"),
    }
)
_CLOSES: Final = frozenset(
    {
        *("removeComposeHash", "removeDevice", "disableUpgrades", "cancelProposal", "cancel"),
        *("removeKmsAggregatedMr", "removeKmsDevice", "removeOsImageHash", "registerApp"),
    }
)
_FLAGS: Final = {"setAllowAnyDevice": True, "setRequireTcbUpToDate": False}
"""The value with which a flag lets something new run."""

Touches = Callable[[str], Role | None]
"""Account (EIP-55) → what it is to the app."""
Stamp = Callable[[str, str], int | None]
"""(timelock, id) → what its storage says of an operation: 0 for none, 1 for one that was made, else
when it can be made; None where nobody told."""


class Announced(Struct, frozen=True):
    """The operations of timelocks, and accounts of which not everything is known: why."""

    operations: tuple[PendingOperation, ...]
    doubts: Mapping[str, str]


class _Waiting(Struct):
    """An operation that a timelock announced: its calls by index, and its salt."""

    account: str
    id: str
    calls: dict[str, TimelineEvent] = field(default_factory=dict)
    salt: str = _ZERO

    @property
    def first(self) -> TimelineEvent:
        return next(iter(self.calls.values()))


def waiting_ids(
    events: Iterable[TimelineEvent], accounts: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """(timelock, id) of the operations whose storage has to be read; the latest 64 of each."""
    found = _waiting(events, accounts)
    latest = (item for items in found.values() for item in items[-MAX_OPERATIONS:])
    return tuple((item.account, item.id) for item in latest)


def timelock_operations(
    events: Iterable[TimelineEvent],
    accounts: Collection[str],
    touches: Touches,
    stamp: Stamp,
    now: int,
) -> Announced:
    """What timelocks among `accounts` (EIP-55) announced and neither made nor cancelled.

    `events` are settled ones in chain order, `now` is the time of the agreed block (Unix seconds).
    """
    operations: list[PendingOperation] = []
    doubts: dict[str, str] = {}
    for account, items in _waiting(events, accounts).items():
        if len(items) > MAX_OPERATIONS:
            doubts[account] = f"it announced {len(items)} operations, of which the latest are shown"
        for item in items[-MAX_OPERATIONS:]:
            said = stamp(account, item.id)
            if said in (0, DONE):
                over = "made" if said == DONE else "given up, or never announced"
                doubts[account] = f"by its storage the operation {item.id} is {over}"
            operations.append(_operation(item, touches, said, now))
    return Announced(tuple(operations), doubts)


def proposed_manifests(events: Iterable[TimelineEvent], now: int) -> tuple[PendingOperation, ...]:
    """The manifests that an app with a delay of its own announced, and neither allowed nor took
    back: from the time that it named on, anybody may have it allow them."""
    waiting: dict[str, TimelineEvent] = {}
    for event in events:
        if event.role is Role.APP and event.name == "ComposeHashProposed":
            waiting[str(event.args.get("hash"))] = event
        elif event.role is Role.APP and event.name in _PROPOSAL_OVER:
            waiting.pop(str(event.args.get("hash")), None)
    return tuple(
        PendingOperation(
            account=event.address,
            kind=OwnerKind.TIMELOCK,
            id=digest,
            basis=Basis.CHAIN,
            calls=(
                PendingCall(
                    target=event.address,
                    touches=Role.APP,
                    function="activateComposeHash",
                    args={"composeHash": digest},
                    data="",
                    effect=Effect.OPENS,
                ),
            ),
            whole=True,
            announced=event.time,
            due=(due := whole_number(event.args.get("activatesAt"))),
            ready=due is None or due <= now,
            sender=event.sender,
        )
        for digest, event in list(waiting.items())[-MAX_OPERATIONS:]
    )


def pending_call(inner: InnerCall, touches: Touches) -> PendingCall:
    """What one call would change."""
    touched = touches(inner.target)
    call = inner.call
    return PendingCall(
        target=inner.target,
        touches=touched,
        function="" if call is None else call.name,
        args={} if call is None else call.args,
        data=inner.data.hex()[:SHOWN_DATA] if call is None else "",
        effect=_effect(inner, touched),
        within=inner.within,
    )


def _effect(inner: InnerCall, touched: Role | None) -> Effect:
    if inner.opaque:
        return Effect.UNKNOWN
    if touched is None or not inner.data:
        return Effect.ELSEWHERE
    if inner.call is None:
        return Effect.UNKNOWN
    name = inner.call.name
    if name in _FLAGS:
        opens = next(iter(inner.call.args.values())) is _FLAGS[name]
        return Effect.OPENS if opens else Effect.CLOSES
    if name in _OPENS:
        return Effect.OPENS
    return Effect.CLOSES if name in _CLOSES else Effect.CONTROL


def _waiting(
    events: Iterable[TimelineEvent], accounts: Collection[str]
) -> dict[str, list[_Waiting]]:
    found: dict[tuple[str, str], _Waiting] = {}
    for event in events:
        if event.address not in accounts:
            continue
        digest = str(event.args.get("id"))
        key = event.address, digest
        if event.name == "CallScheduled":
            waiting = found.setdefault(key, _Waiting(event.address, digest))
            waiting.calls[str(event.args.get("index"))] = event
        elif event.name == "CallSalt" and key in found:
            found[key].salt = str(event.args.get("salt"))
        elif event.name in ("CallExecuted", "Cancelled"):
            found.pop(key, None)
    by_account: dict[str, list[_Waiting]] = {}
    for item in found.values():
        by_account.setdefault(item.account, []).append(item)
    return by_account


def _operation(item: _Waiting, touches: Touches, said: int | None, now: int) -> PendingOperation:
    first = item.first
    delay = whole_number(first.args.get("delay"))
    due = None if first.time is None or delay is None else first.time + delay
    due = said if said is not None and said > DONE else due
    calls = [
        inner
        for event in item.calls.values()
        for inner in inner_calls(
            str(event.args.get("target")), bytes.fromhex(str(event.args.get("data")))
        )
    ]
    remarks = []
    if first.args.get("predecessor") not in (_ZERO, None):
        remarks.append(f"only after the operation {first.args.get('predecessor')}")
    return PendingOperation(
        account=item.account,
        kind=OwnerKind.TIMELOCK,
        id=item.id,
        basis=Basis.CHAIN,
        calls=tuple(pending_call(inner, touches) for inner in calls),
        whole=_is_whole(item),
        announced=first.time,
        due=due,
        ready=due is None or due <= now,
        sender=first.sender,
        through=first.to if first.to != item.account else "",
        remarks=tuple(remarks),
    )


def _is_whole(item: _Waiting) -> bool:
    """Whether the id is the one that these calls give."""
    if list(item.calls) != [str(index) for index in range(len(item.calls))]:
        return False
    calls = []
    for event in item.calls.values():
        value = whole_number(event.args.get("value"))
        if value is None:
            return False
        target = bytes.fromhex(str(event.args.get("target")).removeprefix("0x"))
        calls.append(TimelockCall(target, value, bytes.fromhex(str(event.args.get("data")))))
    predecessor = bytes.fromhex(str(item.first.args.get("predecessor")))
    ids = operation_ids(calls, predecessor, bytes.fromhex(item.salt))
    return bytes.fromhex(item.id) in ids
