"""The kernel: what the firmware measures of it into RTMR1, and of its command line into RTMR2.

The firmware measures the kernel as QEMU serves it, by its Authenticode digest (Microsoft, Windows
Authenticode Portable Executable Signature Format; edk2 `MeasurePeImageAndExtend`). QEMU up to 10.1
writes into the kernel's setup header where it will put command line and initrd
(hw/i386/x86-common.c, `x86_load_linux`; Linux Documentation/arch/x86/boot.rst); QEMU since 10.2
leaves it as it is for confidential guests; images of dstack 0.6.0 come with the header already
written.
"""

import hashlib
import struct
from typing import Final

from verifier.errors import EvidenceError
from verifier.machine.shape import LOW_MEMORY, LOW_MEMORY_LIMIT

MAX_KERNEL: Final = 256 << 20
_MIN_KERNEL: Final = 0x1000
_MAX_SECTIONS: Final = 96
_PE32, _PE32_PLUS = 0x10B, 0x20B
_SECURITY_DIRECTORY: Final = 4
_ALIGNMENT: Final = 8

_HDRS: Final = 0x202
_PROTOCOL: Final = 0x206
_LOADER_TYPE: Final = 0x210
_LOAD_FLAGS: Final = 0x211
_INITRD_ADDRESS: Final = 0x218
_HEAP_END: Final = 0x224
_COMMAND_LINE: Final = 0x228
_INITRD_MAX: Final = 0x22C
_XLOAD_FLAGS: Final = 0x236
_QEMU_LOADER: Final = 0xB0
_LOADED_HIGH, _CAN_USE_HEAP = 0x01, 0x80
_ABOVE_4G: Final = 0x40
_SETUP_AT, _COMMAND_LINE_AT = 0x10000, 0x20000
"""Where QEMU puts the kernel's setup code and its command line."""

_ACPI_DATA: Final = 0x28000
"""Bytes at the end of low memory that QEMU keeps for ACPI tables (hw/i386/pc.c)."""


def kernel_events(kernel: bytes) -> tuple[bytes, ...]:
    """The digests of RTMR1, for a kernel as it is served. Raises EvidenceError."""
    return served_kernel_events(authenticode(kernel))


def served_kernel_events(digest: bytes) -> tuple[bytes, ...]:
    """The digests of RTMR1, for a kernel with this Authenticode digest."""
    return (
        digest,
        *(
            hashlib.sha384(text).digest()
            for text in (
                b"Calling EFI Application from Boot Option",
                bytes(4),
                b"Exit Boot Services Invocation",
                b"Exit Boot Services Returned with Success",
            )
        ),
    )


def command_line_digest(command_line: str) -> bytes:
    """The first digest of RTMR2: the command line as the kernel's EFI stub is given it, UTF-16
    with a NUL. QEMU appends the name under which it serves the initrd."""
    text = f"{command_line} initrd=initrd\0"
    return hashlib.sha384(text.encode("utf-16-le")).digest()


def authenticode(image: bytes, algorithm: str = "sha384") -> bytes:
    """The Authenticode digest of a PE image, in the algorithm that firmware measures with: over all
    of it except its checksum, the entry of the certificate table, and that table. Raises
    EvidenceError."""
    if not 64 <= len(image) <= MAX_KERNEL or len(image) % _ALIGNMENT:  # noqa: PLR2004 - DOS header
        raise EvidenceError(f"kernel: {len(image)} bytes are no PE image of whole 8-byte words")
    start = int.from_bytes(image[0x3C:0x40], "little")
    if image[start : start + 4] != b"PE\0\0" or start + 24 > len(image):
        raise EvidenceError("kernel: not a PE image: it has no EFI stub")
    count, optional_size = struct.unpack_from("<2xH12xH", image, start + 4)
    optional = start + 24
    sections = optional + optional_size
    headers, checksum, certificates, certificate_size = _optional_header(image, optional, sections)
    if not sections + 40 * count <= headers <= len(image) or count > _MAX_SECTIONS:
        raise EvidenceError(f"kernel: {count} PE sections do not fit the headers")
    state = hashlib.new(algorithm, image[:checksum])
    state.update(image[checksum + 4 : certificates])
    state.update(image[certificates + 8 : headers])
    hashed = headers
    table = struct.iter_unpack("<16xII16x", image[sections : sections + 40 * count])
    for place, size in sorted((place, size) for size, place in table if size):
        if place < hashed or place + size > len(image):
            raise EvidenceError("kernel: PE sections overlap, or are not in the file")
        state.update(image[place : place + size])
        hashed = place + size if place == hashed else _refuse_gap()
    if hashed + certificate_size > len(image):
        raise EvidenceError("kernel: the certificate table of the PE image is not in the file")
    state.update(image[hashed : len(image) - certificate_size])
    return state.digest()


def _refuse_gap() -> int:
    """Readers differ about what stands between sections: some hash it, some do not."""
    raise EvidenceError("kernel: there are bytes between PE sections, which readers hash or skip")


def _optional_header(image: bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """Size of the headers, places of checksum and certificate entry, size of the certificates."""
    magic = int.from_bytes(image[start : start + 2], "little")
    if magic not in (_PE32, _PE32_PLUS):
        raise EvidenceError("kernel: a PE image of an unknown kind")
    directories = start + (112 if magic == _PE32_PLUS else 96)
    certificates = directories + 8 * _SECURITY_DIRECTORY
    if certificates + 8 > end or end > len(image):
        raise EvidenceError("kernel: the PE header has no entry for certificates")
    headers = int.from_bytes(image[start + 60 : start + 64], "little")
    place, size = struct.unpack_from("<II", image, certificates)
    if size and place + size != len(image):
        raise EvidenceError("kernel: the certificate table of the PE image is not at its end")
    return headers, start + 64, certificates, size


def as_patched(kernel: bytes, initrd_size: int, memory: int) -> bytes:
    """The kernel as QEMU up to 10.1 serves it to a guest of this memory (bytes).

    Raises EvidenceError, for kernels older than boot protocol 2.3 too.
    """
    if len(kernel) < _MIN_KERNEL or kernel[_HDRS : _HDRS + 4] != b"HdrS":
        raise EvidenceError("kernel: not a Linux bzImage")
    image = bytearray(kernel)
    protocol = int.from_bytes(kernel[_PROTOCOL : _PROTOCOL + 2], "little")
    if protocol < 0x203 or not kernel[_LOAD_FLAGS] & _LOADED_HIGH:  # noqa: PLR2004 - protocol 2.3
        raise EvidenceError("kernel: older than boot protocol 2.3, or loaded below 1 MiB")
    image[_LOADER_TYPE] = _QEMU_LOADER
    image[_LOAD_FLAGS] |= _CAN_USE_HEAP
    struct.pack_into("<I", image, _HEAP_END, _COMMAND_LINE_AT - _SETUP_AT - 0x200)
    struct.pack_into("<I", image, _COMMAND_LINE, _COMMAND_LINE_AT)
    if initrd_size:
        limit = min(_initrd_limit(kernel, protocol), _below_4g(memory) - _ACPI_DATA - 1)
        if initrd_size >= limit:
            raise EvidenceError("kernel: the initrd does not fit below its limit in memory")
        address = (limit - initrd_size) & ~0xFFF
        struct.pack_into("<II", image, _INITRD_ADDRESS, address, initrd_size)
    return bytes(image)


def _initrd_limit(kernel: bytes, protocol: int) -> int:
    flags = int.from_bytes(kernel[_XLOAD_FLAGS : _XLOAD_FLAGS + 2], "little")
    if protocol >= 0x20C and flags & _ABOVE_4G:  # noqa: PLR2004 - boot protocol 2.12
        return 0xFFFFFFFF
    return int.from_bytes(kernel[_INITRD_MAX : _INITRD_MAX + 4], "little")


def _below_4g(memory: int) -> int:
    return LOW_MEMORY if memory >= LOW_MEMORY_LIMIT else memory


def is_stable(memory: int) -> bool:
    """Whether QEMU puts the initrd where it does for most sizes: exactly 2 GiB, or enough that
    only 2 GiB are below 4 GiB."""
    return memory == LOW_MEMORY or memory >= LOW_MEMORY_LIMIT
