"""The attributes of a Compose file: `compose_attributes.json` beside this file.

Each row is a path (`*` stands for any key, `[]` for an item) with the forms that Docker Compose
takes there and the release that first knew it. The table `judged` says of each path, or of the
nearest one above it, which rules judge it or why it is harmless: an attribute is silent in an
audit only if it is named there. The file's `sources` say where the facts come from.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final

from msgspec import Struct

from verifier.patterns import pattern

SCHEMA: Final = "dstack-audit/compose-attributes/v1"
_RELEASE: Final = pattern(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}", re.ASCII)

Version = tuple[int, ...]


class Attribute(Struct, dict=True):
    """One place in a Compose file.

    path      its way from the root, dotted
    types     `string`, `integer`, `number`, `boolean`, `null`, `array`, `object`
    since     the first Compose release that knows it; () for one before those in the table
    enum      the values that a string may have; () for any
    pattern   what a string has to contain; None for anything
    keys      what the keys of a mapping have to match; None for anything
    minimum   the least number; None for any
    maximum   the greatest number; None for any
    unique    whether a list may hold nothing twice
    required  the keys that a mapping must have; () for none
    open      whether a mapping may have keys that are in no table
    cast      what a string there is turned into; "" for nothing
    rules     the rules that judge it; () for none
    harmless  why none has to; "" where `rules` do
    named     the places below it by key
    any_key   the place of any other key; None where there is none
    item      the place of a list's item; None where it takes no list
    """

    path: str
    types: frozenset[str] = frozenset()
    since: Version = ()
    enum: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    keys: re.Pattern[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    unique: bool = False
    required: tuple[str, ...] = ()
    open: bool = False
    cast: str = ""
    rules: tuple[str, ...] = ()
    harmless: str = ""
    named: dict[str, "Attribute"] = {}
    any_key: "Attribute | None" = None
    item: "Attribute | None" = None

    @cached_property
    def free(self) -> bool:
        """Whether every release takes every string here."""
        return "string" in self.types and not self.restricted and not self.since

    @property
    def restricted(self) -> bool:
        """Whether not every string may stand here."""
        return bool(self.cast or self.enum) or self.pattern is not None


@cache
def root() -> Attribute:
    """The place of the whole file, with all others below it."""
    document = _document()
    places: dict[str, Attribute] = {}
    for path, row in document["attributes"].items():
        above, _, name = path.rpartition(".")
        place = _place(path, row)
        _judge(place, document["judged"].get(path), places.get(above) if path else None)
        places[path] = place
        if path:
            _put(places[above], name, place)
    return places[""]


def attribute_at(path: Sequence[str]) -> Attribute | None:
    """The place of a value by its way from the root; None for one that is in no table."""
    place: Attribute | None = root()
    for name in path:
        if place is None:
            return None
        below = place.named.get(name) or place.any_key
        place = place.item if below is None and name.isdigit() else below
    return place


def attributes() -> Mapping[str, Attribute]:
    """Every place by its path, in the order of the table."""
    found: dict[str, Attribute] = {}
    waiting = [root()]
    while waiting:
        place = waiting.pop()
        found[place.path] = place
        below = (place.any_key, place.item, *place.named.values())
        waiting.extend(item for item in below if item is not None)
    return dict(sorted(found.items()))


@cache
def judged() -> Mapping[str, Attribute]:
    """The places that the table judges by name: what is below each is judged with it."""
    places = attributes()
    return {path: places[path] for path in _document()["judged"]}


def newest() -> Version:
    """The newest Compose release that the table knows."""
    return version_of(_document()["newest"])


def shipped_with(os_version: str) -> Version | None:
    """The Compose release in a dstack OS image, where a source says it."""
    release = version_of(os_version)
    for row in _document()["shipped"]:
        if release and version_of(row["first"]) <= release <= version_of(row["last"]):
            return version_of(row["compose"])
    return None


def oldest_shipped() -> Version:
    """The oldest Compose release that a known OS image holds."""
    return min(version_of(row["compose"]) for row in _document()["shipped"])


def version_of(text: str) -> Version:
    """The numbers of a release such as `2.26.0` or `nvidia-dev-0.5.4.1`, () when it has none."""
    match = _RELEASE.search(text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _place(path: str, row: Any) -> Attribute:  # noqa: ANN401 - a row of a JSON document
    return Attribute(
        path=path,
        types=frozenset(row["types"].split()),
        since=version_of(row.get("since", "")),
        enum=tuple(row.get("enum", ())),
        pattern=pattern(row["pattern"]) if "pattern" in row else None,
        keys=pattern(row["keys"]) if "keys" in row else None,
        minimum=row.get("min"),
        maximum=row.get("max"),
        unique=row.get("unique", False),
        required=tuple(row.get("required", ())),
        open=row.get("open", False),
        cast=row.get("cast", ""),
    )


def _judge(place: Attribute, own: Any, above: Attribute | None) -> None:  # noqa: ANN401 - as above
    if own is not None:
        place.rules, place.harmless = tuple(own.get("rules", ())), own.get("harmless", "")
    elif above is not None:
        place.rules, place.harmless = above.rules, above.harmless


def _put(above: Attribute, name: str, place: Attribute) -> None:
    if name == "*":
        above.any_key = place
    elif name == "[]":
        above.item = place
    else:
        above.named[name] = place


@cache
def _document() -> Any:  # noqa: ANN401 - a JSON document of this package
    raw = resources.files(__package__).joinpath("compose_attributes.json").read_bytes()
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        raise ValueError(f"compose_attributes.json: schema is not {SCHEMA!r}")
    return document
