"""How long each change was public before it took effect.

A timelock announces a call (`CallScheduled`) and makes it later (`CallExecuted`, in the transaction
of the change, with the same id, target and data: OpenZeppelin TimelockController). TimelockAppAuth
(amiller/dstack-tutorial) proposes a manifest and activates it. Ownable2Step offers ownership and
hands it over when it is accepted. Whatever else changes was announced by nothing.
"""

from collections.abc import Iterable
from typing import Final

from verifier.timeline.model import Change, Role, TimelineEvent

OPENING: Final = frozenset(
    {
        "ComposeHashAdded",
        "ComposeHashActivated",
        "DeviceAdded",
        "AllowAnyDeviceSet",
        "RequireTcbUpToDateSet",
        "Upgraded",
        "OwnershipTransferred",
        "OsImageHashAdded",
        "KmsAggregatedMrAdded",
        "KmsDeviceAdded",
        "KmsInfoSet",
        "GatewayAppIdSet",
        "AppImplementationSet",
        "AppAuthImplementationSet",
    }
)
"""Events that let something new run, or hand over control."""
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
    announced = _Announced()
    listed = tuple(events)
    executed = _executions(listed)
    for event in listed:
        announced.note(event)
        if event.role not in (Role.APP, Role.KMS):
            continue
        if event.transaction == born.setdefault(event.role, event.transaction):
            continue
        if event.name in OPENING:
            calls = executed.get(event.transaction, ())
            found.append(_change(event, announced, calls, notice_period))
    return tuple(found)


class _Announced:
    """What was announced so far, by what it announces: the latest announcement counts."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], TimelineEvent] = {}
        self._hashes: dict[str, TimelineEvent] = {}
        self._owners: dict[tuple[str, str], TimelineEvent] = {}

    def note(self, event: TimelineEvent) -> None:
        args = event.args
        if event.name == "CallScheduled":
            self._calls[event.address, str(args.get("id")), str(args.get("index"))] = event
        elif event.name == "ComposeHashProposed":
            self._hashes[str(args.get("hash"))] = event
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
        return self._hashes.get(str(event.args.get("hash")))

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
        if call.args.get("target") == event.address and _is_for(call, event):
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


def _is_for(call: TimelineEvent, event: TimelineEvent) -> bool:
    """Whether the executed calldata names what the event is about, where that is one key."""
    value = next(iter(event.args.values()), None)
    if not isinstance(value, str) or event.name in ("GatewayAppIdSet", "KmsInfoSet"):
        return True
    digits = value.removeprefix("0x").lower()
    names = [str(item).removeprefix("0x").lower() for item in event.args.values()]
    data = str(call.args.get("data")).lower()
    return digits in data or any(name in data for name in names)


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
