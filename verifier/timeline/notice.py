"""How long each change was public before it took effect.

A timelock announces a call (`CallScheduled`) and makes it later (`CallExecuted`, in the transaction
of the change, with the same id, target and data: OpenZeppelin TimelockController). It counts when
the timelock owned the contract and the call is the one that makes the change: anybody can have a
timelock of their own call anything at the right moment. TimelockAppAuth (amiller/dstack-tutorial)
proposes a manifest and activates it. Ownable2Step offers ownership and hands it over when it is
accepted. Whatever else changes was announced by nothing.

Selectors: the first four bytes of keccak256 of the signatures in Dstack-TEE/dstack
kms/auth-eth/contracts, all generations.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from verifier.model.chain import Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Change, TimelineEvent

OPENING: Final[Mapping[str, tuple[str, ...]]] = {
    "ComposeHashAdded": ("dfc77223",),
    "ComposeHashActivated": (),
    "DeviceAdded": ("2a819728",),
    "AllowAnyDeviceSet": ("7c4beeb8",),
    "RequireTcbUpToDateSet": ("6e4c7422",),
    "Upgraded": ("4f1ef286",),
    "OwnershipTransferred": ("f2fde38b", "715018a6", "79ba5097"),
    "OsImageHashAdded": ("06a3ae96",),
    "KmsAggregatedMrAdded": ("3e32d346",),
    "KmsDeviceAdded": ("4d5922a1",),
    "KmsInfoSet": ("7d025352",),
    "GatewayAppIdSet": ("3971db27",),
    "TproxyAppIdSet": (),
    "TProxyAppIdSet": (),
    "AppImplementationSet": ("3ceaaa11",),
    "AppAuthImplementationSet": ("2cb14032",),
}
"""Events that let something new run, or hand over control → the functions that emit them."""
_CLOSING: Final = {"AllowAnyDeviceSet": False, "RequireTcbUpToDateSet": True}
"""Flags whose event lets nothing new run with this value."""
_ALONE: Final = frozenset({"715018a6", "79ba5097"})
"""renounceOwnership() and acceptOwnership() take no arguments."""
_SELECTOR: Final = 8
_WORD: Final = 64
_AT_ONCE: Final = "at once, announced by nothing"


def changes(
    events: Iterable[TimelineEvent], *, notice_period: int | None = None
) -> tuple[Change, ...]:
    """The notice of every event that lets something new run or hands over control, in chain order.

    What a contract's creation sets is no change. `notice_period` is what an app with a delay of its
    own says (`noticePeriod()`, seconds).
    """
    found: list[Change] = []
    born: dict[Role, str] = {}
    owners: dict[Role, str] = {}
    announced = _Announced()
    listed = tuple(events)
    executed = _executions(listed)
    for event in listed:
        announced.note(event)
        if event.role not in (Role.APP, Role.KMS):
            continue
        owner = owners.get(event.role, "")
        new_owner = event.args.get("newOwner")
        if event.name == "OwnershipTransferred":
            owners[event.role] = str(new_owner)
        if event.transaction == born.setdefault(event.role, event.transaction):
            continue
        if event.name in OPENING and not _closes(event):
            may_act = (owner, str(new_owner)) if event.name == "OwnershipTransferred" else (owner,)
            calls = [
                call for call in executed.get(event.transaction, ()) if call.address in may_act
            ]
            found.append(_change(event, announced, calls, notice_period))
    return tuple(found)


def _closes(event: TimelineEvent) -> bool:
    value = next(iter(event.args.values()), None)
    return event.name in _CLOSING and value is _CLOSING[event.name]


class _Announced:
    """What was announced so far, by what it announces: the latest announcement counts."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], TimelineEvent] = {}
        self._hashes: dict[tuple[str, str], TimelineEvent] = {}
        self._owners: dict[tuple[str, str], TimelineEvent] = {}

    def note(self, event: TimelineEvent) -> None:
        args = event.args
        if event.name == "CallScheduled":
            self._calls[event.address, str(args.get("id")), str(args.get("index"))] = event
        elif event.name == "ComposeHashProposed":
            self._hashes[event.address, str(args.get("hash"))] = event
        elif event.name == "OwnershipTransferStarted":
            self._owners[event.address, str(args.get("newOwner"))] = event

    def call(self, executed: TimelineEvent) -> TimelineEvent | None:
        args = executed.args
        key = executed.address, str(args.get("id")), str(args.get("index"))
        scheduled = self._calls.get(key)
        same = scheduled is not None and all(
            scheduled.args.get(name) == args.get(name) for name in ("target", "data")
        )
        return scheduled if same else None

    def proposal(self, event: TimelineEvent) -> TimelineEvent | None:
        return self._hashes.get((event.address, str(event.args.get("hash"))))

    def offer(self, event: TimelineEvent) -> TimelineEvent | None:
        return self._owners.get((event.address, str(event.args.get("newOwner"))))


def _executions(events: Iterable[TimelineEvent]) -> dict[str, list[TimelineEvent]]:
    found: dict[str, list[TimelineEvent]] = {}
    for event in events:
        if event.name == "CallExecuted":
            found.setdefault(event.transaction, []).append(event)
    return found


def _change(
    event: TimelineEvent,
    announced: _Announced,
    executed: Iterable[TimelineEvent],
    notice_period: int | None,
) -> Change:
    for call in executed:
        if call.args.get("target") == event.address and _makes(call, event):
            scheduled = announced.call(call)
            if scheduled is not None:
                return _noticed(event, scheduled, "scheduled in a timelock, then executed")
    if event.name == "ComposeHashActivated":
        proposal = announced.proposal(event)
        if proposal is not None:
            return _noticed(event, proposal, _proposed(proposal, notice_period))
    if event.name == "OwnershipTransferred":
        offer = announced.offer(event)
        if offer is not None:
            return _noticed(event, offer, "offered, then accepted")
    return Change(place=event.place, announced=None, notice=0, how=_AT_ONCE)


def _makes(call: TimelineEvent, event: TimelineEvent) -> bool:
    """Whether the executed calldata is a call of the function that makes the change, about what
    the event is about."""
    data = str(call.args.get("data"))
    selector, arguments = data[:_SELECTOR], data[_SELECTOR:]
    if selector not in OPENING[event.name]:
        return False
    values = list(event.args.values())
    named = values[-1] if event.name == "OwnershipTransferred" else next(iter(values), None)
    return selector in _ALONE or any(item in arguments for item in _spellings(named))


def _spellings(value: JsonValue) -> Iterator[str]:
    """A value as calldata may have it, in hex: a word, bytes, or text."""
    if isinstance(value, bool):
        yield f"{value:064x}"
    else:
        text = str(value)
        yield text[2:].lower().rjust(_WORD, "0") if text.startswith("0x") else text
        yield text.encode().hex()


def _noticed(event: TimelineEvent, announcement: TimelineEvent, how: str) -> Change:
    if event.time is None or announcement.time is None:
        return Change(
            place=event.place, announced=announcement.place, notice=0, how=f"{how}; times unknown"
        )
    return Change(
        place=event.place,
        announced=announcement.place,
        notice=max(0, event.time - announcement.time),
        how=how,
    )


def _proposed(proposal: TimelineEvent, notice_period: int | None) -> str:
    how = "proposed, then activated"
    activates = proposal.args.get("activatesAt")
    if notice_period is None or proposal.time is None or not isinstance(activates, int):
        return how
    if activates != proposal.time + notice_period:
        return f"{how}; the contract announced another delay than its noticePeriod()"
    return how
