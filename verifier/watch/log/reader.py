"""A log as its files say it is. Nothing here is believed: see `check`."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from verifier.errors import EvidenceError
from verifier.watch.log.files import UnfitFile, get
from verifier.watch.log.merkle import paired
from verifier.watch.log.tiles import (
    HASH,
    WIDTH,
    Tile,
    place_of,
    tiles_of,
    unpack_entries,
)

CHECKPOINT: Final = "checkpoint"
MAX_CHECKPOINT_BYTES: Final = 1 << 16
_KEPT: Final = 64
"""Tiles of hashes that are kept in memory, 8 KiB each."""


class TornTile(EvidenceError):
    """A tile that does not hold what its name says."""


class MissingTile(EvidenceError):
    """A tile that is not there."""


class LogReader:
    """The tiles of a log of `size` entries below a directory."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._hashes: OrderedDict[Tile, tuple[bytes, ...]] = OrderedDict()

    def entries(self, first: int = 0) -> Iterator[bytes]:
        """The entries, from the first wanted on. Raises MissingTile, TornTile."""
        for tile in tiles_of(self.size, -1):
            start = tile.index * WIDTH
            if start + tile.width > first:
                yield from self.entry_tile(tile)[max(first - start, 0) :]

    def entry_tile(self, tile: Tile) -> tuple[bytes, ...]:
        """The entries of a tile. Raises MissingTile, TornTile."""
        raw, width = self._read(tile)
        try:
            return unpack_entries(raw, width, tile.path)[: tile.width]
        except EvidenceError as error:
            raise TornTile(error.message) from error

    def hash_tile(self, tile: Tile) -> tuple[bytes, ...]:
        """The hashes of a tile. Raises MissingTile, TornTile."""
        if tile in self._hashes:
            self._hashes.move_to_end(tile)
            return self._hashes[tile]
        raw, width = self._read(tile)
        if len(raw) != width * HASH:
            raise TornTile(f"{tile.path}: {len(raw)} bytes, not {width} hashes of {HASH}")
        found = tuple(raw[at : at + HASH] for at in range(0, tile.width * HASH, HASH))
        self._hashes[tile] = found
        if len(self._hashes) > _KEPT:
            self._hashes.popitem(last=False)
        return found

    def whole(self, level: int, index: int) -> bytes:
        """The hash of a whole subtree (see `merkle.Whole`). Raises MissingTile, TornTile."""
        tile, first, last = place_of(level, index, self.size)
        hashes = list(self.hash_tile(tile)[first:last])
        while len(hashes) > 1:
            hashes = paired(hashes)
        return hashes[0]

    def _read(self, tile: Tile) -> tuple[bytes, int]:
        """The bytes of a tile, and how many items they hold: where the log has grown meanwhile,
        there is only a wider one."""
        for width in (tile.width, *range(WIDTH, tile.width, -1)):
            place = Tile(tile.level, tile.index, width)
            try:
                raw = get(self.folder / place.path, place.most)
            except UnfitFile as error:
                raise TornTile(error.message) from error
            if raw is not None:
                return raw, width
        raise MissingTile(f"{tile.path}: there is no such file")
