"""Lite measurement documents: what dstack 0.6.0 lets a guest state about its own image, so that
nobody has to download it.

    vm_config.tdx_measurement = {"checksum_file": base64, "measurement": base64}
    os_image_hash = sha256(checksum_file), which lists `measurement.tdx.cbor` with the sha256 of
    the measurement: CBOR (RFC 8949) of

    {version: 3, image: {cmdline_sha384, kernel_authenticode, initrd_sha384},
     tdvf: {ovmf, mrtd: {single_pass, two_pass}, td_hob}}
    {version: 4, image: {cmdline, kernel_authenticode, kernel_header_normalized, initrd_sha384}, …}

(Dstack-TEE/dstack dstack-types/src/lib.rs.) Such a document proves which registers it describes,
and never which release: anybody can append its line to any checksum list, whose hash is then the
image hash that goes with it.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.td.event_log import replay
from verifier.image.files import parse_checksums
from verifier.image.kernel import command_line_digest, served_kernel_events
from verifier.model.result import JsonValue

_LISTED: Final = "measurement.tdx.cbor"
_DIGEST: Final = 48
_MAX_DOCUMENT: Final = 1 << 16
_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 64
_VERSIONS: Final = (3, 4)
_WHAT: Final = "lite measurement"

Cbor = int | bool | str | bytes | dict[str, "Cbor"]


class LiteMeasurement(Struct, frozen=True, kw_only=True):
    """The registers that a document describes, and the image hash that goes with it."""

    os_image_hash: bytes
    mrtds: tuple[bytes, bytes]
    rtmr1: bytes
    rtmr2: bytes

    def describes(self, mrtd: bytes, rtmrs: tuple[bytes, ...]) -> bool:
        """Whether these are its registers (RTMR0 is not among them)."""
        return mrtd in self.mrtds and (self.rtmr1, self.rtmr2) == tuple(rtmrs[1:3])


def parse_lite(vm_config: Mapping[str, JsonValue]) -> LiteMeasurement | None:
    """The document of a vm_config, None where it has none. Raises EvidenceError."""
    stated = vm_config.get("tdx_measurement")
    if stated is None:
        return None
    document = codec.as_object(stated, f"{_WHAT} document")
    listed, measurement = (
        codec.parse_base64(codec.text_field(document, name, _WHAT), f"{_WHAT}: {name}")
        for name in ("checksum_file", "measurement")
    )
    if len(listed) > _MAX_DOCUMENT:
        raise EvidenceError(f"{_WHAT}: a checksum list of {len(listed)} bytes")
    digests = parse_checksums(listed, f"{_WHAT}: checksum_file")
    if digests.get(_LISTED) != hashlib.sha256(measurement).hexdigest():
        raise EvidenceError(f"{_WHAT}: the checksum list does not have this {_LISTED}")
    return _measurement(read_cbor(measurement), hashlib.sha256(listed).digest())


def _measurement(document: Cbor, os_image_hash: bytes) -> LiteMeasurement:
    fields = _map(document)
    if fields.get("version") not in _VERSIONS or isinstance(fields.get("version"), bool):
        raise EvidenceError(f"{_WHAT}: unknown version {fields.get('version')!r}")
    image, tdvf = _map(fields.get("image")), _map(fields.get("tdvf"))
    mrtd = _map(tdvf.get("mrtd"))
    if fields["version"] == _VERSIONS[0]:
        command_line = _digest(image, "cmdline_sha384")
    else:
        text = image.get("cmdline")
        if not isinstance(text, str):
            raise EvidenceError(f"{_WHAT}: no command line")
        command_line = command_line_digest(text)
    return LiteMeasurement(
        os_image_hash=os_image_hash,
        mrtds=(_digest(mrtd, "single_pass"), _digest(mrtd, "two_pass")),
        rtmr1=replay(served_kernel_events(_digest(image, "kernel_authenticode"))),
        rtmr2=replay((command_line, _digest(image, "initrd_sha384"))),
    )


def _map(value: Cbor | None) -> dict[str, Cbor]:
    if not isinstance(value, dict):
        raise EvidenceError(f"{_WHAT}: a field is missing, or no map")
    return value


def _digest(fields: dict[str, Cbor], name: str) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) != _DIGEST:
        raise EvidenceError(f"{_WHAT}: {name} is not a digest of {_DIGEST} bytes")
    return value


def read_cbor(raw: bytes) -> Cbor:
    """The value of a CBOR document of what these measurements are made of: maps with text as keys,
    text, byte strings, unsigned integers and booleans, all of known length.

    Raises EvidenceError for anything else, for a key that stands twice, and for bytes left over.
    """
    if len(raw) > _MAX_DOCUMENT:
        raise EvidenceError(f"{_WHAT}: {len(raw)} bytes of CBOR")
    value, end = _item(raw, 0, _MAX_DEPTH)
    if end != len(raw):
        raise EvidenceError(f"{_WHAT}: {len(raw) - end} bytes of CBOR left over")
    return value


def _item(raw: bytes, place: int, depth: int) -> tuple[Cbor, int]:
    kind, length, place = _head(raw, place)
    if kind == 0:
        return length, place
    if kind == 5 and depth and length <= _MAX_ITEMS:  # noqa: PLR2004 - a map
        return _pairs(raw, place, length, depth - 1)
    if kind == 7 and length in (20, 21):  # noqa: PLR2004 - false and true
        return length == 21, place  # noqa: PLR2004 - true
    content = raw[place : place + length]
    if kind not in (2, 3) or len(content) != length:
        raise EvidenceError(f"{_WHAT}: CBOR of an unknown kind, or cut off, at byte {place}")
    if kind == 3:  # noqa: PLR2004 - text
        return codec.parse_utf8(content, _WHAT), place + length
    return content, place + length


def _pairs(raw: bytes, place: int, count: int, depth: int) -> tuple[Cbor, int]:
    found: dict[str, Cbor] = {}
    for _ in range(count):
        key, place = _item(raw, place, 0)
        if not isinstance(key, str) or key in found:
            raise EvidenceError(f"{_WHAT}: a key of CBOR is no text, or stands twice")
        found[key], place = _item(raw, place, depth)
    return found, place


def _head(raw: bytes, place: int) -> tuple[int, int, int]:
    """Kind and length (or value) of the item at a place, and the place after its head."""
    if place >= len(raw):
        raise EvidenceError(f"{_WHAT}: CBOR is cut off")
    kind, low = raw[place] >> 5, raw[place] & 0x1F
    if low < 24:  # noqa: PLR2004 - the value itself
        return kind, low, place + 1
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    content = raw[place + 1 : place + 1 + size]
    if not size or len(content) != size or kind == 7:  # noqa: PLR2004 - simple values are short
        raise EvidenceError(f"{_WHAT}: CBOR of an unknown length at byte {place}")
    return kind, int.from_bytes(content, "big"), place + 1 + size
