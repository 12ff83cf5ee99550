"""The one writer of a log.

Order of writes: the tiles of entries, the tiles of hashes, then the checkpoint. A log is what its
checkpoint says: whatever ends the program before that, the log is the one before; once `append`
has returned, the entries are on the disk and signed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from verifier.errors import EvidenceError, UsageError
from verifier.watch.log import files
from verifier.watch.log.merkle import EMPTY, joined, leaf_hash, paired, root_of
from verifier.watch.log.notes import Checkpoint, SigningKey, VerifierKey, open_checkpoint
from verifier.watch.log.reader import CHECKPOINT, MAX_CHECKPOINT_BYTES, LogReader
from verifier.watch.log.tiles import (
    MAX_ENTRY_BYTES,
    WIDTH,
    Tile,
    levels,
    pack_entries,
)

VERIFIER_KEY: Final = "log.vkey"
PRIVATE: Final = "private"
"""What is not for others: the key, the state of the watch, the lock."""
LOCK: Final = "lock"


@contextmanager
def writing(folder: Path, key: SigningKey) -> Iterator["LogWriter"]:
    """The log of a directory, which is made where there is none, for its one writer.

    Raises UsageError where the directory cannot be used or another program writes it, EvidenceError
    for a log that its checkpoint does not fit, and KeyMismatch for one that another key signed.
    """
    with files.locked(folder / PRIVATE / LOCK):
        yield LogWriter(folder, key)


def read_checkpoint(folder: Path, key: VerifierKey) -> Checkpoint | None:
    """The checkpoint of a log, None where there is no log. Raises EvidenceError, UsageError."""
    raw = files.get(folder / CHECKPOINT, MAX_CHECKPOINT_BYTES)
    return None if raw is None else open_checkpoint(raw, key)


class LogWriter:
    """Appends to a log: see `writing`, which holds its lock."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        self.folder = folder
        self._key = key
        found = read_checkpoint(folder, key.verifier)
        if found is None and (folder / "tile").exists():
            raise EvidenceError(
                f"{folder}: there are tiles of a log and no checkpoint",
                hint="put the checkpoint back from a copy, or name a new directory",
            )
        self.checkpoint = found or Checkpoint(key.verifier.name, 0, EMPTY)
        reader = LogReader(folder, self.checkpoint.size)
        self._entries = [item for tile in _edge(self.size, -1) for item in reader.entry_tile(tile)]
        self._tails = {
            level: [item for tile in _edge(self.size, level) for item in reader.hash_tile(tile)]
            for level in levels(self.size)
        }
        ends = [leaf_hash(entry) for entry in self._entries] == self._tails.get(0, [])
        if not ends or root_of(self.size, reader.whole) != self.checkpoint.root:
            raise EvidenceError(
                f"{folder}: the log is not the one that its checkpoint signs",
                hint="`verify log check` names what was changed",
            )
        if found is None:
            files.put(folder / VERIFIER_KEY, f"{key.verifier}\n".encode())
            files.put(folder / CHECKPOINT, key.sign(self.checkpoint))

    @property
    def size(self) -> int:
        """How many entries are acknowledged."""
        return self.checkpoint.size

    def append(self, entries: Sequence[bytes]) -> Checkpoint:
        """Append entries, and sign: once it returns, they are kept.

        Raises UsageError where they cannot be written; then the log is as it was, and has to be
        opened again.
        """
        for entry in entries:
            if len(entry) > MAX_ENTRY_BYTES:
                raise UsageError(f"an entry of {len(entry)} bytes is too long for a log")
        growth = _Growth(self.size, self._entries, self._tails)
        for entry in entries:
            growth.add(entry)
        for tile, raw in growth.tiles():
            files.put(self.folder / tile.path, raw)
        checkpoint = Checkpoint(self.checkpoint.origin, growth.size, growth.root)
        files.put(self.folder / CHECKPOINT, self._key.sign(checkpoint))
        before, self.checkpoint = self.size, checkpoint
        self._entries, self._tails = growth.entries, growth.tails
        self._tidy(before)
        return checkpoint

    def _tidy(self, before: int) -> None:
        """Remove the tiles that were cut off at the end of the tree, where it has grown since."""
        for level in (-1, *levels(before)):
            for tile in _edge(before, level):
                now = next(
                    (item for item in _edge(self.size, level) if item.index == tile.index), None
                )
                place = self.folder / tile.path
                files.remove_others(place.parent, "" if now is None else str(now.width))


class _Growth:
    """A log with more entries, before any of it is written."""

    def __init__(
        self, size: int, entries: Sequence[bytes], tails: Mapping[int, Sequence[bytes]]
    ) -> None:
        self.size = size
        self.entries = list(entries)
        self.tails = {level: list(hashes) for level, hashes in tails.items()}
        self._bundles: list[tuple[Tile, bytes]] = []
        self._hashes: list[tuple[Tile, bytes]] = []
        self._touched: set[int] = set()

    def add(self, entry: bytes) -> None:
        """Take an entry in."""
        self.entries.append(entry)
        self.size += 1
        if len(self.entries) == WIDTH:
            tile = Tile(-1, self.size // WIDTH - 1, WIDTH)
            self._bundles.append((tile, pack_entries(self.entries)))
            self.entries = []
        found: bytes | None = leaf_hash(entry)
        level = 0
        while found is not None:
            found = self._add_hash(level, found)
            level += 1

    def _add_hash(self, level: int, found: bytes) -> bytes | None:
        """Take a hash in at a level; the hash for the next one, where a tile is full."""
        tail = self.tails.setdefault(level, [])
        tail.append(found)
        self._touched.add(level)
        if len(tail) < WIDTH:
            return None
        index = (self.size >> 8 * level) // WIDTH - 1
        self._hashes.append((Tile(level, index, WIDTH), b"".join(tail)))
        while len(tail) > 1:
            tail = paired(tail)
        self.tails[level] = []
        return tail[0]

    def tiles(self) -> Iterator[tuple[Tile, bytes]]:
        """The new tiles and their bytes, in the order in which they are written."""
        yield from self._bundles
        if self.entries:
            yield Tile(-1, self.size // WIDTH, len(self.entries)), pack_entries(self.entries)
        yield from self._hashes
        for level in sorted(self._touched):
            tail = self.tails[level]
            if tail:
                index = (self.size >> 8 * level) // WIDTH
                yield Tile(level, index, len(tail)), b"".join(tail)

    @property
    def root(self) -> bytes:
        """The root over all entries: at each level of tiles, the whole subtrees that no tile above
        holds, the largest first."""
        found: list[bytes] = []
        for level in sorted(self.tails, reverse=True):
            hashes = self.tails[level]
            start = 0
            for bit in range(len(hashes).bit_length() - 1, -1, -1):
                if len(hashes) >> bit & 1:
                    part = hashes[start : start + (1 << bit)]
                    start += 1 << bit
                    while len(part) > 1:
                        part = paired(part)
                    found.append(part[0])
        return joined(found)


def _edge(size: int, level: int) -> tuple[Tile, ...]:
    """The tile of a level that the end of the tree cuts off, if one is."""
    count = size >> 8 * max(level, 0)
    return (Tile(level, count // WIDTH, count % WIDTH),) if count % WIDTH else ()
