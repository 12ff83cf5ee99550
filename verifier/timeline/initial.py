"""What an app's contract allowed from its creation on without an event that says so.

The initializer of DstackApp (Dstack-TEE/dstack kms/auth-eth/contracts/DstackApp.sol) sets
`_upgradesDisabled`, `allowAnyDevice` and, if it has it, `requireTcbUpToDate` silently. They are
read from the creation's calldata, else from storage at the end of the creation's block where
nothing in it could have changed them again, else from present storage where nothing could have
since; otherwise they stay unknown.

The constructor of TimelockAppAuth (amiller/dstack-tutorial) allows its first manifest silently,
too. It emits nothing at all, so that no log leads to the transaction that holds its arguments: what
such an app allowed from its creation on is not known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from verifier.evidence.creation import InitialTerms
from verifier.model.chain import Role
from verifier.timeline.model import UNKNOWN, Known, Method, TimelineEvent

_WORD: Final = 32
_SETTERS: Final = {
    "AllowAnyDeviceSet": "allow-any-device",
    "RequireTcbUpToDateSet": "require-tcb-up-to-date",
    "UpgradesDisabled": "upgrades-disabled",
}
"""The event that sets a flag later → what `PolicyChanged` calls it."""
_ANYTHING: Final = frozenset({"Upgraded", "Initialized", "undecodable", "unknown"})
"""Events after which any flag may be another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialFlags:
    """An app's settings from its creation on.

    `problems` are contradictions between the places where a setting can be read; it is unknown
    then.
    """

    any_device: Known[bool] = UNKNOWN
    require_tcb: Known[bool] = UNKNOWN
    upgrades_disabled: Known[bool] = UNKNOWN
    problems: tuple[str, ...] = field(default=())


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
    Storage words are None where they were not read or the code, hence the layout, is not known: the
    word of the flags (its last byte is `_upgradesDisabled`, the one before it `allowAnyDevice`) and
    that of `requireTcbUpToDate`; "at creation" is the end of the block of the creation.
    """
    own = [event for event in events if event.role is Role.APP]
    if not own:
        return InitialFlags()
    problems: list[str] = []
    late = any(
        event.name == "Initialized" and event.transaction != own[0].transaction for event in own
    )

    def known(name: str, setter: str, *ways_said: bool | None) -> Known[bool]:
        said, at_creation, now = ways_said
        blocks = _changed(own, setter)
        at_creation = None if late or own[0].place.block in blocks else at_creation
        ways = (
            (said, Method.CALLDATA),
            (at_creation, Method.STORAGE),
            (None if blocks else now, Method.NEVER_SET),
        )
        found = [(value, method) for value, method in ways if value is not None]
        if len({value for value, _ in found}) > 1:
            problems.append(
                f"{name} at the app's creation is not known: "
                + ", ".join(f"{method.value} says {str(value).lower()}" for value, method in found)
            )
            return UNKNOWN
        return Known(*found[0]) if found else UNKNOWN

    return InitialFlags(
        any_device=known(
            "allowAnyDevice",
            "AllowAnyDeviceSet",
            terms.allow_any_device if terms else None,
            _flag(storage_at_creation, 1),
            _flag(storage_now, 1),
        ),
        require_tcb=known(
            "requireTcbUpToDate",
            "RequireTcbUpToDateSet",
            _requires_tcb(terms),
            _flag(tcb_at_creation, 0),
            _flag(tcb_now, 0),
        ),
        upgrades_disabled=known(
            "disableUpgrades",
            "UpgradesDisabled",
            terms.disable_upgrades if terms else None,
            _flag(storage_at_creation, 0),
            _flag(storage_now, 0),
        ),
        problems=tuple(problems),
    )


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
