"""Transactions that create contracts, and what stands behind known creation code."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.chain.constructor import (
    CREATION_ROLE,
    constructor_terms,
    created_by,
    decode_creation,
    decode_creations,
)
from verifier.evidence.chain.contracts import code_fingerprint
from verifier.model.chain import ContractCode
from verifier.model.result import JsonValue

SENDER = "0x970e8128ab834e8eac17ab8e3812f010678cf791"
CODE = bytes(range(64)) + b"\xa1\x64solc\0\x08\0\x18\0\x0a"
KNOWN = ContractCode(
    role=CREATION_ROLE,
    generation="",
    build="",
    length=len(CODE),
    immutable_offsets=(),
    fingerprint=code_fingerprint(CODE, ()),
    source="",
    date="",
)
MANIFEST = b"\x11" * 32


def transaction(**changes: Any) -> dict[str, Any]:
    return {
        "hash": "0x" + "22" * 32,
        "from": SENDER,
        "nonce": "0x0",
        "to": None,
        "blockNumber": "0x10",
        "blockHash": "0x" + "33" * 32,
        "input": "0x" + CODE.hex(),
    } | changes


def words(period: int = 120, flag: int = 1, manifest: bytes = MANIFEST) -> bytes:
    return period.to_bytes(32, "big") + flag.to_bytes(32, "big") + manifest


@pytest.mark.parametrize(
    ("nonce", "address"),
    [
        ("0x0", "0x333c3310824b7c685133f2bedb2ca4b8b4df633d"),
        ("0x1", "0x8bda78331c916a08481428e4b07c96d3e916d165"),
        ("0x2", "0xc9ddedf451bc62ce88bf9292afb13df35b670699"),
    ],
)
def test_addresses_follow_from_sender_and_nonce(nonce: str, address: str) -> None:
    """As go-ethereum has them (crypto/crypto_test.go, TestNewContractAddress)."""
    assert decode_creation(transaction(nonce=nonce), "it").address.lower() == address


@pytest.mark.parametrize(
    "changes",
    [
        {"to": SENDER},
        {"blockNumber": None},
        {"blockHash": None},
        {"nonce": None},
        {"nonce": "0x00"},
        {"from": None},
        {"input": None},
        {"hash": "0x22"},
    ],
    ids=str,
)
def test_what_created_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        decode_creation(transaction(**changes), "it")


def test_of_a_block_only_creations_are_read() -> None:
    block: JsonValue = {"transactions": [transaction(to=SENDER), transaction(), "0x" + "44" * 32]}
    assert [item.nonce for item in decode_creations(block, "it")] == [0]


def test_arguments_of_known_code() -> None:
    terms = constructor_terms([KNOWN], CODE + words())
    assert terms is not None
    assert (terms.notice_period, terms.allow_any_device) == (120, True)
    assert terms.compose_hash == MANIFEST.hex()
    none = constructor_terms([KNOWN], CODE + words(flag=0, manifest=bytes(32)))
    assert none is not None
    assert (none.allow_any_device, none.compose_hash) == (False, "")


@pytest.mark.parametrize(
    "data",
    [
        CODE,
        words(),
        b"",
        CODE + words() + b"\0",
        CODE + words()[:-1],
        CODE + words(flag=2),
        b"\xff" + CODE[1:] + words(),
    ],
)
def test_other_code_or_words_say_nothing(data: bytes) -> None:
    assert constructor_terms([KNOWN], data) is None


@given(st.binary(max_size=400))
def test_any_input_is_read_or_not(data: bytes) -> None:
    assert constructor_terms([KNOWN], data) is None


def test_creation_code_is_known_whatever_arguments_follow() -> None:
    for arguments in (b"", words(), b"\xff" * 7):
        assert created_by([KNOWN], CODE + arguments, CREATION_ROLE) is KNOWN
    assert created_by([KNOWN], CODE, "timelock-creation") is None
    for other in (b"", CODE[1:], b"\0" + CODE, CODE[:-20] + bytes(20), bytes([9]) + CODE[1:]):
        assert created_by([KNOWN], other, CREATION_ROLE) is None
