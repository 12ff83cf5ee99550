"""Lite measurement documents: read to the byte, and believed about no release."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.recorded import needs_recorded, read
from tests.worlds.audited import audit
from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_json_object
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.quote import parse_quote
from verifier.image.kernel import command_line_digest
from verifier.image.lite import LiteMeasurement, parse_lite, read_cbor
from verifier.lab.events import MACHINE
from verifier.lab.knobs import Knobs
from verifier.machine.shape import vm_config_of
from verifier.model.result import SkipKind


def cbor(value: Any) -> bytes:
    """The shortest CBOR of a value."""
    if isinstance(value, bool):
        return bytes((0xE0 | 20 + value,))
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, dict):
        pairs = (cbor(key) + cbor(item) for key, item in value.items())
        return head(5, len(value)) + b"".join(pairs)
    raw = value.encode() if isinstance(value, str) else value
    return head(3 if isinstance(value, str) else 2, len(raw)) + raw


def head(kind: int, length: int) -> bytes:
    if length < 24:
        return bytes((kind << 5 | length,))
    size = next(size for size in (1, 2, 4, 8) if length < 1 << 8 * size)
    return bytes((kind << 5 | 23 + size.bit_length(),)) + length.to_bytes(size, "big")


THIRD: dict[str, Any] = {
    "version": 3,
    "image": {
        "cmdline_sha384": command_line_digest("quiet"),
        "kernel_authenticode": b"\1" * 48,
        "initrd_sha384": b"\2" * 48,
    },
    "tdvf": {
        "ovmf": "pre202505",
        "mrtd": {"single_pass": b"\3" * 48, "two_pass": b"\4" * 48},
        "td_hob": bytes.fromhex("80100904000609020b021010"),
    },
}
FOURTH: dict[str, Any] = {
    **THIRD,
    "version": 4,
    "image": {
        "cmdline": "quiet",
        "kernel_authenticode": b"\1" * 48,
        "kernel_header_normalized": True,
        "initrd_sha384": b"\2" * 48,
    },
}


def document(measurement: bytes, listed: bytes | None = None) -> dict[str, Any]:
    line = f"{hashlib.sha256(measurement).hexdigest()}  measurement.tdx.cbor\n".encode()
    fields = {"checksum_file": listed or line, "measurement": measurement}
    return {"tdx_measurement": {k: base64.b64encode(v).decode() for k, v in fields.items()}}


def parsed(value: dict[str, Any]) -> LiteMeasurement:
    found = parse_lite(document(cbor(value)))
    assert found is not None
    return found


def test_both_versions_describe_the_same_registers() -> None:
    third, fourth = parsed(THIRD), parsed(FOURTH)
    assert third.mrtds == fourth.mrtds == (b"\3" * 48, b"\4" * 48)
    assert (third.rtmr1, third.rtmr2) == (fourth.rtmr1, fourth.rtmr2)
    rtmrs = (bytes(48), third.rtmr1, third.rtmr2, bytes(48))
    assert third.describes(b"\3" * 48, rtmrs)
    assert not third.describes(b"\5" * 48, rtmrs)
    assert parse_lite({"cpu_count": 1}) is None


@needs_recorded
def test_a_recorded_document_describes_the_registers_of_its_quote() -> None:
    raw = parse_json_object(read("attestation/tdx-lite-attestation.json"), "recorded")
    blob = parse_attestation(bytes.fromhex(str(raw["attestation"])), "recorded")
    quote = parse_quote(blob.quote, "recorded")
    config = vm_config_of(blob.config)
    found = parse_lite(config)
    assert found is not None
    assert found.describes(quote.mr_td, quote.rtmrs)
    assert found.os_image_hash.hex() == config["os_image_hash"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 5},
        {"version": True},
        {"version": "3"},
        {"image": {}},
        {"image": b""},
        {"tdvf": {"mrtd": {}}},
        {"tdvf": {"mrtd": {"single_pass": b"\3" * 47, "two_pass": b"\4" * 48}}},
        {"image": {**THIRD["image"], "initrd_sha384": "text"}},
        {"version": 4},
    ],
    ids=str,
)
def test_documents_that_describe_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        parse_lite(document(cbor({**THIRD, **change})))


@pytest.mark.parametrize(
    "listed",
    [
        b"\n",
        b"00" * 32 + b"  measurement.tdx.cbor\n",
        b"00" * 32 + b"  other\n",
        hashlib.sha256(cbor(THIRD)).hexdigest().encode() + b"  measurement.tdx.cbor\n"
        + hashlib.sha256(b"").hexdigest().encode() + b"  measurement.tdx.cbor\n",
        b"x" * (1 << 17),
    ],
)  # fmt: skip
def test_lists_that_do_not_hold_the_measurement(listed: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_lite(document(cbor(THIRD), listed))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        cbor(THIRD)[:-1],
        cbor(THIRD) + b"\0",
        b"\xbf\xff",
        b"\x5f\xff",
        b"\xa2" + cbor("a") + b"\0" + cbor("a") + b"\0",
        b"\xa1\x01\x01",
        b"\xa1\x41\x61\x01",
        b"\xbb" + b"\xff" * 8,
        b"\x5b" + b"\xff" * 8,
        b"\xa1\x61\x61" * 50,
        b"\x61\xff",
        b"\x20",
        b"\x80",
        b"\xc0\x00",
        b"\xf6",
        b"\xf9\x00\x00",
        b"\x1c",
        bytes(1 << 17),
    ],
)
def test_cbor_that_lies(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_cbor(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = read_cbor(raw)
    except EvidenceError:
        return
    assert isinstance(value, int | str | bytes | dict)


def test_nothing_follows_from_a_document_about_an_image_that_nobody_knows() -> None:
    stated = {**MACHINE, **document(cbor(THIRD))}
    (found,) = audit(Knobs(os_image="mine", stated_machine=stated)).check("boot.image")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "describes other registers" in found.summary
    broken = {**MACHINE, **document(b"\xff")}
    (found,) = audit(Knobs(os_image="mine", stated_machine=broken)).check("boot.image")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "cannot be read" in found.summary
