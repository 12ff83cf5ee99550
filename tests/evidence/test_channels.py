"""Pages, certificates, attestation blobs: how quotes and logs travel."""

import datetime as dt

import msgpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.errors import EvidenceError
from verifier.evidence.guest.page import MAX_PAGE_BYTES, parse_page
from verifier.evidence.td.attestation import AttestationBlob, parse_attestation
from verifier.evidence.td.event_log import MAX_EVENTS
from verifier.evidence.td.ra_tls import (
    EXT_APP_ID,
    EXT_EVENT_LOG,
    EXT_QUOTE,
    EXT_USAGE,
    OID_PREFIX,
    leaf_report_data,
    parse_chain,
    spki,
)
from verifier.lab.cert import msgpack_v1, scale_v0
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build

AREA = "<textarea readonly>"
END = "</textarea>"
PAGE = f"<h2>TCB Info</h2>{AREA}{{}}{END}"


@pytest.mark.parametrize(
    "page",
    [
        PAGE + PAGE,
        f"<h2>TCB Info</h2>{AREA}{{}}{END}{AREA}{{}}{END}",
        f"<h2>TCB Info</h2>{AREA}{{}}<b>{END}",
        f"<h2>TCB Info</h2>{AREA}{{}}<!-- {END} -->",
        f'<h2>TCB Info</h2>{AREA}{{"a":"<b>x</b>"}}{END}',
        f"<meta charset=utf-16>{PAGE}",
        f"<meta content=\"text/html; charset = 'iso-8859-1'\">{PAGE}",
        *(
            f"<h2>TCB Info</h2>{AREA}{{}}{entity}{END}"
            for entity in ("&#128;", "&lt;", "&", "&#x26;")
        ),
        f"<h2>Deployed Containers</h2>{AREA}{{}}{END}",
        f"{AREA}{{}}{END}<h2>TCB Info</h2>",
        f"<!-- {PAGE} -->",
        "<h2>TCB Info</h2><TEXTAREA readonly>{}</TEXTAREA>",
        f"<h2>TCB Info</h2><textarea>{{}}{END}",
        f"<h2>TCB Info</h2><textarea\nreadonly>{{}}{END}",
        f"<h2>TCB Info</h2>{AREA}{{}}",
        f"<script>{PAGE}</script>",
        f"{PAGE}<![foo bar]]>",
        f"{PAGE}<!-- <textarea readonly>{{}}</textarea> -->",
        "<h1>nothing here</h1>",
        f"<h2>TCB Info</h2>{AREA}[]{END}",
        f"<h2>TCB Info</h2>{AREA}{{&#34;a&#34;:1,&#34;a&#34;:2}}{END}",
    ],
)
def test_pages_that_two_readers_may_read_differently(page: str) -> None:
    with pytest.raises(EvidenceError, match=r"^page: "):
        parse_page(page.encode(), "page")


def test_pages_in_other_encodings_and_sizes() -> None:
    for raw in (PAGE.encode("utf-16"), b"\xef\xbb\xbf" + PAGE.encode(), PAGE.encode() + b"\x80"):
        with pytest.raises(EvidenceError):
            parse_page(raw, "page")
    with pytest.raises(EvidenceError, match="no metadata page"):
        parse_page(PAGE.encode() + b" " * MAX_PAGE_BYTES, "page")


def test_the_five_escapes_and_the_label_rows() -> None:
    rows = '<div class="info-row"><div class="info-label">App ID:</div>'
    rows += '<div class="info-value">ab</div></div>'
    text = "{&#34;app_compose&#34;:&#34;&#60;&#62;&#38;&#39;&#38;#60;&#34;}"
    page = parse_page(f"{rows}<h2>TCB Info</h2>{AREA}{text}{END}".encode(), "page")
    assert page.labels == {"App ID": "ab"}
    assert page.tcb_info is not None
    assert page.tcb_info.app_compose == "<>&'&#60;"
    with pytest.raises(EvidenceError, match="stands twice"):
        parse_page(f"{rows}{rows}{PAGE}".encode(), "page")


@pytest.mark.parametrize("version", ["0.3.1", "0.3.3", "0.4.2", "0.5.5", "0.5.8", "0.6.0"])
def test_pages_of_every_release(version: str) -> None:
    guest = build(Knobs(version=version, public_sysinfo=True)).guest
    page = parse_page(guest.page.encode(), "page")
    assert page.tcb_info is not None
    assert page.tcb_info.app_compose == guest.app_compose
    assert page.labels["App ID"] == guest.app_id.hex()
    assert bool(page.app_cert) == version.startswith("0.3")


def test_a_hidden_tcb_info_is_none() -> None:
    guest = build(Knobs(public_tcbinfo=False)).guest
    assert parse_page(guest.page.encode(), "page").tcb_info is None


def test_chain_of_a_guest(world: World) -> None:
    chain = parse_chain(world.guest.app_cert, "cert")
    assert len(chain.certificates) == 3
    assert chain.leaf[EXT_APP_ID].hex() == world.app_id
    assert chain.leaf[EXT_USAGE] == b"app:custom"
    report_data = chain.leaf[EXT_QUOTE][568:632]
    assert report_data == leaf_report_data(spki(chain.certificates[0]))
    assert chain.leaf[EXT_EVENT_LOG].startswith(b"[")


def certificate(*extensions: tuple[str, bytes]) -> str:
    key = ec.derive_private_key(7, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, moment, moment)
    for oid, value in extensions:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"\4", b"\4\1", b"\4\2a", b"\4\1ab", b"\5\1a", b"\x24\1a", b"\4\x80", b"\4\x80\0\0"),
        *(b"\4\x81\1a", b"\4\x82\0\1a", b"\4\x81", b"\4\xff", b"\4\x84\xff\xff\xff\xffa"),
        b"\4\x82\0\x80" + bytes(128),
    ],
)
def test_octet_strings_that_are_not_der(value: bytes) -> None:
    with pytest.raises(EvidenceError, match="OCTET STRING"):
        parse_chain(certificate((OID_PREFIX + "1", value)), "cert")


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 70_000])
def test_octet_strings_of_every_length_form(size: int) -> None:
    octets = size.to_bytes(max(1, (size.bit_length() + 7) // 8), "big")
    length = octets if size < 128 else bytes([0x80 | len(octets)]) + octets
    pem = certificate((OID_PREFIX + "2", b"\4" + length + bytes(size)))
    assert parse_chain(pem, "cert").leaf == {2: bytes(size)}


def test_an_extension_is_known_by_its_whole_oid() -> None:
    pem = certificate((OID_PREFIX + "3", b"\4\1a"), (OID_PREFIX + "3.1", b"\4\1b"))
    assert parse_chain(pem, "cert").leaf == {3: b"a"}


def test_a_certificate_with_an_extension_twice() -> None:
    pem = certificate((OID_PREFIX + "3", b"\4\1a"), (OID_PREFIX + "4", b"\4\1b"))
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    last_arc = der.index(b"\4\3\4\1b") - 1
    assert der[last_arc] == 4
    doubled = der[:last_arc] + b"\3" + der[last_arc + 1 :]
    twice = x509.load_der_x509_certificate(doubled).public_bytes(Encoding.PEM).decode()
    with pytest.raises(EvidenceError, match="not a PEM certificate chain"):
        parse_chain(twice, "cert")


@pytest.mark.parametrize(
    "pem", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\u00e9"]
)
def test_what_is_no_chain(pem: str) -> None:
    with pytest.raises(EvidenceError, match="not a PEM certificate chain"):
        parse_chain(pem, "cert")


def test_long_chains() -> None:
    with pytest.raises(EvidenceError, match="more than 8"):
        parse_chain(certificate() * 9, "cert")
    with pytest.raises(EvidenceError, match="no certificate chain"):
        parse_chain("x" * (2 << 20), "cert")


@pytest.fixture(scope="module")
def blobs(world: World) -> dict[str, bytes]:
    attestation = world.guest.attestation(bytes(64))
    return {
        "SCALE": scale_v0(attestation),
        "msgpack": msgpack_v1(attestation),
        "SCALE with a TPM": scale_v0(attestation, tpm=True),
        "msgpack with a TPM": msgpack_v1(attestation, tpm=True),
    }


BLOBS = [
    *(("SCALE", 0), ("msgpack", 1)),
    *(("SCALE with a TPM", 0), ("msgpack with a TPM", 1)),
]


@pytest.mark.parametrize(("form", "version"), BLOBS)
def test_blobs(world: World, blobs: dict[str, bytes], form: str, version: int) -> None:
    blob = parse_attestation(blobs[form], "blob")
    assert isinstance(blob, AttestationBlob)
    assert blob.version == version
    assert blob.quote == world.guest.attestation(bytes(64)).quote
    names = [event.name for event in blob.events if event.imr == 3]
    assert names == [str(item["event"]) for item in world.guest.log if item["imr"] == 3]
    assert blob.report_data == bytes(64)


@pytest.mark.parametrize("form", [form for form, _ in BLOBS])
def test_every_truncation_of_a_blob_is_refused(blobs: dict[str, bytes], form: str) -> None:
    raw = blobs[form]
    step = 1 if form == "SCALE" else 7 if form == "msgpack" else 23
    for end in [*range(0, len(raw), step), len(raw) - 1]:
        with pytest.raises(EvidenceError, match=r"^blob: "):
            parse_attestation(raw[:end], "blob")
    with pytest.raises(EvidenceError, match=r"^blob: "):
        parse_attestation(raw + b"\0", "blob")


def test_hostile_scale() -> None:
    many = (MAX_EVENTS + 1) << 2 | 2
    for raw in (
        *(b"\0\1", b"\0\4", b"\0\0\3\0\0\0\0", b"\1\0", b"\xc1", b"\x7f"),
        b"\0\0\0" + many.to_bytes(4, "little"),
        b"\0\0\0\4" + (9).to_bytes(4, "little") + bytes(40),
    ):
        with pytest.raises(EvidenceError, match=r"^blob: "):
            parse_attestation(raw, "blob")


def document(**changes: object) -> dict[str, object]:
    """A minimal version 1 blob; changes are `part__field`."""
    data: dict[str, object] = {"quote": b"q", "event_log": []}
    body: dict[str, object] = {"report_data": [0] * 64, "runtime_events": [], "config": "{}"}
    top: dict[str, object] = {
        "version": 1,
        "platform": {"kind": "tdx", "data": data},
        "stack": {"kind": "dstack", "data": body},
    }
    for name, value in changes.items():
        (data if name in data else body if name in body else top)[name] = value
    return top


ENTRY = {"imr": 3, "event_type": 0x08000001, "digest": b"", "event": "a", "event_payload": b""}


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "1"},
        {"platform": {"kind": "nitro-enclave", "data": {}}},
        {"platform": {"kind": "gcp-tdx", "data": {}}},
        {"platform": []},
        {"stack": None},
        {"quote": "text"},
        {"quote": [256]},
        {"quote": [True]},
        {"event_log": {}} | {"runtime_events": None},
        {"event_log": "abc"},
        {"event_log": [1]},
        *({"event_log": [{**ENTRY, "imr": value}]} for value in (True, "3", 4, -1)),
        *({"event_log": [{**ENTRY, "event_type": value}]} for value in (-1, 1 << 32, 1.0)),
        *({"event_log": [{**ENTRY, "digest": value}]} for value in (b"1", "x", None)),
        *({"event_log": [{**ENTRY, "event": value}]} for value in (b"a", 1, None)),
        {"event_log": [{**ENTRY, "version": 3}]},
        {"runtime_events": [{"event": 1, "payload": b""}]},
        {"report_data": 5},
    ],
    ids=repr,
)
def test_hostile_msgpack(changes: dict[str, object]) -> None:
    assert parse_attestation(msgpack.packb(document()), "blob").quote == b"q"
    with pytest.raises(EvidenceError):
        parse_attestation(msgpack.packb(document(**changes)), "blob")


def test_a_msgpack_map_has_each_key_once() -> None:
    raw = msgpack.packb(document())
    doubled = b"\x84" + raw[1:] + msgpack.packb("version") + msgpack.packb(1)
    with pytest.raises(EvidenceError, match="duplicate key"):
        parse_attestation(doubled, "blob")
    with pytest.raises(EvidenceError):
        parse_attestation(msgpack.packb({1: 2}), "blob")
