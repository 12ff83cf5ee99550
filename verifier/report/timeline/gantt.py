"""What was allowed when, and who could change it, as a Mermaid gantt chart in Markdown."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from verifier.model.timeline import Timeline
from verifier.report.timeline.bars import Bar, Chart, chart
from verifier.report.timeline.sentences import count

_MOST: Final = 60  # bars of one section; sites refuse charts of more than 50,000 characters

_THINNEST: Final = 200  # part of the whole time below which a bar would not be seen


def gantt(timeline: Timeline) -> Iterator[str]:
    """The chart as lines of Markdown; none where there is no time to draw."""
    drawn = chart(timeline)
    if drawn is None:
        return
    hedge = "" if timeline.complete else ", as far as the events are here"
    yield from (f"## What was allowed when{hedge}", "", "```mermaid", "gantt")
    yield "  dateFormat YYYY-MM-DD HH:mm:ss"
    yield "  axisFormat %Y-%m-%d"
    yield "  todayMarker off"
    for title, bars in drawn.sections:
        yield f"  section {title}"
        yield from (_bar(drawn, bar) for bar in bars[:_MOST])
    yield "```"
    if hidden := sum(max(len(bars) - _MOST, 0) for _, bars in drawn.sections):
        yield from ("", f"{count(hidden, 'more bar')} would not fit; the tables have everything.")


def _bar(drawn: Chart, bar: Bar) -> str:
    start, end = drawn.span(bar)
    tags = bar.tone.value
    unknown = " (since when is not known)" if bar.since is None else ""
    if (end - start) * _THINNEST < drawn.last - drawn.first:
        tags += ", milestone"
    return f"    {bar.label}{unknown} :{tags}, {_moment(start)}, {_moment(max(start + 1, end))}"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
