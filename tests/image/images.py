"""Images made for a test: a firmware, a kernel and their list; and where the real parts are."""

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from verifier.machine.aml import guid_bytes

PARTS: Final = Path(__file__).parent / "parts"
BFV, CFV, HOB, TEMP = 0, 1, 2, 3
EXTEND = 1
PAGE = 4096

Section = tuple[int, int, int, int, int, int]
"""Offset, size, address, size in memory, type, attributes: as the descriptor has them."""

VOLUME_AT, CODE_AT = 0xFFFFA000, 0xFFFFC000
SECTIONS: Final[tuple[Section, ...]] = (
    (0x2000, 0x2000, CODE_AT, 0x2000, BFV, EXTEND),
    (0, 0x2000, VOLUME_AT, 0x2000, CFV, 0),
    (0, 0, 0x810000, 0x10000, TEMP, 0),
    (0, 0, 0x800000, 0x6000, TEMP, 0),
    (0, 0, 0x809000, 0x2000, HOB, 0),
    (0, 0, 0x80B000, 0x2000, TEMP, 0),
)


def table_of_guids(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """The table before the reset vector: entries of (GUID, data), and its footer."""
    body = b""
    for guid, content in entries:
        body += content + struct.pack("<H", len(content) + 18) + guid_bytes(guid)
    footer = struct.pack("<H", len(body) + 18)
    return body + footer + guid_bytes("96b582de-1fb2-45f7-baea-a366c55a082d")


def firmware(
    sections: Iterable[Section] = SECTIONS,
    *,
    count: int | None = None,
    offset: int | None = None,
    table: bytes | None = None,
    version: int = 1,
) -> bytes:
    """A firmware of 16 KiB: a volume of variables, code, metadata. What is given replaces it."""
    listed = list(sections)
    described = b"".join(struct.pack("<IIQQII", *section) for section in listed)
    descriptor = struct.pack("<4sIII", b"TDVF", 16 + len(described), version,
                             len(listed) if count is None else count) + described  # fmt: skip
    place = 0x3000
    raw = bytearray((byte * 7 + byte // 256) % 251 for byte in range(0x4000))
    raw[place : place + len(descriptor)] = descriptor
    if table is None:
        where = len(raw) - place if offset is None else offset
        metadata = ("e47a6535-984a-4798-865e-4685a7bf8ec2", struct.pack("<I", where))
        other = ("dc886566-984a-4798-a75e-5585a7bf67cc", bytes(4))
        table = table_of_guids((metadata, other))
    end = len(raw) - 32
    raw[end - len(table) : end] = table
    return bytes(raw)


def kernel(
    *,
    sections: Iterable[tuple[int, int]] = ((0x1000, 0x800), (0x1800, 0x800)),
    certificates: tuple[int, int] = (0, 0),
    size: int = 0x2000,
    headers: int = 0x1000,
    protocol: int = 0x20F,
) -> bytes:
    """A bzImage with an EFI stub: PE sections of (offset, size), a setup header."""
    raw = bytearray((byte * 5 + byte // 256) % 249 for byte in range(size))
    raw[:0x300] = bytes(0x300)
    struct.pack_into("<I", raw, 0x3C, 0x40)
    listed = list(sections)
    struct.pack_into("<4sHHIIIHH", raw, 0x40, b"PE\0\0", 0x8664, len(listed), 0, 0, 0, 0xF0, 0)
    optional = 0x58
    struct.pack_into("<H", raw, optional, 0x20B)
    struct.pack_into("<II", raw, optional + 60, headers, 0x1234)
    struct.pack_into("<I", raw, optional + 108, 16)
    struct.pack_into("<II", raw, optional + 112 + 32, *certificates)
    for number, (place, length) in enumerate(listed):
        struct.pack_into("<II", raw, optional + 0xF0 + 40 * number + 16, length, place)
    raw[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", raw, 0x206, protocol)
    raw[0x211] = 1
    struct.pack_into("<IIH", raw, 0x22C, 0x7FFFFFFF, 0, 0)
    struct.pack_into("<H", raw, 0x236, 0x40)
    return bytes(raw)


METADATA: Final[dict[str, Any]] = {
    "bios": "ovmf.fd",
    "kernel": "bzImage",
    "initrd": "initramfs.cpio.gz",
    "cmdline": "console=ttyS0 dstack.rootfs_hash=00",
    "version": "0.5.8",
    "is_dev": False,
}


def files_of(**changed: bytes) -> dict[str, bytes]:
    """The files of an image by name: the four, with what is given in their place (dots as `_`)."""
    files = {
        "ovmf.fd": firmware(),
        "bzImage": kernel(),
        "initramfs.cpio.gz": b"initrd" * 100,
        "metadata.json": json.dumps(METADATA).encode(),
    }
    return files | {name.replace("_", "."): raw for name, raw in changed.items()}


def checksums(files: dict[str, bytes]) -> bytes:
    """The checksum list of files."""
    lines = (f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in files.items())
    return "".join(lines).encode()


def write_image(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """An image in a folder, with its list."""
    content = files_of() if files is None else files
    folder.mkdir(exist_ok=True)
    for name, raw in {**content, "sha256sum.txt": checksums(content)}.items():
        (folder / name).write_bytes(raw)
    return folder
