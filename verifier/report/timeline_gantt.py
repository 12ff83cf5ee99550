"""What was allowed when, and who could change it, as a Mermaid gantt chart in Markdown.

Labels are fixed text and hex digits, so that nothing of the chain's text is Mermaid's. Only what is
final is drawn; a bar that has not ended ends at the block to which the timeline is complete.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from verifier.model.chain import Role
from verifier.model.timeline import ExposureKind, Timeline
from verifier.report.timeline_overview import windows
from verifier.report.timeline_words import LATEST, ROLES, allowed_by, count, is_digest

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_DIGITS: Final = 12
_MOST: Final = 60  # bars of one section; sites refuse charts of more than 50,000 characters

_THINNEST: Final = 200  # part of the whole time below which a bar would not be seen

_ROLES: Final = (Role.APP, Role.KMS)

_Bar = tuple[str, str, int | None, int | None]  # label, tags, beginning, end


def gantt(timeline: Timeline) -> Iterator[str]:
    """The chart as lines of Markdown; none where there is no time to draw."""
    sections = (
        ("Manifests that may start", tuple(_manifests(timeline))),
        *((f"In control of the {ROLES[role]}", tuple(_owners(timeline, role))) for role in _ROLES),
        ("Windows of exposure", tuple(_windows(timeline))),
    )
    ends = (at for _, bars in sections for bar in bars for at in bar[2:])
    times = [at for at in ends if at is not None and _drawable(at)]
    if not times:
        return
    first, last = min(times), max(timeline.as_of.time, *times)
    hedge = "" if timeline.complete else ", as far as the events are here"
    yield from (f"## What was allowed when{hedge}", "", "```mermaid", "gantt")
    yield "  dateFormat YYYY-MM-DD HH:mm:ss"
    yield "  axisFormat %Y-%m-%d"
    yield "  todayMarker off"
    for title, bars in sections:
        if bars:
            yield f"  section {title}"
        yield from (_bar(bar, first, last) for bar in bars[:_MOST])
    yield "```"
    if hidden := sum(max(len(bars) - _MOST, 0) for _, bars in sections):
        yield from ("", f"{count(hidden, 'more bar')} would not fit; the tables have everything.")


def _manifests(timeline: Timeline) -> Iterator[_Bar]:
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
        yield label, "active" if until is None else "done", since, until


def _owners(timeline: Timeline, role: Role) -> Iterator[_Bar]:
    for item in timeline.governance:
        if item.role is role:
            known = item.owner[:_DIGITS] if _ADDRESS.fullmatch(item.owner) else ""
            tags = "active" if item.until is None else "done"
            yield f"{item.kind.value} {known}".rstrip(), tags, item.since_time, item.until_time


def _windows(timeline: Timeline) -> Iterator[_Bar]:
    for item in windows(timeline):
        about = item.subject[:_DIGITS] if is_digest(item.subject) else ""
        tags = "active" if item.kind is ExposureKind.RUNNING_ALLOWED else "crit"
        yield f"{item.kind.value} {about}".rstrip(), tags, item.since, item.until


def _bar(bar: _Bar, first: int, last: int) -> str:
    label, tags, since, until = bar
    start = first if since is None or not _drawable(since) else since
    end = last if until is None or not _drawable(until) else until
    unknown = " (since when is not known)" if since is None else ""
    if (end - start) * _THINNEST < last - first:
        tags += ", milestone"
    return f"    {label}{unknown} :{tags}, {_moment(start)}, {_moment(max(start + 1, end))}"


def _drawable(seconds: int | None) -> bool:
    return seconds is not None and 0 <= seconds < LATEST


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
