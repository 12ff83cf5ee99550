"""Which machine an RTMR0 is of: what a hint is worth, and what is told apart without one."""

import pytest

from tests.machine.machines import OVMF, RECORDED
from verifier.evidence.td.event_log import replay
from verifier.machine.firmware import ACPI, EVENTS, rtmr0_digests
from verifier.machine.recognition import recognize, recognize_stripped
from verifier.machine.shape import MachineShape, parse_vm_config

GIB = 1 << 30
SHAPE = MachineShape(cpus=2, memory=4 * GIB, qemu=(9, 2, 1))
OTHER = MachineShape(cpus=64, memory=1 << 41, qemu=(9, 2, 1), hotplug=False, ports=12)
UNUSUAL = MachineShape(cpus=7, memory=4 * GIB, endpoints=11)
DIGESTS = rtmr0_digests(SHAPE, OVMF)
RTMR0 = replay(DIGESTS)


def with_event(place: int) -> tuple[bytes, ...]:
    return (*DIGESTS[:place], b"\7" * 48, *DIGESTS[place + 1 :])


@pytest.mark.parametrize("hints", [(SHAPE,), (OTHER, SHAPE)])
def test_a_stated_machine_is_taken_at_its_digests(hints: tuple[MachineShape, ...]) -> None:
    found = recognize(OVMF, DIGESTS, hints)
    assert (found.shape, found.stated) == (SHAPE, True)


@pytest.mark.parametrize("hints", [(), (OTHER,), (UNUSUAL,)])
def test_without_a_true_hint_the_machine_is_found(hints: tuple[MachineShape, ...]) -> None:
    found = recognize(OVMF, DIGESTS, hints)
    assert found.shape is not None
    assert not found.stated
    assert rtmr0_digests(found.shape, OVMF) == DIGESTS


def test_an_unusual_machine_is_known_only_where_it_is_stated() -> None:
    digests = rtmr0_digests(UNUSUAL, OVMF)
    assert recognize(OVMF, digests, (UNUSUAL,)).shape == UNUSUAL
    found = recognize(OVMF, digests, ())
    assert (found.shape, found.unexplained) == (None, digests[ACPI])


@pytest.mark.parametrize("place", range(len(EVENTS)))
def test_every_event_but_those_of_acpi_is_decided(place: int) -> None:
    digests = with_event(place)
    found = recognize(OVMF, digests, (SHAPE,))
    assert found.shape is None
    if EVENTS[place].startswith("ACPI"):
        assert found.unexplained == digests[ACPI]
    else:
        assert found.strange == (EVENTS[place],)


@pytest.mark.parametrize(
    "digests", [DIGESTS[:-1], (*DIGESTS, DIGESTS[-1]), (), DIGESTS * 300], ids=len
)
def test_one_event_too_many_or_too_few(digests: tuple[bytes, ...]) -> None:
    assert recognize(OVMF, digests, (SHAPE,)).strange[0].endswith("where a boot has 13")


def test_two_events_in_each_others_place_are_another_boot() -> None:
    swapped = (*DIGESTS[:2], DIGESTS[3], DIGESTS[2], *DIGESTS[4:])
    assert recognize(OVMF, swapped, (SHAPE,)).strange == ("variable SecureBoot", "variable PK")


def test_another_memory_map_is_another_memory() -> None:
    """Tables of enough memory are alike, so that the map alone tells."""
    larger = rtmr0_digests(MachineShape(cpus=2, memory=9 * GIB, qemu=(9, 2, 1)), OVMF)
    found = recognize(OVMF, (larger[0], *DIGESTS[1:]), (SHAPE,))
    assert found.shape is not None
    assert found.shape.memory == 9 * GIB


def test_what_is_left_of_a_stripped_log_is_enough() -> None:
    for hints in ((SHAPE,), (), (OTHER,)):
        found = recognize_stripped(OVMF, RTMR0, DIGESTS[ACPI], hints)
        assert found.shape is not None
        assert rtmr0_digests(found.shape, OVMF) == DIGESTS
    assert recognize_stripped(OVMF, RTMR0, (), (OTHER, SHAPE)).shape == SHAPE


def test_nothing_is_decided_without_a_log_or_a_true_hint() -> None:
    assert recognize_stripped(OVMF, RTMR0, (), (OTHER,)).undecided
    strange = replay(with_event(5))
    assert recognize_stripped(OVMF, strange, DIGESTS[ACPI], (SHAPE,)).undecided
    assert recognize_stripped(OVMF, RTMR0, with_event(8)[ACPI], ()).undecided


def test_unknown_tables_of_a_stripped_log_are_named() -> None:
    digests = with_event(10)
    found = recognize_stripped(OVMF, replay(digests), digests[ACPI], (SHAPE,))
    assert (found.shape, found.unexplained) == (None, digests[ACPI])


def test_recorded_machines_are_recognised_in_each_form() -> None:
    for row in RECORDED:
        hints = (parse_vm_config(row.vm_config),)
        assert recognize(OVMF, row.digests, hints).stated
        assert recognize_stripped(OVMF, row.rtmr0, (), hints).stated
