"""Files are told apart by shape, whatever they are called."""

import base64
import json
from collections.abc import Callable

import pytest

from tests.evidence.recorded import RECORDED, needs_recorded
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.import_files import import_files, recognise
from verifier.evidence.subject import read_subject
from verifier.lab.world import World

SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "binary": lambda raw: raw,
    "binary and zeros": lambda raw: raw.rstrip(b"\0") + bytes(70),
    "hex": lambda raw: raw.hex().encode(),
    "upper hex": lambda raw: raw.hex().upper().encode(),
    "0x hex": lambda raw: b"0x" + raw.hex().encode() + b"\n",
    "hex in white space": lambda raw: b"\n  " + raw.hex().encode() + b" \r\n",
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "JSON integers": lambda raw: json.dumps(list(raw)).encode(),
    "JSON hex": lambda raw: json.dumps(raw.hex()).encode(),
    "JSON base64": lambda raw: json.dumps(base64.b64encode(raw).decode()).encode(),
}
ONE_LINE = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n", "the file is empty"),
    "a separator": (b"\x1c", "not recognised"),
    "a wide space": ("04\u00a000".encode(), "not recognised"),
    "error page": (b"<html><h1>502 Bad Gateway</h1></html>", "without TCB Info"),
    "404": (b'{"error":"Service not found: Info"}', "error answer"),
    "null": (b"null", "not recognised"),
    "number": (b"17", "not recognised"),
    "list": (b"[]", "neither bytes nor events"),
    "list of big numbers": (b"[4,0,256]", "neither bytes nor events"),
    "list of booleans": (b"[true]", "neither bytes nor events"),
    "object": (b'{"a":1}', "the keys a"),
    "no keys": (b"{}", "(none)"),
    "twice": (b'{"quote":"00","quote":"01"}', "duplicate key"),
    "private key": (b"-----BEGIN PRIVATE KEY-----\n", "not recognised"),
    "prose": (b"hello, world", "not recognised"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not an attestation blob"),
    "an odd digit": (b"0400020", "not recognised"),
    "answer without a quote": (b'{"quote":"x!","event_log":"[]"}', "neither hex nor base64"),
}


def kinds(name: str, raw: bytes) -> list[Kind]:
    return [kind for kind, _ in recognise(name, raw)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_quote_is_kept_as_its_bytes(quote: bytes, spelling: str) -> None:
    ((kind, blob),) = recognise("page.html", SPELLINGS[spelling](quote))
    assert kind is Kind.QUOTE
    assert blob.rstrip(b"\0") == quote.rstrip(b"\0")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_cut_quote_is_named_as_one(quote: bytes, spelling: str) -> None:
    with pytest.raises(EvidenceError, match=r"^my file: (.*truncated|.*too few)"):
        recognise("my file", SPELLINGS[spelling](quote[:1000])[:4000])


@pytest.mark.parametrize("case", ONE_LINE)
def test_what_is_no_evidence_gets_one_clear_line(case: str) -> None:
    raw, message = ONE_LINE[case]
    with pytest.raises(EvidenceError) as caught:
        recognise("my file", raw)
    assert caught.value.message.startswith("my file: ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_hostile_keys_and_errors_are_spelled_in_ascii() -> None:
    for raw in ('{"\u202ea\\u001b[31m":1}', '{"error":"\u202e\\u001b]8;;x"}'):
        with pytest.raises(EvidenceError) as caught:
            recognise("file", raw.encode())
        assert caught.value.message.isascii()
        assert "\x1b" not in caught.value.message


def test_every_channel_of_a_guest(world: World) -> None:
    guest, kms = world.guest, world.kms
    app_id = bytes.fromhex(world.app_id)
    cloud = {"app_id": world.app_id, "instances": []}
    documents: list[tuple[Kind, object]] = [
        (Kind.INFO, guest.info),
        (Kind.INFO, guest.info_v1),
        (Kind.TCB_INFO, json.loads(guest.tcb_info)),
        (Kind.EVENT_LOG, guest.log),
        (Kind.GET_QUOTE, guest.get_quote(bytes(64))),
        (Kind.APP_KEY_QUOTE, guest.app_key_quote("ed25519")),
        (Kind.COLLATERAL, world.collateral.document()),
        (Kind.KMS_META, kms.meta),
        (Kind.KMS_ENV_KEY, kms.env_key(app_id)),
        (Kind.CLOUD_ATTESTATIONS, cloud),
    ]
    for kind, document in documents:
        raw = json.dumps(document, indent=1).encode()
        assert recognise("file", raw) == [(kind, raw)], kind
    for kind, raw in (
        (Kind.PAGE, guest.page.encode()),
        (Kind.APP_CERT, guest.app_cert.encode()),
        (Kind.APP_COMPOSE, guest.app_compose.encode()),
        (Kind.APP_COMPOSE, b"\n" + guest.app_compose.encode() + b"\n"),
        (Kind.ATTESTATION, b"\0\0" + bytes(2) + bytes(1) + bytes(64) + bytes(1)),
    ):
        assert recognise("file", raw) == [(kind, raw)], kind


def test_an_attest_answer_gives_its_blob() -> None:
    blob = b"\0\0" + bytes(68)
    answer = json.dumps({"attestation": blob.hex()}).encode()
    assert recognise("file", answer) == [(Kind.ATTESTATION, blob)]


def test_both_shapes_of_signature_chains() -> None:
    flat = {"app_id": "00", "app_signature": "00", "kms_signature": "00"}
    nested = {"price": 1, "signatureChain": {"appSignature": "00"}}
    assert kinds("a", json.dumps(flat).encode()) == [Kind.SIGNATURE_CHAIN]
    assert kinds("b", json.dumps(nested).encode()) == [Kind.SIGNATURE_CHAIN]


def test_an_app_key_quote_is_told_by_the_quote_and_not_by_what_is_said(world: World) -> None:
    said = {**world.guest.get_quote(bytes(64)), "report_data": b"dip1::x".hex()}
    assert kinds("file", json.dumps(said).encode()) == [Kind.GET_QUOTE]


def test_a_quote_answer_without_log_joins_the_log_of_another_file(world: World) -> None:
    quote = world.guest.quote(bytes(64))
    answer = json.dumps({"quote": quote.hex(), "event_log": ""}).encode()
    log = json.dumps(world.guest.log).encode()
    bundle = import_files([("answer", answer), ("log", log)], collected_at=7)
    (source,) = read_subject(bundle, "").quotes
    assert source.quote == quote
    assert len(source.events()) == len(world.guest.log)


def test_provider_reports_are_taken_apart(world: World) -> None:
    guest = world.guest
    quote, log, info = guest.quote(bytes(64)), guest.log, guest.info
    spelled = base64.b64encode(quote).decode()
    gateway = {"intel_quote": quote.hex(), "event_log": json.dumps(log), "info": info}
    evidence = {"quote": quote.hex(), "event_log": json.dumps(log), "app_compose": "{}"}
    evidence["app_compose"] = guest.app_compose
    reports: list[tuple[object, set[Kind]]] = [
        ({"gateway_attestation": gateway}, {Kind.QUOTE, Kind.EVENT_LOG, Kind.INFO}),
        ({"intel_quote": spelled, "event_log": log}, {Kind.QUOTE, Kind.EVENT_LOG}),
        ({"quote": spelled, "event_log": log}, {Kind.QUOTE, Kind.EVENT_LOG}),
        ({"attestation": {"evidence": evidence}}, {Kind.GET_QUOTE, Kind.APP_COMPOSE}),
        ({"attestation": {"td_quote": spelled}}, {Kind.QUOTE, Kind.PROOF}),
        ({"quote_collateral": world.collateral.document()}, {Kind.COLLATERAL}),
    ]
    for report, expected in reports:
        bundle = import_files([("report", json.dumps(report).encode())], collected_at=7)
        assert {item.kind for item in bundle.artifacts} == expected
        subject = read_subject(bundle, "")
        assert not subject.malformed
        if Kind.QUOTE in expected:
            assert quote in [source.quote for source in subject.quotes]
        if Kind.APP_COMPOSE in expected:
            assert subject.manifests[0].value == guest.app_compose.encode()


def test_a_report_about_several_attesters_keeps_them_apart(world: World) -> None:
    guest = world.guest

    def entry(number: int) -> dict[str, object]:
        quote = guest.quote(bytes([number]) * 64)
        return {"intel_quote": quote.hex(), "event_log": guest.log, "info": guest.info}

    report = {"gateway_attestation": entry(0), "model_attestations": [entry(1), entry(2), entry(1)]}
    bundle = import_files([("report", json.dumps(report).encode())], collected_at=7)
    sources = [item for name in bundle.subjects for item in read_subject(bundle, name).quotes]
    quotes = [source.quote for source in sources if source.channel == "quote"]
    assert len(bundle.subjects) == 3
    assert set(quotes) == {guest.quote(bytes([number]) * 64) for number in range(3)}
    again = import_files([("another name", json.dumps(report).encode())], collected_at=7)
    assert again.subjects == bundle.subjects


def test_a_report_that_lists_one_attester_twice_is_about_one(world: World) -> None:
    guest = world.guest
    entry = {"intel_quote": guest.quote(bytes(64)).hex(), "event_log": guest.log}
    report = {**entry, "all_attestations": [entry]}
    bundle = import_files([("report", json.dumps(report).encode())], collected_at=7)
    assert bundle.subjects == ("",)


@pytest.mark.parametrize("value", [7, {}, "x"])
def test_a_list_of_attestations_that_is_none_is_malformed(value: object) -> None:
    report = json.dumps({"model_attestations": value or [1]}).encode()
    with pytest.raises(EvidenceError):
        import_files([("report", report)], collected_at=7)


def test_a_quote_answer_keeps_the_info_beside_it(world: World) -> None:
    report = {**world.guest.get_quote(bytes(64)), "info": world.guest.info}
    kinds = [kind for kind, _ in recognise("answer", json.dumps(report).encode())]
    assert kinds == [Kind.GET_QUOTE, Kind.INFO]


def test_a_broken_part_names_its_place_in_the_report() -> None:
    report = b'{"gateway_attestation":{"intel_quote":"040002"}}'
    with pytest.raises(EvidenceError, match="report at /gateway_attestation at /intel_quote: "):
        recognise("report", report)


def test_imported_evidence_is_about_one_attester_in_any_order(world: World) -> None:
    files = [
        ("a", world.guest.page.encode()),
        ("b", json.dumps(world.guest.info).encode()),
        ("c", json.dumps(world.guest.info, indent=2).encode()),
        ("d", world.guest.app_compose.encode()),
    ]
    bundle = import_files(files, collected_at=1_700_000_000)
    assert bundle.subjects == ("",)
    assert len(bundle.of(Kind.INFO)) == 2
    assert {item.collected_at for item in bundle.artifacts} == {1_700_000_000}
    assert bundle.digest == import_files(reversed(files), collected_at=1_700_000_000).digest


def test_no_file_is_an_error() -> None:
    with pytest.raises(EvidenceError, match="no evidence files"):
        import_files([], collected_at=0)


def test_json_nested_in_strings_ends() -> None:
    text = "x"
    for _ in range(12):
        text = json.dumps(text)
    with pytest.raises(EvidenceError):
        recognise("file", text.encode())


@needs_recorded
def test_recorded_files_that_are_no_evidence() -> None:
    others = [
        *RECORDED.glob("8090-page/*.deploy-info.json"),
        *RECORDED.glob("collateral/intel_pcs_*.json"),
        RECORDED / "simulator" / "sys-config.json",
        RECORDED / "simulator" / "appkeys_public.json",
    ]
    for path in others:
        with pytest.raises(EvidenceError, match="not recognised as evidence"):
            recognise(path.name, path.read_bytes())
