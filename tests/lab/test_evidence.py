"""Guests, quotes, collateral, certificates and KMS of a simulated world."""

import hashlib
import json

import dcap_qvl
import pytest
from coincurve import PublicKey
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from eth_hash.auto import keccak
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import quote as lab_quote
from verifier.lab.events import Event, runtime_event
from verifier.lab.kms import Kms
from verifier.lab.knobs import KeyProvider, Knobs
from verifier.lab.quote import TdReport
from verifier.lab.response import Response
from verifier.lab.world import World, build
from verifier.reference.values import parse_reference

GATEWAY = "gw.lab.invalid"
VERSIONS = (
    *("0.3.1", "0.3.3", "0.4.2", "0.5.0", "0.5.1", "0.5.4"),
    *("0.5.5", "0.5.6", "0.5.8", "0.5.9", "0.5.11", "0.6.0"),
)


def get(world: World, path: str, label: str = "") -> bytes:
    """The body of a guest's answer."""
    url = f"https://{label or world.app_id}-8090.{GATEWAY}{path}"
    response = world.respond("GET", url, {}, b"")
    assert response.status == 200
    return response.body


def verify(world: World, quote: bytes) -> str:
    """The TCB status that dcap-qvl gives under the world's reference root."""
    root = parse_reference(world.reference(), unsafe="lab").root
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(world.collateral.document()))
    report = dcap_qvl.verify_with_root_ca(quote, collateral, root, world.now)
    return str(report.status)


def certificate(world: World) -> list[x509.Certificate]:
    """The certificates of the first instance's app_cert."""
    return x509.load_pem_x509_certificates(world.guest.app_cert.encode())


def everything(world: World) -> list[bytes]:
    """One answer of every kind."""
    urls = [
        *(
            f"https://{label}-8090.{GATEWAY}{path}"
            for label in (world.app_id, *world.instance_ids)
            for path in ("/", "/prpc/Info", "/prpc/GetAttestationForAppKey?algorithm=ed25519")
        ),
        f"https://kms.{GATEWAY}/prpc/GetMeta?json",
        f"https://kms.{GATEWAY}/prpc/KMS.GetAppEnvEncryptPubKey?json&app_id={world.app_id}",
        "https://pcs.lab.invalid/tdx/certification/v4/tcb?fmspc=1ABC0DE00000",
        "https://pcs.lab.invalid/tdx/certification/v4/qe/identity",
        "https://pcs.lab.invalid/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "https://pcs.lab.invalid/sgx/certification/v4/rootcacrl",
        f"https://cloud.lab.invalid/api/v1/apps/{world.app_id}/attestations",
    ]
    answers = [world.respond("GET", url, {}, b"") for url in urls]
    assert {answer.status for answer in answers} == {200}
    return [world.reference(), *(answer.body for answer in answers)]


def test_the_same_knobs_give_the_same_bytes(world: World) -> None:
    assert everything(build()) == everything(world)


def test_another_seed_gives_another_world_under_the_same_root(world: World) -> None:
    other = build(Knobs(seed="other"))
    assert other.app_id != world.app_id
    assert other.guest.app_cert != world.guest.app_cert
    assert json.loads(other.reference())["root"] == json.loads(world.reference())["root"]


@pytest.mark.parametrize("now", [1_000_000_000, 1_780_000_000, 2_524_608_000])
def test_a_world_can_be_built_around_any_time(now: int) -> None:
    world = build(Knobs(now=now))
    assert verify(world, world.guest.quote(bytes(64))) == "UpToDate"
    assert 0 < world.chain.finalized < world.chain.head
    assert world.chain.timestamp(world.chain.head) <= now


@pytest.mark.parametrize("quote_format", ["v4", "v5-td10", "v5-td15"])
def test_quotes_are_up_to_date_under_the_lab_root(
    quote_format: lab_quote.QuoteFormat,
) -> None:
    world = build(Knobs(quote_format=quote_format))
    assert verify(world, world.guest.cert_attestation.quote) == "UpToDate"


def test_the_root_is_not_intels(world: World) -> None:
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(world.collateral.document()))
    with pytest.raises(ValueError, match="InvalidCrlSignature"):
        dcap_qvl.verify(world.guest.quote(bytes(64)), collateral, world.now)


@pytest.mark.parametrize("version", VERSIONS)
def test_log_replays_to_the_quote_in_every_release(version: str) -> None:
    world = build(Knobs(version=version))
    info = json.loads(get(world, "/prpc/Worker.Info"))
    tcb_info = json.loads(info["tcb_info"])
    registers = [bytes(48)] * 4
    for entry in tcb_info["event_log"]:
        digest = bytes.fromhex(entry["digest"])
        if entry["event_type"] == 0x08000001:
            preimage = (0x08000001).to_bytes(4, "little") + b":" + entry["event"].encode() + b":"
            payload = bytes.fromhex(entry["event_payload"])
            assert digest == hashlib.sha384(preimage + payload).digest()
        registers[entry["imr"]] = hashlib.sha384(registers[entry["imr"]] + digest).digest()
    quote = world.guest.cert_attestation.quote
    assert b"".join(registers) == quote[376:568]
    assert [tcb_info[f"rtmr{index}"] for index in range(4)] == [item.hex() for item in registers]
    if version != "0.3.1":
        compose_hash = hashlib.sha256(tcb_info["app_compose"].encode()).hexdigest()
        events = {entry["event"]: entry["event_payload"] for entry in tcb_info["event_log"]}
        assert events["compose-hash"] == compose_hash
        assert events["app-id"] == world.app_id


def test_version_2_events_carry_their_preimage() -> None:
    world = build(Knobs(version="0.6.0", event_log_version=2))
    entry = next(item for item in world.guest.log if item["event"] == "app-id")
    preimage = bytes.fromhex(str(entry["preimage"]))
    assert preimage == (f'{{"name":"app-id","payload":"{world.app_id}","type":134217729}}'.encode())
    assert hashlib.sha384(preimage).hexdigest() == entry["digest"]


def test_certificate_chain_and_report_data(world: World) -> None:
    leaf, app_ca, kms_ca = certificate(world)
    leaf.verify_directly_issued_by(app_ca)
    app_ca.verify_directly_issued_by(kms_ca)
    spki = leaf.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    quote = world.guest.cert_attestation.quote
    assert quote[568:632] == hashlib.sha512(b"ratls-cert:" + spki).digest()
    extensions = {
        item.oid.dotted_string.rpartition(".")[2]: item.value
        for item in leaf.extensions
        if isinstance(item.value, x509.UnrecognizedExtension)
    }
    assert list(extensions) == ["3", "4", "1", "2"]
    assert extensions["3"].value == b"\x04\x14" + bytes.fromhex(world.app_id)
    ca_spki = kms_ca.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    provider = json.loads(str(world.guest.info["key_provider_info"]))
    assert provider == {"name": "kms", "id": ca_spki.hex()}


def test_app_key_quote_exists_since_0_5_6() -> None:
    world = build(Knobs(version="0.5.8"))
    answer = json.loads(get(world, "/prpc/GetAttestationForAppKey?algorithm=secp256k1"))
    report_data = bytes.fromhex(answer["report_data"])
    assert report_data.startswith(b"dip1::secp256k1c-pk:")
    assert bytes.fromhex(answer["quote"])[568:632] == report_data
    boot = [item for item in json.loads(answer["event_log"]) if item["imr"] != 3]
    assert {item["event_payload"] for item in boot} == {""}
    older = build(Knobs(version="0.5.5"))
    url = f"https://{older.app_id}-8090.{GATEWAY}/prpc/GetAttestationForAppKey?algorithm=ed25519"
    response = older.respond("GET", url, {}, b"")
    assert response.status == 404
    assert "Service not found" in json.loads(response.body)["error"]


@pytest.mark.parametrize("version", VERSIONS)
def test_page_shows_the_same_document(version: str) -> None:
    world = build(Knobs(version=version, public_sysinfo=True, app_name="a<b>&\"c'"))
    text = get(world, "/").decode()
    area = text.partition("<h2>TCB Info</h2>")[2].partition("<textarea readonly>")[2]
    shown = area.partition("</textarea>")[0]
    assert not set(shown) & set("<>\"'")
    for entity, character in (("&#60;", "<"), ("&#62;", ">"), ("&#34;", '"'), ("&#39;", "'")):
        shown = shown.replace(entity, character)
    assert shown.replace("&#38;", "&") == world.guest.tcb_info


def test_hidden_tcb_info_is_hidden_everywhere() -> None:
    world = build(Knobs(public_tcbinfo=False))
    info = json.loads(get(world, "/prpc/Info"))
    assert (info["tcb_info"], info["vm_config"]) == ("", "")
    assert b"TCB info is not public" in get(world, "/")
    assert info["app_cert"]


def recovered(signature: bytes, message: bytes) -> bytes:
    """The compressed key that a signature over keccak256 of a message recovers to."""
    return PublicKey.from_signature_and_message(signature, keccak(message), hasher=None).format()


def test_kms_signatures_recover_to_its_root(world: World) -> None:
    app_id = bytes.fromhex(world.app_id)
    root = world.kms.k256_public
    key = world.kms.app_key(app_id, "signing")
    link = f"signing:{key.public_key.hex()}".encode()
    assert recovered(key.app_signature, link) == key.app_public_key
    assert recovered(key.kms_signature, b"dstack-kms-issued:" + app_id + key.app_public_key) == root
    env = world.kms.env_key(app_id)
    prefix = b"dstack-env-encrypt-pubkey:" + app_id
    public = bytes.fromhex(str(env["public_key"]))
    assert recovered(bytes.fromhex(str(env["signature"])), prefix + public) == root
    stamp = int(str(env["timestamp"])).to_bytes(8, "big")
    assert recovered(bytes.fromhex(str(env["signature_v1"])), prefix + stamp + public) == root


def test_the_kms_attests_its_keys(world: World) -> None:
    meta = world.kms.meta
    text = f"dstack-kms-genereted-keys-v1:{world.kms.ca_spki.hex()};{meta['k256_pubkey']};"
    quote = world.kms.bootstrap.quote
    assert quote[568:600] == keccak(text.encode())
    assert verify(world, quote) == "UpToDate"


def test_reference_values_name_the_kms_and_the_image(world: World) -> None:
    reference = parse_reference(world.reference(), unsafe="lab")
    record = reference.kms[0]
    assert record.ca_spki == world.kms.ca_spki.hex()
    assert record.k256 == world.kms.k256_public.hex()
    image = reference.os_images[0]
    report = world.guest.td_report
    registers = (report.mr_td, *report.rtmrs[1:3])
    assert (image.mrtd, image.rtmr1, image.rtmr2) == tuple(item.hex() for item in registers)
    assert reference.firmware_of(image.mrtd) is not None


def debug(report: TdReport) -> TdReport:
    """The same TD in debug mode."""
    return replace(report, td_attributes=report.td_attributes | lab_quote.DEBUG)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (Knobs(rogue=frozenset({"platform-ca"})), "InvalidSignature"),
        (Knobs(rogue=frozenset({"pck"})), "InvalidSignature"),
        (Knobs(rogue=frozenset({"tcb-signing"})), "InvalidSignature"),
        (Knobs(rogue=frozenset({"root-ca-crl"})), "InvalidCrlSignature"),
        (Knobs(rogue=frozenset({"pck-crl"})), "InvalidCrlSignature"),
        (Knobs(root="another root"), "InvalidCrlSignature"),
        (Knobs(revoked=frozenset({"pck"})), "CertRevoked"),
        (Knobs(revoked=frozenset({"platform-ca"})), "CertRevoked"),
        (Knobs(expired=frozenset({"pck"})), "CertExpired"),
        (Knobs(collateral_age=40 * 86400), "Expired"),
        (Knobs(collateral_fmspc=bytes(6)), "Fmspc mismatch"),
        (Knobs(tcb_status="Revoked"), "Revoked"),
        (Knobs(edit_td=debug), "Debug mode"),
        (Knobs(edit_quote=lambda quote: quote[:600]), "Not enough data"),
    ],
)
def test_each_corruption_is_refused(knobs: Knobs, message: str) -> None:
    world = build(knobs)
    with pytest.raises(ValueError, match=message):
        verify(world, world.guest.quote(bytes(64)))


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(tcb_status="OutOfDate"),
        Knobs(qe_status="OutOfDate"),
        Knobs(module_status="OutOfDate"),
    ],
)
def test_statuses_are_as_asked_for(knobs: Knobs) -> None:
    world = build(knobs)
    assert verify(world, world.guest.quote(bytes(64))) == "OutOfDate"


def test_tcb_info_may_be_signed_by_a_pck_leaf() -> None:
    world = build(Knobs(tcb_signer="pck"))
    assert verify(world, world.guest.quote(bytes(64))) == "UpToDate"


@pytest.mark.parametrize("provider", ["none", "local-sgx", "tpm"])
def test_without_a_kms_the_app_id_is_the_manifest(provider: KeyProvider) -> None:
    world = build(Knobs(key_provider=provider))
    assert world.app_id == world.guest.compose_hash[:20].hex()
    assert len(certificate(world)) == 2


def test_instances_differ_and_are_reached_by_their_ids() -> None:
    knobs = Knobs()
    world = build(replace(knobs, others=(replace(knobs, app_name="other-name"),)))
    first, second = world.instance_ids
    assert first != second
    names = [json.loads(get(world, "/prpc/Info", label))["app_name"] for label in (first, second)]
    assert names == ["lab-app", "other-name"]


def test_a_kms_of_another_label_is_another_kms() -> None:
    world = build(Knobs(kms="attacker", kms_answers="onchain"))
    assert isinstance(world.kms, Kms)
    assert world.kms.ca_spki.hex() not in str(world.guest.info["key_provider_info"])


def test_edits_act_on_their_own_stage(world: World) -> None:
    def measured(events: list[Event]) -> list[Event]:
        return [*events, runtime_event("late", b"x")]

    def shown(entries: list[JsonObject]) -> list[JsonObject]:
        return [{**item, "event_payload": "00"} for item in entries]

    honest = world.guest
    remeasured = build(Knobs(edit_events=measured)).guest
    assert remeasured.td_report.rtmrs[3] != honest.td_report.rtmrs[3]
    assert remeasured.log[-1]["event"] == "late"
    redrawn = build(Knobs(edit_log=shown)).guest
    assert redrawn.td_report == honest.td_report
    assert redrawn.log != honest.log
    reserved = build(Knobs(edit_served_manifest=lambda text: text + "\n")).guest
    assert reserved.td_report == honest.td_report
    assert json.loads(reserved.tcb_info)["app_compose"] == honest.app_compose + "\n"


def test_forged_certificates_break_where_they_should() -> None:
    _, app_ca, kms_ca = certificate(build(Knobs(cert_forged=True)))
    with pytest.raises(InvalidSignature):
        app_ca.verify_directly_issued_by(kms_ca)
    leaf = certificate(build(Knobs(cert_leaf_is_ca=True)))[0]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_last_word_about_an_answer_is_a_hook() -> None:
    def edit(method: str, url: str, body: bytes, response: Response) -> Response:
        assert (method, body) == ("GET", b"")
        return replace(response, body=b"other") if url.endswith("/prpc/Info") else response

    world = build(Knobs(edit_response=edit))
    assert get(world, "/prpc/Info") == b"other"
    assert get(world, "/") != b"other"
