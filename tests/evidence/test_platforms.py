"""Attestations of other platforms: told apart, read, and refused by name."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evidence.recorded import audit, checks, needs_recorded
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.import_files import recognise
from verifier.evidence.platforms.cbor import parse_cbor
from verifier.evidence.platforms.envelope import Platform, other_platform, parse_platform
from verifier.evidence.platforms.snp import parse_snp_report
from verifier.lab.snp import Snp
from verifier.model.result import SkipKind, Status

RAW = Snp().attestation()


def version_1(kind: str, **data: object) -> bytes:
    document = {
        "version": 1,
        "platform": {"kind": kind, "data": data},
        "stack": {"kind": "dstack", "data": {"report_data": bytes(64), "runtime_events": []}},
    }
    raw: bytes = msgpack.packb(document)
    return raw


def test_each_platform_is_told_by_its_envelope() -> None:
    for raw, platform in (
        (RAW, Platform.SEV_SNP),
        (version_1("nitro-enclave", nsm_quote=b"x"), Platform.NITRO_ENCLAVE),
        (version_1("aws-nitro-tpm", attestation_doc=[1, 2]), Platform.NITRO_TPM),
    ):
        assert parse_platform(raw, "blob").platform is platform
        for spelled in (raw, raw.hex().encode()):
            assert [kind for kind, _ in recognise("file", spelled)] == [Kind.PLATFORM_ATTESTATION]
    for raw in (b"", b"\0", b"\0\7x", b"\0\0", version_1("tdx"), b"\x81\xa1a", b"\xde\0\1"):
        assert other_platform(raw) is None


def test_both_versions_of_the_envelope_hold_the_same() -> None:
    old = parse_platform(RAW, "blob")
    new = parse_platform(
        version_1(
            "sev-snp",
            report=list(old.document),
            cert_chain=list(old.certificates),
            mr_config=old.mr_config,
        ),
        "blob",
    )
    assert (new.document, new.certificates, new.mr_config, new.report_data) == (
        old.document,
        old.certificates,
        old.mr_config,
        old.report_data,
    )


@pytest.mark.parametrize(
    "raw",
    [
        RAW[:-1],
        RAW + b"x",
        version_1("sev-snp", report="text"),
        version_1("sev-snp", report=b"x", cert_chain=[b""] * 9),
        version_1("sev-snp", report=b"x", mr_config=7),
        version_1("nitro-enclave"),
    ],
    ids=["cut", "longer", "text", "nine-certificates", "no-configuration", "no-document"],
)
def test_an_envelope_of_another_form_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(EvidenceError, match="blob"):
        parse_platform(raw, "blob")


def test_a_measurement_document_is_read_in_its_one_spelling() -> None:
    raw = bytes.fromhex("a3 61 61 82 01 1903e8 61 62 42 0102 61 63 63 e282ac")
    assert parse_cbor(raw, "cbor") == {"a": [1, 1000], "b": "0102", "c": "\u20ac"}
    for bad in (
        *("", "a1", "a161", "a2616101616101", "a10101", "1801", "1900ff", "1f", "9f01ff", "f5"),
        *(
            "20",
            "c000",
            "61ff",
            "0000",
            "818181818181818181 01",
            "9a7fffffff",
            "5b7fffffffffffffff",
        ),
    ):
        with pytest.raises(EvidenceError, match="cbor"):
            parse_cbor(bytes.fromhex(bad), "cbor")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.binary(min_size=1, max_size=4))
def test_no_attestation_crashes_the_reader(at: int, value: bytes) -> None:
    for raw in (RAW[:at] + value + RAW[at + len(value) :], RAW[:at], value + RAW):
        try:
            attestation = parse_platform(raw, "blob")
            parse_snp_report(attestation.document, "report")
        except EvidenceError:
            continue


def test_a_report_of_another_size_or_version_is_refused() -> None:
    report = Snp().report()
    for raw in (
        report[:-1],
        b"\4" + report[1:],
        report[:52] + b"\2" + report[53:],
        report[:723] + b"\1" * 461,
    ):
        with pytest.raises(EvidenceError, match="SNP"):
            parse_snp_report(raw, "SNP report")


# The certificates of AMD's chips have the serial number 0.
@pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")
@needs_recorded
def test_the_recorded_guest_on_snp_leads_to_amds_root() -> None:
    whole = ("platforms/sev-snp-attestation.json",)
    parts = (
        "platforms/sev_snp_attestation.bin",
        "platforms/sev_snp_ask.pem",
        "platforms/sev_snp_vcek.pem",
    )
    for paths in (whole, parts):
        report = audit("2026-08-01", None, *paths)
        found = checks(report)["hardware.snp"]
        assert found.status is Status.WARN
        assert "firmware of several versions" in found.summary
        assert "launch" not in found.summary
        assert found.actual["app_id"] == "86e59625be93207bc2351c4d1bba20037cec8e16"  # type: ignore[index, call-overload]
    bare = checks(audit("2026-08-01", None, parts[0]))["hardware.snp"]
    assert bare.skip_kind is SkipKind.MISSING_EVIDENCE


@needs_recorded
@pytest.mark.parametrize("name", ["nitro_attestation", "nitro_attestation_dbg"])
def test_a_recorded_enclave_is_named_and_not_covered(name: str) -> None:
    report = audit("2026-08-01", None, f"platforms/{name}.bin")
    found = checks(report)
    assert "AWS Nitro enclave" in found["hardware.quote"].summary
    assert found["hardware.snp"].skip_kind is SkipKind.NOT_APPLICABLE
    assert [gap for gap in report.gaps if "Nitro" in gap]
    assert report.verdict.value == "none"
