"""What a KMS signs, what Intel publishes, what nodes answer."""

import json
from typing import Any

import pytest
from eth_keys.datatypes import PrivateKey

from tests.evidence.variants import each
from verifier.errors import EvidenceError
from verifier.evidence import contracts, kms
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.cloud import parse_cloud_attestations
from verifier.evidence.collateral import find_collateral, parse_collateral
from verifier.evidence.ethereum import checksum_address, keccak256, key_address, recover_key
from verifier.evidence.json_rpc import Exchanges, encode_request, parse_answer
from verifier.evidence.tcb_info import parse_info, parse_quote_answer, parse_tcb_info
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
    chain = kms.parse_signature_chain(json.dumps(flat_chain()).encode(), "chain")
    app = recover_key(
        kms.derived_key_digest(chain.purpose, chain.derived_public_key), chain.app_signature, "a"
    )
    assert app == compressed(APP) == chain.app_public_key
    root = recover_key(kms.app_key_digest(chain.app_id, app), chain.kms_signature, "k")
    assert root == compressed(ROOT)
    proof = {
        "appId": "0x" + APP_ID.hex(),
        "signatureChain": {
            "derivedPubkey": "0x" + compressed(DERIVED).hex(),
            "appSignature": "0x" + "11" * 65,
            "kmsSignature": "22" * 65,
        },
    }
    nested = kms.parse_signature_chain(json.dumps(proof).encode(), "chain")
    assert (nested.purpose, nested.app_id) == ("ethereum", APP_ID)
    assert nested.derived_public_key == compressed(DERIVED)
    assert nested.app_public_key == b""


@pytest.mark.parametrize(
    "changes",
    [
        *each("app_id", [None, "", "00", 5, "zz" * 20]),
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
        kms.parse_signature_chain(json.dumps({**flat_chain(), **changes}).encode(), "chain")


def test_env_keys_of_both_versions(world: World) -> None:
    app_id, root = bytes.fromhex(world.app_id), world.kms.k256_public
    key = kms.parse_env_key(json.dumps(world.kms.env_key(app_id)).encode(), "key")
    assert recover_key(kms.env_key_digest(app_id, key.public_key, None), key.signature, "s") == root
    assert key.timestamp is not None
    assert key.signature_v1 is not None
    digest = kms.env_key_digest(app_id, key.public_key, key.timestamp)
    assert digest == keccak256(
        b"dstack-env-encrypt-pubkey:" + app_id + key.timestamp.to_bytes(8, "big") + key.public_key
    )
    assert recover_key(digest, key.signature_v1, "s") == root
    good = {"public_key": "00" * 32, "signature": "00" * 65}
    assert kms.parse_env_key(json.dumps(good).encode(), "key").timestamp is None
    for bad in (
        *each("timestamp", [-1, 1 << 64, True, "1", 1.5]),
        *each("public_key", [None, "00" * 31, "0x" + "00" * 32]),
        *each("signature", [None, "", "00" * 64]),
        {"signature_v1": "00"},
    ):
        with pytest.raises(EvidenceError):
            kms.parse_env_key(json.dumps({**good, **bad}).encode(), "key")


def test_meta(world: World) -> None:
    meta = kms.parse_meta(json.dumps(world.kms.meta).encode(), "meta")
    assert meta.k256_pubkey == world.kms.k256_public
    assert "BEGIN CERTIFICATE" in meta.ca_cert
    for bad in ({"k256_pubkey": ""}, {"chain_id": "8453"}, {"chain_id": True}, {"ca_cert": 1}):
        with pytest.raises(EvidenceError):
            kms.parse_meta(json.dumps({**world.kms.meta, **bad}).encode(), "meta")


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


def dated(world: World, number: int, issued: str, until: str) -> dict[str, Any]:
    """Collateral with another evaluation number and window (no longer signed)."""
    document = dict(world.collateral.document())
    for name in ("tcb_info", "qe_identity"):
        inner = json.loads(str(document[name]))
        inner |= {"tcbEvaluationDataNumber": number, "issueDate": issued, "nextUpdate": until}
        document[name] = json.dumps(inner)
    return document


def test_pcs_answers_give_the_same_document(world: World) -> None:
    fmspc = json.loads(world.collateral.tcb_info)["fmspc"]
    from_pcs = find_collateral(pcs_bundle(world), fmspc, world.now)
    given = find_collateral(one_document(dict(world.collateral.document())), fmspc, world.now)
    assert from_pcs is not None
    assert given is not None
    assert json.loads(from_pcs.document) == json.loads(given.document)
    assert len(from_pcs.evidence) == 4
    assert find_collateral(pcs_bundle(world), "00" * 6, world.now) is None


def test_the_set_in_force_with_the_highest_number_is_chosen(world: World) -> None:
    fmspc = json.loads(world.collateral.tcb_info)["fmspc"]
    old = dated(world, 19, "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z")
    new = dated(world, 20, "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z")
    future = dated(world, 21, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    for order in (1, -1):
        chosen = find_collateral(one_document(*(old, new, future)[::order]), fmspc, world.now)
        assert chosen is not None
        assert chosen.evaluation_number == 20


def test_of_several_pcs_answers_the_newest_identity_is_chosen(world: World) -> None:
    bundle = pcs_bundle(world)
    builder = BundleBuilder()
    for artifact in bundle.artifacts:
        raw = bundle.blob(artifact)
        spelled = {name: artifact.header(name) for name, _ in artifact.headers}
        builder.add(artifact.kind, raw, source="a", collected_at=1, headers=spelled)
        if artifact.kind is Kind.PCS_QE_IDENTITY:
            for number in (3, 4, 5):
                older = raw.replace(
                    b'"tcbEvaluationDataNumber":20',
                    b"%s%d" % (b'"tcbEvaluationDataNumber":', number),
                )
                assert older != raw
                builder.add(artifact.kind, older, source="b", collected_at=1, headers=spelled)
    fmspc = json.loads(world.collateral.tcb_info)["fmspc"]
    chosen = find_collateral(builder.build(), fmspc, world.now)
    assert chosen is not None
    assert chosen.evaluation_number == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"tcb_info": "{}"},
        {"tcb_info": "[]"},
        {"tcb_info": {}},
        {"tcb_info": '{"fmspc":"00","fmspc":"01"}'},
        {"pck_crl": None},
        {"qe_identity": "{"},
        {"tcb_info_issuer_chain": 5},
    ],
    ids=repr,
)
def test_malformed_collateral(world: World, changes: dict[str, Any]) -> None:
    document = {**world.collateral.document(), **changes}
    with pytest.raises(EvidenceError):
        parse_collateral(json.dumps(document).encode(), "collateral", ())


def test_a_chain_in_collateral_does_not_replace_the_quotes_own(world: World) -> None:
    document = {**world.collateral.document(), "pck_certificate_chain": "mine"}
    parsed = parse_collateral(json.dumps(document).encode(), "collateral", ())
    assert "mine" not in parsed.document


def test_pcs_answers_that_are_cut_elsewhere(world: World) -> None:
    bundle = pcs_bundle(world)
    (tcb,) = bundle.of(Kind.PCS_TCB_INFO)
    raw = bundle.blob(tcb)
    for bad in (b'{"tcbInfo":[],"signature":"00"}', b"{}", raw[:-1], b'"tcbInfo"'):
        builder = BundleBuilder()
        for artifact in bundle.artifacts:
            blob = bad if artifact == tcb else bundle.blob(artifact)
            builder.add(artifact.kind, blob, source="s", collected_at=1)
        with pytest.raises(EvidenceError):
            find_collateral(builder.build(), FMSPC, world.now)


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
    assert contracts.get_logs("0xAB", 1, 255) == (
        "eth_getLogs",
        [{"address": "0xab", "fromBlock": "0x1", "toBlock": "0xff"}],
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
