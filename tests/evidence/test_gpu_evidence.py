"""GPU reports, payloads, verdicts and manifests: what is read, and what is refused by name."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.gpu.canonical_xml import canonical, parse_xml
from verifier.evidence.gpu.nras import parse_answer, parse_keys
from verifier.evidence.gpu.payload import parse_payload
from verifier.evidence.gpu.report import parse_report
from verifier.evidence.gpu.rim import parse_rim
from verifier.evidence.import_files import recognise
from verifier.lab.gpu import DRIVER, VBIOS, Gpus

NONCE = bytes(range(32))
GPUS = Gpus(count=2, now=1_781_524_800)
REPORT = GPUS.report(0, NONCE)
OPAQUE = 37 + 8 + 64 * 55 + 32


def test_a_report_is_read_to_the_byte() -> None:
    report = parse_report(REPORT, "report")
    assert (report.nonce, report.driver, report.vbios) == (NONCE, DRIVER, VBIOS)
    assert report.board == "1010_0200_895"
    assert sorted(report.measurements) == list(range(1, 65))
    assert (len(report.fwid), report.decodes_video) == (48, False)
    assert report.signed + report.signature == REPORT


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"\x12"),  # another version of SPDM
        (38, b"\x61"),  # no response with measurements
        (41, b"\x41"),  # one block more than there are
        (42, b"\xff\xff\xff"),  # a record that runs over the end
        (46, b"\x02"),  # a measurement that is not of DMTF's form
        (45 + 55, b"\x01"),  # one index twice
        (47, b"\xff\xff"),  # a measurement that runs over the end
        (OPAQUE, b"\xff\xff"),  # opaque data that runs over the end
        (OPAQUE + 4, b"\xff\xff"),  # a field that runs over the end
        (OPAQUE + 2 + 12, b"\x06"),  # one field twice
    ],
)
def test_lengths_that_overrun_and_entries_that_repeat_are_refused(at: int, value: bytes) -> None:
    with pytest.raises(EvidenceError, match="GPU 0"):
        parse_report(REPORT[:at] + value + REPORT[at + len(value) :], "GPU 0")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(REPORT) - 1), st.binary(min_size=1, max_size=4))
def test_no_report_crashes_the_reader(at: int, value: bytes) -> None:
    for raw in (REPORT[:at] + value + REPORT[at + len(value) :], REPORT[:at], REPORT + value):
        try:
            parse_report(raw, "report")
        except EvidenceError:
            continue
        assert len(raw) == len(REPORT)


def payload(edit: Any) -> bytes:
    document = json.loads(GPUS.payload(NONCE))
    edit(document)
    return json.dumps(document).encode()


def test_a_payload_is_read_from_each_of_its_spellings() -> None:
    raw = GPUS.payload(NONCE)
    parsed = parse_payload(raw, "payload")
    assert (parsed.nonce, parsed.architecture, len(parsed.gpus)) == (NONCE, "HOPPER", 2)
    bare = json.dumps(json.loads(raw)["evidence_list"]).encode()
    for spelled in (json.dumps(raw.decode()).encode(), bare):
        assert parse_payload(spelled, "payload").gpus == parsed.gpus
    for kept in (raw, bare):
        assert [kind for kind, _ in recognise("file", kept)] == [Kind.GPU_EVIDENCE]


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.update(evidence_list=[]),
        lambda document: document.update(evidence_list=document["evidence_list"] * 40),
        lambda document: document["evidence_list"][1].update(nonce="00" * 32),
        lambda document: document.update(nonce="00"),
        lambda document: document["evidence_list"][0].update(certificate="AAAA"),
        lambda document: document["evidence_list"][0].update(
            certificate=base64.b64encode(b"-----BEGIN CERTIFICATE-----\n" * 99).decode()
        ),
        lambda document: document["evidence_list"][0].update(evidence="A" * (1 << 20)),
        lambda document: document["evidence_list"][0].pop("evidence"),
    ],
    ids=[
        "no-gpu",
        "too-many",
        "two-nonces",
        "short-nonce",
        "no-certificate",
        "long-chain",
        "huge",
        "no-report",
    ],
)
def test_a_payload_that_is_none_is_refused_by_name(edit: Any) -> None:
    with pytest.raises(EvidenceError, match="payload"):
        parse_payload(payload(edit), "payload")


def test_verdicts_are_read_with_digests_as_a_mapping_or_as_pairs() -> None:
    answer = parse_answer(GPUS.verdict(NONCE), "verdict")
    assert answer.overall.nonce == NONCE
    assert answer.digests.keys() == answer.detached.keys() == {"GPU-0", "GPU-1"}
    assert list(parse_keys(GPUS.key_set(), "keys").chains) == ["lab"]
    head, claims, signature = answer.overall.text.split(".")
    document = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    document["submods"] = list(document["submods"].items())
    spelled = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    listed = json.dumps([["JWT", f"{head}.{spelled}.{signature}"], {}]).encode()
    assert parse_answer(listed, "verdict").digests == answer.digests
    for raw, kind in (
        (GPUS.verdict(NONCE), Kind.GPU_VERDICT),
        (GPUS.key_set(), Kind.GPU_VERDICT_KEYS),
        (GPUS.rims()[0], Kind.GPU_RIM),
    ):
        assert [found for found, _ in recognise("file", raw)] == [kind]


@pytest.mark.parametrize("token", ["a.b", "e30.e30.", "!!!.e30.e30", "e30.e30.e30", "é.é.é"])
def test_a_token_that_is_none_is_refused_by_name(token: str) -> None:
    with pytest.raises(EvidenceError, match="verdict"):
        parse_answer(json.dumps([["JWT", token], {}]).encode(), "verdict")


def test_canonical_xml_is_that_of_the_recommendation() -> None:
    """W3C Canonical XML 1.1, examples 3.3 and 3.4, in the parts that manifests have."""
    raw = (
        '<doc>\n   <e1   /><e3 name = "elem3"   id="elem3"   />\n'
        '   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I\'m" xmlns:b="http://www.ietf.org" '
        'xmlns:a="http://www.w3.org" xmlns="http://example.org"/>\n'
        '   <e6 xmlns="" xmlns:a="http://www.w3.org"><e7 xmlns="http://www.ietf.org">'
        '<e8 xmlns="" xmlns:a="http://www.w3.org"/></e7></e6>'
        '<t>&#xd;&lt;&gt;&amp;&#34;</t><u v="&#9;&#10;&#13;\'&quot;&lt;"/></doc>'
    )
    assert canonical(parse_xml(raw.encode(), "xml")).decode() == (
        '<doc>\n   <e1></e1><e3 id="elem3" name="elem3"></e3>\n'
        '   <e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" '
        'xmlns:b="http://www.ietf.org" attr="I\'m" attr2="all" b:attr="sorted" a:attr="out"></e5>\n'
        '   <e6 xmlns:a="http://www.w3.org"><e7 xmlns="http://www.ietf.org">'
        '<e8 xmlns=""></e8></e7></e6>'
        '<t>&#xD;&lt;&gt;&amp;"</t><u v="&#x9;&#xA;&#xD;\'&quot;&lt;"></u></doc>'
    )


def test_an_element_alone_has_all_namespaces_of_its_scope() -> None:
    root = parse_xml(b'<a xmlns="u:d" xmlns:p="u:p"><p:b/></a>', "xml")
    assert canonical(root.elements[0]) == b'<p:b xmlns="u:d" xmlns:p="u:p"></p:b>'
    assert canonical(root, root.elements) == b'<a xmlns="u:d" xmlns:p="u:p"></a>'


@pytest.mark.parametrize(
    "raw",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/"><a/>',
        b"<?go on?><a/>",
        b'<a xml:base="x"/>',
        b"<p:a/>",
        b'<a xmlns:p="u" xmlns:q="u" p:x="1" q:x="2"/>',
        b"<a>" * 17 + b"</a>" * 17,
        b"<a>" + b"<b/>" * 5000 + b"</a>",
        b"<a>",
        b"",
        b"<a>\xff</a>",
    ],
)
def test_xml_that_may_have_two_meanings_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError, match="manifest"):
        parse_xml(raw, "manifest")


def test_a_manifest_is_read_from_the_text_and_from_the_service() -> None:
    raw = GPUS.rims()[0]
    rim = parse_rim(raw, "manifest")
    assert (rim.version, min(rim.measurements), len(rim.measurements)) == (DRIVER, 9, 32)
    answer = json.dumps({"id": "NV", "rim": base64.b64encode(raw).decode()}).encode()
    assert parse_rim(answer, "manifest") == rim


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "<ns0:Payload>",
            '<ns0:Payload><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>',
        ),
        ('URI=""', 'URI="#x"'),
        ("#ecdsa-sha384", "#rsa-sha1"),
        ("#enveloped-signature", "#base64"),
        ('index="9"', 'index="8"'),
        ('index="9"', 'index="999"'),
        ('active="True"', 'active="maybe"'),
        ('active="True"', 'active="False"'),
        ("SoftwareIdentity", "Something"),
    ],
)
def test_a_manifest_of_another_form_is_refused(old: str, new: str) -> None:
    with pytest.raises(EvidenceError, match="manifest"):
        parse_rim(GPUS.rims()[0].decode().replace(old, new).encode(), "manifest")


READ: dict[str, tuple[Any, bytes]] = {
    "manifest": (parse_rim, GPUS.rims()[1]),
    "verdict": (parse_answer, GPUS.verdict(NONCE)),
    "keys": (parse_keys, GPUS.key_set()),
    "payload": (parse_payload, GPUS.payload(NONCE)),
}


@pytest.mark.parametrize("what", READ)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_document_crashes_its_reader(what: str, data: st.DataObject) -> None:
    parse, raw = READ[what]
    at = data.draw(st.integers(0, len(raw) - 1))
    value = data.draw(st.binary(min_size=1, max_size=3) | st.sampled_from([b"<", b'"', b"[", b"&"]))
    for changed in (raw[:at] + value + raw[at + len(value) :], raw[:at]):
        try:
            parse(changed, what)
        except EvidenceError as error:
            assert what in error.message  # noqa: PT017 - either outcome is right
