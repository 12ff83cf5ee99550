"""The kernel: its Authenticode digest, and the header that QEMU writes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.images import PARTS, kernel
from verifier.errors import EvidenceError
from verifier.image.kernel import as_patched, authenticode, command_line_digest, kernel_events

GIB, MIB = 1 << 30, 1 << 20


def test_the_signature_of_a_real_kernel_names_its_digest() -> None:
    """The distribution's own signature holds the digest that its signing tool computed."""
    if not (PARTS / "vmlinuz").is_file():
        pytest.skip("no real kernel here: make parts")
    signed = (PARTS / "vmlinuz").read_bytes()
    digest = authenticode(signed, "sha256")
    assert signed.count(digest) == 1
    assert signed.index(digest) > len(signed) - 4096
    assert len(authenticode(as_patched(signed, 50 * MIB, 4 * GIB))) == 48


def test_all_is_hashed_but_checksum_and_signature() -> None:
    plain = kernel()
    expected = plain[:0x98] + plain[0x9C:0xE8] + plain[0xF0:]
    assert authenticode(plain) == hashlib.sha384(expected).digest()
    for place, counts in ((0x98, False), (0x9B, False), (0x9C, True), (0xF0, True), (0x1FFF, True)):
        changed = bytearray(plain)
        changed[place] ^= 0x40
        assert (authenticode(bytes(changed)) != authenticode(plain)) == counts


def test_a_certificate_table_is_not_hashed() -> None:
    signed = kernel(size=0x2100, certificates=(0x2000, 0x100))
    changed = signed[:-1] + b"\xff"
    assert authenticode(signed) == authenticode(changed)


BAD = {
    "empty": b"",
    "no PE": bytes(0x2000),
    "no words": kernel(size=0x2001),
    "sections outside": kernel(sections=((0x1000, 0x8000),)),
    "sections overlap": kernel(sections=((0x1000, 0x900), (0x1800, 0x800))),
    "sections with a gap": kernel(sections=((0x1000, 0x400), (0x1800, 0x800))),
    "section in the headers": kernel(sections=((0x800, 0x1800),)),
    "too many sections": kernel(sections=[(0x1000, 0x800)] * 97),
    "headers outside": kernel(headers=0x3000),
    "headers too short": kernel(headers=0x40),
    "certificates outside": kernel(certificates=(0x2000, 0x100)),
    "certificates in the middle": kernel(certificates=(0x1000, 0x100)),
    "PE header at the end": b"MZ" + bytes(0x3A) + b"\xfc\x1f\0\0" + bytes(0x1FBC) + b"PE\0\0",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_images_that_readers_read_differently_are_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        authenticode(raw)


@given(st.integers(0, 0x2000))
def test_a_kernel_that_is_cut(length: int) -> None:
    raw = kernel()[:length]
    if length < 0x2000:
        with pytest.raises(EvidenceError):
            authenticode(raw)


@given(place=st.integers(0x3C, 0x1FF), value=st.integers(0, 255))
def test_one_byte_of_the_headers(place: int, value: int) -> None:
    raw = bytearray(kernel())
    raw[place] = value
    try:
        assert len(authenticode(bytes(raw))) == 48
    except EvidenceError:
        return


def initrd_of(image: bytes) -> tuple[int, int]:
    return (
        int.from_bytes(image[0x218:0x21C], "little"),
        int.from_bytes(image[0x21C:0x220], "little"),
    )


@pytest.mark.parametrize(
    ("memory", "address"),
    [
        # Below the tables of ACPI (0x28000), which end where low memory does; down to a page.
        (2 * GIB, 0x7FED7000),
        (2815 * MIB, 0xAFDD7000),
        (2816 * MIB, 0x7FED7000),
        (1 << 40, 0x7FED7000),
        (1 * GIB, 0x3FED7000),
    ],
)
def test_where_the_initrd_goes(memory: int, address: int) -> None:
    patched = as_patched(kernel(), MIB, memory)
    assert initrd_of(patched) == (address, MIB)
    assert patched[0x210] == 0xB0
    assert patched[0x211] == 0x81
    assert patched[0x224:0x228] == (0xFE00).to_bytes(4, "little")
    assert patched[0x228:0x22C] == (0x20000).to_bytes(4, "little")


def test_without_an_initrd_there_is_no_address() -> None:
    assert initrd_of(as_patched(kernel(), 0, GIB)) == (0, 0)


def test_an_older_kernel_has_its_own_limit() -> None:
    assert initrd_of(as_patched(kernel(protocol=0x20B), MIB, 4 * GIB))[0] == 0x7FED7000
    raw = bytearray(kernel(protocol=0x20B))
    raw[0x22C:0x230] = (0x37FFFFFF).to_bytes(4, "little")
    assert initrd_of(as_patched(bytes(raw), MIB, 4 * GIB))[0] == 0x37EFF000


@pytest.mark.parametrize(
    ("raw", "size", "memory"),
    [
        (kernel(protocol=0x202), MIB, GIB),
        (kernel()[:0x100], MIB, GIB),
        (bytes(0x2000), MIB, GIB),
        (kernel(), GIB, GIB),
        (kernel(), MIB, MIB),
    ],
)
def test_what_qemu_does_not_start(raw: bytes, size: int, memory: int) -> None:
    with pytest.raises(EvidenceError):
        as_patched(raw, size, memory)


def test_rtmr1_and_rtmr2_of_recorded_logs() -> None:
    """The events after the kernel's, and the constants, are those of recorded boots."""
    digests = [digest.hex()[:8] for digest in kernel_events(kernel())[1:]]
    assert digests == ["77a0dab2", "394341b7", "214b0bef", "0a2e01c8"]
    text = "a b initrd=initrd".encode("utf-16-le") + b"\0\0"
    assert command_line_digest("a b") == hashlib.sha384(text).digest()
