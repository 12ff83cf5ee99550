"""What no event carries: the terms that an app's contract was created with, read from calldata.

`initialize` of a DstackApp sets three flags silently: whether upgrades are disabled, whether any
device is allowed, whether the TCB must be up to date. They stand in the call of the factory or, for
a contract deployed otherwise, in the argument of its proxy's constructor. Source: Dstack-TEE/dstack
kms/auth-eth/contracts (DstackKms.sol, DstackApp.sol; KmsAuth.sol and AppAuth.sol before them).

A smart account or a deployer passes such a call on inside its own calldata, at any offset, and
nothing forces it to pass on what stands there. So a nested call is what the sender wrote, a call of
the factory itself is what was executed.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.chain.ethereum import checksum_address
from verifier.patterns import pattern
from verifier.reference.generations import GENERATIONS

SELECTORS: Final[Mapping[str, str]] = {
    signature: selector
    for generation in GENERATIONS.values()
    for signature, selector in generation.creations
}
"""Signature → first four bytes of its keccak256. After the owner stand, where they are there: the
app id (an address), then disableUpgrades, requireTcbUpToDate, allowAnyDevice, deviceId,
composeHash."""

_SIGNATURES: Final = {bytes.fromhex(selector): name for name, selector in SELECTORS.items()}
_CALL: Final = pattern(b"|".join(map(re.escape, _SIGNATURES)))
_WORD: Final = 32
_LONGEST: Final = 6 * _WORD
_ADDRESS_PADDING: Final = bytes(12)
_BOOLEANS: Final = {bytes(31) + b"\0": False, bytes(31) + b"\1": True}
_NOBODY: Final = bytes(_WORD)


class InitialTerms(Struct, frozen=True, kw_only=True):
    """What an app's contract was created with. Hex is lower-case without 0x.

    owner                   the first owner, EIP-55
    disable_upgrades        whether the contract's code can never be replaced
    require_tcb_up_to_date  whether the TCB must be up to date; None in generations without it
    allow_any_device        whether every machine may run the app
    device_id               the first allowed machine, 32 bytes of hex; zeros for none
    compose_hash            the first allowed manifest, 32 bytes of hex; zeros for none
    app_id                  the app id, 20 bytes of hex; "" where it is no argument
    signature               the signature of the function that was called
    nested                  whether the call stood inside another one's data or behind a contract's
                            code
    """

    owner: str
    disable_upgrades: bool
    require_tcb_up_to_date: bool | None
    allow_any_device: bool
    device_id: str
    compose_hash: str
    app_id: str
    signature: str
    nested: bool


def initial_terms(calldata: bytes, app: bytes | None) -> InitialTerms | None:
    """The terms in a transaction's input, wherever they stand in it.

    `app` is the app id (20 bytes): terms that name another one are not the app's. None for no
    terms, and for two that differ. A call counts whose words are canonical: addresses have twelve
    zero bytes before them, booleans are 0 or 1, the owner is not zero.

    Not nested terms are what was executed if the transaction's recipient is the factory, or the app
    itself; any other contract may do anything with the same words.
    """
    found: set[InitialTerms] = set()
    direct = False
    for call in _CALL.finditer(calldata):
        terms = _read(_SIGNATURES[call[0]], calldata[call.end() : call.end() + _LONGEST])
        if terms is not None and (app is None or terms.app_id in ("", app.hex())):
            found.add(terms)
            direct = direct or call.start() == 0
    return replace(found.pop(), nested=not direct) if len(found) == 1 else None


def _read(signature: str, data: bytes) -> InitialTerms | None:
    """The arguments of one call, None if they are cut off or not canonical."""
    types = signature.partition("(")[2].removesuffix(")").split(",")
    words = _words(data)[: len(types)]
    if len(words) < len(types) or len(words[-1]) < _WORD:
        return None
    addresses = [word for word, kind in zip(words, types, strict=True) if kind == "address"]
    flags = [word for word, kind in zip(words, types, strict=True) if kind == "bool"]
    if words[0] == _NOBODY or not all(word.startswith(_ADDRESS_PADDING) for word in addresses):
        return None
    if not all(word in _BOOLEANS for word in flags):
        return None
    disable_upgrades, *require_tcb, allow_any_device = (_BOOLEANS[word] for word in flags)
    return InitialTerms(
        owner=checksum_address(words[0][12:]),
        disable_upgrades=disable_upgrades,
        require_tcb_up_to_date=require_tcb[0] if require_tcb else None,
        allow_any_device=allow_any_device,
        device_id=words[-2].hex(),
        compose_hash=words[-1].hex(),
        app_id="".join(word[12:].hex() for word in addresses[1:]),
        signature=signature,
        nested=False,
    )


def _words(data: bytes) -> list[bytes]:
    return [data[at : at + _WORD] for at in range(0, len(data), _WORD)]
