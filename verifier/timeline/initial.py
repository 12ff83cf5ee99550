"""What an app's contract allowed from its creation on without an event that says so.

The initializer of DstackApp (Dstack-TEE/dstack kms/auth-eth/contracts/DstackApp.sol) sets
`_upgradesDisabled`, `allowAnyDevice` and, if it has it, `requireTcbUpToDate` silently. They are
read from the creation's calldata, else from storage at the end of the creation's block where
nothing in it could have changed them again, else from present storage where nothing could have
since; otherwise they stay unknown.

The constructor of TimelockAppAuth (amiller/dstack-tutorial) allows its first manifest silently,
too, and emits nothing at all. Where the transaction that created it is found, and its creation
code is that of a reference value, its arguments are believed; otherwise what such an app allowed
from its creation on is not known. That code cannot be replaced, and asks for no TCB.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct, field

from verifier.evidence.chain.constructor import ConstructorTerms, Creation
from verifier.evidence.chain.creation_calldata import InitialTerms
from verifier.model.chain import ContractCode, Place, Role
from verifier.model.timeline import UNKNOWN, Known, Method, TimelineEvent

CONSTRUCTED: Final = "Constructed"
"""The name under which a constructor that emits nothing stands among the events."""
LARGEST_NUMBER: Final = 2**53
"""Integers beyond it are strings in reports, or capped."""
_WORD: Final = 32
_SETTERS: Final = {
    "AllowAnyDeviceSet": "allow-any-device",
    "RequireTcbUpToDateSet": "require-tcb-up-to-date",
    "UpgradesDisabled": "upgrades-disabled",
}
"""The event that sets a flag later → what `PolicyChanged` calls it."""
_ANYTHING: Final = frozenset({"Upgraded", "Initialized", "undecodable", "unknown"})
"""Events after which any flag may be another one."""


class InitialFlags(Struct, frozen=True, kw_only=True):
    """An app's settings from its creation on.

    `problems` are contradictions between the places where a setting can be read; it is unknown
    then. `code` is the reference build of the creation code that set them, None for a proxy's app
    and for unknown code.
    """

    any_device: Known[bool] = UNKNOWN
    require_tcb: Known[bool] = UNKNOWN
    upgrades_disabled: Known[bool] = UNKNOWN
    problems: tuple[str, ...] = field(default=())
    code: ContractCode | None = None


def initial_flags(  # noqa: PLR0913 - one storage word each
    events: Iterable[TimelineEvent],
    terms: InitialTerms | None,
    *,
    storage_at_creation: bytes | None = None,
    storage_now: bytes | None = None,
    tcb_at_creation: bytes | None = None,
    tcb_now: bytes | None = None,
) -> InitialFlags:
    """The settings that an app's contract was created with.

    `events` are the timeline's, in chain order. `terms` are those of the creating transaction.
    Storage words are None where they were not read or the code, and with it the layout, is not
    known: the word of the flags (its last byte is `_upgradesDisabled`, the one before it
    `allowAnyDevice`) and that of `requireTcbUpToDate`; "at creation" is the end of the block of the
    creation.
    """
    own = [event for event in events if event.role is Role.APP]
    if not own:
        return InitialFlags()
    said = (
        _Said(
            "allowAnyDevice",
            "AllowAnyDeviceSet",
            terms.allow_any_device if terms else None,
            _flag(storage_at_creation, 1),
            _flag(storage_now, 1),
        ),
        _Said(
            "requireTcbUpToDate",
            "RequireTcbUpToDateSet",
            _requires_tcb(terms),
            _flag(tcb_at_creation, 0),
            _flag(tcb_now, 0),
        ),
        _Said(
            "disableUpgrades",
            "UpgradesDisabled",
            terms.disable_upgrades if terms else None,
            _flag(storage_at_creation, 0),
            _flag(storage_now, 0),
        ),
    )
    ways = [_ways(own, item) for item in said]
    any_device, require_tcb, upgrades_disabled = map(_agreed, ways)
    return InitialFlags(
        any_device=any_device,
        require_tcb=require_tcb,
        upgrades_disabled=upgrades_disabled,
        problems=tuple(
            f"{item.name} at the app's creation is not known: "
            + ", ".join(f"{method.value} says {str(value).lower()}" for value, method in found)
            for item, found in zip(said, ways, strict=True)
            if _contradict(found)
        ),
    )


def constructed(
    address: str, creation: Creation, time: int, terms: ConstructorTerms
) -> TimelineEvent:
    """What a known constructor did, as an event before all logs of its block: it emits none.

    `address` is the contract's, `time` the block's (Unix seconds).
    """
    period = terms.notice_period
    return TimelineEvent(
        place=Place(creation.block, -1),
        time=time,
        block_hash=creation.block_hash,
        transaction=creation.transaction,
        role=Role.APP,
        address=address,
        name=CONSTRUCTED,
        args={
            "newOwner": creation.sender,
            "noticePeriod": period if period <= LARGEST_NUMBER else str(period),
            "allowAnyDevice": terms.allow_any_device,
            "composeHash": terms.compose_hash,
        },
        sender=creation.sender,
        calldata=creation.input,
    )


def constructor_flags(terms: ConstructorTerms) -> InitialFlags:
    """The settings that a known constructor left, for good: its code has no function for them."""
    return InitialFlags(
        any_device=Known(terms.allow_any_device, Method.CALLDATA),
        require_tcb=Known(value=False, method=Method.CODE),
        upgrades_disabled=Known(value=True, method=Method.CODE),
        code=terms.code,
    )


class _Said(Struct, frozen=True):
    """A flag, the event that sets it later, and what each place says it was; None where unread."""

    name: str
    setter: str
    calldata: bool | None
    at_creation: bool | None
    now: bool | None


_Ways = tuple[tuple[bool, Method], ...]


def _ways(own: Sequence[TimelineEvent], said: _Said) -> _Ways:
    """The places that tell what a flag was at the creation, strongest first."""
    blocks = _changed(own, said.setter)
    late = any(
        event.name == "Initialized" and event.transaction != own[0].transaction for event in own
    )
    ways = (
        (said.calldata, Method.CALLDATA),
        (None if late or own[0].place.block in blocks else said.at_creation, Method.STORAGE),
        (None if blocks else said.now, Method.NEVER_SET),
    )
    return tuple((value, method) for value, method in ways if value is not None)


def _contradict(ways: _Ways) -> bool:
    return len({value for value, _ in ways}) > 1


def _agreed(ways: _Ways) -> Known[bool]:
    return UNKNOWN if _contradict(ways) or not ways else Known(*ways[0])


def _requires_tcb(terms: InitialTerms | None) -> bool | None:
    """A function that does not name `requireTcbUpToDate` leaves it false."""
    return None if terms is None else bool(terms.require_tcb_up_to_date)


def _changed(own: Sequence[TimelineEvent], setter: str) -> frozenset[int]:
    """The blocks in which a flag may have got another value than that of the creation.

    The first `Upgraded` and `Initialized` belong to the creation if they stand in its transaction:
    a contract that is initialized in another one has no flags before, and any flags after it.
    """
    birth, names = own[0].transaction, set[str]()
    found: set[int] = set()
    for event in own:
        created = event.transaction == birth and event.name not in names
        names.add(event.name)
        policy = event.args.get("policyName")
        if (
            event.name == setter
            or (event.name in _ANYTHING and not created)
            or (event.name == "PolicyChanged" and policy in (None, _SETTERS[setter]))
        ):
            found.add(event.place.block)
    return frozenset(found)


def _flag(word: bytes | None, place: int) -> bool | None:
    """The boolean at a byte of a storage word, counted from its end; None for another value."""
    if word is None or len(word) != _WORD or word[-1 - place] > 1:
        return None
    return word[-1 - place] == 1
