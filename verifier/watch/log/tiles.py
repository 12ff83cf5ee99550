"""How a log stands in files (C2SP tlog-tiles).

    checkpoint                        the signed note
    tile/LEVEL/INDEX[.p/WIDTH]        hashes, 32 bytes each: those of subtrees of 256**LEVEL leaves
    tile/entries/INDEX[.p/WIDTH]      entries, each after its length in 2 bytes, big endian

A tile holds 256, or WIDTH at the end of the tree. INDEX is written in groups of three digits, of
which all but the last have an `x` before them: 1234067 is `x001/x234/067`.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError

WIDTH: Final = 256
HASH: Final = 32
MAX_ENTRY_BYTES: Final = (1 << 16) - 1
ENTRIES: Final = "entries"
_BITS: Final = 8
_GROUP: Final = 1000
_LENGTH: Final = 2


class Tile(Struct, frozen=True):
    """One tile: of hashes at a level, or of entries at level -1. `width` is 1 to 256."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it stands below the log's directory."""
        groups, rest = [f"{self.index % _GROUP:03}"], self.index // _GROUP
        while rest:
            groups.append(f"x{rest % _GROUP:03}")
            rest //= _GROUP
        named = ENTRIES if self.level < 0 else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{named}/{'/'.join(reversed(groups))}{partial}"

    @property
    def most(self) -> int:
        """The bytes of the greatest tile of this kind and width."""
        return self.width * (_LENGTH + MAX_ENTRY_BYTES if self.level < 0 else HASH)


def tiles_of(size: int, level: int) -> Iterator[Tile]:
    """The tiles of a level (-1 for those of entries) in a tree of so many leaves."""
    count = size >> _BITS * max(level, 0)
    whole, rest = divmod(count, WIDTH)
    yield from (Tile(level, index, WIDTH) for index in range(whole))
    if rest:
        yield Tile(level, whole, rest)


def levels(size: int) -> range:
    """The levels of hashes that a tree of so many leaves has."""
    count = 0
    while size >> _BITS * count:
        count += 1
    return range(count)


def place_of(level: int, index: int, size: int) -> tuple[Tile, int, int]:
    """Where the hash of a whole subtree of `1 << level` leaves is found: the tile that holds what
    is below it, and which of its hashes, from the first up to the last."""
    step, within = divmod(level, _BITS)
    first = index << within
    tile_index = first // WIDTH
    width = min(WIDTH, (size >> _BITS * step) - tile_index * WIDTH)
    start = first % WIDTH
    return Tile(step, tile_index, width), start, start + (1 << within)


def pack_entries(entries: Iterable[bytes]) -> bytes:
    """Entries as they stand in a tile."""
    return b"".join(len(entry).to_bytes(_LENGTH, "big") + entry for entry in entries)


def unpack_entries(raw: bytes, count: int, what: str) -> tuple[bytes, ...]:
    """The entries of a tile. Raises EvidenceError where there are more, or fewer."""
    found: list[bytes] = []
    place = 0
    while place < len(raw):
        start = place + _LENGTH
        place = start + int.from_bytes(raw[place:start], "big")
        if start > len(raw) or place > len(raw):
            raise EvidenceError(f"{what}: cut off in entry {len(found)}")
        found.append(raw[start:place])
    if len(found) != count:
        raise EvidenceError(f"{what}: {len(found)} entries, not {count}")
    return tuple(found)
