"""What a mutation does to the evidence in a bundle, and how it is done.

An operation works on the bytes of an artifact, on one node of what it holds (a part as
`tests.worlds.damage` finds them), or on the artifact as a whole:

              bytes                     node                        artifact
    flip      bits of one byte          a bit, a digit, an order    -
    drop      a span                    the node                    the artifact
    duplicate a span, beside itself     an entry, a span            the artifact, by another name
    swap      two spans                 two entries, two places     the bytes of two artifacts
    splice    a span of a donor's       the donor's node            the donor's bytes instead
    extend    bytes that are put in     an entry, characters        the donor's artifact, beside

A donor is another bundle; the artifact that it gives is of the same kind.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tests.worlds.damage import (
    GONE,
    Certificate,
    Extension,
    Header,
    Json,
    PageText,
    changed,
    with_blob,
)
from verifier.evidence.bundle import Artifact, Bundle, Kind

Step = str | int | Json | PageText | Header | Certificate | Extension
HEX: Final = "0123456789abcdef"
LOW_BITS: Final = 0x7F


class Op(StrEnum):
    """What is done."""

    FLIP = "flip"
    DROP = "drop"
    DUPLICATE = "duplicate"
    SWAP = "swap"
    SPLICE = "splice"
    EXTEND = "extend"


class Level(StrEnum):
    """What it is done to."""

    BYTES = "bytes"
    NODE = "node"
    ARTIFACT = "artifact"


class Operation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change to one artifact.

    op      what is done
    level   what it is done to
    kind    the kind of the artifact
    number  which one of its kind, in the order of the bundle
    path    where the node is; () for another level
    at      where in the bytes, or among the entries or characters of a node
    length  how many of them
    other   the second place of a swap; which artifact, or which byte, of the donor
    data    what is put in, or flipped
    donor   the name of the evidence that is spliced in; "" for none
    """

    op: Op
    level: Level
    kind: Kind
    number: int
    path: tuple[Step, ...] = ()
    at: int = 0
    length: int = 1
    other: int = 0
    data: bytes = b""
    donor: str = ""


def mutated(
    bundle: Bundle, operations: Sequence[Operation], donors: Mapping[str, Bundle]
) -> Bundle:
    """A bundle after these operations. What has no place any more, after those before it, does
    nothing."""
    for item in operations:
        try:
            bundle = _done(bundle, item, donors)
        except (LookupError, TypeError, ValueError, AttributeError):
            continue
    return bundle


def received(bundle: Bundle, kind: Kind) -> list[int]:
    """The places of the artifacts of a kind that hold something."""
    return [
        place
        for place, item in enumerate(bundle.artifacts)
        if item.kind is kind and item.sha256 is not None
    ]


def _done(bundle: Bundle, item: Operation, donors: Mapping[str, Bundle]) -> Bundle:
    places = received(bundle, item.kind)
    place = places[item.number]
    if item.level is Level.NODE:
        donor = _donated_node(item, donors[item.donor]) if item.donor else None
        return changed(bundle, place, item.path, lambda value: edited_node(value, item, donor))
    if item.level is Level.BYTES:
        given = donated(item, donors[item.donor])[1] if item.donor else b""
        new = edited_bytes(bundle.blob(bundle.artifacts[place]), item, given)
        return _holding(bundle, {place: new})
    return _whole(bundle, item, places, donors)


def _whole(
    bundle: Bundle, item: Operation, places: Sequence[int], donors: Mapping[str, Bundle]
) -> Bundle:
    """What is done to whole artifacts."""
    place = places[item.number]
    old = bundle.artifacts[place]
    if item.op is Op.DROP:
        return changed(bundle, place, (), lambda _: GONE)
    if item.op is Op.DUPLICATE:
        again = replace(old, source=f"{old.source}#again")
        return Bundle((*bundle.artifacts, again), bundle.blobs)
    if item.op is Op.SWAP:
        other = places[item.other]
        first, second = (bundle.blob(bundle.artifacts[each]) for each in (place, other))
        return _holding(bundle, {place: second, other: first})
    given, raw = donated(item, donors[item.donor])
    if item.op is Op.SPLICE:
        return _holding(bundle, {place: raw}, given)
    beside = replace(given, subject=old.subject)
    return Bundle((*bundle.artifacts, beside), {**bundle.blobs, str(given.sha256): raw})


def _holding(bundle: Bundle, new: Mapping[int, bytes], like: Artifact | None = None) -> Bundle:
    """The bundle with other bytes at some places, and there the headers of another artifact."""
    artifacts, blobs = list(bundle.artifacts), dict(bundle.blobs)
    for place, raw in new.items():
        artifacts[place] = with_blob(artifacts[place], raw)
        if like is not None:
            artifacts[place] = replace(artifacts[place], headers=like.headers)
        blobs[str(artifacts[place].sha256)] = raw
    return Bundle(tuple(artifacts), blobs)


def donated(item: Operation, donor: Bundle) -> tuple[Artifact, bytes]:
    """The donor's artifact: of bytes, the one in the same place, as far as there are so many."""
    places = received(donor, item.kind)
    number = item.number if item.level is Level.BYTES else item.other
    given = donor.artifacts[places[number % len(places)]]
    return given, donor.blob(given)


def _donated_node(item: Operation, donor: Bundle) -> Any:
    """The donor's node at the same path."""
    found: list[Any] = []
    place = received(donor, item.kind)[item.other]

    def seen(value: Any) -> Any:
        found.append(value)
        return value

    changed(donor, place, item.path, seen)
    return found[0]


def edited_bytes(raw: bytes, item: Operation, donor: bytes = b"") -> bytes:
    """Some bytes after an operation on bytes."""
    at, end = item.at, item.at + item.length
    span = raw[at:end]
    if item.op is Op.FLIP:
        return raw[:at] + bytes([raw[at] ^ item.data[0]]) + raw[at + 1 :]
    if item.op is Op.DROP:
        return raw[:at] + raw[end:]
    if item.op is Op.DUPLICATE:
        return raw[:end] + raw[at:]
    if item.op is Op.SWAP:
        second = item.other + item.length
        if not end <= item.other <= second <= len(raw):
            raise ValueError("the spans overlap")
        return raw[:at] + raw[item.other : second] + raw[end : item.other] + span + raw[second:]
    if item.op is Op.SPLICE:
        return raw[:at] + donor[item.other : item.other + item.length] + raw[end:]
    return raw[:at] + item.data + raw[at:]


def edited_node(value: Any, item: Operation, donor: Any = None) -> Any:
    """A node after an operation on nodes; `GONE` where it is dropped."""
    if item.op is Op.DROP:
        return GONE
    if item.op is Op.SPLICE:
        return donor
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return _edited_number(value, item)
    if isinstance(value, str):
        return _edited_text(value, item)
    return _edited_entries(value, item)


def _edited_number(value: Any, item: Operation) -> Any:
    if item.op is Op.FLIP and isinstance(value, int):
        return value ^ item.data[0]
    if item.op is Op.SWAP:
        return -value
    return value * 256 + item.data[0]


def _edited_text(value: str, item: Operation) -> str:
    at = item.at % (len(value) or 1)
    end = at + item.length
    if item.op is Op.FLIP:
        return value[:at] + _other_character(value[at:][:1], item.data[0]) + value[at + 1 :]
    if item.op is Op.DUPLICATE:
        return value[:end] + value[at:]
    if item.op is Op.SWAP:
        return value[end:] + value[:end]
    added = item.data.decode("latin-1")
    return value + added if item.other % 2 else value[:at] + added + value[at:]


def _other_character(character: str, mask: int) -> str:
    """A digit for a digit half of the time, so that the text keeps its form."""
    if character in HEX and character and mask > LOW_BITS:
        return HEX[(HEX.index(character) + (mask % 15) + 1) % 16]
    return chr(ord(character or "0") ^ (mask & LOW_BITS or 1))


def _edited_entries(value: Any, item: Operation) -> Any:
    """A list or an object: what stands in it is repeated, changes places, or has company."""
    listed = isinstance(value, list)
    entries: list[Any] = list(value if listed else value.items())
    at, other = (place % (len(entries) or 1) for place in (item.at, item.other))
    if item.op is Op.FLIP:
        entries.reverse()
    elif item.op is Op.DUPLICATE:
        copy = entries[at] if listed else (f"{entries[at][0]}_", entries[at][1])
        entries.insert(at, copy)
    elif item.op is Op.SWAP and listed:
        entries[at], entries[other] = entries[other], entries[at]
    elif item.op is Op.SWAP:
        (one, first), (two, second) = entries[at], entries[other]
        entries[at], entries[other] = (one, second), (two, first)
    else:
        new = item.data.decode("latin-1")
        entries.append(new if listed else (new, None))
    return entries if listed else dict(entries)
