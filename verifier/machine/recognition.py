"""Which machine an RTMR0 is of: the one that somebody states, or one that is found.

What is stated is a hint and nothing more: the register decides. So a hint that is wrong, or that
nobody can read, is as good as none.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from verifier.evidence.td.event_log import replay
from verifier.machine.firmware import (
    ACPI,
    EVENTS,
    MEMORY_MAP,
    FirmwareLayout,
    complete,
    constant_digests,
    find_memory,
    memory_map_digest,
    rtmr0_digests,
)
from verifier.machine.search import find_shape, search_memory
from verifier.machine.shape import MachineShape

_GIBIBYTE: Final = 1 << 30
_STRIPPED_SIZES: Final = range(_GIBIBYTE, (1 << 40) + 1, _GIBIBYTE)
"""Memory sizes to try where a log keeps only the events of ACPI: each costs a replay."""


class Recognition(Struct, frozen=True, kw_only=True):
    """What an RTMR0 was recognised as.

    `shape` is the machine that gives every event, None where none does; `stated` says whether it
    was stated, not found. `strange` names what no machine gives under this firmware: events that
    differ, or their number. `unexplained` are the digests of ACPI's loader, rsdp and tables, where
    they alone are not those of a known machine. `undecided` says that the log shows too little to
    tell which events differ.
    """

    shape: MachineShape | None = None
    stated: bool = False
    strange: tuple[str, ...] = ()
    unexplained: tuple[bytes, ...] = ()
    undecided: bool = False


def recognize(
    layout: FirmwareLayout, digests: Sequence[bytes], hints: Iterable[MachineShape]
) -> Recognition:
    """The machine of a whole log of RTMR0: the digests in order, which replay to the register."""
    if len(digests) != len(EVENTS):
        return Recognition(strange=(f"{len(digests)} events, where a boot has {len(EVENTS)}",))
    shapes = tuple(hints)
    stated = _stated(layout, shapes, digests)
    if stated is not None:
        return Recognition(shape=stated, stated=True)
    before, after = constant_digests(layout)
    expected = (None, *before, None, None, None, *after)
    strange = [
        name
        for name, want, found in zip(EVENTS, expected, digests, strict=True)
        if want is not None and want != found
    ]
    memory = find_memory(layout, digests[MEMORY_MAP], (shape.memory for shape in shapes))
    if memory is None:
        memory = search_memory(layout, digests[MEMORY_MAP])
    if memory is None:
        strange.insert(0, EVENTS[MEMORY_MAP])
    if memory is None or strange:
        return Recognition(strange=tuple(strange))
    return _by_tables(memory, digests[ACPI])


def recognize_stripped(
    layout: FirmwareLayout,
    rtmr0: bytes,
    acpi: Sequence[bytes],
    hints: Iterable[MachineShape],
) -> Recognition:
    """The machine of a register whose log was stripped: to the three digests of ACPI, or to none
    (`acpi` is empty), where only a stated machine can be tried."""
    shapes = tuple(hints)
    for shape in shapes:
        if replay(rtmr0_digests(shape, layout)) == rtmr0:
            return Recognition(shape=shape, stated=True)
    if not acpi:
        return Recognition(undecided=True)
    for memory in (*(shape.memory for shape in shapes), *_STRIPPED_SIZES):
        digests = complete(memory_map_digest(layout, memory), layout, acpi)
        if replay(digests) == rtmr0:
            return _by_tables(memory, acpi)
    return Recognition(undecided=True)


def _stated(
    layout: FirmwareLayout, shapes: Iterable[MachineShape], digests: Sequence[bytes]
) -> MachineShape | None:
    wanted = tuple(digests)
    return next((shape for shape in shapes if rtmr0_digests(shape, layout) == wanted), None)


def _by_tables(memory: int, acpi: Sequence[bytes]) -> Recognition:
    loader, rsdp, tables = acpi
    shape = find_shape(memory, (loader, rsdp, tables))
    return Recognition(shape=shape, unexplained=() if shape is not None else tuple(acpi))
