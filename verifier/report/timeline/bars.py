"""What a timeline's drawings show: bars of time under a few titles.

Labels are fixed text and hex digits, so that nothing of the chain's text is part of a drawing.
What is not final is left out; a bar that has not ended ends where the timeline is complete.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.model.chain import Role
from verifier.model.identifiers import LATEST_TIME
from verifier.model.timeline import ExposureKind, Timeline
from verifier.patterns import pattern
from verifier.report.timeline.overview import windows
from verifier.report.timeline.sentences import ROLES, allowed_by, is_digest

_ADDRESS: Final = pattern(r"0x[0-9a-fA-F]{40}", re.ASCII)
_DIGITS: Final = 12
_ROLES: Final = (Role.APP, Role.KMS)


class Tone(StrEnum):
    """What a bar means: what holds, what ended, what somebody should look at."""

    PRESENT = "active"
    PAST = "done"
    EXPOSED = "crit"


class Bar(Struct, frozen=True):
    """One bar. Times are Unix seconds; `since` None is not known, `until` None the present."""

    label: str
    tone: Tone
    since: int | None
    until: int | None


class Chart(Struct, frozen=True):
    """The bars of a timeline by title, from `first` to `last` (Unix seconds)."""

    sections: tuple[tuple[str, tuple[Bar, ...]], ...]
    first: int
    last: int

    def span(self, bar: Bar) -> tuple[int, int]:
        """Where a bar begins and ends, of the whole time where that is not known."""
        start = self.first if bar.since is None or not _drawable(bar.since) else bar.since
        end = self.last if bar.until is None or not _drawable(bar.until) else bar.until
        return start, end


def chart(timeline: Timeline) -> Chart | None:
    """The bars of a timeline; None where there is no time to draw."""
    sections = (
        ("Manifests that may start", tuple(_manifests(timeline))),
        *((f"In control of the {ROLES[role]}", tuple(_owners(timeline, role))) for role in _ROLES),
        ("Windows of exposure", tuple(_windows(timeline))),
    )
    ends = (at for _, bars in sections for bar in bars for at in (bar.since, bar.until))
    times = [at for at in ends if at is not None and _drawable(at)]
    if not times:
        return None
    drawn = tuple((title, bars) for title, bars in sections if bars)
    return Chart(drawn, min(times), max(timeline.as_of.time, *times))


def _manifests(timeline: Timeline) -> Iterator[Bar]:
    """One bar for each time that a manifest was allowed, in the order of their beginnings.

    What is allowed now though no event says so has been since nobody knows when.
    """
    began: dict[str, int | None] = {}
    bars: list[tuple[str, int | None, int | None]] = []
    for event in timeline.events:
        if event.role is not Role.APP or event.provisional:
            continue
        if (allowed := allowed_by(event)) is not None:
            began.setdefault(allowed, event.time)
        elif event.name == "ComposeHashRemoved":
            subject = str(next(iter(event.args.values()), ""))
            if subject in began:
                bars.append((subject, began.pop(subject), event.time))
    now = sorted(timeline.app_state.compose_hashes)
    bars.extend((subject, began.get(subject), None) for subject in now)
    for subject, since, until in sorted(bars, key=lambda bar: (bar[1] or 0, bar[0])):
        label = subject[:_DIGITS] if is_digest(subject) else "a manifest"
        yield Bar(label, Tone.PRESENT if until is None else Tone.PAST, since, until)


def _owners(timeline: Timeline, role: Role) -> Iterator[Bar]:
    for item in timeline.governance:
        if item.role is role:
            known = item.owner[:_DIGITS] if _ADDRESS.fullmatch(item.owner) else ""
            tone = Tone.PRESENT if item.until is None else Tone.PAST
            label = f"{item.kind.value} {known}".rstrip()
            yield Bar(label, tone, item.since_time, item.until_time)


def _windows(timeline: Timeline) -> Iterator[Bar]:
    for item in windows(timeline):
        about = item.subject[:_DIGITS] if is_digest(item.subject) else ""
        fine = item.kind is ExposureKind.RUNNING_ALLOWED
        tone = Tone.PRESENT if fine else Tone.EXPOSED
        yield Bar(f"{item.kind.value} {about}".rstrip(), tone, item.since, item.until)


def _drawable(seconds: int | None) -> bool:
    return seconds is not None and 0 <= seconds < LATEST_TIME
