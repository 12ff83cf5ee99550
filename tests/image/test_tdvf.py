"""The firmware: MRTD, which pages it has in memory, and metadata that lies."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.images import (
    BFV,
    CFV,
    CODE_AT,
    EXTEND,
    HOB,
    PAGE,
    PARTS,
    SECTIONS,
    TEMP,
    Section,
    firmware,
    table_of_guids,
)
from verifier.errors import EvidenceError
from verifier.image.tdvf import measure_firmware, read_sections
from verifier.machine.firmware import witness_of

METADATA = "e47a6535-984a-4798-865e-4685a7bf8ec2"
CODE, VOLUME, TEMPORARY, LOW, MAP, AFTER = SECTIONS


def by_the_book(raw: bytes, *, two_passes: bool) -> str:
    """MRTD, derived a second time: the calls that the TDX module sees, one by one. Of our own
    making too, and shares no code with the package."""
    start = raw.index(b"TDVF")
    calls: list[bytes] = []
    for number in range(int.from_bytes(raw[start + 12 : start + 16], "little")):
        at = start + 16 + 32 * number
        word = [int.from_bytes(raw[at + o : at + o + n], "little")
                for o, n in ((0, 4), (8, 8), (16, 8), (28, 4))]  # fmt: skip
        offset, address, size, attributes = word
        added, extended = [], []
        for page in range(size // 4096):
            gpa = address + 4096 * page
            if not attributes & 2:
                operand = gpa.to_bytes(8, "little").ljust(112, b"\0")
                added.append((page, b"MEM.PAGE.ADD\0\0\0\0" + operand))
            for chunk in range(16 if attributes & 1 else 0):
                place = offset + 4096 * page + 256 * chunk
                head = b"MR.EXTEND".ljust(16, b"\0") + (gpa + 256 * chunk).to_bytes(8, "little")
                extended.append((page, head.ljust(128, b"\0") + raw[place : place + 256]))
        both = added + extended
        calls += [call for _, call in (both if two_passes else sorted(both, key=lambda c: c[0]))]
    return hashlib.sha384(b"".join(calls)).hexdigest()


def test_mrtd_is_what_the_module_would_compute() -> None:
    raw = firmware()
    found = measure_firmware(raw)
    assert found.mrtd_two_pass.hex() == by_the_book(raw, two_passes=True)
    assert found.mrtd_single_pass.hex() == by_the_book(raw, two_passes=False)
    assert found.mrtd_two_pass != found.mrtd_single_pass


def test_the_real_firmware_of_a_distribution() -> None:
    if not (PARTS / "OVMF.fd").is_file():
        pytest.skip("no real firmware here: make parts")
    raw = (PARTS / "OVMF.fd").read_bytes()
    found = measure_firmware(raw)
    assert found.mrtd_two_pass.hex() == by_the_book(raw, two_passes=True)
    assert found.mrtd_single_pass.hex() == by_the_book(raw, two_passes=False)
    assert found.layout.hob == 0x809000


def test_what_shows_in_rtmr0() -> None:
    raw = firmware()
    layout = measure_firmware(raw).layout
    assert witness_of(layout).hex() == "80100904000609020b021010"
    assert layout.volume == hashlib.sha384(raw[:0x2000]).digest()


@pytest.mark.parametrize(
    "place", [0, 0x2000, 0x3FFF], ids=["the volume", "the code", "the last byte"]
)
def test_what_is_measured_where(place: int) -> None:
    raw = bytearray(firmware())
    raw[place] ^= 1
    before, after = measure_firmware(firmware()), measure_firmware(bytes(raw))
    measured = place >= 0x2000
    assert (before.mrtd_two_pass != after.mrtd_two_pass) == measured
    assert (before.layout.volume != after.layout.volume) == (not measured)


def test_pages_that_are_added_later_are_not_measured() -> None:
    later = (*TEMPORARY[:5], 2)
    sections = (CODE, VOLUME, later, LOW, MAP, AFTER)
    assert measure_firmware(firmware(sections)).mrtd_two_pass.hex() == by_the_book(
        firmware(sections), two_passes=True
    )


BAD_SECTIONS: dict[str, tuple[Section, ...]] = {
    "outside of the file": ((0x3000, 0x2000, CODE_AT, 0x2000, BFV, EXTEND),),
    "huge offset": ((0xFFFFFFFF, 0x2000, CODE_AT, 0x2000, BFV, EXTEND),),
    "larger than its memory": ((0x2000, 0x2000, CODE_AT, 0x1000, BFV, 0),),
    "smaller than its memory": ((0x2000, 0x1000, CODE_AT, 0x2000, BFV, EXTEND),),
    "huge": ((0, 0, 0x100000, 1 << 40, TEMP, 0),),
    "half a gigabyte": ((0, 0, 0x10000000, 1 << 29, TEMP, 0),),
    "above 4 GiB": ((0, 0, 1 << 32, PAGE, TEMP, 0),),
    "no whole page": ((0, 0, 0x801001, PAGE, TEMP, 0),),
    "no whole size": ((0, 0, 0x801000, 100, TEMP, 0),),
    "overlapping": ((0, 0, 0x80A000, PAGE, TEMP, 0),),
    "twice": (MAP,),
    "two memory maps": ((0, 0, 0x900000, PAGE, HOB, 0),),
    "two volumes": ((0, 0x1000, 0xFF000000, 0x1000, CFV, 0),),
}


@pytest.mark.parametrize("more", BAD_SECTIONS.values(), ids=BAD_SECTIONS)
def test_sections_that_lie(more: tuple[Section, ...]) -> None:
    kept = (VOLUME, TEMPORARY, LOW, MAP, AFTER)
    with pytest.raises(EvidenceError):
        measure_firmware(firmware((*more, *kept)))


@pytest.mark.parametrize("dropped", [VOLUME, MAP])
def test_sections_that_are_needed(dropped: Section) -> None:
    with pytest.raises(EvidenceError):
        measure_firmware(firmware(section for section in SECTIONS if section != dropped))


BAD_FILES: dict[str, bytes] = {
    "empty": b"",
    "short": bytes(40),
    "no table": firmware(table=bytes(100)),
    "no sections": firmware(count=0),
    "endless sections": firmware(count=0xFFFFFFFF),
    "too many sections": firmware(count=65),
    "another version": firmware(version=2),
    "descriptor outside": firmware(offset=0x4001),
    "descriptor at the end": firmware(offset=4),
    "no metadata": firmware(table=table_of_guids([("00000000" + METADATA[8:], b"1234")])),
    "metadata without an offset": firmware(table=table_of_guids([(METADATA, b"12")])),
    "an entry of no length": firmware(
        table=struct.pack("<H", 0) + bytes(16) + table_of_guids([])[:0]
        + struct.pack("<H", 36) + table_of_guids([])[2:]
    ),
    "a table longer than the file": firmware(
        table=struct.pack("<H", 0xFFFF) + table_of_guids([])[2:]
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_are_no_firmware(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        measure_firmware(raw)


@given(place=st.integers(0x3000, 0x3FFF), value=st.integers(0, 255))
def test_one_byte_of_the_metadata(place: int, value: int) -> None:
    raw = bytearray(firmware())
    raw[place] = value
    try:
        sections = read_sections(bytes(raw))
    except EvidenceError:
        return
    assert sum(section.memory for section in sections) <= 256 << 20


@given(st.integers(0, 0x4000))
def test_a_firmware_that_is_cut(length: int) -> None:
    with pytest.raises(EvidenceError):
        measure_firmware(firmware()[:length] if length < 0x4000 else b"")
