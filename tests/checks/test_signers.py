"""`verify signer`: who signed a key chain, whatever document it stands in."""

import json
from functools import cache
from typing import Final

import pytest
from eth_keys.datatypes import PrivateKey
from msgspec.structs import replace

from verifier.checks.engine import Outcome
from verifier.checks.key_management.signers import identify_signers, readings
from verifier.cli.question import simulated_reference
from verifier.errors import EvidenceError
from verifier.evidence.chain.ethereum import recover_key, signed_message_digest
from verifier.evidence.codec import JsonObject
from verifier.evidence.guest import kms_answers
from verifier.evidence.guest.kms_answers import key_claim_digest, parse_chains
from verifier.evidence.import_files import recognise
from verifier.lab import keys
from verifier.lab.world import World, build
from verifier.model.result import SkipKind, Status
from verifier.reference.values import Denied

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


@pytest.mark.parametrize(
    ("stated", "named", "status"),
    [
        ("signing", None, Status.PASS),
        ("ethereum", None, Status.FAIL),
        ("", None, Status.PASS),
        ("", "signing", Status.PASS),
        ("", "", Status.FAIL),
    ],
)
def test_a_purpose_that_is_known_is_the_only_one(
    stated: str, named: str | None, status: Status
) -> None:
    """Others are tried where neither the chain nor the user tells it, and one that is true is not
    held against the keys that the chain claims by one that is not."""
    document = {**world().kms.app_key(APP, "signing").to_json(), "purpose": stated}
    assert judged(document, APP, named).status is status


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


def get_key_v1(domain: str, algorithm: str = "secp256k1") -> JsonObject:
    """What an app publishes of an answer of `/v1/GetKey`."""
    return world().kms.app_key_v1(APP, domain, algorithm)


@pytest.mark.parametrize("algorithm", ["secp256k1", "ed25519"])
@pytest.mark.parametrize("domain", ["", "a/b", "k\0:ey", "naïve"])
def test_a_chain_of_get_key_v1(domain: str, algorithm: str) -> None:
    document = get_key_v1(domain, algorithm)
    assert judged(document).status is Status.PASS
    nameless = {name: document[name] for name in ("public_key", "signature_chain")}
    chains = parse_chains(json.dumps(nameless).encode(), "chain")
    (found,) = (item for chain in chains for item in readings(chain, None, APP, domain))
    reference = simulated_reference(world().reference())
    assert identify_signers([found], reference).status is Status.PASS


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": "another"},
        {"app_id": "12" * 20},
        {"public_key": "02" + "11" * 32},
        {"signature_chain": ["11" * 65, "22" * 65]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_forged_chain_of_get_key_v1_is_of_no_known_kms(changes: JsonObject) -> None:
    document = {**get_key_v1("vault"), **changes}
    try:
        found = judged(document)
    except EvidenceError:
        return
    assert found.status is Status.SKIP


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "signing"},
        {"algorithm": "k256"},
        {"algorithm": "ed25519"},
        {"domain": 5},
        {"public_key": "00" * 31},
        {"signature_chain": ["00" * 65]},
    ],
    ids=repr,
)
def test_a_malformed_chain_of_get_key_v1(changes: JsonObject) -> None:
    with pytest.raises(EvidenceError):
        judged({**get_key_v1("vault"), **changes})


def test_an_answer_of_get_key_v1_that_names_no_domain() -> None:
    document = get_key_v1("vault")
    secret = keys.k256(f"derived v1 onchain {APP.hex()} secp256k1 vault").secret
    answer: JsonObject = {
        "key": secret.hex(),
        "public_key": document["public_key"],
        "signature_chain": document["signature_chain"],
    }
    unnamed = judged(answer, APP)
    assert unnamed.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "--domain" in unnamed.remediation
    with pytest.raises(EvidenceError, match="no purpose"):
        judged(answer, APP, "signing")
    with pytest.raises(EvidenceError, match="not that of the key"):
        judged({**answer, "key": "11" * 32}, APP)


def test_the_claim_of_the_specification() -> None:
    """docs/guest-api-v1.md of Dstack-TEE/dstack: the worked claim, and who signed it."""
    public = bytes.fromhex("03d962450a41748021c8b02787ac36ce642ff0ae25f4c55019eb527e1112cfd764")
    link = bytes.fromhex(
        "5b6193729ce7976ec67863f21692d4b98c69832698aae8e001a7d33a6f818b6e"
        "46ca950725b6e90e8ca9bcf394abd03ce264bf9b7eec1e91693247f9dd53c26901"
    )
    root = bytes.fromhex("1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b")
    digest = key_claim_digest("secp256k1", "storage-encryption", public)
    signer = PrivateKey(root).public_key.to_compressed_bytes()
    assert recover_key(digest, link, "link") == signer


@pytest.mark.parametrize("field", ["kms_root_address", "kms_public_key", "app_public_key"])
def test_a_chain_claims_no_other_keys_than_those_that_signed_it(field: str) -> None:
    (found, *_) = parse_chains(json.dumps(get_key("signing")).encode(), "chain")
    chain = replace(found, app_id=APP, purpose="signing")
    signed = kms_answers.app_key_digest(APP, recover_key(chain.digest, chain.app_signature, "app"))
    own = {
        "kms_root_address": "0x" + world().kms.root_address.hex(),
        "kms_public_key": recover_key(signed, chain.kms_signature, "KMS"),
        "app_public_key": recover_key(chain.digest, chain.app_signature, "app"),
    }
    others = {"kms_root_address": "0x" + "11" * 20}
    reference = simulated_reference(world().reference())
    for claimed, status in (
        (own[field], Status.PASS),
        (others.get(field, derived("another").public_key.to_compressed_bytes()), Status.FAIL),
    ):
        assert identify_signers([replace(chain, **{field: claimed})], reference).status is status


def test_a_chain_of_a_root_key_that_anybody_can_make_is_refused() -> None:
    reference = simulated_reference(world().reference())
    root = "0x" + world().kms.root_address.hex()
    denied = Denied(kind="k256-address", value=root, why="published", source="", date="")
    (chain, *_) = parse_chains(json.dumps(get_key("signing")).encode(), "chain")
    read = readings(chain, "signing", APP)
    for known, status in (((), Status.PASS), ((denied,), Status.FAIL)):
        found = identify_signers(read, replace(reference, denied=known))
        assert (found.status, "denied: published" in found.summary) == (status, bool(known))
