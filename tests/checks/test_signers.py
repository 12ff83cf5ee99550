"""`verify signer`: who signed a key chain, whatever document it stands in."""

import json
from functools import cache
from typing import Final

import pytest
from eth_keys.datatypes import PrivateKey

from verifier.checks.engine import Outcome
from verifier.checks.key_management.signers import identify_signers, readings
from verifier.cli.question import simulated_reference
from verifier.errors import EvidenceError
from verifier.evidence.chain.ethereum import signed_message_digest
from verifier.evidence.codec import JsonObject
from verifier.evidence.guest.kms_answers import parse_chains
from verifier.evidence.import_files import recognise
from verifier.lab import keys
from verifier.lab.world import World, build
from verifier.model.result import SkipKind, Status

APP: Final = b"\x11" * 20
MESSAGE: Final = b"\x22" * 32


@cache
def world() -> World:
    return build()


def derived(algorithm: str = "secp256k1") -> PrivateKey:
    return PrivateKey(keys.k256(f"derived onchain {APP.hex()} {algorithm}").secret)


def get_key(purpose: str) -> JsonObject:
    chain = world().kms.app_key(APP, purpose)
    links = [chain.app_signature.hex(), chain.kms_signature.hex()]
    return {"key": derived().to_bytes().hex(), "signature_chain": [*links]}


def oracle(**changes: object) -> JsonObject:
    chain = world().kms.app_key(APP, "ethereum")
    public = derived().public_key
    signature = derived().sign_msg_hash(signed_message_digest(MESSAGE)).to_bytes()
    document: JsonObject = {
        "price": 42,
        "appId": None,
        "messageHash": "0x" + MESSAGE.hex(),
        "signature": "0x" + signature.hex(),
        "signerAddress": public.to_checksum_address(),
        "signatureChain": {
            "derivedPubkey": "0x" + chain.public_key.hex(),
            "appSignature": "0x" + chain.app_signature.hex(),
            "kmsSignature": "0x" + chain.kms_signature.hex(),
        },
    }
    return {**document, **changes}  # type: ignore[dict-item]


def judged(document: JsonObject, app_id: bytes = b"", purpose: str | None = None) -> Outcome:
    reference = simulated_reference(world().reference())
    chains = parse_chains(json.dumps(document).encode(), "chain")
    found = [item for chain in chains for item in readings(chain, purpose, app_id)]
    return identify_signers(found, reference)


@pytest.mark.parametrize("purpose", ["", "signing", "ethereum"])
def test_the_answer_of_get_key_for_the_app_that_is_named(purpose: str) -> None:
    found = judged(get_key(purpose), APP)
    assert found.status is Status.PASS
    assert derived().to_bytes().hex() not in str(found)


def test_a_purpose_that_is_named_and_nobody_would_try() -> None:
    assert judged(get_key("a purpose"), APP).status is Status.SKIP
    assert judged(get_key("a purpose"), APP, "a purpose").status is Status.PASS


@pytest.mark.parametrize("document", [get_key("signing"), oracle()])
def test_an_answer_that_names_no_app(document: JsonObject) -> None:
    found = judged(document)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "--app-id" in found.remediation
    assert judged(document, APP).status is Status.PASS
    assert judged(document, b"\x12" * 20).status is Status.SKIP


def test_the_message_of_an_oracle_is_signed_by_the_key_of_its_chain() -> None:
    other = PrivateKey(keys.k256("another key").secret)
    signature = other.sign_msg_hash(signed_message_digest(MESSAGE)).to_bytes().hex()
    address = other.public_key.to_checksum_address()
    for changes in (
        {"signature": signature},
        {"messageHash": "0x" + "23" * 32},
        {"signerAddress": address},
    ):
        assert judged(oracle(**changes), APP).status is Status.FAIL
    assert judged({**oracle(), "appId": APP.hex()}).status is Status.PASS


def test_a_chain_of_another_app_than_the_named_one() -> None:
    with pytest.raises(EvidenceError, match="is about app"):
        judged({**oracle(), "appId": APP.hex()}, b"\x12" * 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "00" * 32},
        {"key": "ff" * 32},
        {"key": "11" * 31},
        {"signature_chain": ["00" * 65]},
        {"signature_chain": ["00" * 65, "00"]},
        {"signature_chain": {}},
        {"signature_chain": [1, 2]},
    ],
)
def test_an_answer_of_get_key_that_is_none(changes: JsonObject) -> None:
    with pytest.raises(EvidenceError):
        judged({**get_key("signing"), **changes}, APP)


def test_a_private_key_is_never_imported() -> None:
    temporary: JsonObject = {"temp_ca_cert": "", "temp_ca_key": "", "ca_cert": ""}
    for document in (get_key("signing"), temporary):
        with pytest.raises(EvidenceError, match="private key"):
            recognise("answer.json", json.dumps(document).encode())


def test_a_purpose_of_another_algorithm_finds_nothing() -> None:
    chain = world().kms.app_key(APP, "signing", "ed25519")
    links = [chain.app_signature.hex(), chain.kms_signature.hex()]
    document: JsonObject = {**get_key("signing"), "signature_chain": [*links]}
    assert judged(document, APP).status is Status.SKIP
