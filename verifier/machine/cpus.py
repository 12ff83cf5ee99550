r"""The processors of a machine: in the DSDT (QEMU hw/acpi/cpu.c, `build_cpus_aml`), in the
interrupt table (APIC, ACPI 5.2.12) and in the affinity table (SRAT, ACPI 5.2.16).
"""

import functools
from typing import Final

from verifier.machine import aml
from verifier.machine.shape import MachineShape

X2APIC_FROM: Final = 255
"""The first processor whose number does not fit a local APIC's byte."""

_PER_PASS: Final = 255
"""Processors that one pass of the scan can collect: what a package of ACPI 1.0 holds."""

_REGISTERS: Final = "\\_SB.PCI0.PRES"
_BASE: Final = 0x0CD8
_SIZE: Final = 12
_NEXT_WITH_EVENT, _OST_EVENT, _OST_STATUS = 0, 1, 2
_DEVICE_CHECK, _EJECT_REQUEST = 1, 3
_ENABLED: Final = (1).to_bytes(4, "little")


def local_apic(number: int) -> bytes:
    """A processor's entry of the interrupt table: a local APIC, or an x2APIC."""
    if number < X2APIC_FROM:
        return bytes((0, 8, number, number)) + _ENABLED
    name = number.to_bytes(4, "little")
    return bytes((9, 16, 0, 0)) + name + _ENABLED + name


def affinity(number: int, node: int) -> bytes:
    """A processor's entry of the affinity table."""
    domain = node.to_bytes(4, "little")
    if number < X2APIC_FROM:
        return bytes((0, 16, domain[0], number)) + _ENABLED + b"\0" + domain[1:] + bytes(4)
    return b"\x02\x18\0\0" + domain + number.to_bytes(4, "little") + _ENABLED + bytes(8)


def cpu_devices(shape: MachineShape) -> bytes:
    """The hotplug registers `PRES`, and `CPUS` with one object for each processor."""
    return _cpu_devices(shape.cpus, len(shape.nodes), shape.family)


# A search asks for the same processors again and again, beside other devices.
@functools.lru_cache(maxsize=160)
def _cpu_devices(cpus: int, nodes: int, family: tuple[int, int]) -> bytes:
    numbers = range(cpus)
    names = [aml.path(f"C{number:03X}") for number in numbers]
    cases = [
        aml.if_(aml.equal(aml.arg(0), aml.integer(number)), aml.notify(names[number], aml.arg(1)))
        for number in numbers
    ]
    share = cpus // max(nodes, 1)
    processors = [_processor(number, number // share if nodes else None) for number in numbers]
    container = aml.device(
        "\\_SB.CPUS",
        aml.named("_HID", aml.string("ACPI0010")),
        aml.named("_CID", aml.eisa_id("PNP0A05")),
        aml.method("CTFY", 2, *cases),
        _status(),
        _eject(),
        _scan(cpus, queued=family >= (10, 0)),
        _report(),
        *processors,
    )
    return _registers(selects_first=family < (11, 0)) + container


def _register(name: str) -> bytes:
    return aml.path(f"{_REGISTERS}.{name}")


_LOCK: Final = aml.acquire(f"{_REGISTERS}.CPLK")
_UNLOCK: Final = aml.release(f"{_REGISTERS}.CPLK")


@functools.cache
def _registers(*, selects_first: bool) -> bytes:
    bits = [("", 32), *((name, 1) for name in ("CPEN", "CINS", "CRMV", "CEJ0", "CEJF"))]
    start = aml.method("_INI", 0, aml.store(aml.ZERO, aml.path("CSEL")), serialized=True)
    return aml.device(
        _REGISTERS,
        aml.named("_HID", aml.eisa_id("PNP0A06")),
        aml.named("_UID", aml.string("CPU Hotplug resources")),
        aml.mutex("CPLK"),
        aml.named("_CRS", aml.resources(aml.io_ports(_BASE, _SIZE))),
        aml.region("PRST", aml.SYSTEM_IO, _BASE, _SIZE),
        aml.field("PRST", aml.BYTE_ACCESS | aml.WRITE_AS_ZEROS, [*bits, ("", 3), ("CCMD", 8)]),
        aml.field("PRST", aml.DWORD_ACCESS | aml.PRESERVE, [("CSEL", 32), ("", 32), ("CDAT", 32)]),
        start if selects_first else b"",
    )


@functools.cache
def _status() -> bytes:
    answer = aml.local(0)
    enabled = aml.equal(_register("CPEN"), aml.ONE)
    return aml.method(
        "CSTA",
        1,
        _LOCK,
        aml.store(aml.arg(0), _register("CSEL")),
        aml.store(aml.ZERO, answer),
        aml.if_(enabled, aml.store(aml.integer(0x0F), answer)),
        _UNLOCK,
        aml.return_(answer),
        serialized=True,
    )


@functools.cache
def _eject() -> bytes:
    select = aml.store(aml.arg(0), _register("CSEL"))
    return aml.method(
        "CEJ0", 1, _LOCK, select, aml.store(aml.ONE, _register("CEJ0")), _UNLOCK, serialized=True
    )


@functools.cache
def _report() -> bytes:
    command, value = _register("CCMD"), _register("CDAT")
    return aml.method(
        "COST",
        4,
        _LOCK,
        aml.store(aml.arg(0), _register("CSEL")),
        aml.store(aml.integer(_OST_EVENT), command),
        aml.store(aml.arg(1), value),
        aml.store(aml.integer(_OST_STATUS), command),
        aml.store(aml.arg(2), value),
        _UNLOCK,
        serialized=True,
    )


_EVENT, _ADDED, _PLACE, _CPU, _MORE, _EJECTED = (aml.local(index) for index in range(6))


def _scan(count: int, *, queued: bool) -> bytes:
    """`CSCN`: tell of processors that came or go, 255 a pass. QEMU 10 queues those that go."""
    full = aml.equal(_ADDED, aml.integer(_PER_PASS))
    if queued:
        full = aml.either(full, aml.equal(_EJECTED, aml.integer(_PER_PASS)))
    collect = aml.while_(
        aml.both(aml.equal(_EVENT, aml.ONE), aml.less(_CPU, aml.integer(count))),
        aml.store(aml.ZERO, _EVENT),
        aml.store(_CPU, _register("CSEL")),
        aml.store(aml.integer(_NEXT_WITH_EVENT), _register("CCMD")),
        aml.if_(aml.less(_register("CDAT"), _CPU), aml.BREAK),
        aml.if_(full, aml.store(aml.ONE, _MORE), aml.BREAK),
        aml.store(_register("CDAT"), _CPU),
        _inserted(),
        _removed(queued=queued),
        aml.add_one(_CPU),
    )
    passes = aml.while_(
        aml.equal(_MORE, aml.ONE),
        aml.store(aml.ZERO, _MORE),
        aml.store(aml.ONE, _EVENT),
        aml.store(aml.ZERO, _ADDED),
        aml.store(aml.ZERO, _EJECTED) if queued else b"",
        collect,
        aml.store(aml.ZERO, _PLACE),
        _tell("CNEW", _ADDED, _DEVICE_CHECK, "CINS", trace=True),
        aml.store(aml.ZERO, _PLACE) if queued else b"",
        _tell("CEJL", _EJECTED, _EJECT_REQUEST, "CRMV", trace=False) if queued else b"",
    )
    return aml.method(
        "CSCN",
        0,
        _LOCK,
        aml.named("CNEW", aml.package(count=_PER_PASS)),
        aml.named("CEJL", aml.package(count=_PER_PASS)) if queued else b"",
        aml.store(aml.ZERO, _CPU),
        aml.store(aml.ONE, _MORE),
        passes,
        _UNLOCK,
        serialized=True,
    )


def _queue(names: str, count: bytes) -> tuple[bytes, ...]:
    return (
        aml.store(_CPU, aml.index(aml.path(names), count)),
        aml.add_one(count),
        aml.store(aml.ONE, _EVENT),
    )


def _inserted() -> bytes:
    return aml.if_(aml.equal(_register("CINS"), aml.ONE), *_queue("CNEW", _ADDED))


def _removed(*, queued: bool) -> bytes:
    happened = aml.equal(_register("CRMV"), aml.ONE)
    if queued:
        return aml.if_(happened, *_queue("CEJL", _EJECTED))
    told = aml.if_(
        happened,
        aml.call("CTFY", _CPU, aml.integer(_EJECT_REQUEST)),
        aml.store(aml.ONE, _register("CRMV")),
        aml.store(aml.ONE, _EVENT),
    )
    return aml.else_(told)


def _tell(names: str, count: bytes, reason: int, register: str, *, trace: bool) -> bytes:
    return aml.while_(
        aml.less(_PLACE, count),
        aml.store(aml.deref(aml.index(aml.path(names), _PLACE)), _CPU),
        aml.call("CTFY", _CPU, aml.integer(reason)),
        aml.store(_CPU, aml.DEBUG) if trace else b"",
        aml.store(_CPU, _register("CSEL")),
        aml.store(aml.ONE, _register(register)),
        aml.add_one(_PLACE),
    )


# Machines that a search tries have most of their processors in common.
@functools.lru_cache(maxsize=1024)
def _processor(number: int, node: int | None) -> bytes:
    name, value = f"C{number:03X}", aml.integer(number)
    reported = (aml.arg(index) for index in range(3))
    terms = (
        aml.method("_STA", 0, aml.return_(aml.call("CSTA", value)), serialized=True),
        aml.named("_MAT", aml.buffer(local_apic(number))),
        # The first processor cannot be ejected.
        aml.method("_EJ0", 1, aml.call("CEJ0", value)) if number else b"",
        aml.method("_OST", 3, aml.call("COST", value, *reported), serialized=True),
        aml.named("_PXM", aml.integer(node)) if node is not None else b"",
    )
    if number < X2APIC_FROM:
        return aml.processor(name, number, *terms)
    kind = aml.named("_HID", aml.string("ACPI0007"))
    return aml.device(name, kind, aml.named("_UID", value), *terms)
