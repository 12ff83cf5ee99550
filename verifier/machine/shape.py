"""The shape of a machine: what of its configuration reaches the guest's firmware."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue

MAX_CPUS: Final = 4096
"""What QEMU's q35 machine allows."""

MAX_MEMORY: Final = 1 << 46
"""Bytes. OVMF places the 64-bit PCI window at 7/8 of this, so no guest has more."""

MAX_HOLE: Final = 1 << 52
"""Bytes: the physical addresses that x86 has."""

LOW_MEMORY_LIMIT: Final = 0xB0000000
"""From this size on, q35 has only 2 GiB of memory below 4 GiB (QEMU hw/i386/pc_q35.c)."""

LOW_MEMORY: Final = 0x80000000
FIRST_EXPANDER_SLOT: Final = 0x10
_CHIPSET_SLOT: Final = 0x1F
_EXPANDER_BUS: Final = 5
_MAX_BUS: Final = 0xFF
_DEFAULT_QEMU: Final = (9, 1, 0)
_OLDEST_QEMU: Final = (8, 0, 0)
_PIC_UNTIL: Final = (9, 0, 0)
_VERSION_PARTS: Final = 3
_PASSES: Final = "qemu_single_pass_add_pages"
_MEBIBYTE: Final = 1 << 20
_GIBIBYTE: Final = 1 << 30
_DEFAULT_WINDOW: Final = 32 * _GIBIBYTE

FAMILIES: Final = ((8, 0), (9, 2), (10, 0), (11, 0), (11, 1))
"""The first versions of the QEMU families whose tables differ."""


class MachineShape(Struct, frozen=True, kw_only=True):
    """A machine of dstack's VMM.

    cpus        how many virtual CPUs
    memory      bytes
    qemu        the version of QEMU: major, minor, patch
    pic         whether it has QEMU's emulated interrupt controller
    hotplug     whether PCI devices can be hotplugged
    hole        bytes of the 64-bit PCI window that was asked for; 0 where none was
    ports       PCIe root ports on the root bus (GPUs and NVSwitches)
    endpoints   the devices before them on the root bus
    nodes       for each NUMA node, the bus of its expander, 0 for none; () without NUMA
    two_passes  in which order QEMU adds the firmware's pages, which shows in MRTD alone: True adds
                all of a section before it measures them, False one by one; None where QEMU's
                version decides
    """

    cpus: int
    memory: int
    qemu: tuple[int, int, int] = _DEFAULT_QEMU
    pic: bool = False
    hotplug: bool = True
    hole: int = 0
    ports: int = 0
    endpoints: int = 6
    nodes: tuple[int, ...] = ()
    two_passes: bool | None = None

    def __post_init__(self) -> None:
        """Raise EvidenceError for a machine that QEMU does not build."""
        for what, value, least, most in (
            ("cpu_count", self.cpus, 1, MAX_CPUS),
            ("memory_size", self.memory, _MEBIBYTE, MAX_MEMORY),
            ("pci_hole64_size", self.hole, 0, MAX_HOLE),
            ("root ports", self.ports, 0, _CHIPSET_SLOT),
            ("devices on the root bus", self.endpoints, 1, _CHIPSET_SLOT),
        ):
            if not least <= value <= most:
                raise EvidenceError(f"vm_config: {what} {value} is not in {least}..{most}")
        if self.qemu < _OLDEST_QEMU:
            raise EvidenceError(f"vm_config: QEMU {self.qemu[0]}.{self.qemu[1]} has no TDX guests")
        self._check_nodes()
        if len(self.endpoint_slots) + self.ports + len(self.expanders) > _CHIPSET_SLOT:
            raise EvidenceError("vm_config: more devices than the root bus has slots")

    def _check_nodes(self) -> None:
        count = len(self.nodes)
        if count and (self.cpus % count or self.memory % count):
            raise EvidenceError(f"vm_config: cpus and memory do not split over {count} nodes")
        buses = self.expanders
        if len(set(buses)) != len(buses) or any(bus > _MAX_BUS for bus in buses):
            raise EvidenceError(f"vm_config: expander buses {list(buses)} are not distinct bytes")
        if buses and self.endpoints > FIRST_EXPANDER_SLOT:
            raise EvidenceError("vm_config: devices reach into the slots of the expanders")
        if len(buses) > _CHIPSET_SLOT - FIRST_EXPANDER_SLOT:
            raise EvidenceError(f"vm_config: {len(buses)} expanders do not fit on the root bus")

    @property
    def expanders(self) -> tuple[int, ...]:
        """The buses of PCI expanders, in node order."""
        return tuple(bus for bus in self.nodes if bus)

    @property
    def family(self) -> tuple[int, int]:
        """The first version of the QEMU family that builds the same tables."""
        return max(version for version in FAMILIES if version <= self.qemu[:2])

    @property
    def low_memory(self) -> int:
        """Bytes of memory below 4 GiB."""
        return LOW_MEMORY if self.memory >= LOW_MEMORY_LIMIT else self.memory

    @property
    def window(self) -> int:
        """Bytes of the 64-bit PCI window: QEMU rounds what was asked for up to whole GiB."""
        return -(-self.hole // _GIBIBYTE) * _GIBIBYTE or _DEFAULT_WINDOW

    @property
    def endpoint_slots(self) -> tuple[int, ...]:
        """The slots of the devices that have no children."""
        return tuple(range(self.endpoints))

    @property
    def port_slots(self) -> tuple[int, ...]:
        """The slots of the root ports: the next ones that no expander has."""
        taken = {FIRST_EXPANDER_SLOT + index for index in range(len(self.expanders))}
        free = (slot for slot in range(self.endpoints, _CHIPSET_SLOT) if slot not in taken)
        return tuple(slot for slot, _ in zip(free, range(self.ports), strict=False))


def parse_vm_config(value: JsonValue | bytes, what: str = "vm_config") -> MachineShape:
    """The shape that a vm_config states (Dstack-TEE/dstack dstack-types/src/lib.rs, VmConfig):
    a JSON object, or text of one. A sys-config, which has it as a field, is read through.

    Raises EvidenceError for numbers of another type, for machines that QEMU does not build, and for
    devices whose tables are not known here.
    """
    document = vm_config_of(value, what)
    if _flag(document, "swtpm"):
        raise EvidenceError(f"{what}: the tables of a machine with a software TPM are not known")
    if document.get("extra_root_devices"):
        raise EvidenceError(f"{what}: extra_root_devices are not known to this auditor")
    qemu = _version(document.get("qemu_version"), what)
    pic = document.get("pic")
    nodes = _nodes(document, what)
    gpus, switches = _count(document, "num_gpus"), _count(document, "num_nvswitches")
    # GPUs sit behind the expanders where there are any.
    ports = switches if any(nodes) else gpus + switches
    volumes = _count(document, "num_verity_volumes")
    return MachineShape(
        cpus=_count(document, "cpu_count"),
        memory=_count(document, "memory_size"),
        qemu=qemu,
        pic=qemu < _PIC_UNTIL if pic is None else _flag(document, "pic"),
        hotplug=not _flag(document, "hotplug_off"),
        hole=_count(document, "pci_hole64_size"),
        ports=ports,
        # Host bridge, root disk, vsock, shared files and data disk, and what is counted.
        endpoints=5 + _count(document, "num_nics", 1) + volumes,
        nodes=nodes,
        # dstack's field is true for two passes (dstack-mr/src/machine.rs), whatever its name says.
        two_passes=_flag(document, _PASSES) if document.get(_PASSES) is not None else None,
    )


def vm_config_of(value: JsonValue | bytes, what: str = "vm_config") -> codec.JsonObject:
    """The document of a vm_config, or of the sys-config that it is a field of. Raises
    EvidenceError."""
    document = codec.as_object(codec.nested_json(value, what), what)
    inner = document.get("vm_config")
    return document if inner is None else codec.as_object(codec.nested_json(inner, what), what)


def _count(document: Mapping[str, JsonValue], name: str, default: int = 0) -> int:
    value = document.get(name)
    return default if value is None else codec.as_int(value, f"vm_config: {name}")


def _flag(document: Mapping[str, JsonValue], name: str) -> bool:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise EvidenceError(f"vm_config: {name} is neither true nor false")
    return bool(value)


def _version(value: JsonValue, what: str) -> tuple[int, int, int]:
    if value is None:
        return _DEFAULT_QEMU
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) != _VERSION_PARTS or not all(
        part.isascii() and part.isdigit() and len(part) <= _VERSION_PARTS for part in parts
    ):
        raise EvidenceError(f"{what}: qemu_version is not three numbers like 9.2.1")
    major, minor, patch = (int(part) for part in parts)
    return major, minor, patch


def _nodes(document: Mapping[str, JsonValue], what: str) -> tuple[int, ...]:
    stated = codec.as_list(document.get("numa_nodes") or [], f"{what}: numa_nodes")
    if stated:
        return tuple(
            _count(codec.as_object(node, f"{what}: numa_nodes[{place}]"), "pxb_bus")
            for place, node in enumerate(stated)
        )
    if not _flag(document, "hugepages"):
        return ()
    return (_EXPANDER_BUS if _count(document, "num_gpus") else 0,)
