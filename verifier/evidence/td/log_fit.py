"""How well an event log fits a quote, where several logs are given.

Which of them is the quote's own follows from the registers, and from nothing that a log says of
itself.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import (
    RUNTIME_IMR,
    Event,
    checked_digest,
    is_event_name,
    replay,
    runtime_digest,
    system_events,
)

Misfits = tuple[bool, bool, bool, int]
"""What keeps a log from being a quote's own, the gravest first, so that less is better: it does not
replay to RTMR3; it states other digests than follow from its events, or holds entries that dstack
does not write there; its events have names that hide others; and of RTMR0-2, 0 where it replays to
them, 1 where its channel stripped them, 2 where it does not."""

UNFIT: Final[Misfits] = (True, True, True, 2)
"""Those of a log that is not there, or that cannot be read."""

_ACPI_TYPE: Final = 10
_ACPI_NAMES: Final = ("acpi-loader", "acpi-rsdp", "acpi-tables")
"""What dstack 0.6.0 leaves of the boot log: type and names of the three events of RTMR0 that QEMU's
ACPI tables give (Dstack-TEE/dstack dstack-attest/src/v1.rs, strip_tdx_lite_event_log)."""


class Replayed(Struct, frozen=True):
    """What a log replays to: the four registers, and what else counts of it (see `Misfits`)."""

    registers: tuple[bytes, ...]
    states_otherwise: bool
    hides: bool
    stripped: bool

    def misfits(self, registers: tuple[bytes, ...]) -> Misfits:
        """What keeps it from being the log of a quote with these RTMRs."""
        boots = self.registers[:RUNTIME_IMR] == registers[:RUNTIME_IMR]
        boot = 0 if boots else 1 if self.stripped else 2
        other = self.registers[RUNTIME_IMR] != registers[RUNTIME_IMR]
        return other, self.states_otherwise, self.hides, boot


def replay_log(read: Callable[[], tuple[Event, ...]]) -> Replayed | None:
    """What a log replays to, None where reading it raises EvidenceError."""
    try:
        events = read()
    except EvidenceError:
        return None
    of_register: list[list[Event]] = [[], [], [], []]
    for event in events:
        of_register[event.imr].append(event)
    *boot, runtime = of_register
    return Replayed(
        registers=(
            *(replay(event.digest or b"" for event in listed) for listed in boot),
            replay(runtime_digest(x) if x.is_runtime else x.digest or b"" for x in runtime),
        ),
        states_otherwise=not all(x.is_runtime and _holds(x) for x in runtime),
        hides=not all(is_event_name(event.name) for event in system_events(events)),
        stripped=is_stripped([event for event in events if event.imr < RUNTIME_IMR]),
    )


def is_stripped(boot: Iterable[Event]) -> bool:
    """Whether a channel left of the boot log what channels leave, which is nothing to replay."""
    events = list(boot)
    if all(event.digest is None for event in events):
        return True
    acpi = [(0, _ACPI_TYPE, name) for name in _ACPI_NAMES]
    return [(event.imr, event.event_type, event.name) for event in events] == acpi


def _holds(event: Event) -> bool:
    try:
        checked_digest(event)
    except EvidenceError:
        return False
    return True
