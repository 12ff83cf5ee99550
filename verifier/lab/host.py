"""What a host does to the firmware of its guest: other events of RTMR0, and logs without them."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.events import Event

EventsEdit = Callable[[list[Event]], list[Event]]
_ACPI: Final = 10
"""Event type of the digests of QEMU's ACPI tables in RTMR0."""


def firmware_event(place: int, label: str) -> EventsEdit:
    """Measure something else as one event of RTMR0: `place` counts in the order of a boot."""

    def edit(events: list[Event]) -> list[Event]:
        own = [index for index, event in enumerate(events) if event.imr == 0][place]
        other = replace(events[own], digest=keys.labelled(label, 48))
        return [*events[:own], other, *events[own + 1 :]]

    return edit


def firmware_event_added(events: list[Event]) -> list[Event]:
    """Measure one more variable into RTMR0, as firmware does where the host sets a boot option."""
    own = [index for index, event in enumerate(events) if event.imr == 0][-1]
    return [*events[: own + 1], events[own], *events[own + 1 :]]


def firmware_event_dropped(events: list[Event]) -> list[Event]:
    """Never measure the last boot option into RTMR0."""
    own = [index for index, event in enumerate(events) if event.imr == 0][-1]
    return [*events[:own], *events[own + 1 :]]


def acpi_tables(label: str) -> EventsEdit:
    """Measure ACPI tables that no QEMU builds: loader, rsdp and tables."""

    def edit(events: list[Event]) -> list[Event]:
        return [
            replace(event, digest=keys.labelled(f"{label} {place}", 48))
            if event.imr == 0 and event.event_type == _ACPI
            else event
            for place, event in enumerate(events)
        ]

    return edit


def without_boot(log: list[JsonObject]) -> list[JsonObject]:
    """Leave nothing of the boot log, as certificates of dstack 0.6.0 do."""
    return [item for item in log if item["imr"] == 3]  # noqa: PLR2004 - RTMR3
