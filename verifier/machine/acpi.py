"""The three blobs of ACPI that QEMU hands to the firmware, which measures each (RTMR0).

    etc/acpi/tables   FACS, DSDT, FACP, APIC, [SRAT], MCFG, WAET, RSDT, padded to 128 KiB; pointers
                      are offsets in the blob and checksums zero, for the firmware to patch
    etc/acpi/rsdp     20 bytes: the root pointer, of revision 0
    etc/table-loader  commands of 128 bytes: allocate, patch pointers, patch checksums; padded to
                      4 KiB (QEMU hw/acpi/bios-linker-loader.c)

Tables: ACPI Specification 6.5, chapter 5.2. The values are those of QEMU's q35 machine
(hw/i386/acpi-build.c, hw/acpi/aml-build.c).
"""

import functools
import hashlib
import struct
from typing import Final

from msgspec import Struct

from verifier.machine.cpus import X2APIC_FROM, affinity, local_apic
from verifier.machine.dsdt import dsdt_body
from verifier.machine.shape import MachineShape

_TABLES: Final = b"etc/acpi/tables"
_RSDP: Final = b"etc/acpi/rsdp"
_HEADER: Final = 36
_CHECKSUM_AT: Final = 9
_TABLES_ALIGNMENT: Final = 0x20000
_LOADER_ALIGNMENT: Final = 0x1000
_COMMAND: Final = 128
_FACS_SIZE: Final = 64
_LOGICAL_MODE_CPUS: Final = 8
"""Processors that interrupts reach in flat logical mode; with more, FADT asks for physical mode."""

_FOUR_GIB: Final = 1 << 32
_HOLE_START: Final = 0xA0000
_HOLE_END: Final = 0x100000


class AcpiBlobs(Struct, frozen=True):
    """The blobs, as QEMU's fw_cfg has them before the firmware patches them."""

    loader: bytes
    rsdp: bytes
    tables: bytes

    @property
    def digests(self) -> tuple[bytes, bytes, bytes]:
        """sha384 of each, in the order in which the firmware measures them."""
        loader, rsdp, tables = (
            hashlib.sha384(blob).digest() for blob in (self.loader, self.rsdp, self.tables)
        )
        return loader, rsdp, tables


def acpi_blobs(shape: MachineShape) -> AcpiBlobs:
    """The blobs of a machine."""
    memory = [(b"SRAT", _srat(shape))] if shape.nodes else []
    parts = [
        (b"DSDT", _table(b"DSDT", 1, dsdt_body(shape))),
        (b"FACP", _facp(shape)),
        (b"APIC", _apic(shape)),
        *memory,
        (b"MCFG", _table(b"MCFG", 1, struct.pack("<QQHBBI", 0, 0xE0000000, 0, 0, 0xFF, 0))),
        (b"WAET", _table(b"WAET", 1, struct.pack("<I", 2))),
    ]
    content = b"FACS" + struct.pack("<I", _FACS_SIZE) + bytes(_FACS_SIZE - 8)
    places: dict[bytes, tuple[int, int]] = {}
    for name, table in parts:
        places[name] = (len(content), len(table))
        content += table
    listed = [name for name in places if name != b"DSDT"]
    root = _table(b"RSDT", 1, struct.pack(f"<{len(listed)}I", *(places[n][0] for n in listed)))
    places[b"RSDT"] = (len(content), len(root))
    content += root
    return AcpiBlobs(
        loader=_padded(b"".join(_commands(places, listed)), _LOADER_ALIGNMENT),
        rsdp=struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"BOCHS ", 0, places[b"RSDT"][0]),
        tables=_padded(content, _TABLES_ALIGNMENT),
    )


@functools.lru_cache(maxsize=64)
def acpi_digests(shape: MachineShape) -> tuple[bytes, bytes, bytes]:
    """The digests of a machine's blobs; those of the last machines are kept, since many guests run
    on alike ones."""
    return acpi_blobs(shape).digests


def _padded(content: bytes, alignment: int) -> bytes:
    return content + bytes(-len(content) % alignment)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    size = _HEADER + len(body)
    header = struct.pack(
        "<4sIBB6s8sI4sI", signature, size, revision, 0, b"BOCHS ", b"BXPC    ", 1, b"BXPC", 1
    )
    return header + body


def _commands(places: dict[bytes, tuple[int, int]], listed: list[bytes]) -> list[bytes]:
    """The loader's commands, in QEMU's order."""

    def command(layout: str, *values: bytes | int) -> bytes:
        return struct.pack("<" + layout, *values).ljust(_COMMAND, b"\0")

    def pointer(target: bytes, offset: int, size: int) -> bytes:
        return command("I56s56sIB", 2, target, _TABLES, offset, size)

    def checksum(name: bytes) -> bytes:
        start, size = places[name]
        return command("I56sIII", 3, _TABLES, start + _CHECKSUM_AT, start, size)

    fixed, root = places[b"FACP"][0], places[b"RSDT"][0]
    return [
        command("I56sIB", 1, _RSDP, 16, 2),
        command("I56sIB", 1, _TABLES, 64, 1),
        checksum(b"DSDT"),
        *(pointer(_TABLES, fixed + at, size) for at, size in ((36, 4), (40, 4), (140, 8))),
        *(checksum(name) for name in listed),
        *(pointer(_TABLES, root + _HEADER + 4 * index, 4) for index in range(len(listed))),
        checksum(b"RSDT"),
        pointer(_RSDP, 16, 4),
        command("I56sIII", 3, _RSDP, 8, 0, 20),
    ]


def _facp(shape: MachineShape) -> bytes:
    """FADT, revision 3; offsets are those of ACPI 5.2.9 and count from the table's start."""
    table = bytearray(244 - _HEADER)

    def put(offset: int, layout: str, *values: int) -> None:
        struct.pack_into("<" + layout, table, offset - _HEADER, *values)

    def register(offset: int, width: int, port: int) -> None:
        put(offset, "BBBBQ", 1, width, 0, 0, port)

    physical_mode = (1 << 18) * (shape.cpus > _LOGICAL_MODE_CPUS)
    put(40, "I", _FACS_SIZE)  # DSDT, the table after FACS
    put(44, "BBH", 1, 0, 9)  # INT_MODEL, reserved, SCI_INT
    put(56, "I", 0x600)  # PM1a_EVT_BLK
    put(64, "I", 0x604)  # PM1a_CNT_BLK
    put(76, "II", 0x608, 0x620)  # PM_TMR_BLK, GPE0_BLK
    put(88, "BBBBB", 4, 2, 0, 4, 16)  # lengths of those
    put(96, "HH", 0xFFF, 0xFFF)  # P_LVL2_LAT, P_LVL3_LAT: not supported
    put(108, "BH", 0x32, 2)  # CENTURY, IAPC_BOOT_ARCH: 8042
    put(112, "I", 0x84A5 | physical_mode)  # flags
    register(116, 8, 0xCF9)  # RESET_REG
    put(128, "B", 15)  # RESET_VALUE
    put(140, "Q", _FACS_SIZE)  # X_DSDT
    register(148, 32, 0x600)
    register(172, 16, 0x604)
    register(208, 32, 0x608)
    register(220, 128, 0x620)
    return _table(b"FACP", 3, bytes(table))


def _apic(shape: MachineShape) -> bytes:
    """MADT, revision 3: processors, one I/O APIC, the lines of ISA, and the line of NMI."""
    wide = shape.cpus > X2APIC_FROM
    if shape.family < (9, 2):
        # All 16 lines of ISA, edge triggered; the timer is line 2 of the I/O APIC.
        lines = [_override(irq, irq or 2, 5) for irq in range(16)]
    else:
        lines = [_override(0, 2, 0), *(_override(irq, irq, 13) for irq in (5, 9, 10, 11))]
    body = (
        struct.pack("<II", 0xFEE00000, int(shape.pic)),
        *(local_apic(number) for number in range(shape.cpus)),
        struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0),
        *lines,
        struct.pack("<BBHIB3s", 10, 12, 0, 0xFFFFFFFF, 1, b"")
        if wide
        else struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1),
    )
    return _table(b"APIC", 3, b"".join(body))


def _override(irq: int, line: int, flags: int) -> bytes:
    return struct.pack("<BBBBIH", 2, 10, 0, irq, line, flags)


def _srat(shape: MachineShape) -> bytes:
    """SRAT, revision 1: which processors and which memory belong to which node."""
    share = shape.memory // len(shape.nodes)
    entries = [
        struct.pack("<BBIHQQIIQ", 1, 40, node, 0, base, size, 0, 1, 0)
        for node in range(len(shape.nodes))
        for base, size in _pieces(shape, node * share, (node + 1) * share)
    ]
    # QEMU fills up to two more entries than there are nodes.
    empty = struct.pack("<BBIHQQIIQ", 1, 40, 0, 0, 0, 0, 0, 0, 0)
    entries += [empty] * (len(shape.nodes) + 2 - len(entries))
    cpus = shape.cpus // len(shape.nodes)
    body = struct.pack("<IQ", 1, 0) + b"".join(
        affinity(number, number // cpus) for number in range(shape.cpus)
    )
    return _table(b"SRAT", 1, body + b"".join(entries))


def _pieces(shape: MachineShape, start: int, end: int) -> list[tuple[int, int]]:
    """(address, size) of a share of memory: without the legacy hole, and with what is above the
    low memory moved to 4 GiB."""
    low = shape.low_memory
    areas = ((0, _HOLE_START, 0), (_HOLE_END, low, 0), (low, shape.memory, _FOUR_GIB - low))
    cut = ((max(start, first), min(end, last), moved) for first, last, moved in areas)
    return [(first + moved, last - first) for first, last, moved in cut if first < last]
