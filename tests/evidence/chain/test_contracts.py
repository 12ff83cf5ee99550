"""Contract calls and answers, with independent encoders as oracles."""

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evidence.variants import each
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import BootInfo
from verifier.evidence.chain.ethereum import keccak256

KMS = "0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C"
BOOT = BootInfo(
    app_id=bytes(range(20)),
    compose_hash=b"\1" * 32,
    instance_id=b"",
    device_id=b"\2" * 32,
    mr_aggregated=b"\3" * 32,
    mr_system=b"\4" * 32,
    os_image_hash=b"\5" * 32,
    tcb_status="UpToDate",
    advisory_ids=("INTEL-SA-00001", "INTEL-SA-00002"),
)
LOG: dict[str, Any] = {
    "address": KMS,
    "topics": ["0x" + "11" * 32],
    "data": "0x",
    "blockNumber": "0x10",
    "logIndex": "0x0",
    "transactionHash": "0x" + "22" * 32,
    "removed": False,
}


def word(number: int) -> str:
    return f"{number:064x}"


def text(value: str) -> str:
    raw = value.encode()
    return word(len(raw)) + raw.hex().ljust(-(-len(raw) // 32) * 64, "0")


def test_selectors_and_topics_are_hashes_of_signatures() -> None:
    for signature, selector in contracts.SELECTORS.items():
        assert "0x" + keccak256(signature.encode())[:4].hex() == selector, signature
    assert contracts.SELECTORS[next(s for s in contracts.SELECTORS if s.startswith("isApp"))] == (
        contracts.IS_APP_ALLOWED
    )
    for signature, topic in (
        ("ComposeHashAdded(bytes32)", contracts.COMPOSE_HASH_ADDED),
        ("ComposeHashRemoved(bytes32)", contracts.COMPOSE_HASH_REMOVED),
        ("Upgraded(address)", contracts.UPGRADED),
    ):
        assert "0x" + keccak256(signature.encode()).hex() == topic
    slot = int.from_bytes(keccak256(b"eip1967.proxy.implementation"), "big") - 1
    assert f"0x{slot:064x}" == contracts.IMPLEMENTATION_SLOT


def test_is_app_allowed_word_by_word() -> None:
    """The encoding that the ABI specification gives, written out by hand."""
    words = [
        word(0x20),
        bytes(12).hex() + BOOT.app_id.hex(),
        BOOT.compose_hash.hex(),
        word(0),
        *(f"{number:02x}" * 32 for number in (2, 3, 4, 5)),
        word(9 * 32),
        word(11 * 32),
        text("UpToDate"),
        word(2),
        word(2 * 32),
        word(4 * 32),
        text("INTEL-SA-00001"),
        text("INTEL-SA-00002"),
    ]
    method, params = contracts.is_app_allowed(KMS, BOOT, "0x10")
    expected = {"data": contracts.IS_APP_ALLOWED + "".join(words), "to": KMS.lower()}
    assert (method, params) == ("eth_call", [expected, "0x10"])


def hexed(types: list[str], values: list[Any]) -> str:
    return "0x" + encode(types, values).hex()


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=100), min_size=4, max_size=4))
def test_kms_info_against_eth_abi(parts: list[bytes]) -> None:
    info = contracts.decode_kms_info(hexed(["bytes"] * 4, parts), "kmsInfo")
    assert [info.k256_pubkey, info.ca_pubkey, info.quote, info.event_log] == parts


@settings(max_examples=40)
@given(st.booleans(), st.text(st.characters(codec="utf-8"), max_size=80))
def test_is_app_allowed_answers_against_eth_abi(allowed: bool, reason: str) -> None:  # noqa: FBT001
    value = hexed(["bool", "string"], [allowed, reason])
    assert contracts.decode_is_app_allowed(value, "x") == (allowed, reason)


BAD_ANSWERS: dict[str, Any] = {
    "empty": "0x",
    "cut": "0x" + word(1) + word(64),
    "boolean of two": "0x" + word(2) + word(64) + word(0),
    "length beyond the end": "0x" + word(1) + word(64) + word(1000),
    "offset beyond the end": "0x" + word(1) + word(1 << 200) + word(0),
    "huge length": "0x" + word(1) + word(64) + word(1 << 255),
    "not UTF-8": "0x" + word(1) + word(64) + word(1) + "ff".ljust(64, "0"),
    "dirty padding": "0x" + word(1) + word(64) + word(1) + "61".ljust(64, "1"),
    "no 0x": word(1) + word(64) + word(0),
    "upper case": "0x" + word(1) + word(64) + word(1) + "4A".ljust(64, "0"),
    "a number": 5,
    "null": None,
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_malformed_answers(case: str) -> None:
    with pytest.raises(EvidenceError):
        contracts.decode_is_app_allowed(BAD_ANSWERS[case], "x")


def test_words() -> None:
    assert contracts.decode_bool("0x" + word(1), "x") is True
    assert contracts.decode_bool("0x" + word(0), "x") is False
    assert contracts.decode_address("0x" + bytes(12).hex() + KMS[2:].lower(), "x") == KMS
    bad: list[Any] = [
        "0x",
        "0x01",
        "0x" + word(2),
        "0x" + word(1) + "00",
        "0X" + word(1),
        word(1),
        True,
        1,
    ]
    for value in bad:
        with pytest.raises(EvidenceError):
            contracts.decode_bool(value, "x")
    with pytest.raises(EvidenceError, match="not an address"):
        contracts.decode_address("0x" + "01" * 32, "x")


@pytest.mark.parametrize(
    "value",
    ["0x", "0x01", "0X1", "1", "-0x1", "0x1_0", " 0x1", "0xA", "0xg", "", None, 1, True],
    ids=repr,
)
def test_quantities_that_are_not_canonical(value: Any) -> None:
    assert contracts.decode_quantity("0x0", "x") == 0
    assert contracts.decode_quantity("0xa", "x") == 10
    with pytest.raises(EvidenceError):
        contracts.decode_quantity(value, "x")


def test_logs_in_order() -> None:
    second = {**LOG, "logIndex": "0x1"}
    third = {**LOG, "blockNumber": "0x11", "blockTimestamp": "0x64"}
    timed = contracts.decode_timed_logs([LOG, second, third], "logs")
    logs = contracts.decode_logs([LOG, second, third], "logs")
    assert [(log.block, log.log_index, time) for log, time in timed] == [
        (16, 0, None),
        (16, 1, None),
        (17, 0, 100),
    ]
    assert logs[0].topics == (b"\x11" * 32,)
    assert contracts.decode_logs([], "logs") == ()
    others: list[Any] = [[second, LOG], [LOG, LOG], [third, LOG], None, {}, [1], "0x"]
    for bad in others:
        with pytest.raises(EvidenceError):
            contracts.decode_logs(bad, "logs")


@pytest.mark.parametrize(
    "changes",
    [
        *each("removed", [True, 1, "false", []]),
        *each("topics", [None, "0x", ["0x11"], [5], ["0x" + "AA" * 32]]),
        *each("data", [None, "", "0x0", "00"]),
        *each("blockNumber", [None, "0x", 16, "0x010", "pending"]),
        *each("logIndex", [None, "0x00"]),
        {"blockTimestamp": "64"},
        {"address": 5},
    ],
    ids=repr,
)
def test_malformed_logs(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        contracts.decode_timed_logs([{**LOG, **changes}], "logs")


def test_code_fingerprint() -> None:
    body, metadata = bytes(range(100)), b"\xa1meta"
    code = body + metadata + len(metadata).to_bytes(2, "big")
    assert contracts.code_fingerprint(code, ()) == "0x" + keccak256(body).hex()
    blank = body[:10] + bytes(32) + body[42:]
    other = body[:10] + b"\xff" * 32 + body[42:] + code[100:]
    for same in (code, other):
        fingerprint = contracts.code_fingerprint(same, (10,))
        assert fingerprint == "0x" + keccak256(blank).hex()
    for bad, offsets in ((b"", ()), (b"\0", ()), (b"\xff\xff", ()), (code, (80,))):
        with pytest.raises(EvidenceError):
            contracts.code_fingerprint(bad, offsets)
