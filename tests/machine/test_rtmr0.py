"""RTMR0 from the shape of a machine, held against what real guests measured."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.machine.machines import OVMF, RECORDED, Recorded
from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import replay
from verifier.machine.acpi import AcpiBlobs, acpi_blobs
from verifier.machine.firmware import (
    ACPI,
    EVENTS,
    FirmwareLayout,
    find_memory,
    layout_from_witness,
    memory_map_digest,
    rtmr0_digests,
    witness_of,
)
from verifier.machine.search import find_shape, memory_sizes
from verifier.machine.shape import MachineShape, parse_vm_config

MIB, GIB = 1 << 20, 1 << 30
NAMES = [f"{row.rtmr0.hex()[:8]}-{place}" for place, row in enumerate(RECORDED)]
SMALL = MachineShape(cpus=1, memory=2 * GIB)


@pytest.mark.parametrize("machine", RECORDED, ids=NAMES)
def test_real_machines_are_reproduced(machine: Recorded) -> None:
    digests = rtmr0_digests(parse_vm_config(machine.vm_config), OVMF)
    assert dict(zip(EVENTS, digests, strict=True)) == dict(
        zip(EVENTS, machine.digests, strict=True)
    )
    assert replay(digests) == machine.rtmr0


@pytest.mark.parametrize("machine", RECORDED, ids=NAMES)
def test_real_machines_are_found_from_their_digests(machine: Recorded) -> None:
    memory = find_memory(OVMF, machine.digests[0], memory_sizes())
    assert memory == machine.vm_config["memory_size"]
    assert memory is not None
    loader, rsdp, tables = machine.digests[ACPI]
    shape = find_shape(memory, (loader, rsdp, tables))
    assert shape is not None
    assert rtmr0_digests(shape, OVMF) == machine.digests


def test_what_no_machine_gives_is_not_found() -> None:
    loader, rsdp, _ = RECORDED[0].digests[ACPI]
    assert find_shape(2 * GIB, (loader, rsdp, bytes(48))) is None
    assert find_shape(2 * GIB, (bytes(48),) * 3) is None
    assert find_memory(OVMF, bytes(48), range(GIB, 64 * GIB, GIB)) is None


def tables_of(blobs: AcpiBlobs) -> dict[bytes, bytes]:
    """The tables by their signature, FACS excepted, which has no checksum."""
    found, place = {}, 64
    while name := blobs.tables[place : place + 4].strip(b"\0"):
        size = int.from_bytes(blobs.tables[place + 4 : place + 8], "little")
        found[name] = blobs.tables[place : place + size]
        place += size
    return found


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (SMALL, b"DSDT FACP APIC MCFG WAET RSDT"),
        (
            structs.replace(SMALL, nodes=(5,), cpus=300, qemu=(11, 1, 0)),
            b"DSDT FACP APIC SRAT MCFG WAET RSDT",
        ),
    ],
)
def test_tables_stand_back_to_back(shape: MachineShape, names: bytes) -> None:
    blobs = acpi_blobs(shape)
    tables = tables_of(blobs)
    assert list(tables) == names.split()
    place = int.from_bytes(blobs.rsdp[16:20], "little")
    assert blobs.tables[place:].rstrip(b"\0").startswith(b"RSDT")
    assert len(blobs.tables) % 0x20000 == 0
    assert len(blobs.loader) == 0x1000
    assert len(blobs.rsdp) == 20


def test_memory_decides_the_tables_only_below_the_low_limit() -> None:
    def tables(mebibytes: int) -> bytes:
        return acpi_blobs(structs.replace(SMALL, memory=mebibytes * MIB)).tables

    # 2816 MiB is where QEMU keeps only 2 GiB below 4 GiB.
    assert tables(2815) != tables(2816) == tables(8192) == tables(2048)
    maps = {memory_map_digest(OVMF, size * MIB) for size in (2815, 2816, 2817, 8192)}
    assert len(maps) == 4


def test_processors_beyond_254_are_x2apics() -> None:
    def interrupts(cpus: int) -> bytes:
        return tables_of(acpi_blobs(structs.replace(SMALL, cpus=cpus)))[b"APIC"]

    assert len(interrupts(255)) - len(interrupts(254)) == 8
    assert len(interrupts(256)) - len(interrupts(255)) == 16 + 6
    assert b"ACPI0007" not in acpi_blobs(structs.replace(SMALL, cpus=255)).tables
    assert b"ACPI0007" in acpi_blobs(structs.replace(SMALL, cpus=256)).tables


@pytest.mark.parametrize(
    "other",
    [
        {"cpus": 2},
        {"pic": True},
        {"hotplug": False},
        {"hole": 1 << 40},
        {"ports": 1},
        {"endpoints": 7},
        {"nodes": (0,)},
        {"nodes": (5,)},
        {"qemu": (8, 2, 2)},
        {"qemu": (9, 2, 1)},
        {"qemu": (10, 0, 0)},
        {"qemu": (11, 0, 0)},
        {"qemu": (11, 1, 0)},
    ],
    ids=str,
)
def test_every_part_of_a_shape_shows(other: dict[str, object]) -> None:
    first = structs.replace(SMALL, qemu=(9, 1, 0) if "qemu" not in other else (0x7F, 0, 0))
    second = structs.replace(first, **other)
    if other.get("qemu") == (8, 2, 2):
        first = structs.replace(SMALL, qemu=(9, 1, 9))
        assert acpi_blobs(first) == acpi_blobs(second)
    elif other.get("qemu") == (11, 1, 0):
        assert acpi_blobs(first) == acpi_blobs(second)
    else:
        assert acpi_blobs(first).tables != acpi_blobs(second).tables


def test_a_hole_is_whole_gibibytes() -> None:
    rounded = structs.replace(SMALL, hole=2 * GIB)
    assert acpi_blobs(structs.replace(SMALL, hole=1500 * MIB)) == acpi_blobs(rounded)
    unset = structs.replace(SMALL, hole=32 * GIB)
    assert acpi_blobs(SMALL) == acpi_blobs(unset)


def test_the_witness_is_the_layout() -> None:
    assert witness_of(OVMF).hex() == "80100904000609020b021010"
    assert OVMF.hob == 0x809000
    assert OVMF.accepted[0] == (0x800000, 0x6000)


@pytest.mark.parametrize(
    "witness",
    ["", "80", "801009", "80100904000609020b0210", "ff" * 12, "80100904000609020b02101000"],
)
def test_a_broken_witness_is_refused(witness: str) -> None:
    with pytest.raises(EvidenceError):
        layout_from_witness(bytes.fromhex(witness), bytes(48))


@pytest.mark.parametrize(
    "ranges",
    [
        (),
        ((0x809000, 0),),
        ((0x809000, 4096), (0x809000, 4096)),
        ((0x80A000, 4096), (0x809000, 4096)),
        ((0x809001, 4096),),
        ((0x800000, 4096),),
        ((0x809000, 1 << 53),),
    ],
)
def test_a_layout_that_no_firmware_has_is_refused(ranges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(EvidenceError):
        FirmwareLayout(0x809000, ranges, bytes(48))


HONEST = {"cpu_count": 1, "memory_size": 2 * GIB}


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_count": 0},
        {"cpu_count": 4097},
        {"cpu_count": True},
        {"cpu_count": 10**9},
        {"cpu_count": "8"},
        {"cpu_count": 1.0},
        {"cpu_count": -1},
        {"cpu_count": None},
        {"memory_size": 0},
        {"memory_size": 1 << 60},
        {"memory_size": "2G"},
        {"num_gpus": 31},
        {"num_gpus": 26},
        {"num_nics": 27},
        {"num_verity_volumes": 10**30},
        {"pci_hole64_size": 1 << 60},
        {"pci_hole64_size": -1},
        {"qemu_version": "7.2.0"},
        {"qemu_version": "9"},
        {"qemu_version": "9.2.1-dirty"},
        {"qemu_version": 9},
        {"qemu_version": "9999999999.0.0"},
        {"pic": 1},
        {"hotplug_off": "yes"},
        {"hugepages": "no"},
        {"swtpm": True},
        {"extra_root_devices": ["Endpoint"]},
        {"numa_nodes": [{"pxb_bus": 5}, {"pxb_bus": 5}]},
        {"numa_nodes": [{"pxb_bus": 256}]},
        {"numa_nodes": [{}, {}]},
        {"numa_nodes": [5]},
        {"numa_nodes": [{"pxb_bus": 1}], "num_nics": 20},
    ],
    ids=json.dumps,
)
def test_no_such_machine(wrong: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        parse_vm_config(json.dumps({**HONEST, **wrong}).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'{"cpu_count": NaN}', b"\xff"])
def test_a_vm_config_that_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_vm_config(text)


def test_defaults_are_those_of_dstack() -> None:
    assert parse_vm_config(dict(HONEST)) == MachineShape(cpus=1, memory=2 * GIB, pic=False)
    assert parse_vm_config({**HONEST, "qemu_version": "8.2.2"}).pic
    assert not parse_vm_config({**HONEST, "qemu_version": "8.2.2", "pic": False}).pic
    gpus = {**HONEST, "num_gpus": 2, "num_nvswitches": 1}
    assert parse_vm_config(dict(gpus)).ports == 3
    behind = parse_vm_config({**gpus, "hugepages": True})
    assert (behind.ports, behind.nodes) == (1, (5,))
    assert parse_vm_config({**HONEST, "hugepages": True}).nodes == (0,)
    assert parse_vm_config({"vm_config": json.dumps(HONEST)}) == parse_vm_config(dict(HONEST))


def test_a_bit_in_a_blob_shows_in_its_digest() -> None:
    blobs = acpi_blobs(SMALL)
    flipped = bytes((blobs.tables[0] ^ 1,)) + blobs.tables[1:]
    changed = structs.replace(blobs, tables=flipped)
    assert changed.digests[:2] == blobs.digests[:2]
    assert changed.digests[2] == hashlib.sha384(flipped).digest() != blobs.digests[2]


NUMBERS = st.one_of(
    st.integers(-1, 40), st.integers(0, 1 << 70), st.booleans(), st.none(), st.text(max_size=3)
)


@given(
    st.fixed_dictionaries(
        {
            "cpu_count": st.one_of(st.integers(0, 300), NUMBERS),
            "memory_size": st.one_of(st.integers(0, 1 << 20).map(lambda size: size << 20), NUMBERS),
        },
        optional={
            **dict.fromkeys(("num_gpus", "num_nvswitches", "num_nics"), st.integers(0, 40)),
            **dict.fromkeys(("num_verity_volumes", "pci_hole64_size"), NUMBERS),
            **dict.fromkeys(("pic", "hotplug_off", "hugepages"), st.booleans()),
            "qemu_version": st.sampled_from(["8.0.0", "9.2.1", "10.1.0", "12.0.0", "8", 9]),
            "numa_nodes": st.lists(st.fixed_dictionaries({"pxb_bus": NUMBERS}), max_size=4),
        },
    )
)
def test_whatever_is_stated_is_a_machine_or_is_refused(config: dict[str, Any]) -> None:
    try:
        shape = parse_vm_config(config)
    except EvidenceError:
        return
    digests = rtmr0_digests(shape, OVMF)
    assert len(digests) == 13
    assert len({*shape.endpoint_slots, *shape.port_slots}) == shape.endpoints + shape.ports
