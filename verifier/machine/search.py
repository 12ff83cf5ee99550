"""The shape of a machine, found from the digests that its firmware measured.

The grid holds what hosts of dstack are configured with; a shape outside it is not found, which
says nothing about the machine.
"""

import functools
import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from verifier.machine.acpi import acpi_blobs
from verifier.machine.firmware import FirmwareLayout, find_memory
from verifier.machine.shape import FAMILIES, MachineShape

_MEBIBYTE: Final = 1 << 20
_GIBIBYTE: Final = 1 << 30
_CPUS: Final = (
    *(1, 2, 4, 8, 16, 24, 32, 64, 12, 48, 96, 128, 3, 6, 10, 14, 18, 20, 22, 28, 36, 40, 56),
    *(72, 80, 112, 144, 160, 192, 224, 256),
)
_SLOTS: Final = (
    *((True, 0), (False, 0), (False, 1), (False, 12), (False, 8)),
    *((False, 2), (False, 4), (True, 1), (True, 2), (True, 4), (True, 8), (True, 12)),
)
"""Whether PCI hotplug is on, and the root ports: what is usual comes first."""

_HOLES: Final = (0, 1 << 40, 1 << 44, 1 << 50)


def memory_sizes() -> Iterator[int]:
    """Memory sizes to try: whole GiB to 64 TiB, quarters of that to 8 TiB, whole MiB to 1 TiB."""
    yield from range(_GIBIBYTE, (1 << 46) + 1, _GIBIBYTE)
    yield from range(1 << 40, 8 << 40, _GIBIBYTE // 4)
    yield from range(_MEBIBYTE * 16, 1 << 40, _MEBIBYTE)


@functools.lru_cache(maxsize=64)
def search_memory(layout: FirmwareLayout, digest: bytes) -> int | None:
    """The memory size whose map has a digest, of those that are tried; kept for the last ones."""
    return find_memory(layout, digest, memory_sizes())


@functools.lru_cache(maxsize=64)
def find_shape(memory: int, digests: tuple[bytes, bytes, bytes]) -> MachineShape | None:
    """The shape whose ACPI blobs (loader, rsdp, tables) have these digests, or None.

    The loader depends on the lengths of tables alone, so that it tells shapes apart before the
    tables, which differ in more, are looked at. Families of QEMU that give the same tables, and
    devices of which only the sum counts, cannot be told apart.
    """
    loader = digests[0]
    for (hotplug, ports), family, cpus in itertools.product(_SLOTS, FAMILIES, _CPUS):
        shape = MachineShape(
            cpus=cpus, memory=memory, qemu=(*family, 0), hotplug=hotplug, ports=ports
        )
        if hashlib.sha384(acpi_blobs(shape).loader).digest() != loader:
            continue
        for pic, hole in itertools.product((True, False), _HOLES):
            candidate = MachineShape(
                cpus=cpus,
                memory=memory,
                qemu=(*family, 0),
                hotplug=hotplug,
                ports=ports,
                pic=pic,
                hole=hole,
            )
            if acpi_blobs(candidate).digests == digests:
                return candidate
    return None
