"""Where the boxes and bars of an HTML report's drawings stand, in units of its SVG."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from verifier.model.result import CheckResult
from verifier.report.audit.families import FAMILIES, RESTS_ON, Mark, by_family, family_mark
from verifier.report.timeline.bars import Bar, Chart

_WIDE, _HIGH = 150, 44
_GAP_X, _GAP_Y = 34, 16
_ROW: Final = 24
_LABELS: Final = 300
_TIME: Final = 660
_TICKS: Final = 5
_MOST: Final = 40
_THINNEST: Final = 4


class Box(Struct, frozen=True):
    """One family of checks: its upper left corner, and the worst mark of its checks."""

    key: str
    title: str
    mark: Mark
    x: int
    y: int


class ChainDrawing(Struct, frozen=True):
    """The families of checks as boxes, with arrows between them. Numbers are units of the SVG.

    boxes       one for each family that has checks
    arrows      x1 y1 x2 y2, each from the box that another rests on to that other
    width       of the whole drawing
    height      of the whole drawing
    box_width   of each box
    box_height  of each box
    """

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int
    box_width: int = _WIDE
    box_height: int = _HIGH


class DrawnBar(Struct, frozen=True):
    """A bar of time.

    label  what it is about
    tone   the value of its `Tone`
    dates  when it begins and ends, in words
    x      its left edge, in units of the SVG
    y      its row, in units of the SVG
    width  in units of the SVG
    """

    label: str
    tone: str
    dates: str
    x: float
    y: int
    width: float


class HistoryDrawing(Struct, frozen=True):
    """The bars of a timeline over one axis of time. Numbers are units of the SVG.

    titles  (text, y) of each section
    bars    the bars of all sections
    ticks   (date, x) of the axis
    hidden  how many bars did not fit
    height  of the whole drawing
    width   of the whole drawing
    labels  of the column that holds the labels, left of the bars
    row     the height of one row
    """

    titles: tuple[tuple[str, int], ...]
    bars: tuple[DrawnBar, ...]
    ticks: tuple[tuple[str, float], ...]
    hidden: int
    height: int
    width: int = _LABELS + _TIME + 20
    labels: int = _LABELS
    row: int = _ROW


def chain_of_trust(checks: Iterable[CheckResult]) -> ChainDrawing:
    """The families that have checks, each right of the one that it rests on."""
    fixed = {family.key: family for family in FAMILIES}
    marks = {
        family.key: family_mark(members)
        for family, members in by_family(checks)
        if family.key in fixed
    }
    parents = {key: _parent(key, marks) for key in marks}
    depth: dict[str, int] = {}
    lane: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for family in FAMILIES:
        key = family.key
        if key not in marks:
            continue
        parent = parents[key]
        depth[key] = depth[parent] + 1 if parent else 0
        row = max(lane.get(depth[key], 0), _row_of(boxes.get(parent)))
        lane[depth[key]] = row + 1
        x, y = depth[key] * (_WIDE + _GAP_X), row * (_HIGH + _GAP_Y)
        boxes[key] = Box(key, family.title, marks[key], x, y)
    arrows = tuple(
        (boxes[parent].x + _WIDE, boxes[parent].y + _HIGH // 2, box.x, box.y + _HIGH // 2)
        for key, box in boxes.items()
        if (parent := parents[key])
    )
    width = max((box.x for box in boxes.values()), default=0) + _WIDE
    height = max((box.y for box in boxes.values()), default=0) + _HIGH
    return ChainDrawing(tuple(boxes.values()), arrows, width, height)


def _parent(key: str, marks: dict[str, Mark]) -> str:
    parent = RESTS_ON.get(key, "")
    while parent and parent not in marks:
        parent = RESTS_ON.get(parent, "")
    return parent


def _row_of(box: Box | None) -> int:
    return box.y // (_HIGH + _GAP_Y) if box is not None else 0


def history(chart: Chart) -> HistoryDrawing:
    """The bars of a timeline under their titles, over one axis of time."""
    titles: list[tuple[str, int]] = []
    bars: list[DrawnBar] = []
    y, hidden = _ROW, 0
    for title, section in chart.sections:
        titles.append((title, y))
        y += _ROW
        for bar in section[:_MOST]:
            bars.append(_drawn(chart, bar, y))
            y += _ROW
        hidden += max(len(section) - _MOST, 0)
    span = max(chart.last - chart.first, 1)
    ticks = tuple(
        (_day(chart.first + span * step // _TICKS), _LABELS + _TIME * step / _TICKS)
        for step in range(_TICKS + 1)
    )
    return HistoryDrawing(tuple(titles), tuple(bars), ticks, hidden, y + _ROW)


def _drawn(chart: Chart, bar: Bar, y: int) -> DrawnBar:
    start, end = chart.span(bar)
    span = max(chart.last - chart.first, 1)
    x = _LABELS + _TIME * (start - chart.first) / span
    width = max(_TIME * (end - start) / span, _THINNEST)
    since = "since when is not known" if bar.since is None else f"from {_day(start)}"
    until = "to the present" if bar.until is None else f"to {_day(end)}"
    return DrawnBar(bar.label, bar.tone.value, f"{since} {until}", round(x, 1), y, round(width, 1))


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
