"""The guest firmware: its TDVF metadata, MRTD, and what of it shows in RTMR0.

offset from the end      what (edk2 OvmfPkg/ResetVector; TDX Virtual Firmware Design Guide, 11)
32 + 16                  GUID of the table's footer, before the reset vector
32 + 18                  u16: the table's length, footer included
before that, backwards   entries: data, u16 length of the entry, GUID
the entry e47a6535-…     u32: offset of the descriptor from the end of the file

descriptor               "TDVF", u32 length, u32 version 1, u32 n, then n sections:
section (32 bytes)       u32 offset in the file, u32 size there, u64 address, u64 size in
memory, u32 type, u32 attributes
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.machine.aml import guid_bytes
from verifier.machine.firmware import PAGE, FirmwareLayout

MAX_FIRMWARE: Final = 64 << 20
_FOOTER: Final = guid_bytes("96b582de-1fb2-45f7-baea-a366c55a082d")
_METADATA: Final = guid_bytes("e47a6535-984a-4798-865e-4685a7bf8ec2")
_RESET_VECTOR: Final = 32
_GUID: Final = 16
_ENTRY: Final = _GUID + 2
_DESCRIPTOR: Final = 16
_SECTION: Final = struct.Struct("<IIQQII")
_MAX_SECTIONS: Final = 64
_MAX_MEMORY: Final = 256 << 20
_FOUR_GIB: Final = 1 << 32
_CHUNK: Final = 256
"""Bytes that one TDH.MR.EXTEND measures (Intel TDX module ABI)."""

CONFIGURATION_VOLUME, TD_HOB, TEMPORARY_MEMORY = 1, 2, 3
"""Types of sections whose place shows in RTMR0."""

_EXTENDED, _ADDED_LATER = 1, 2
"""Attributes: the content is measured; the pages are not added before the start."""


class Section(Struct, frozen=True):
    """A section of the firmware (TDVF metadata). Sizes and places are bytes.

    offset      where it stands in the file
    size        how much of the file it takes; 0 for none of it
    address     where it stands in memory
    memory      how much of memory it takes
    kind        its type, u32
    attributes  bits, u32: 1 its content is measured, 2 its pages are not added before the start
    """

    offset: int
    size: int
    address: int
    memory: int
    kind: int
    attributes: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.memory


class Firmware(Struct, frozen=True, kw_only=True):
    """A measured firmware: MRTD for either order in which QEMU adds its pages, and its layout."""

    mrtd_two_pass: bytes
    mrtd_single_pass: bytes
    layout: FirmwareLayout


def measure_firmware(raw: bytes) -> Firmware:
    """Measure a firmware file (ovmf.fd). Raises EvidenceError."""
    sections = read_sections(raw)
    ranges = sorted(
        (item.address, item.memory)
        for item in sections
        if item.kind in (TD_HOB, TEMPORARY_MEMORY) and item.memory
    )
    hobs = [item.address for item in sections if item.kind == TD_HOB]
    volumes = [item for item in sections if item.kind == CONFIGURATION_VOLUME]
    if len(hobs) != 1 or len(volumes) != 1:
        raise EvidenceError(
            f"firmware: {len(hobs)} memory maps and {len(volumes)} configuration volumes, where a "
            "TDVF has one of each"
        )
    volume = raw[volumes[0].offset : volumes[0].offset + volumes[0].size]
    two_pass, single_pass = _mrtd(raw, sections)
    return Firmware(
        mrtd_two_pass=two_pass,
        mrtd_single_pass=single_pass,
        layout=FirmwareLayout(hobs[0], tuple(ranges), hashlib.sha384(volume).digest()),
    )


def read_sections(raw: bytes) -> tuple[Section, ...]:
    """The sections that the metadata of a firmware file lists. Raises EvidenceError."""
    if not _RESET_VECTOR + _ENTRY < len(raw) <= MAX_FIRMWARE:
        raise EvidenceError(f"firmware: {len(raw)} bytes are no TDVF")
    place = len(raw) - _descriptor_offset(raw)
    if place < 0 or place + _DESCRIPTOR > len(raw):
        raise EvidenceError("firmware: the TDVF descriptor is outside of the file")
    signature, _, version, count = struct.unpack_from("<4sIII", raw, place)
    if signature != b"TDVF" or version != 1:
        raise EvidenceError("firmware: no TDVF descriptor of version 1")
    end = place + _DESCRIPTOR + count * _SECTION.size
    if not 0 < count <= _MAX_SECTIONS or end > len(raw):
        raise EvidenceError(f"firmware: {count} TDVF sections do not fit the file")
    found = tuple(
        Section(*fields) for fields in _SECTION.iter_unpack(raw[place + _DESCRIPTOR : end])
    )
    for section in found:
        _check(section, raw)
    _refuse_overlap(found)
    return found


def _descriptor_offset(raw: bytes) -> int:
    """How far before the end of the file the descriptor is, by the table of GUIDs."""
    end = len(raw) - _RESET_VECTOR
    footer, length = (
        raw[end - _GUID : end],
        int.from_bytes(raw[end - _ENTRY : end - _GUID], "little"),
    )
    if footer != _FOOTER or not _ENTRY <= length <= end:
        raise EvidenceError("firmware: no table of GUIDs before the reset vector")
    start, place = end - length, end - _ENTRY
    while place - _ENTRY >= start:
        size = int.from_bytes(raw[place - _ENTRY : place - _GUID], "little")
        if not _ENTRY <= size <= place - start:
            raise EvidenceError("firmware: an entry of the table of GUIDs has a wrong length")
        if raw[place - _GUID : place] == _METADATA:
            if size < _ENTRY + 4:
                raise EvidenceError("firmware: the entry of the TDVF metadata is too short")
            return int.from_bytes(raw[place - _ENTRY - 4 : place - _ENTRY], "little")
        place -= size
    raise EvidenceError("firmware: no TDVF metadata: this is no firmware for a TD")


def _check(section: Section, raw: bytes) -> None:
    outside = section.offset + section.size > len(raw)
    if outside or section.size > section.memory or section.end > _FOUR_GIB:
        raise EvidenceError("firmware: a TDVF section is outside of the file or of its memory")
    if section.address % PAGE or section.memory % PAGE or section.memory > _MAX_MEMORY:
        raise EvidenceError("firmware: a TDVF section is not made of whole pages, or too large")
    if section.attributes & _EXTENDED and section.size != section.memory:
        raise EvidenceError("firmware: a measured TDVF section lies partly outside of the file")


def _refuse_overlap(sections: tuple[Section, ...]) -> None:
    end = total = 0
    for section in sorted(sections, key=lambda item: item.address):
        if section.memory and section.address < end:
            raise EvidenceError("firmware: TDVF sections overlap")
        end = max(end, section.end)
        total += section.memory
    if total > _MAX_MEMORY:
        raise EvidenceError(f"firmware: its sections take {total} bytes of memory")


def _mrtd(raw: bytes, sections: tuple[Section, ...]) -> tuple[bytes, bytes]:
    """MRTD of both orders: sha384 over what TDH.MEM.PAGE.ADD and TDH.MR.EXTEND feed it (Intel TDX
    module base specification, 12.2). QEMU before 9.0 adds all pages of a section before it measures
    them (two passes); later it measures each page as it adds it."""
    two, single = hashlib.sha384(), hashlib.sha384()
    for section in sections:
        adds = [] if section.attributes & _ADDED_LATER else _added(section)
        extends = _extended(section, raw) if section.attributes & _EXTENDED else []
        whole = b"".join((*adds, *extends))
        two.update(whole)
        if adds and extends:
            whole = b"".join(add + extend for add, extend in zip(adds, extends, strict=True))
        single.update(whole)
    return two.digest(), single.digest()


def _added(section: Section) -> list[bytes]:
    return [
        _call(b"MEM.PAGE.ADD", address) for address in range(section.address, section.end, PAGE)
    ]


def _extended(section: Section, raw: bytes) -> list[bytes]:
    """For each page, what its sixteen extensions feed."""
    pages = range(0, section.memory, PAGE)
    return [b"".join(_chunks(section, raw, page)) for page in pages]


def _chunks(section: Section, raw: bytes, page: int) -> Iterator[bytes]:
    for chunk in range(page, page + PAGE, _CHUNK):
        place = section.offset + chunk
        yield _call(b"MR.EXTEND", section.address + chunk)
        yield raw[place : place + _CHUNK]


def _call(name: bytes, address: int) -> bytes:
    return struct.pack("<16sQ104x", name, address)
