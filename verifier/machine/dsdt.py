r"""The DSDT of QEMU's q35 machine, byte for byte: the code that ACPI runs in the guest's kernel.

The terms stand in the order of QEMU's `build_dsdt` (hw/i386/acpi-build.c), which is what the
firmware measures. Families differ as follows (first version of each):

    9.2   PDSM fills its package only for a known index; link interrupts are level triggered
    10.0  CSCN queues ejected processors
    11.0  PRES has no _INI
    11.1  COM1's interrupt is shared
"""

import functools
from typing import Final

from verifier.machine import aml
from verifier.machine.cpus import cpu_devices
from verifier.machine.shape import MachineShape
from verifier.machine.slots import slots_of_root_bus

_HOST_BRIDGE_UUID: Final = "33db4d5b-1ff7-401c-9657-7441c03dd766"
"""_OSC of PCI host bridges (PCI Firmware Specification 3.3, 4.5.1)."""

_LABEL_UUID: Final = "e5c937d0-3553-4d7a-9117-ea4d19c3434d"
"""_DSM of PCI device labels (PCI Firmware Specification 3.3, 4.6.1)."""

_SLOTS: Final = 32
_PINS: Final = 4
_ROTATING_SLOTS: Final = 0x18
_CHIPSET_SLOTS: Final = (*range(0x19, 0x1E), 0x1F)
"""The slots of ICH9's own devices, whose pins have routing registers (DxxIR)."""

_WINDOW_BASE: Final = 0x380000000000
"""Where OVMF places the 64-bit PCI window: 7/8 of 2^46."""

_LAST_BUS: Final = 0xFF
_ARG0, _ARG1, _ARG2, _ARG3, _ARG4 = (aml.arg(i) for i in range(5))
_LOCAL0, _LOCAL1, _LOCAL2 = (aml.local(i) for i in range(3))


def dsdt_body(shape: MachineShape) -> bytes:
    """The terms of the DSDT of a machine, without the table's header."""
    return b"".join(
        (
            _debug_port(),
            aml.scope("_SB", _host_bridge(hotplug=shape.hotplug), _memory_controller()),
            _slot_registers(guarded=shape.family >= (9, 2)) if shape.hotplug else b"",
            _interrupt_model(),
            _interrupt_routing(edge=shape.family < (9, 2)),
            aml.scope("_GPE", aml.named("_HID", aml.string("ACPI0006"))),
            aml.scope("_SB", cpu_devices(shape)),
            aml.method("\\_GPE._E02", 0, aml.call("\\_SB.CPUS.CSCN")),
            _expanders(shape),
            _root_resources(shape),
            _sleep_states(),
            _firmware_device(),
            slots_of_root_bus(shape),
        )
    )


@functools.cache
def _debug_port() -> bytes:
    output = aml.path("DBGB")
    write = aml.while_(
        aml.less(_LOCAL2, _LOCAL1),
        aml.store(aml.deref(aml.index(_LOCAL0, _LOCAL2)), output),
        aml.add_one(_LOCAL2),
    )
    return aml.scope(
        "\\",
        aml.region("DBG", aml.SYSTEM_IO, 0x402, 1),
        aml.field("DBG", aml.BYTE_ACCESS | aml.PRESERVE, [("DBGB", 8)]),
        aml.method(
            "DBUG",
            1,
            aml.to_hex_string(_ARG0, _LOCAL0),
            aml.to_buffer(_LOCAL0, _LOCAL0),
            aml.subtract(aml.size_of(_LOCAL0), aml.ONE, _LOCAL1),
            aml.store(aml.ZERO, _LOCAL2),
            write,
            aml.store(aml.integer(0x0A), output),
        ),
    )


@functools.cache
def _host_bridge(*, hotplug: bool) -> bytes:
    return aml.device(
        "PCI0",
        aml.named("_HID", aml.eisa_id("PNP0A08")),
        aml.named("_CID", aml.eisa_id("PNP0A03")),
        aml.named("_UID", aml.ZERO),
        # QEMU withholds native hotplug (bit 0) where ACPI does the hotplugging.
        _capabilities(0x1E if hotplug else 0x1F),
        _label_method(),
    )


def _capabilities(granted: int) -> bytes:
    """`_OSC`: what the host bridge lets the operating system control."""
    status, wish = aml.path("CDW1"), aml.path("CDW3")

    def flag(bit: int) -> bytes:
        return aml.or_(status, aml.integer(bit), status)

    known = aml.if_(
        aml.equal(_ARG0, aml.uuid(_HOST_BRIDGE_UUID)),
        aml.dword_field(_ARG3, 4, "CDW2"),
        aml.dword_field(_ARG3, 8, "CDW3"),
        aml.store(wish, _LOCAL0),
        aml.and_(_LOCAL0, aml.integer(granted), _LOCAL0),
        aml.if_(aml.unequal(_ARG1, aml.ONE), flag(8)),
        aml.if_(aml.unequal(wish, _LOCAL0), flag(0x10)),
        aml.store(_LOCAL0, wish),
    )
    start = aml.dword_field(_ARG3, 0, "CDW1")
    return aml.method("_OSC", 4, start, known, aml.else_(flag(4)), aml.return_(_ARG3))


def _query_start() -> tuple[bytes, ...]:
    """How a method that gives labels answers another UUID, or an old revision: with nothing."""
    nothing = aml.return_(_LOCAL0)
    return (
        aml.store(aml.buffer(b"\0"), _LOCAL0),
        aml.if_(aml.unequal(_ARG0, aml.uuid(_LABEL_UUID)), nothing),
        aml.if_(aml.less(_ARG1, aml.integer(2)), nothing),
    )


def _label_method() -> bytes:
    first = aml.index(_LOCAL0, aml.ZERO)
    query = aml.if_(
        aml.equal(_ARG2, aml.ZERO),
        *_query_start(),
        aml.store(aml.integer(0x81), first),
        aml.return_(_LOCAL0),
    )
    label = aml.if_(
        aml.equal(_ARG2, aml.integer(7)),
        aml.store(aml.package(aml.ZERO, aml.string("")), _LOCAL0),
        aml.store(aml.deref(aml.index(_ARG4, aml.ZERO)), _LOCAL1),
        aml.store(_LOCAL1, first),
        aml.return_(_LOCAL0),
    )
    return aml.method("EDSM", 5, query, label, serialized=True)


@functools.cache
def _memory_controller() -> bytes:
    mapped = aml.window(4, aml.MEMORY, aml.UNCACHED, 0xE0000000, 0xEFFFFFFF)
    return aml.device(
        "DRAC",
        aml.named("_HID", aml.string("PNP0C01")),
        aml.named("_CRS", aml.resources(mapped)),
    )


@functools.cache
def _slot_registers(*, guarded: bool) -> bytes:
    """The registers of ACPI PCI hotplug, and the methods that use them."""
    flags = aml.DWORD_ACCESS | aml.WRITE_AS_ZEROS
    bus = aml.store(_ARG0, aml.path("BNUM"))
    bit = aml.shift_left(aml.ONE, _ARG1)
    eject = aml.store(bit, aml.path("B0EJ"))
    ask = (aml.store(bit, aml.path("PIDX")), aml.store(aml.path("PIDX"), _LOCAL0))
    lock, unlock = aml.acquire("BLCK"), aml.release("BLCK")
    return aml.scope(
        "_SB.PCI0",
        aml.region("PCST", aml.SYSTEM_IO, 0x0CC0, 8),
        aml.field("PCST", flags, [("PCIU", 32), ("PCID", 32)]),
        aml.region("SEJ", aml.SYSTEM_IO, 0x0CC8, 4),
        aml.field("SEJ", flags, [("B0EJ", 32)]),
        aml.region("BNMR", aml.SYSTEM_IO, 0x0CD0, 8),
        aml.field("BNMR", flags, [("BNUM", 32), ("PIDX", 32)]),
        aml.mutex("BLCK"),
        aml.method("PCEJ", 2, lock, bus, eject, unlock, aml.return_(aml.ZERO)),
        aml.method("AIDX", 2, lock, bus, *ask, unlock, aml.return_(_LOCAL0)),
        _slot_label(guarded=guarded),
    )


def _slot_label(*, guarded: bool) -> bytes:
    """`PDSM`: the label of a slot. Older QEMU fills the answer without looking at the index."""
    read = aml.store(
        aml.call(
            "AIDX",
            aml.deref(aml.index(_ARG4, aml.ZERO)),
            aml.deref(aml.index(_ARG4, aml.ONE)),
        ),
        _LOCAL2,
    )
    unset = aml.equal(_LOCAL2, aml.ZERO), aml.equal(_LOCAL2, aml.integer(0xFFFFFFFF))
    first = aml.index(_LOCAL0, aml.ZERO)
    query = aml.if_(
        aml.equal(_ARG2, aml.ZERO),
        *_query_start(),
        aml.store(aml.ZERO, _LOCAL1),
        read,
        aml.if_(
            aml.not_(aml.or_(*unset)),
            aml.or_(_LOCAL1, aml.ONE, _LOCAL1),
            aml.or_(_LOCAL1, aml.shift_left(aml.ONE, aml.integer(7)), _LOCAL1),
        ),
        aml.store(_LOCAL1, first),
        aml.return_(_LOCAL0),
    )
    if guarded:
        fill = aml.if_(
            aml.not_(aml.either(*unset)),
            aml.store(_LOCAL2, first),
            aml.store(aml.string(""), aml.index(_LOCAL0, aml.ONE)),
        )
        steps = (read, aml.store(aml.package(count=2), _LOCAL0), fill)
    else:
        empty = aml.package(aml.ZERO, aml.string(""))
        steps = (aml.store(empty, _LOCAL0), read, aml.store(_LOCAL2, first))
    label = aml.if_(aml.equal(_ARG2, aml.integer(7)), *steps, aml.return_(_LOCAL0))
    return aml.method("PDSM", 5, query, label, serialized=True)


@functools.cache
def _interrupt_model() -> bytes:
    return aml.named("PICF", aml.ZERO) + aml.method("_PIC", 1, aml.store(_ARG0, aml.path("PICF")))


def _route(slot: int, pin: int, link: str) -> bytes:
    address = aml.integer(slot << 16 | 0xFFFF)
    return aml.package(address, aml.integer(pin), aml.path(link), aml.ZERO)


def _routing_table(prefix: str) -> bytes:
    """Which link each pin of each slot is wired to: A-D on the chipset's own slots, E-H elsewhere,
    where the first 24 rotate (QEMU `build_q35_routing_table`)."""
    routes = []
    for slot in range(_SLOTS):
        start = slot % _PINS if slot < _ROTATING_SLOTS else 0
        letters = "ABCD" if slot in _CHIPSET_SLOTS else "EFGH"
        routes += [
            _route(slot, pin, prefix + letters[(start + pin) % _PINS]) for pin in range(_PINS)
        ]
    return aml.package(*routes)


@functools.cache
def _interrupt_routing(*, edge: bool) -> bytes:
    choose = aml.method(
        "_PRT",
        0,
        aml.if_(aml.equal(aml.path("PICF"), aml.ZERO), aml.return_(aml.path("PRTP"))),
        aml.else_(aml.return_(aml.path("PRTA"))),
    )
    tables = aml.scope(
        "PCI0",
        aml.named("PRTP", _routing_table("LNK")),
        aml.named("PRTA", _routing_table("GSI")),
        choose,
    )
    status = aml.method(
        "IQST",
        1,
        aml.if_(aml.and_(aml.integer(0x80), _ARG0), aml.return_(aml.integer(9))),
        aml.return_(aml.integer(0x0B)),
    )
    current = aml.method(
        "IQCR",
        1,
        aml.named("PRR0", aml.resources(aml.interrupts(0, edge=edge))),
        aml.dword_field(aml.path("PRR0"), 5, "PRRI"),
        aml.store(aml.and_(_ARG0, aml.integer(0x0F)), aml.path("PRRI")),
        aml.return_(aml.path("PRR0")),
        serialized=True,
    )
    links = [_link(number, edge=edge) for number in range(8)]
    fixed = [_fixed_link(number, edge=edge) for number in range(8)]
    return aml.scope("_SB", tables, status, current, *links, *fixed)


def _link(number: int, *, edge: bool) -> bytes:
    letter = "ABCDEFGH"[number]
    register = aml.path(f"PRQ{letter}")
    return aml.device(
        f"LNK{letter}",
        aml.named("_HID", aml.eisa_id("PNP0C0F")),
        aml.named("_UID", aml.integer(number)),
        aml.named("_PRS", aml.resources(aml.interrupts(5, 10, 11, edge=edge))),
        aml.method("_STA", 0, aml.return_(aml.call("IQST", register))),
        aml.method("_DIS", 0, aml.or_(register, aml.integer(0x80), register)),
        aml.method("_CRS", 0, aml.return_(aml.call("IQCR", register))),
        aml.method(
            "_SRS", 1, aml.dword_field(_ARG0, 5, "PRRI"), aml.store(aml.path("PRRI"), register)
        ),
    )


def _fixed_link(number: int, *, edge: bool) -> bytes:
    interrupt = 16 + number
    wired = aml.resources(aml.interrupts(interrupt, edge=edge))
    return aml.device(
        f"GSI{'ABCDEFGH'[number]}",
        aml.named("_HID", aml.eisa_id("PNP0C0F")),
        aml.named("_UID", aml.integer(interrupt)),
        aml.named("_PRS", wired),
        aml.named("_CRS", wired),
        aml.method("_DIS", 0),
        aml.method("_SRS", 1),
    )


def _expanders(shape: MachineShape) -> bytes:
    """A host bridge for each PCI expander, the newest first."""
    nodes = [(node, bus) for node, bus in enumerate(shape.nodes) if bus]
    return b"".join(aml.scope("\\_SB", _expander(node, bus)) for node, bus in reversed(nodes))


def _expander(node: int, bus: int) -> bytes:
    routes = [
        _route(slot, pin, f"LNK{'ABCD'[(slot + pin + 3) % _PINS]}")
        for slot in range(_SLOTS)
        for pin in range(_PINS)
    ]
    return aml.device(
        f"PC{bus:02X}",
        aml.named("_UID", aml.integer(bus)),
        aml.named("_BBN", aml.integer(bus)),
        aml.named("_HID", aml.eisa_id("PNP0A08")),
        aml.named("_CID", aml.eisa_id("PNP0A03")),
        _capabilities(0x1F),
        aml.named("_PXM", aml.integer(node)),
        aml.method("_PRT", 0, aml.return_(aml.package(*routes))),
        aml.named("_CRS", aml.resources(aml.window(2, aml.BUS_NUMBERS, 0, bus, bus))),
    )


def _last_root_bus(expanders: tuple[int, ...]) -> int:
    """The last bus that PCI0 decodes: QEMU lowers it below each expander's, newest first."""
    last = _LAST_BUS
    for bus in reversed(expanders):
        last = min(last, bus - 1) if bus < last else last
    return last


def _root_resources(shape: MachineShape) -> bytes:
    last_bus = _last_root_bus(shape.expanders)
    windows = aml.resources(
        aml.window(2, aml.BUS_NUMBERS, 0, 0, last_bus),
        aml.io_ports(0x0CF8, 8),
        aml.window(2, aml.IO_SPACE, aml.ENTIRE_RANGE, 0, 0x0CF7),
        aml.window(2, aml.IO_SPACE, aml.ENTIRE_RANGE, 0x0D00, 0xFFFF),
        aml.window(4, aml.MEMORY, aml.CACHED, 0xA0000, 0xBFFFF),
        aml.window(4, aml.MEMORY, aml.UNCACHED, shape.low_memory, 0xDFFFFFFF),
        aml.window(4, aml.MEMORY, aml.UNCACHED, 0xF0000000, 0xFEBFFFFF),
        aml.window(8, aml.MEMORY, aml.CACHED, _WINDOW_BASE, _WINDOW_BASE + shape.window - 1),
    )
    return aml.scope(
        "\\_SB.PCI0",
        aml.named("_CRS", windows),
        _reserved("GPE0", "GPE0 resources", 0x0620, 0x10),
        _reserved("PHPR", "PCI Hotplug resources", 0x0CC0, 0x18) if shape.hotplug else b"",
    )


def _reserved(name: str, what: str, base: int, count: int) -> bytes:
    return aml.device(
        name,
        aml.named("_HID", aml.string("PNP0A06")),
        aml.named("_UID", aml.string(what)),
        aml.named("_STA", aml.integer(0x0B)),
        aml.named("_CRS", aml.resources(aml.io_ports(base, count))),
    )


@functools.cache
def _sleep_states() -> bytes:
    return aml.scope(
        "\\",
        *(
            aml.named(name, aml.package(state, state, aml.ZERO, aml.ZERO))
            for name, state in (("_S3", aml.ONE), ("_S4", aml.integer(2)), ("_S5", aml.ZERO))
        ),
    )


@functools.cache
def _firmware_device() -> bytes:
    device = aml.device(
        "FWCF",
        aml.named("_HID", aml.string("QEMU0002")),
        aml.named("_STA", aml.integer(0x0B)),
        aml.named("_CRS", aml.resources(aml.io_ports(0x0510, 0x0C))),
    )
    return aml.scope("\\_SB.PCI0", device)
