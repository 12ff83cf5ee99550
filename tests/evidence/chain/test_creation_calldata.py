"""The terms of a contract's creation, with eth_abi as encoder."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.evidence.chain.creation_calldata import (
    SELECTORS,
    InitialTerms,
    initial_terms,
)
from verifier.evidence.chain.ethereum import checksum_address, keccak256

OWNER, APP, OTHER = b"\x11" * 20, b"\x22" * 20, b"\x33" * 20
DEVICE, HASH = b"\x44" * 32, b"\x55" * 32
FIVE = "deployAndRegisterApp(address,bool,bool,bytes32,bytes32)"
SIX = "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)"
DEPLOY = "deployApp(address,bool,bool,bytes32,bytes32)"
INITIALIZE = "initialize(address,bool,bool,bytes32,bytes32)"
INITIALIZE_SIX = "initialize(address,bool,bool,bool,bytes32,bytes32)"
INITIALIZE_G3 = "initialize(address,address,bool,bool,bytes32,bytes32)"


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def call(signature: str, values: list[Any]) -> bytes:
    types = signature.partition("(")[2].removesuffix(")").split(",")
    return keccak256(signature.encode())[:4] + encode(types, values)


def terms(signature: str, **changes: Any) -> InitialTerms:
    plain: dict[str, Any] = {
        "owner": checksum_address(OWNER),
        "disable_upgrades": True,
        "require_tcb_up_to_date": None,
        "allow_any_device": False,
        "device_id": DEVICE.hex(),
        "compose_hash": HASH.hex(),
        "app_id": "",
        "signature": signature,
        "nested": False,
    }
    return InitialTerms(**plain | changes)


PLAIN = call(FIVE, [OWNER, True, False, DEVICE, HASH])
ANY_DEVICE = call(FIVE, [OWNER, True, True, DEVICE, HASH])


def test_selectors_are_hashes_of_signatures() -> None:
    assert set(SELECTORS) == {FIVE, SIX, DEPLOY, INITIALIZE, INITIALIZE_SIX, INITIALIZE_G3}
    for signature, selector in SELECTORS.items():
        assert keccak256(signature.encode())[:4].hex() == selector


@pytest.mark.parametrize("signature", [FIVE, DEPLOY, INITIALIZE])
def test_five_arguments(signature: str) -> None:
    found = initial_terms(call(signature, [OWNER, True, False, DEVICE, HASH]), APP)
    assert found == terms(signature)


@pytest.mark.parametrize("signature", [SIX, INITIALIZE_SIX])
def test_six_arguments_stand_in_another_order(signature: str) -> None:
    found = initial_terms(call(signature, [OWNER, False, True, False, DEVICE, bytes(32)]), None)
    assert found == terms(
        signature,
        disable_upgrades=False,
        require_tcb_up_to_date=True,
        compose_hash="00" * 32,
    )


def test_the_app_id_of_the_oldest_initializer() -> None:
    calldata = call(INITIALIZE_G3, [OWNER, APP, False, True, DEVICE, HASH])
    expected = terms(INITIALIZE_G3, disable_upgrades=False, allow_any_device=True, app_id=APP.hex())
    assert initial_terms(calldata, APP) == initial_terms(calldata, None) == expected
    assert initial_terms(calldata, OTHER) is None
    both = calldata + call(INITIALIZE_G3, [OWNER, OTHER, True, True, DEVICE, HASH])
    assert initial_terms(both, None) is None
    assert initial_terms(both, APP) == expected


NESTING: Final[dict[str, Callable[[bytes], bytes]]] = {
    "Safe": lambda inner: call(
        "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)",
        [OTHER, 0, inner, 0, 0, 0, 0, bytes(20), bytes(20), b"\x01" * 65],
    ),
    "smart account": lambda inner: call("execute(address,uint256,bytes)", [OTHER, 0, inner]),
    "packed batch": lambda inner: call(
        "multiSend(bytes)", [b"\0" + OTHER + word(0) + word(len(inner)) + inner]
    ),
    "timelock": lambda inner: call(
        "execute(address,uint256,bytes,bytes32,bytes32)",
        [OTHER, 0, inner, bytes(32), bytes(32)],
    ),
    "proxy's constructor": lambda inner: (
        bytes.fromhex("608060405260") + encode(["address", "bytes"], [OTHER, inner])
    ),
    "the same call twice": lambda inner: b"\0" + inner + b"\0" + inner,
}


@pytest.mark.parametrize("around", NESTING)
@pytest.mark.parametrize("signature", [FIVE, INITIALIZE])
def test_nested(around: str, signature: str) -> None:
    calldata = NESTING[around](call(signature, [OWNER, True, False, DEVICE, HASH]))
    assert initial_terms(calldata, APP) == terms(signature, nested=True)


def test_two_different_calls_say_nothing() -> None:
    for calldata in (b"\0" + PLAIN + ANY_DEVICE, PLAIN + ANY_DEVICE, ANY_DEVICE + PLAIN):
        assert initial_terms(calldata, APP) is None
    assert initial_terms(PLAIN + PLAIN, APP) == terms(FIVE)
    assert initial_terms(PLAIN + b"a suffix of a wallet", APP) == terms(FIVE)


BAD: Final = {
    "empty": b"",
    "selector alone": PLAIN[:4],
    "cut": PLAIN[:-1],
    "dirty owner": PLAIN[:4] + b"\1" + PLAIN[5:],
    "no owner": call(FIVE, [bytes(20), True, False, DEVICE, HASH]),
    "boolean of two": PLAIN[: 4 + 32] + word(2) + PLAIN[4 + 64 :],
    "boolean in its first byte": PLAIN[: 4 + 32] + word(1)[::-1] + PLAIN[4 + 64 :],
    "dirty app id": call(INITIALIZE_G3, [OWNER, APP, True, True, DEVICE, HASH]).replace(
        bytes(12) + APP, b"\1" + bytes(11) + APP
    ),
    "another function": b"\0\0\0\0" + PLAIN[4:],
}


@pytest.mark.parametrize("case", BAD)
def test_not_canonical(case: str) -> None:
    for app in (None, APP):
        assert initial_terms(BAD[case], app) is None
        assert initial_terms(b"\0" * 7 + BAD[case], app) is None


@settings(max_examples=300)
@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 163), st.integers(0, 255))
def test_mutated_calls_never_raise(before: bytes, after: bytes, at: int, byte: int) -> None:
    calldata = bytearray(before + PLAIN + after)
    calldata[len(before) + at] = byte
    found = initial_terms(bytes(calldata), APP)
    if found is not None:
        start = len(before)
        values = [
            bytes.fromhex(found.owner[2:]),
            found.disable_upgrades,
            found.allow_any_device,
            bytes.fromhex(found.device_id),
            bytes.fromhex(found.compose_hash),
        ]
        again = call(FIVE, values)
        assert again == calldata[start : start + len(again)]
        assert found.nested == bool(before)
    for size in range(0, len(calldata), 17):
        initial_terms(bytes(calldata[:size]), APP)


def test_calldata_of_nothing_but_selectors() -> None:
    """As large as a node relays: the search is linear."""
    assert initial_terms(PLAIN[:4] * (128 * 1024 // 4), APP) is None
