"""Lines for a terminal: a lead at the left, and a text that wraps in a column beside it.

Text reaches Rich only as `Text`, never as markup, and only through `escape.visible`.
"""

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from verifier.model.result import Anchor
from verifier.report.escape import visible

MIN_WIDTH: Final = 40
LABEL: Final = 14  # column of labelled values; leaves 64 hex digits of 80 cells
_MAX_LINES: Final = 9  # of one text that is not shown in full
_ELLIPSIS: Final = "..."
_MARK: Final = Anchor.UNSAFE_ROOT.mark
_UNBROKEN_MARK: Final = " " + _MARK.strip().replace(" ", "\xa0")  # visible text has no such space


class Page:
    """Lines of a fixed width: a lead at the left, and a body that wraps in a column beside it."""

    def __init__(self, width: int, *, full: bool) -> None:
        self.width = max(width, MIN_WIDTH)
        self.full = full
        self._lines: list[Text] = []

    def blank(self) -> None:
        """An empty line, unless there is one already."""
        if self._lines and self._lines[-1].cell_len:
            self._lines.append(Text())

    def heading(self, title: str, about: str = "") -> None:
        """A title of our own and what it is about, between empty lines."""
        self.blank()
        self._lines.append(Text(title.upper(), "bold").append(f"  {about}".rstrip(), "not bold"))
        self.blank()

    def unwrapped(self, text: str) -> None:
        """One line that may exceed the width, so that it can be copied whole."""
        self._lines.append(Text(visible(text)))

    def command(self, words: Iterable[str], indent: int = 2) -> None:
        """A shell command that can be copied: a backslash ends each line that goes on, and no
        option stands apart from its value."""
        line = " " * (indent - 1)
        for word in _with_values(map(visible, words), self.width - indent - len("   \\")):
            if line.strip() and cell_len(f"{line} {word} \\") > self.width:
                self._lines.append(Text(f"{line} \\"))
                line = " " * (indent + 1)
            line = f"{line} {word}"
        self._lines.append(Text(line))

    def entry(
        self, lead: Text, column: int, body: str, note: str = "", *, lines: int = _MAX_LINES
    ) -> None:
        """`lead`, then from `column` on the body and a note, in about `lines` lines at most.

        What is longer loses its middle, unless the page shows everything. The note is our own text:
        it is never shortened, and the mark of a trust anchor in it never broken.
        """
        shown = visible(body)
        if not self.full:
            shown = middle(shown, (self.width - column) * lines)
        line = Text().append_text(lead)  # a style of its own would spread to the body
        note = note.replace(_MARK, _UNBROKEN_MARK)
        for text in self._wrapped(f"{shown}{note}", column):
            line.pad_right(column - line.cell_len)
            line.append(text.replace("\xa0", " "))
            line.rstrip()
            self._lines.append(line)
            line = Text()

    def _wrapped(self, text: str, column: int) -> Iterator[str]:
        """Lines that stay in the column: what is too long for one, such as a hash, is broken."""
        cells = self.width - column
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if cell_len(longer) <= cells:
                line = longer
                continue
            if line:
                yield line
            *full, line = chop_cells(word, cells) or [""]
            yield from full
        if line or not text.strip(" "):
            yield line

    def value(self, label: str, text: str) -> None:
        """A labelled value on one or two lines, or in full."""
        self.entry(bold(label), LABEL, text, lines=2)

    def render(self, *, color: bool) -> str:
        """All lines; with `color` in the sixteen standard colours."""
        console = Console(
            file=StringIO(),
            force_terminal=color,
            no_color=not color,
            color_system="standard" if color else None,
            width=self.width,
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )
        with console.capture() as capture:
            console.print(Text("\n").join(self._lines), soft_wrap=True)
        return capture.get()


def _with_values(words: Iterable[str], cells: int) -> Iterator[str]:
    """Each option as one word with the value behind it, where both fit into so many cells."""
    held = ""
    for word in words:
        both = f"{held} {word}".lstrip()
        if held and (word.startswith("--") or cell_len(both) > cells):
            yield held
            both = word
        held = both if word.startswith("--") else ""
        if not held:
            yield both
    if held:
        yield held


def middle(text: str, cells: int) -> str:
    """`text` in at most `cells` terminal cells, with an ellipsis for a middle that is left out.

    Words stay whole where there are any.
    """
    if len(text) <= cells and cell_len(text) <= cells:
        return text
    head = (cells - len(_ELLIPSIS) + 1) // 2
    tail = cells - len(_ELLIPSIS) - head
    front, back = text[:head], text[-tail:]
    while cell_len(front) > head:
        front = front[:-1]
    while cell_len(back) > tail:
        back = back[1:]
    front = front[: front.rfind(" ") + 1] or front
    return front + _ELLIPSIS + (back[back.find(" ") :] if " " in back else back)


def beginning(text: str, cells: int) -> str:
    """`text` in at most `cells` terminal cells, with an ellipsis for an end that is left out."""
    if cell_len(text) <= cells:
        return text
    kept = text[: cells - len(_ELLIPSIS)]
    while cell_len(kept) > cells - len(_ELLIPSIS):
        kept = kept[:-1]
    return kept.rstrip() + _ELLIPSIS


def styled(text: str, style: str) -> Text:
    """A text of our own in a style."""
    return Text(text, style)


def bold(text: str) -> Text:
    """A label of our own."""
    return Text(text, "bold")
