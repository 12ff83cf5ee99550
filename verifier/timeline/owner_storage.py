"""Everything that a Safe or a timelock stores, by its own answers and logs.

Known code does not say what stands in its storage: whoever made a Safe, and whatever its owners
called by DELEGATECALL, may have put a module there that no list names and that acts for it; whoever
made a timelock may have left an operation in it that is due, and that no log announced. The storage
root that a proof shows is that of these words alone only where there is nothing else.

Layout of a Safe (safe-global/safe-smart-account libraries/SafeStorage.sol, the same in 1.3.0 and
1.4.1): the singleton in slot 0, `modules` in 1, `owners` in 2, `ownerCount` in 3, `threshold` in 4,
`nonce` in 5, `signedMessages` in 7, `approvedHashes` in 8; guard and fallback handler in slots of
their own. Modules and owners are linked lists that begin and end at address 1.

Layout of a timelock (OpenZeppelin AccessControl and TimelockController, 4.x and 5.x): `_roles` in
slot 0, each with its members and, in the slot after those, its admin role; `_timestamps` in 1,
which is 1 for an operation that was made; `_minDelay` in 2.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from verifier.chain import calls
from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.tries import storage_root
from verifier.evidence.codec import whole_number
from verifier.model.timeline import TimelineEvent
from verifier.timeline.owners import OwnerReads

_SINGLETON, _MODULES, _OWNERS, _OWNER_COUNT, _THRESHOLD, _NONCE = range(6)
_SIGNED, _APPROVED = 7, 8
_SENTINEL: Final = f"0x{calls.FIRST_MODULE:040x}"
_ROLES, _TIMESTAMPS, _MIN_DELAY = range(3)
_DONE: Final = 1
_WORD: Final = 32
_WORDS: Final = 2 ** (8 * _WORD)


def safe_root(found: OwnerReads, events: Iterable[TimelineEvent]) -> bytes | None:
    """The storage root of a Safe that holds what it answers and what its logs say was approved,
    and nothing else; None where an answer is missing."""
    if found.signers is None or found.modules is None or found.threshold is None:
        return None
    if found.nonce is None or None in (found.singleton, found.guard, found.handler):
        return None
    words = {
        _SINGLETON: _address(found.singleton),
        _OWNER_COUNT: _number(len(found.signers)),
        _THRESHOLD: _number(found.threshold),
        _NONCE: _number(found.nonce),
        int(calls.GUARD_SLOT, 16): _address(found.guard),
        int(calls.HANDLER_SLOT, 16): _address(found.handler),
        **dict(_linked(_MODULES, found.modules)),
        **dict(_linked(_OWNERS, found.signers)),
    }
    for event in events:
        if event.name == "ApproveHash":
            owner = _element(_address(str(event.args.get("owner"))), _APPROVED)
            words[_element(_bytes(event, "approvedHash"), owner)] = _number(1)
        elif event.name == "SignMsg":
            words[_element(_bytes(event, "msgHash"), _SIGNED)] = _number(1)
    return storage_root(words)


def timelock_root(found: OwnerReads, events: Iterable[TimelineEvent]) -> bytes | None:
    """The storage root of a timelock that holds what its logs say, and nothing else; None where its
    delay, or the time of an operation, is not known."""
    if found.min_delay is None:
        return None
    words = {_MIN_DELAY: _number(found.min_delay)}
    for event in events:
        match event.name:
            case "RoleGranted" | "RoleRevoked":
                role = _element(_bytes(event, "role"), _ROLES)
                member = _element(_address(str(event.args.get("account"))), role)
                words[member] = _number(event.name == "RoleGranted")
            case "RoleAdminChanged":
                role = _element(_bytes(event, "role"), _ROLES)
                words[(role + 1) % _WORDS] = _bytes(event, "newAdminRole")
            case "CallScheduled":
                delay = whole_number(event.args.get("delay"))
                if event.time is None or delay is None:
                    return None
                due = (event.time + delay) % _WORDS
                words[_element(_bytes(event, "id"), _TIMESTAMPS)] = _number(due)
            case "CallExecuted" | "Cancelled":
                done = _DONE if event.name == "CallExecuted" else 0
                words[_element(_bytes(event, "id"), _TIMESTAMPS)] = _number(done)
    return storage_root(words)


def _linked(slot: int, members: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """The elements of a mapping in which each member leads to the next."""
    for member, following in zip((_SENTINEL, *members), (*members, _SENTINEL), strict=True):
        yield _element(_address(member), slot), _address(following)


def _element(key: bytes, slot: int) -> int:
    """keccak256(pad32(key) || pad32(slot)): Solidity, "Layout of State Variables in Storage"."""
    return int.from_bytes(keccak256(key + _number(slot)), "big")


def _bytes(event: TimelineEvent, name: str) -> bytes:
    return bytes.fromhex(str(event.args.get(name)))


def _address(text: str | None) -> bytes:
    return bytes.fromhex((text or "")[2:]).rjust(_WORD, b"\0")


def _number(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")
