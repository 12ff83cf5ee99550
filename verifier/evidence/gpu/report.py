"""One NVIDIA attestation report: an SPDM 1.1 request for measurements and the GPU's response.

    request     0x11, 0xe0, param1 u8, param2 u8, nonce 32, slot u8                       37 bytes
    response    0x11, 0x60, param1 u8, param2 u8, blocks u8, length u24, record, nonce 32,
                length u16, opaque, signature 96 (r || s, big endian, P-384)
    record      blocks times {index u8, 1, size u16, {kind u8, size u16, digest}}
    opaque      {type u16, length u16, value}, see the constants

All other integers are little endian. The signature is over everything before it, by the GPU's
attestation key. Source: DMTF DSP0274 1.1; NVIDIA nv-local-gpu-verifier 2.7.3, attestation/.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError

MAX_REPORT_BYTES: Final = 1 << 16
DIGEST_BYTES: Final = 48
NVDEC: Final = 11
"""The field that says whether the video decoder is on (0xaa) or off (0x55)."""

_DRIVER: Final = 3
_VBIOS: Final = 6
_CHIP_SKU: Final = 15
_PROJECT: Final = 17
_PROJECT_SKU: Final = 18
_FWID: Final = 20
_NVDEC_OFF: Final = b"\x55"
_REQUEST: Final = bytes((0x11, 0xE0))
_RESPONSE: Final = bytes((0x11, 0x60))
_DMTF: Final = 1
_SIGNATURE_BYTES: Final = 96
_VBIOS_BYTES: Final = 8
_MAX_TEXT: Final = 64


class GpuReport(Struct, frozen=True, kw_only=True):
    """A report, read and not verified. `nonce` (32 bytes) is whose answer it is. `measurements` are
    digests (48 bytes) by index, from 1; `opaque` are the fields that the constants name. `signed`
    is what `signature` (r || s, 96 bytes) is over."""

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[int, bytes]
    signed: bytes
    signature: bytes

    @property
    def fwid(self) -> bytes:
        """The identity of the firmware that holds the attestation key, b"" where none is named."""
        return self.opaque.get(_FWID, b"")

    @property
    def decodes_video(self) -> bool:
        """Whether the video decoder is on: measurement 36 counts only then."""
        return self.opaque.get(NVDEC, b"") != _NVDEC_OFF

    @property
    def driver(self) -> str:
        """The driver's version ("570.172.08"), "" where none is named."""
        return _text(self.opaque.get(_DRIVER, b""))

    @property
    def vbios(self) -> str:
        """The version of the VBIOS ("96.00.D0.00.03"), "" where none is named."""
        raw = self.opaque.get(_VBIOS, b"")
        if len(raw) != _VBIOS_BYTES:
            return ""
        digits = raw[::-1].hex().upper()
        digits = digits[8:] + digits[6:8]
        return ".".join(digits[at : at + 2] for at in range(0, len(digits), 2))

    @property
    def board(self) -> str:
        """Project, project SKU and chip SKU ("1010_0200_882"): which board's VBIOS it is."""
        return "_".join(
            _text(self.opaque.get(key, b"")) for key in (_PROJECT, _PROJECT_SKU, _CHIP_SKU)
        )


def parse_report(raw: bytes, what: str) -> GpuReport:
    """Parse a report. Nothing about it is verified. Raises EvidenceError."""
    if len(raw) > MAX_REPORT_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no GPU report")
    reader = _Reader(raw, what)
    if reader.take(4, "request")[:2] != _REQUEST:
        raise EvidenceError(f"{what}: does not start with an SPDM 1.1 request for measurements")
    nonce = reader.take(32, "nonce")
    reader.take(1, "slot")
    if reader.take(4, "response")[:2] != _RESPONSE:
        raise EvidenceError(f"{what}: no SPDM 1.1 response with measurements follows the request")
    blocks = reader.take(1, "number of measurements")[0]
    record = reader.take(reader.number(3, "length of the record"), "measurement record")
    reader.take(32, "responder's nonce")
    opaque = reader.take(reader.number(2, "length of the opaque data"), "opaque data")
    signed = raw[: reader.at]
    signature = reader.take(_SIGNATURE_BYTES, "signature")
    reader.finish()
    return GpuReport(
        nonce=nonce,
        measurements=_measurements(_Reader(record, f"{what}: measurement record"), blocks),
        opaque=_fields(_Reader(opaque, f"{what}: opaque data")),
        signed=signed,
        signature=signature,
    )


class _Reader:
    """Reads bytes in order; every read is bounds-checked. `at` is the offset of the next one."""

    def __init__(self, raw: bytes, what: str) -> None:
        self._raw, self._what, self.at = raw, what, 0

    @property
    def what(self) -> str:
        return self._what

    @property
    def more(self) -> bool:
        return self.at < len(self._raw)

    def take(self, count: int, name: str) -> bytes:
        if count > len(self._raw) - self.at:
            raise EvidenceError(
                f"{self._what}: its {name} of {count} bytes at byte {self.at} runs over the end"
            )
        self.at += count
        return self._raw[self.at - count : self.at]

    def number(self, size: int, name: str) -> int:
        return int.from_bytes(self.take(size, name), "little")

    def finish(self) -> None:
        if self.more:
            raise EvidenceError(f"{self._what}: {len(self._raw) - self.at} bytes left over")


def _measurements(reader: _Reader, blocks: int) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    for _ in range(blocks):
        index = reader.take(1, "index")[0]
        if reader.take(1, "specification")[0] != _DMTF:
            raise EvidenceError(f"{reader.what}: measurement {index} is not of DMTF's form")
        size = reader.number(2, "size")
        reader.take(1, "kind")
        length = reader.number(2, "size")
        if index in found or size != length + 3 or length != DIGEST_BYTES:
            raise EvidenceError(f"{reader.what}: measurement {index} is there twice, or no SHA-384")
        found[index] = reader.take(length, f"measurement {index}")
    reader.finish()
    return found


def _fields(reader: _Reader) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    while reader.more:
        kind = reader.number(2, "type")
        value = reader.take(reader.number(2, "length"), f"field {kind}")
        if kind in found:
            raise EvidenceError(f"{reader.what}: field {kind} is there twice")
        found[kind] = value
    return found


def _text(raw: bytes) -> str:
    """Printable ASCII up to the zeros that pad it, else ""."""
    stripped = raw.rstrip(b"\0")
    if not stripped.isascii() or len(stripped) > _MAX_TEXT:
        return ""
    text = stripped.decode("ascii").strip()
    return text if text.isprintable() else ""
