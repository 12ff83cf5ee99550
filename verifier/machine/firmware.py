"""What OVMF measures into RTMR0 before it starts a kernel, in the order in which it does.

Thirteen events: the memory map that the host hands over, the empty volume of variables, the five
variables of Secure Boot, a separator, the three blobs of ACPI, and the boot options. All except the
memory map and the ACPI blobs are constants of the firmware (edk2, before edk2-stable202505).
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.machine.acpi import acpi_digests
from verifier.machine.aml import guid_bytes
from verifier.machine.shape import LOW_MEMORY, LOW_MEMORY_LIMIT, MachineShape

PAGE: Final = 4096
EVENTS: Final = (
    "memory map (TD HOB)",
    "configuration volume",
    "variable SecureBoot",
    "variable PK",
    "variable KEK",
    "variable db",
    "variable dbx",
    "separator",
    "ACPI loader",
    "ACPI rsdp",
    "ACPI tables",
    "BootOrder",
    "Boot0000",
)
"""The events of RTMR0, in order."""

MEMORY_MAP: Final = EVENTS.index("memory map (TD HOB)")
ACPI: Final = slice(EVENTS.index("ACPI loader"), EVENTS.index("ACPI tables") + 1)

_GLOBAL_VARIABLE: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_IMAGE_SECURITY: Final = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
"""EFI_GLOBAL_VARIABLE and EFI_IMAGE_SECURITY_DATABASE (UEFI 2.10, 3.3 and 32.6.1)."""

_VARIABLES: Final = (
    (_GLOBAL_VARIABLE, "SecureBoot"),
    (_GLOBAL_VARIABLE, "PK"),
    (_GLOBAL_VARIABLE, "KEK"),
    (_IMAGE_SECURITY, "db"),
    (_IMAGE_SECURITY, "dbx"),
)
_FIRMWARE_FILES: Final = "7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1"
_UI_APP: Final = "462caa21-7614-4503-836e-8ab6f4662331"
"""OVMF's firmware volume DXEFV, and its boot menu UiApp (edk2 OvmfPkg)."""

_MAX_RANGES: Final = 64
_MAX_ADDRESS: Final = 1 << 52
_FOUR_GIB: Final = 1 << 32
_ACCEPTED, _UNACCEPTED = 0, 7
"""EFI_RESOURCE_SYSTEM_MEMORY, and EFI_RESOURCE_MEMORY_UNACCEPTED (PI 1.8, volume 3, 5.5)."""


class FirmwareLayout(Struct, frozen=True):
    """What of a TDVF firmware shows in RTMR0.

    `hob` is the address of the memory map. `accepted` are the (address, size) of memory that the
    host adds before the start, in address order. `volume` is the sha384 of the firmware's
    configuration volume. Sizes and addresses are whole pages.
    """

    hob: int
    accepted: tuple[tuple[int, int], ...]
    volume: bytes

    def __post_init__(self) -> None:
        """Raise EvidenceError for a layout that no firmware has."""
        ranges = self.accepted
        if not 0 < len(ranges) <= _MAX_RANGES:
            raise EvidenceError(f"firmware layout: {len(ranges)} memory ranges")
        end = 0
        for start, size in ranges:
            if start < end or size <= 0 or start % PAGE or size % PAGE:
                raise EvidenceError("firmware layout: memory ranges overlap or are no pages")
            end = start + size
        if end > _MAX_ADDRESS or all(start != self.hob for start, _ in ranges):
            raise EvidenceError("firmware layout: the memory map is in no range")


def layout_from_witness(witness: bytes, volume: bytes) -> FirmwareLayout:
    """A layout from dstack's witness of it: LEB128 numbers of pages, namely the first range's
    start; from there the memory map's; the count of ranges; and for each its start and its length
    (Dstack-TEE/dstack dstack-mr/src/tdvf.rs, td_hob_witness_v1).

    Raises EvidenceError.
    """
    numbers = _leb128(witness)
    try:
        base, hob, count = next(numbers), next(numbers), next(numbers)
        if count > _MAX_RANGES:
            raise EvidenceError(f"firmware witness: {count} memory ranges")
        ranges = tuple(((base + next(numbers)) * PAGE, next(numbers) * PAGE) for _ in range(count))
    except StopIteration:
        raise EvidenceError("firmware witness: truncated") from None
    except RuntimeError:
        raise EvidenceError("firmware witness: truncated") from None
    if next(numbers, None) is not None:
        raise EvidenceError("firmware witness: bytes left over")
    return FirmwareLayout((base + hob) * PAGE, ranges, volume)


def witness_of(layout: FirmwareLayout) -> bytes:
    """The witness of a layout, as `layout_from_witness` reads it."""
    base = layout.accepted[0][0] // PAGE
    numbers = [base, layout.hob // PAGE - base, len(layout.accepted)]
    for start, size in layout.accepted:
        numbers += [start // PAGE - base, size // PAGE]
    return b"".join(map(_to_leb128, numbers))


def _leb128(raw: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in raw:
        value |= (byte & 0x7F) << shift
        shift += 7
        if value >= _MAX_ADDRESS // PAGE:
            raise EvidenceError("firmware witness: an address is out of range")
        if not byte & 0x80:
            yield value
            value = shift = 0
    if shift:
        raise EvidenceError("firmware witness: truncated")


def _to_leb128(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def rtmr0_digests(shape: MachineShape, layout: FirmwareLayout) -> tuple[bytes, ...]:
    """The digests that the firmware extends RTMR0 with on a machine, in the order of `EVENTS`."""
    return complete(memory_map_digest(layout, shape.memory), layout, acpi_digests(shape))


def complete(memory_map: bytes, layout: FirmwareLayout, acpi: Iterable[bytes]) -> tuple[bytes, ...]:
    """All digests of RTMR0, from those that a machine decides."""
    before, after = constant_digests(layout)
    return (memory_map, *before, *acpi, *after)


def constant_digests(layout: FirmwareLayout) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The digests that do not depend on the machine: those between memory map and ACPI, and those
    after it."""
    before = (
        layout.volume,
        *(_sha384(_empty_variable(guid, name)) for guid, name in _VARIABLES),
        _sha384(bytes(4)),
    )
    return before, (_sha384(bytes(2)), _sha384(_boot_option()))


def _sha384(content: bytes) -> bytes:
    return hashlib.sha384(content).digest()


def _empty_variable(guid: str, name: str) -> bytes:
    """UEFI_VARIABLE_DATA of a variable that is not set (TCG PC Client PFP 1.05, 10.2.6)."""
    return guid_bytes(guid) + struct.pack("<QQ", len(name), 0) + name.encode("utf-16-le")


def _boot_option() -> bytes:
    """EFI_LOAD_OPTION of the firmware's own menu (UEFI 2.10, 3.1.3): attributes, the length of the
    device path, the name, and the path: a firmware volume, a file of it, the end."""
    device_path = (
        struct.pack("<BBH", 4, 7, 20)
        + guid_bytes(_FIRMWARE_FILES)
        + struct.pack("<BBH", 4, 6, 20)
        + guid_bytes(_UI_APP)
        + struct.pack("<BBH", 0x7F, 0xFF, 4)
    )
    name = "UiApp\0".encode("utf-16-le")
    return struct.pack("<IH", 0x109, len(device_path)) + name + device_path


def memory_map_digest(layout: FirmwareLayout, memory: int) -> bytes:
    """sha384 of the list of memory that the host hands to the firmware (PI 1.8, volume 3, 5): a
    header, then a resource descriptor for each range, accepted or not, in address order."""
    prefix, last = _memory_map(layout, memory)
    return _sha384(prefix + last)


def find_memory(layout: FirmwareLayout, digest: bytes, sizes: Iterable[int]) -> int | None:
    """The first of these memory sizes whose map has the digest."""
    prefixes: dict[bool, hashlib._Hash] = {}
    for memory in sizes:
        high = memory >= LOW_MEMORY_LIMIT
        if high and high in prefixes:
            # The last eight bytes, the size of the memory above 4 GiB, are all that differs.
            state = prefixes[high].copy()
            state.update((memory - LOW_MEMORY).to_bytes(8, "little"))
        else:
            prefix, last = _memory_map(layout, memory)
            state = hashlib.sha384(prefix)
            if high:
                prefixes[high] = state.copy()
            state.update(last)
        if state.digest() == digest:
            return memory
    return None


def _memory_map(layout: FirmwareLayout, memory: int) -> tuple[bytes, bytes]:
    """The list, cut before its last eight bytes: those are the size of the last range."""
    resources: list[tuple[int, int, int]] = []
    place = 0
    for start, size in layout.accepted:
        if start > place:
            resources.append((_UNACCEPTED, place, start - place))
        resources.append((_ACCEPTED, start, size))
        place = start + size
    if memory >= LOW_MEMORY_LIMIT:
        if place < LOW_MEMORY:
            resources.append((_UNACCEPTED, place, LOW_MEMORY - place))
        resources.append((_UNACCEPTED, _FOUR_GIB, memory - LOW_MEMORY))
    elif memory > place:
        resources.append((_UNACCEPTED, place, memory - place))
    end = layout.hob + 56 + 48 * len(resources) + 8
    content = struct.pack("<HHIII", 1, 56, 0, 9, 0) + bytes(32) + struct.pack("<Q", end)
    content += b"".join(
        struct.pack("<HHI16xIIQQ", 3, 48, 0, kind, 7, start, size)
        for kind, start, size in resources
    )
    return content[:-8], content[-8:]
