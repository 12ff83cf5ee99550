"""What an app's contract allowed from its creation on without an event that says so.

The initializer of DstackApp (Dstack-TEE/dstack kms/auth-eth/contracts/DstackApp.sol) sets
`_upgradesDisabled`, `allowAnyDevice` and, since G6, `requireTcbUpToDate` silently, and the
constructor of TimelockAppAuth (amiller/dstack-tutorial) its first manifest hash. They are read from
the creation's calldata, else from storage right after the creation, else from present storage
where no event could have changed them since; otherwise they stay unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from verifier.evidence.creation import InitialTerms
from verifier.timeline.model import UNKNOWN, Known, Method, Role, TimelineEvent

_WORD: Final = 32
_ANY_DEVICE: Final = "AllowAnyDeviceSet"
_TCB: Final = "RequireTcbUpToDateSet"
_DISABLED: Final = "UpgradesDisabled"
_CHANGES_ALL: Final = frozenset({"Upgraded", "PolicyChanged", "undecodable", "unknown"})
"""Events after the creation that may have changed any flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialFlags:
    """An app's settings from its creation on; `compose_hashes` are those that no event added.

    `problems` are contradictions between the places where a setting can be read; it is unknown
    then.
    """

    any_device: Known[bool] = UNKNOWN
    require_tcb: Known[bool] = UNKNOWN
    upgrades_disabled: Known[bool] = UNKNOWN
    compose_hashes: frozenset[str] = frozenset()
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
    birth = own[0].transaction
    later = [event.name for event in own if event.transaction != birth]
    silent = not _CHANGES_ALL & set(later)
    problems: list[str] = []

    def known(name: str, setter: str, *ways_said: bool | None) -> Known[bool]:
        said, at_creation, now = ways_said
        ways = (
            (said, Method.CALLDATA),
            (at_creation, Method.STORAGE),
            (now if silent and setter not in later else None, Method.NEVER_SET),
        )
        found = [(value, method) for value, method in ways if value is not None]
        if len({value for value, _ in found}) > 1:
            problems.append(
                f"{name} at creation: "
                + ", ".join(f"{method.value} says {value}" for value, method in found)
            )
            return UNKNOWN
        return Known(*found[0]) if found else UNKNOWN

    return InitialFlags(
        any_device=known(
            "allowAnyDevice",
            _ANY_DEVICE,
            terms.allow_any_device if terms else None,
            _flag(storage_at_creation, 1),
            _flag(storage_now, 1),
        ),
        require_tcb=known(
            "requireTcbUpToDate",
            _TCB,
            terms.require_tcb_up_to_date if terms else None,
            _flag(tcb_at_creation, 0),
            _flag(tcb_now, 0),
        ),
        upgrades_disabled=known(
            "disableUpgrades",
            _DISABLED,
            terms.disable_upgrades if terms else None,
            _flag(storage_at_creation, 0),
            _flag(storage_now, 0),
        ),
        problems=tuple(problems),
    )


def _flag(word: bytes | None, place: int) -> bool | None:
    """The boolean at a byte of a storage word, counted from its end; None for another value."""
    if word is None or len(word) != _WORD or word[-1 - place] > 1:
        return None
    return word[-1 - place] == 1
