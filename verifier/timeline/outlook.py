"""Of whom it is known what they are about to do, and what that is.

A timelock's log is whole where two operators give all of it from the timelock's creation on, and
known code created it: then what stands in it is all that it can make. A Safe announces nothing
on the chain: what its signers agree on is known to a service at best, by that service's word. A
plain key announces nothing to anybody.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain import calls
from verifier.chain.view import DisagreementError
from verifier.evidence.chain import contracts
from verifier.model.chain import OwnerKind, Role
from verifier.model.pending import Look, Outlook, PendingOperation
from verifier.model.timeline import AppState, Governance, KmsState, TimelineEvent
from verifier.timeline.history import History
from verifier.timeline.owners import OwnerReads
from verifier.timeline.pending import Touches, proposed_manifests, timelock_operations
from verifier.timeline.safes import Safe, SafeAhead, safe_ahead

_OWNER: dict[Role, Role] = {Role.APP: Role.APP_OWNER, Role.KMS: Role.KMS_OWNER}
_THEN = "what waited at that time is not known"


class Present(Struct, frozen=True):
    """Who governs at present: all periods, of which those that last count, the states of both
    contracts, and what the accounts behind them (EIP-55) say of themselves."""

    periods: Sequence[Governance]
    app: AppState
    kms: KmsState
    reads: Mapping[str, OwnerReads]

    def lasting(self) -> Iterator[Governance]:
        """The periods that have not ended."""
        return (item for item in self.periods if item.until is None)

    def governing(self) -> Iterator[tuple[Role, str]]:
        """Whose acts take effect: (contract, account) of owners, and of who may become one."""
        yield from ((item.role, item.owner) for item in self.lasting() if item.owner)
        for role, state in ((Role.APP, self.app), (Role.KMS, self.kms)):
            if state.pending_owner:
                yield role, state.pending_owner

    def proposing(self) -> Iterator[tuple[Role, str]]:
        """The Safes that propose to a timelock which owns a contract: (contract, Safe)."""
        for item in self.lasting():
            for account in item.proposers if item.kind is OwnerKind.TIMELOCK else ():
                found = self.reads.get(account)
                if found is not None and found.kind is OwnerKind.SAFE:
                    yield item.role, account


class Ahead(Struct, frozen=True):
    """What is about to change, and how that is known."""

    operations: tuple[PendingOperation, ...]
    outlook: tuple[Outlook, ...]


def ahead(
    history: History,
    present: Present,
    events: Sequence[TimelineEvent],
    now: int,
    past: bool,  # noqa: FBT001 - whether `now` is a time of the past
) -> Ahead:
    """What the owners of the app and its KMS are about to do, as of `now` (Unix seconds).

    `events` are the settled ones up to then, in chain order.
    """
    stamps: dict[tuple[str, str], str] = {}

    def stamp(account: str, operation: str) -> int | None:
        call = calls.timestamp_call(account, operation, hex(history.reader.number))
        try:
            return None if past else history.reader.said(call, contracts.decode_uint)
        except DisagreementError as error:
            stamps[account, operation] = error.message
            return None

    governing = tuple(dict.fromkeys(present.governing()))
    touches = _touching(history, present)
    accounts = {account for _, account in governing}
    announced = timelock_operations(events, accounts, touches, stamp, now)
    doubts = {account: why for (account, _), why in stamps.items()} | dict(announced.doubts)
    operations = [*announced.operations, *proposed_manifests(events, now)]
    outlook: list[Outlook] = []
    asked: dict[str, SafeAhead] = {}
    for role, account, direct in (
        *((role, account, True) for role, account in governing),
        *((role, account, False) for role, account in present.proposing()),
    ):
        found = present.reads.get(account, OwnerReads(code=None))
        item = Outlook(
            role=role, account=account, kind=found.kind, direct=direct, look=Look.NOT_LOOKED_AT
        )
        if found.kind is not OwnerKind.SAFE:
            outlook.append(_outlook(item, found, events, doubts))
            continue
        if account not in asked:
            safe = Safe(address=account, chain_id=history.plan.chain_id, reads=found)
            asked[account] = (
                SafeAhead(why=_THEN) if past else safe_ahead(safe, history.queues, events, touches)
            )
            operations.extend(asked[account].operations)
        told = asked[account]
        outlook.append(replace(item, look=told.look, source=told.source, why=told.why))
    return Ahead(tuple(operations), tuple(outlook))


def _outlook(
    item: Outlook, found: OwnerReads, events: Sequence[TimelineEvent], doubts: Mapping[str, str]
) -> Outlook:
    """How what a timelock, a key or unknown code is about to do is known."""
    if found.kind is OwnerKind.EOA:
        return replace(item, look=Look.NOTHING)
    if found.kind is OwnerKind.TIMELOCK:
        why = doubts.get(item.account) or _lacking(item.account, found, events)
        return replace(item, look=Look.PART if why else Look.WHOLE, why=why)
    why = found.disputed or "what it announces, and where, is not known of such code"
    return replace(item, why=why)


def _lacking(account: str, found: OwnerReads, events: Sequence[TimelineEvent]) -> str:
    """Why a timelock's log may not hold all that it announced; "" where it does."""
    if found.own_word:
        return "its code is not known, so that its log may leave out what it likes"
    if not found.followed:
        return "nobody shows that nothing else was left in its storage by whoever created it"
    if found.lone_logs:
        return "no two operators give all of its log"
    delays = [item for item in events if item.address == account and item.name == "MinDelayChange"]
    # The constructor sets the delay: what was announced before it was announced by nobody.
    if not delays or delays[0].args.get("oldDuration") != 0:
        return "its log is not known from its creation on"
    return ""


def _touching(history: History, present: Present) -> Touches:
    """What an account is to the app."""
    found: dict[str, Role] = {}
    for item in present.lasting():
        behind = (*item.signers, *item.proposers, *item.executors, *item.admins, *item.modules)
        for account in filter(None, (item.owner, item.guard, *behind)):
            found.setdefault(account, _OWNER[item.role])
    for role, account in present.governing():
        found.setdefault(account, _OWNER[role])
    found |= dict.fromkeys(history.gateway_apps, Role.GATEWAY)
    found |= {history.plan.kms: Role.KMS, history.app: Role.APP}
    return found.get
