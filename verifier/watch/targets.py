"""Lists of apps: one a line, as people keep them.

    # what a line may hold
    2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b
    https://dc30…-8090.example.org/   staging     the rest of a line is the name for people
    bundles/monday.tar

A bad line never hides the good ones: both are given, and the caller says which lines were left out.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from verifier.errors import UsageError

COMMENT: Final = "#"


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
    for number, row in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        words = _uncommented(row).split(maxsplit=1)
        if not words:
            continue
        try:
            named = spelled(words[0])
        except UsageError as error:
            refused.append(Refused(number, words[0], error.message))
            continue
        if (first := found.get(named)) is not None:
            repeated.append(Repeated(number, first.line, named))
            continue
        name = words[1].strip() if len(words) > 1 else named
        found[named] = Listed(number, named, name)
    return Listing(tuple(found.values()), tuple(refused), tuple(repeated))


def _uncommented(row: str) -> str:
    """A line up to its comment. An address may hold the sign: only after a space does one begin."""
    for place, letter in enumerate(row):
        if letter == COMMENT and (place == 0 or row[place - 1].isspace()):
            return row[:place]
    return row
