"""A comparison for a terminal: the outcome, the documents side by side, then change by change.

All text passes `escape.visible`; the only escape bytes are this module's own colours.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from verifier.model.result import Severity
from verifier.report.diff import sentences
from verifier.report.diff.told import ToldChange, ToldComparison, ToldDiff, ToldRow
from verifier.report.escape import visible

MIN_WIDTH: Final = 60
_LABEL: Final = 38  # column of the first document in the table
_SHORT: Final = 12  # hex digits of a hash that are shown
_CELL: Final = 14
_MARK: Final = 9
_BODY: Final = 19  # column of what a change means
_COLORS: Final = {
    Severity.CRITICAL: "1;31",
    Severity.HIGH: "31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.INFO: "2",
}


class _Style:
    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def render_terminal(
    told: ToldDiff,
    *,
    color: bool,
    width: int,
    verbose: bool = False,
) -> str:
    """The comparison as text of `width` columns; without `color` no escape byte is in it. Changes
    of severity info are counted alone, unless `verbose` shows them."""
    style, width = _Style(color=color), max(width, MIN_WIDTH)
    lines = [style(sentences.headline(told).capitalize() + ".", "1"), ""]
    for place, document in enumerate(told.documents):
        lines.extend(
            _wrap(sentences.source_of(document), f"  {sentences.label(place)}  ", 5, width)
        )
    lines.extend(_table(told.table, len(told.documents), width, style))
    for place, comparison in enumerate(told.comparisons):
        lines.extend(_comparison(comparison, place, width, style, verbose=verbose))
    return "\n".join(lines) + "\n"


def _table(table: Sequence[ToldRow], count: int, width: int, style: _Style) -> Iterator[str]:
    """The rows; where the documents do not fit side by side, some at a time."""
    fitting = max((width - _LABEL - _MARK) // _CELL, 1)
    for start in range(0, count, fitting):
        places = range(start, min(start + fitting, count))
        yield ""
        names = "".join(f"{sentences.label(place):<{_CELL}}" for place in places)
        yield style(f"{'SIDE BY SIDE':<{_LABEL}}{names}".rstrip(), "1")
        for row in table:
            cells = "".join(f"{_cell(row, place):<{_CELL}}" for place in places)
            mark = sentences.mark(row)
            shown = style(mark, "33" if mark == "different" else "2")
            yield f"  {_cut(visible(row.label), _LABEL - 3):<{_LABEL - 2}}{cells}{shown}"


def _cell(row: ToldRow, place: int) -> str:
    value = row.values[place]
    if value is None:
        return "(absent)"
    return value[:_SHORT] if row.is_digest else _cut(visible(value), _CELL - 2)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _comparison(
    comparison: ToldComparison, place: int, width: int, style: _Style, *, verbose: bool
) -> Iterator[str]:
    yield ""
    pair = f"{sentences.label(place)} → {sentences.label(place + 1)}"
    yield style(f"{pair}  {sentences.tally(comparison.changes)}", "1")
    for text in comparison.conclusions:
        yield from _wrap(text, "  ", 2, width)
    for text in comparison.not_evaluable:
        yield from _wrap(f"not evaluable: {text}", "  ", 2, width)
    shown = [item for item in comparison.changes if verbose or item.severity is not Severity.INFO]
    for change in shown:
        yield ""
        yield from _change(change, width, style)
    if hidden := len(comparison.changes) - len(shown):
        what = "1 change" if hidden == 1 else f"{hidden} changes"
        yield from ("", f"  {what} of severity info: -v shows {'it' if hidden == 1 else 'them'}")


def _change(change: ToldChange, width: int, style: _Style) -> Iterator[str]:
    brief = change.severity is Severity.INFO
    severity = style(f"{change.severity.value:<8}", _COLORS[change.severity])
    first, *rest = _wrap(sentences.subject(change), "", 0, width - _BODY)
    yield f"  {severity} {change.rule} {first}"
    indent = " " * _BODY
    yield from (f"{indent}{line}" for line in rest)
    yield from _wrap(sentences.meaning(change), indent, _BODY, width)
    for sign, value, code in (("-", change.before, "31"), ("+", change.after, "32")):
        if value is not None:
            shown = _wrap(value, f"{indent}{sign} ", _BODY + 3, width)
            if brief and len(shown) > 1:
                shown = [f"{shown[0][: width - 3]}..."]
            yield from (style(line, code) for line in shown)
    if (where := sentences.location(change)) and not brief:
        yield style(f"{indent}{where}", "2")


def _wrap(text: str, lead: str, column: int, width: int) -> list[str]:
    """Escaped text, wrapped at words and, where there are none, anywhere."""
    return textwrap.wrap(
        visible(text),
        width=width,
        initial_indent=lead,
        subsequent_indent=" " * column,
        break_on_hyphens=False,
    ) or [lead.rstrip()]
