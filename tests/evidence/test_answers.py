"""What a KMS signs, what Intel publishes, what nodes answer."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from eth_keys.datatypes import PrivateKey

from tests.evidence.variants import each
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain.ethereum import checksum_address, keccak256, key_address, recover_key
from verifier.evidence.chain.json_rpc import Exchanges, encode_request, parse_answer
from verifier.evidence.guest import kms_answers
from verifier.evidence.guest.cloud import parse_cloud_attestations
from verifier.evidence.guest.tcb_info import parse_info, parse_quote_answer, parse_tcb_info
from verifier.evidence.td.collateral import MAX_PARTS, Part, parse_crl, read_collateral
from verifier.lab.world import World

ROOT = PrivateKey(b"\1" * 32)
APP = PrivateKey(b"\2" * 32)
DERIVED = PrivateKey(b"\3" * 32)
APP_ID = bytes(range(20))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FMSPC = "1ABC0DE00000"
PCS = "https://pcs.lab.invalid"


def compressed(key: PrivateKey) -> bytes:
    raw: bytes = key.public_key.to_compressed_bytes()
    return raw


def sign(key: PrivateKey, digest: bytes) -> bytes:
    raw: bytes = key.sign_msg_hash(digest).to_bytes()
    return raw


def flat_chain() -> dict[str, Any]:
    derived, app = compressed(DERIVED), compressed(APP)
    return {
        "app_id": APP_ID.hex(),
        "purpose": "mainnet",
        "derived_public_key": derived.hex(),
        "app_public_key": app.hex(),
        "app_signature": sign(APP, keccak256(b"mainnet:" + derived.hex().encode())).hex(),
        "kms_signature": sign(ROOT, keccak256(b"dstack-kms-issued:" + APP_ID + app)).hex(),
    }


def test_keccak_and_addresses_against_published_vectors() -> None:
    assert keccak256(b"").hex() == (
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    )
    for address in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0x52d3CF51c8A37A2CCfC79bBb98c7810d7Dd4CE51",
    ):
        assert checksum_address(bytes.fromhex(address[2:])) == address
    assert key_address(compressed(ROOT)) == ROOT.public_key.to_checksum_address()
    published = "02a335aea3df11d46ae0a373d3f26fbd1d208572ecc87e630e618dac693b7af721"
    assert key_address(bytes.fromhex(published)) == "0x52d3CF51c8A37A2CCfC79bBb98c7810d7Dd4CE51"


@pytest.mark.parametrize(
    "key", [b"", b"\2" * 32, b"\4" + b"\1" * 64, b"\5" + b"\1" * 32, b"\2" + b"\xff" * 32]
)
def test_what_is_no_key(key: bytes) -> None:
    with pytest.raises(EvidenceError):
        key_address(key)


def test_recovery_refuses_every_second_spelling() -> None:
    digest = keccak256(b"message")
    signature = sign(ROOT, digest)
    assert recover_key(digest, signature, "s") == compressed(ROOT)
    as_27 = signature[:64] + bytes([signature[64] + 27])
    assert recover_key(digest, as_27, "s") == compressed(ROOT)
    high = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    twin = signature[:32] + high + bytes([signature[64] ^ 1])
    bad = [twin, signature[:64], signature + b"\0", bytes(65), b"\xff" * 64 + b"\0"]
    bad.extend(signature[:64] + bytes([v]) for v in (2, 3, 26, 29, 255))
    bad.append(bytes(32) + signature[32:])
    bad.append(signature[:32] + bytes(32) + signature[64:])
    for raw in bad:
        with pytest.raises(EvidenceError):
            recover_key(digest, raw, "s")


def test_both_shapes_of_a_key_chain() -> None:
    chain = kms_answers.parse_signature_chain(json.dumps(flat_chain()).encode(), "chain")
    app = recover_key(
        kms_answers.derived_key_digest(chain.purpose, chain.derived_public_key),
        chain.app_signature,
        "a",
    )
    assert app == compressed(APP) == chain.app_public_key
    root = recover_key(kms_answers.app_key_digest(chain.app_id, app), chain.kms_signature, "k")
    assert root == compressed(ROOT)
    proof = {
        "appId": "0x" + APP_ID.hex(),
        "signatureChain": {
            "derivedPubkey": "0x" + compressed(DERIVED).hex(),
            "appSignature": "0x" + "11" * 65,
            "kmsSignature": "22" * 65,
        },
    }
    nested = kms_answers.parse_signature_chain(json.dumps(proof).encode(), "chain")
    assert (nested.purpose, nested.app_id) == ("ethereum", APP_ID)
    assert nested.derived_public_key == compressed(DERIVED)
    assert nested.app_public_key == b""


@pytest.mark.parametrize(
    "changes",
    [
        *each("app_id", ["00", 5, "zz" * 20]),
        *each("purpose", ["a:b", "caf\u00e9", "a\n", "x" * 129, 5]),
        *each("app_signature", [None, "00", "00" * 66, ["00" * 65]]),
        {"kms_signature": "00" * 64},
        {"app_public_key": "00" * 65},
        {"derived_public_key": None},
        {"signatureChain": []},
    ],
    ids=repr,
)
def test_malformed_key_chains(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        kms_answers.parse_signature_chain(json.dumps({**flat_chain(), **changes}).encode(), "chain")


def test_env_keys_of_both_versions(world: World) -> None:
    app_id, root = bytes.fromhex(world.app_id), world.kms.k256_public
    key = kms_answers.parse_env_key(json.dumps(world.kms.env_key(app_id)).encode(), "key")
    assert (
        recover_key(kms_answers.env_key_digest(app_id, key.public_key, None), key.signature, "s")
        == root
    )
    assert key.timestamp is not None
    assert key.signature_v1 is not None
    digest = kms_answers.env_key_digest(app_id, key.public_key, key.timestamp)
    assert digest == keccak256(
        b"dstack-env-encrypt-pubkey:" + app_id + key.timestamp.to_bytes(8, "big") + key.public_key
    )
    assert recover_key(digest, key.signature_v1, "s") == root
    good = {"public_key": "00" * 32, "signature": "00" * 65}
    assert kms_answers.parse_env_key(json.dumps(good).encode(), "key").timestamp is None
    for bad in (
        *each("timestamp", [-1, 1 << 64, True, "1", 1.5]),
        *each("public_key", [None, "00" * 31, "0x" + "00" * 32]),
        *each("signature", [None, "", "00" * 64]),
        {"signature_v1": "00"},
    ):
        with pytest.raises(EvidenceError):
            kms_answers.parse_env_key(json.dumps({**good, **bad}).encode(), "key")


def test_meta(world: World) -> None:
    meta = kms_answers.parse_meta(json.dumps(world.kms.meta).encode(), "meta")
    assert meta.k256_pubkey == world.kms.k256_public
    assert "BEGIN CERTIFICATE" in meta.ca_cert
    for bad in ({"k256_pubkey": ""}, {"chain_id": "8453"}, {"chain_id": True}, {"ca_cert": 1}):
        with pytest.raises(EvidenceError):
            kms_answers.parse_meta(json.dumps({**world.kms.meta, **bad}).encode(), "meta")


def pcs_bundle(world: World) -> Bundle:
    builder = BundleBuilder()
    for kind, path in (
        (Kind.PCS_TCB_INFO, f"/tdx/certification/v4/tcb?fmspc={FMSPC}"),
        (Kind.PCS_QE_IDENTITY, "/tdx/certification/v4/qe/identity"),
        (Kind.PCS_PCK_CRL, "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"),
        (Kind.PCS_ROOT_CA_CRL, "/sgx/certification/v4/rootcacrl"),
    ):
        response = world.collateral.respond(PCS + path)
        builder.add(
            kind, response.body, source=PCS + path, collected_at=1, headers=dict(response.headers)
        )
    return builder.build()


def one_document(*documents: dict[str, Any]) -> Bundle:
    builder = BundleBuilder()
    for number, document in enumerate(documents):
        raw = json.dumps(document).encode()
        builder.add(Kind.COLLATERAL, raw, source=str(number), collected_at=1)
    return builder.build()


def test_pcs_answers_give_the_same_parts(world: World) -> None:
    answers = read_collateral(pcs_bundle(world))
    given = read_collateral(one_document(dict(world.collateral.document())))
    assert not answers.unreadable
    assert not given.unreadable
    for parts in (answers, given):
        assert {item.part for item in parts.documents} == {Part.TCB_INFO, Part.QE_IDENTITY}
        assert len(parts.crls) == 2
    assert {(item.text, item.signature, item.chain) for item in answers.documents} == {
        (item.text, item.signature, item.chain) for item in given.documents
    }
    assert {item.der for item in answers.crls} == {item.der for item in given.crls}
    assert len(answers.evidence) == 4


def test_the_same_part_in_two_places_is_one(world: World) -> None:
    first = world.collateral.document()
    parts = read_collateral(one_document(dict(first), {**first, "root_ca_crl": ""}))
    assert (len(parts.documents), len(parts.crls), len(parts.unreadable)) == (2, 2, 1)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"tcb_info": "{}"}, Part.TCB_INFO),
        ({"tcb_info": "[]"}, Part.TCB_INFO),
        ({"tcb_info": {}}, Part.TCB_INFO),
        ({"tcb_info": '{"fmspc":"00","fmspc":"01"}'}, Part.TCB_INFO),
        ({"tcb_info_issuer_chain": 5}, Part.TCB_INFO),
        ({"tcb_info_issuer_chain": ""}, Part.TCB_INFO),
        ({"tcb_info_signature": ""}, Part.TCB_INFO),
        ({"tcb_info_signature": "00" * 63}, Part.TCB_INFO),
        ({"qe_identity": "{"}, Part.QE_IDENTITY),
        ({"qe_identity_issuer_chain": "-----BEGIN CERTIFICATE-----\\nMII"}, Part.QE_IDENTITY),
        ({"pck_crl": None}, Part.CRL),
        ({"root_ca_crl": ""}, Part.CRL),
        ({"root_ca_crl": "3003020100"}, Part.CRL),
    ],
    ids=repr,
)
def test_a_part_that_cannot_be_read_is_set_aside(
    world: World, changes: dict[str, Any], part: Part
) -> None:
    parts = read_collateral(one_document({**world.collateral.document(), **changes}))
    assert [kind for kind, _ in parts.unreadable] == [part]
    assert len(parts.documents) + len(parts.crls) == 3
    assert parts.error(part) is not None


@pytest.mark.parametrize("raw", [b"[]", b"{", b"x" * ((1 << 20) + 1)], ids=["list", "cut", "long"])
def test_a_set_that_cannot_be_read_lacks_every_part(raw: bytes) -> None:
    builder = BundleBuilder()
    builder.add(Kind.COLLATERAL, raw, source="s", collected_at=1)
    assert {part for part, _ in read_collateral(builder.build()).unreadable} == set(Part)


def test_chains_may_be_percent_encoded_as_in_headers(world: World) -> None:
    names = ("tcb_info_issuer_chain", "qe_identity_issuer_chain")
    document = dict(world.collateral.document())
    encoded = {**document, **{name: quote(str(document[name])) for name in names}}
    plain, decoded = (read_collateral(one_document(item)) for item in (document, encoded))
    assert [item.chain for item in plain.documents] == [item.chain for item in decoded.documents]


def test_pcs_answers_that_are_cut_elsewhere(world: World) -> None:
    bundle = pcs_bundle(world)
    (tcb,) = bundle.of(Kind.PCS_TCB_INFO)
    raw = bundle.blob(tcb)
    for bad in (b'{"tcbInfo":[],"signature":"00"}', b"{}", raw[:-1], b'"tcbInfo"', raw):
        builder = BundleBuilder()  # without headers, so that there is no issuer chain either
        builder.add(Kind.PCS_TCB_INFO, bad, source="s", collected_at=1)
        parts = read_collateral(builder.build())
        assert [part for part, _ in parts.unreadable] == [Part.TCB_INFO]


def test_a_revocation_list_in_every_spelling(world: World) -> None:
    der = world.pki.pck_crl
    pem = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    for raw in (der, pem, der.hex().encode(), der.hex().upper().encode() + b"\n"):
        assert parse_crl(raw, "list") == der
    for raw in (b"", der[:-1], der + b"\0", pem[:-40], b"zz", world.pki.root_der):
        with pytest.raises(EvidenceError):
            parse_crl(raw, "list")


def test_too_much_collateral(world: World) -> None:
    document = dict(world.collateral.document())
    with pytest.raises(EvidenceError):
        read_collateral(one_document(*[document] * (MAX_PARTS + 1)))


def exchange(*answers: bytes, request: str | None = None) -> Exchanges:
    builder = BundleBuilder()
    body = encode_request("eth_chainId", []) if request is None else request
    for number, raw in enumerate(answers):
        builder.add(Kind.JSON_RPC, raw, source="https://rpc/", collected_at=number, request=body)
    return Exchanges(builder.build())


def test_an_answer_to_the_request() -> None:
    rpc = exchange(b'{"jsonrpc":"2.0","id":1,"result":"0x2105"}')
    answer = rpc.call("https://rpc/", "eth_chainId", [])
    assert (answer.value, answer.evidence.pointer) == ("0x2105", "/result")
    assert rpc.endpoints == ("https://rpc/",)
    for endpoint, method in (("https://other/", "eth_chainId"), ("https://rpc/", "eth_call")):
        with pytest.raises(EvidenceError, match="not in the evidence"):
            rpc.call(endpoint, method, [])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"id":1,"error":{"code":-32000,"message":"limit"}}', "error: 'limit'"),
        (b'{"id":1,"error":"down"}', "error: 'down'"),
        (b'{"id":1,"error":{},"result":"0x1"}', "error"),
        (b'{"id":1,"result":null}', "null"),
        (b'{"id":1}', "not the response"),
        (b'{"id":2,"result":"0x1"}', "not the response"),
        (b'{"result":"0x1"}', "not the response"),
        (b'{"id":"1","result":"0x1"}', "not the response"),
        (b'{"id":1,"result":"0x1","result":"0x2"}', "duplicate key"),
        (b'[{"id":1,"result":"0x1"}]', "expected a JSON object"),
        (b"<html>", "not JSON"),
    ],
)
def test_no_answer_is_an_empty_answer(raw: bytes, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        parse_answer(raw, "call")
    assert message in caught.value.message


def test_two_answers_to_one_request_conflict() -> None:
    rpc = exchange(b'{"id":1,"result":"0x1"}', b'{"id":1,"result":"0x2"}')
    with pytest.raises(EvidenceError, match="two answers"):
        rpc.call("https://rpc/", "eth_chainId", [])
    builder = BundleBuilder()
    body = encode_request("eth_chainId", [])
    builder.add_failure(Kind.JSON_RPC, source="r", collected_at=1, error="HTTP 429", request=body)
    with pytest.raises(EvidenceError, match="HTTP 429"):
        Exchanges(builder.build()).call("r", "eth_chainId", [])


def test_requests_are_canonical() -> None:
    assert encode_request("eth_call", [{"to": "0x1", "data": "0x"}, "0x1"]) == (
        '{"id":1,"jsonrpc":"2.0","method":"eth_call","params":[{"data":"0x","to":"0x1"},"0x1"]}'
    )


def test_info_and_its_nested_text(world: World) -> None:
    info = world.guest.info
    text = parse_info(json.dumps(info).encode(), "info")
    parsed = {**info, "tcb_info": json.loads(str(info["tcb_info"]))}
    relayed = parse_info(json.dumps(parsed).encode(), "info")
    assert text.tcb_info is not None
    assert relayed.tcb_info is not None
    assert relayed.tcb_info.app_compose == text.tcb_info.app_compose == world.guest.app_compose
    hidden = parse_info(json.dumps({**info, "tcb_info": ""}).encode(), "info")
    assert hidden.tcb_info is None
    for bad in ({"app_id": 5}, {"tcb_info": "{"}, {"tcb_info": [1]}, {"app_cert": 5}):
        with pytest.raises(EvidenceError):
            parse_info(json.dumps({**info, **bad}).encode(), "info")
    with pytest.raises(EvidenceError):
        parse_tcb_info({"app_compose": {"manifest_version": 2}}, "tcb_info")
    with pytest.raises(EvidenceError):
        parse_quote_answer(b'{"event_log":"[]"}', "answer")


def test_cloud_attestations_with_stopped_instances() -> None:
    document = {
        "app_id": "x",
        "instances": [{"quote": None, "eventlog": None}, {"quote": "0x0102", "instance_id": "i"}],
    }
    stopped, running = parse_cloud_attestations(json.dumps(document).encode(), "cloud")
    assert (stopped.quote, stopped.event_log, stopped.tcb_info) == (b"", None, None)
    assert (running.quote, running.instance_id) == (b"\1\2", "i")
    for bad in ([1], {"a": 1}, [{"quote": 5}], [{"quote": "x"}], [{"tcb_info": 5}]):
        with pytest.raises(EvidenceError):
            parse_cloud_attestations(json.dumps({"instances": bad}).encode(), "cloud")
