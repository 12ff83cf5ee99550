"""Lists of apps: one a line, as people keep them.

    # what a line may hold
    2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b
    https://dc30…-8090.example.org/   staging     the rest of a line is the name for people
    bundles/monday.tar

A bad line never hides the good ones: both are given, and the caller says which lines were left out.
A line ends as on any system. What else some programs end lines with is refused, wherever it stands:
behind it there may be an app that nobody would miss.
"""

import unicodedata
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from verifier.errors import UsageError

COMMENT: Final = "#"
_LONGEST: Final = 4096 + 64
"""Characters of a word: the longest path that Linux opens, and an app id before it."""
_SHOWN: Final = 200
"""Characters that are told of a line that is not taken."""
_ENDS: Final = frozenset({"Cc", "Zl", "Zp"})
"""Categories of controls, and of what ends a line or a paragraph in Unicode."""


class Listed(Struct, frozen=True):
    """One app of a list.

    `text` is what names it, in its own spelling (an app id in lower case, an address, or a bundle's
    path); `name` is what people call it, `text` where the list gives no name. `line` counts from 1.
    """

    line: int
    text: str
    name: str


class Refused(Struct, frozen=True):
    """A line that names no app: what it says, and why not. `line` counts from 1."""

    line: int
    text: str
    reason: str


class Repeated(Struct, frozen=True):
    """A line that names the app of an earlier line; both count from 1."""

    line: int
    first: int
    text: str


class Listing(Struct, frozen=True):
    """A list as it was read: each app once, in the list's order, and the lines that were not
    taken."""

    targets: tuple[Listed, ...]
    refused: tuple[Refused, ...] = ()
    repeated: tuple[Repeated, ...] = ()


def read_targets(text: str, spelled: Callable[[str], str]) -> Listing:
    """The apps of a list. `#` begins a comment at the start of a line or after a space.

    `spelled` gives what a line names in its own spelling, by which lines are told apart, and raises
    UsageError for what names nothing.
    """
    found: dict[str, Listed] = {}
    refused: list[Refused] = []
    repeated: list[Repeated] = []
    for number, row in enumerate(lines_of(text), 1):
        reason, named = _foreign(row), ""
        words = [ascii(row.strip())[1:-1]] if reason else _uncommented(row).split(maxsplit=1)
        if not words:
            continue
        try:
            named = "" if reason else _named(words[0], spelled)
        except UsageError as error:
            reason = error.message
        if reason:
            refused.append(Refused(number, _cut(words[0]), _cut(reason)))
            continue
        if (first := found.get(named)) is not None:
            repeated.append(Repeated(number, first.line, named))
            continue
        name = words[1].strip() if len(words) > 1 else named
        found[named] = Listed(number, named, name)
    return Listing(tuple(found.values()), tuple(refused), tuple(repeated))


def lines_of(text: str) -> list[str]:
    """The lines of a text, however the system that it was written on ends them."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return plain.split("\n")


def _foreign(row: str) -> str:
    """Why a line may not be one line, "" where it is."""
    found = next((item for item in row if item != "\t" and _ends_line(item)), None)
    return "" if found is None else f"it holds U+{ord(found):04X}, which is no text and no line end"


def _ends_line(letter: str) -> bool:
    return not letter.isprintable() and unicodedata.category(letter) in _ENDS


def _named(word: str, spelled: Callable[[str], str]) -> str:
    if len(word) > _LONGEST:
        raise UsageError(f"{word[:_SHOWN]!a}… has {len(word)} characters: no app is named so")
    return spelled(word)


def _cut(text: str) -> str:
    """What is told of a line, which may be as long as a file: its two ends."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN * 2 else f"{text[:half]}…{text[-half:]}"


def _uncommented(row: str) -> str:
    """A line up to its comment. An address may hold the sign: only after a space does one begin."""
    for place, letter in enumerate(row):
        if letter == COMMENT and (place == 0 or row[place - 1].isspace()):
            return row[:place]
    return row
