"""What a transaction service says is read strictly, and who signed is known by the signature."""

import json
from typing import Any

import pytest
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.chain.operation_hashes import safe_transaction_hash
from verifier.evidence.chain.safe_service import (
    MAX_LISTED,
    Proposal,
    parse_queue,
    proven_signers,
)
from verifier.lab import keys
from verifier.lab.safe_service import Waiting, listed, queue, signer

SAFE = b"\x5a" * 20
ADDRESS = to_checksum_address(SAFE)
LABELS = ("one", "two", "three")
OWNERS = tuple(to_checksum_address(signer(label)) for label in LABELS)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def waiting(*signers: str, nonce: int = 4) -> Waiting:
    return Waiting(
        safe=SAFE, chain_id=8453, to=b"\1" * 20, calldata=b"\2" * 36, nonce=nonce, signers=signers
    )


def item(*signers: str, **changed: Any) -> dict[str, Any]:
    return {**listed(waiting(*signers), "2026-06-14T12:00:00Z"), **changed}


def answer(*items: Any, **changed: Any) -> bytes:
    return json.dumps({**queue(items), **changed}).encode()


def proposal(*signers: str, **changed: Any) -> Proposal:
    (found,) = parse_queue(answer(item(*signers, **changed)), ADDRESS, "queue").proposals
    return found


def signed(given_signature: bytes) -> tuple[str, ...]:
    found = proposal(confirmations=[{"signature": "0x" + given_signature.hex()}])
    return proven_signers(found, waiting().digest, OWNERS, ())


def test_what_a_service_lists_is_read_and_gives_the_hash_that_was_signed() -> None:
    found = proposal("one", "two")
    digest = safe_transaction_hash(found.transaction, SAFE, 8453, "1.4.1")
    assert digest == waiting().digest
    assert found.claimed_hash == digest.hex()
    assert proven_signers(found, digest, OWNERS, ()) == tuple(sorted(OWNERS[:2]))
    assert (found.proposer, found.submitted) == (OWNERS[0], 1_781_438_400)
    later = proposal(nonce="9", value=str(2**255), gasToken=None, refundReceiver=None, data=None)
    assert (later.transaction.nonce, later.transaction.value) == (9, 2**255)
    assert later.transaction.data == b""


def test_only_an_owners_own_signature_counts() -> None:
    found = proposal("one", "somebody else", "one")
    digest = waiting().digest
    assert proven_signers(found, digest, OWNERS, ()) == (OWNERS[0],)
    assert proven_signers(found, keccak(b"another"), OWNERS, ()) == ()
    assert proven_signers(found, digest, OWNERS[1:], ()) == ()
    assert proven_signers(found, digest, OWNERS, (OWNERS[2], ADDRESS)) == tuple(
        sorted((OWNERS[0], OWNERS[2]))
    )


def test_every_form_in_which_a_safe_takes_a_signature() -> None:
    key, digest = keys.k256("Safe signer one"), waiting().digest
    raw = key.sign_recoverable(digest, hasher=None)
    s = int.from_bytes(raw[32:64], "big")
    high = raw[:32] + (ORDER - s).to_bytes(32, "big") + bytes([28 - raw[64]])
    message = keccak(b"\x19Ethereum Signed Message:\n32" + digest)
    as_message = key.sign_recoverable(message, hasher=None)
    mine = (OWNERS[0],)
    assert signed(raw[:64] + bytes([raw[64] + 27])) == mine
    assert signed(high) == mine
    assert signed(as_message[:64] + bytes([as_message[64] + 31])) == mine
    claimed = bytes(12) + signer("one") + bytes(32)
    for kind in (0, 1, 2, 26, 29, 30, 33, 255):
        assert signed(claimed + bytes([kind])) == ()
    for broken in (b"", raw[:64], b"\xff" * 65, b"\xff" * 64 + b"\x1b", bytes(64) + b"\x1c"):
        assert signed(broken) == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"safe": to_checksum_address(b"\x01" * 20)},
        {"isExecuted": True},
        {"isExecuted": None},
        {"operation": 2},
        {"nonce": -1},
        {"nonce": True},
        {"nonce": 1.5},
        {"value": "1e3"},
        {"value": str(2**256)},
        {"safeTxHash": "0x12"},
        {"to": None},
        {"data": "zz"},
        {"confirmations": None},
        {"confirmations": [1]},
    ],
    ids=str,
)
def test_what_cannot_be_read_makes_the_queue_not_whole(changed: dict[str, Any]) -> None:
    found = parse_queue(answer(item("one"), item("one", **changed)), ADDRESS, "queue")
    assert len(found.proposals) == 1
    assert found.problem


def test_what_is_not_shown_is_said() -> None:
    assert parse_queue(answer(item()), ADDRESS, "queue").problem == ""
    for raw in (
        answer(item(), next="https://safe.invalid/?offset=100"),
        answer(item(), count=2),
        answer(*[item()] * (MAX_LISTED + 1)),
    ):
        found = parse_queue(raw, ADDRESS, "queue")
        assert len(found.proposals) <= MAX_LISTED
        assert "it says that there are" in found.problem


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"results": []}', b'{"results": {}, "count": 0}', b"\xff"]
)
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_queue(raw, ADDRESS, "queue")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(item())), _JSON)
def test_no_value_of_a_field_is_too_hostile(name: str, value: Any) -> None:
    found = parse_queue(answer(item("one", **{name: value})), ADDRESS, "queue")
    for one in found.proposals:
        proven_signers(one, waiting().digest, OWNERS, ())
