r"""The devices on the root bus, in the DSDT: one for each slot, and what hangs off the LPC bridge.

QEMU walks the bus by device and function number (hw/acpi/pcihp.c, `build_append_pci_bus_devices`).
"""

import functools
from typing import Final

from verifier.machine import aml
from verifier.machine.shape import FIRST_EXPANDER_SLOT, MachineShape

_LPC: Final = 0xF8
_CHIPSET: Final = (_LPC, 0xFA, 0xFB)
"""Device and function numbers of ICH9: LPC bridge, SATA, SMBus."""

_EJECT_REQUEST: Final = 3


def slots_of_root_bus(shape: MachineShape) -> bytes:
    """The devices of the root bus, and the methods of its hotplug."""
    ports = {slot * 8: number for number, slot in enumerate(reversed(shape.port_slots))}
    expanders = [8 * (FIRST_EXPANDER_SLOT + index) for index in range(len(shape.expanders))]
    plain = [slot * 8 for slot in shape.endpoint_slots] + expanders
    devices = []
    for place in sorted({*plain, *ports, *_CHIPSET}):
        if place in ports:
            children = _behind_port(ports[place], hotplug=shape.hotplug)
        elif place == _LPC:
            children = _lpc_children(shared_serial=shape.family >= (11, 1))
        else:
            children = b""
        devices.append(aml.device(_name(place), aml.named("_ADR", _address(place)), children))
    bus = aml.scope("\\_SB", aml.scope("PCI0", *devices))
    return bus + (_hotplug_methods(ports) if shape.hotplug else b"")


def _name(place: int) -> str:
    return f"S{place:02X}"


def _address(place: int) -> bytes:
    """`_ADR` of a PCI device (ACPI 6.1.1): device in the high word, function in the low one."""
    return aml.integer(place >> 3 << 16 | place & 7)


def _behind_port(number: int, *, hotplug: bool) -> bytes:
    """The one slot behind a root port. QEMU numbers hotpluggable buses from the last one on."""
    slot = aml.device("S00", aml.named("_ADR", aml.ZERO))
    if not hotplug:
        return slot
    place, bus = aml.local(0), aml.path("BSEL")
    arguments = [aml.arg(index) for index in range(4)]
    label = aml.method(
        "_DSM",
        4,
        aml.store(aml.package(aml.ZERO, aml.ZERO), place),
        aml.store(bus, aml.index(place, aml.ZERO)),
        aml.store(aml.path("ASUN"), aml.index(place, aml.ONE)),
        aml.return_(aml.call("PDSM", *arguments, place)),
        serialized=True,
    )
    hotplugged = aml.scope(
        "S00",
        aml.named("ASUN", aml.ZERO),
        label,
        aml.named("_SUN", aml.ZERO),
        aml.method("_EJ0", 1, aml.call("PCEJ", bus, aml.path("_SUN"))),
    )
    told = aml.if_(aml.and_(aml.arg(0), aml.ONE), aml.notify(aml.path("S00"), aml.arg(1)))
    return slot + aml.named("BSEL", aml.integer(number)) + hotplugged + aml.method("DVNT", 2, told)


def _hotplug_methods(ports: dict[int, int]) -> bytes:
    """What the hotplug event calls: `PCNT` of each bus behind a root port, the last port first."""
    if not ports:
        return aml.scope("_GPE", aml.method("_E01", 0))
    scans, calls = [], []
    for place in sorted(ports, reverse=True):
        scan = aml.method(
            "PCNT",
            0,
            aml.store(aml.integer(ports[place]), aml.path("BNUM")),
            aml.call("DVNT", aml.path("PCIU"), aml.ONE),
            aml.call("DVNT", aml.path("PCID"), aml.integer(_EJECT_REQUEST)),
        )
        scans.append(aml.scope(_name(place), scan))
        calls.append(aml.call(f"^{_name(place)}.PCNT"))
    event = aml.method(
        "_E01",
        0,
        aml.acquire("\\_SB.PCI0.BLCK"),
        aml.call("\\_SB.PCI0.PCNT"),
        aml.release("\\_SB.PCI0.BLCK"),
    )
    methods = aml.scope("\\_SB.PCI0", *scans, aml.method("PCNT", 0, *calls))
    return methods + aml.scope("_GPE", event)


@functools.cache
def _lpc_children(*, shared_serial: bool) -> bytes:
    low = [(f"PRQ{letter}", 8) for letter in "ABCD"]
    high = [(f"PRQ{letter}", 8) for letter in "EFGH"]
    # Four bytes of the routing registers belong to something else.
    registers = [*low, ("", 32), *high]
    serial = aml.irq_shared(4) if shared_serial else aml.irq_no_flags(4)
    present = aml.named("_STA", aml.integer(0x0F))
    return b"".join(
        (
            aml.region("PIRQ", aml.PCI_CONFIG, 0x60, 0x0C),
            aml.scope(
                "\\_SB",
                aml.field("PCI0.SF8.PIRQ", aml.BYTE_ACCESS | aml.PRESERVE, registers),
            ),
            _isa_device(
                "KBD",
                "PNP0303",
                present,
                (aml.io_ports(0x60, 1), aml.io_ports(0x64, 1), aml.irq_no_flags(1)),
            ),
            _isa_device("MOU", "PNP0F13", present, (aml.irq_no_flags(12),)),
            _isa_device(
                "COM1",
                "PNP0501",
                aml.named("_UID", aml.ONE) + present,
                (aml.io_ports(0x3F8, 8, alignment=0), serial),
            ),
            _isa_device("RTC", "PNP0B00", b"", (aml.io_ports(0x70, 8), aml.irq_no_flags(8))),
        )
    )


def _isa_device(name: str, kind: str, terms: bytes, used: tuple[bytes, ...]) -> bytes:
    identity = aml.named("_HID", aml.eisa_id(kind))
    return aml.device(name, identity, terms, aml.named("_CRS", aml.resources(*used)))
