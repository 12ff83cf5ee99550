"""Whether a log is the one that its key signed, and what happened to it where it is not."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.watch.log.files import get
from verifier.watch.log.merkle import (
    EMPTY,
    Frontier,
    consistency_proof,
    is_consistent,
    leaf_hash,
    paired,
)
from verifier.watch.log.notes import Checkpoint, KeyMismatch, VerifierKey, open_checkpoint
from verifier.watch.log.reader import (
    CHECKPOINT,
    MAX_CHECKPOINT_BYTES,
    LogReader,
    MissingTile,
    TornTile,
)
from verifier.watch.log.tiles import WIDTH, Tile, tiles_of

_BITS: Final = 8


class Fault(StrEnum):
    """What is wrong with a log. The value is stable."""

    MISSING = "missing"
    KEY = "another-key"
    TORN = "torn"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    ROLLED_BACK = "rolled-back"
    FORKED = "forked"


MEANINGS: Final = {
    Fault.MISSING: "there is no checkpoint, so nobody signed anything here",
    Fault.KEY: "it is signed by another key than the one that was named, or not at all",
    Fault.TORN: "a file is cut off, or is not what its name says",
    Fault.TRUNCATED: "entries that were signed are no longer there",
    Fault.REWRITTEN: "entries are not the ones that were signed",
    Fault.ROLLED_BACK: "it has fewer entries than were signed before",
    Fault.FORKED: "its key signed two histories that cannot both be true",
}


class Found(Struct, frozen=True):
    """One thing that is wrong, and where."""

    fault: Fault
    words: str


class LogCheck(Struct, frozen=True, kw_only=True):
    """What a check of a log came to.

    checkpoint  what its key signed; None where nothing is signed by that key
    entries     how many entries were read and fit
    faults      what is wrong; () where every entry is one that was signed
    proven      the sizes of the earlier checkpoints that this log continues, as their proofs show
    """

    checkpoint: Checkpoint | None
    entries: int
    faults: tuple[Found, ...]
    proven: tuple[int, ...] = ()


def check_log(folder: Path, key: VerifierKey, earlier: Sequence[bytes] = ()) -> LogCheck:
    """Hold every entry and every hash of a log against its checkpoint, and this against earlier
    ones (as they were signed), of which the log has to be the continuation.

    Raises UsageError where a file cannot be read, or an earlier checkpoint is no checkpoint of this
    key.
    """
    before = [open_checkpoint(raw, key) for raw in earlier]
    try:
        raw = get(folder / CHECKPOINT, MAX_CHECKPOINT_BYTES)
        if raw is None:
            return LogCheck(checkpoint=None, entries=0, faults=(_found(Fault.MISSING, CHECKPOINT),))
        checkpoint = open_checkpoint(raw, key)
    except KeyMismatch as error:
        return LogCheck(checkpoint=None, entries=0, faults=(Found(Fault.KEY, error.message),))
    except EvidenceError as error:
        return LogCheck(checkpoint=None, entries=0, faults=(Found(Fault.TORN, error.message),))
    reader = LogReader(folder, checkpoint.size)
    reading = _Reading(reader, {item.size for item in before})
    faults = list(reading.faults())
    if not faults and reading.tree.root != checkpoint.root:
        faults.append(
            Found(Fault.REWRITTEN, f"its {checkpoint.size} entries do not give the signed root")
        )
    proven: list[int] = []
    for item in before:
        fault = _against(item, checkpoint, reader, reading)
        if fault is None:
            proven.append(item.size)
        else:
            faults.append(fault)
    return LogCheck(
        checkpoint=checkpoint,
        entries=reading.tree.size,
        faults=tuple(faults),
        proven=tuple(proven),
    )


class _Reading:
    """One reading of all entries, up to the first that is not there."""

    def __init__(self, reader: LogReader, sizes: set[int]) -> None:
        self._reader = reader
        self._sizes = sizes
        self.tree = Frontier()
        self.roots: dict[int, bytes] = {0: EMPTY}
        self._above: dict[int, list[bytes]] = {}

    def faults(self) -> Iterator[Found]:
        """What is wrong with the tiles; the first fault of entries ends the reading."""
        for tile in tiles_of(self._reader.size, -1):
            try:
                entries = self._reader.entry_tile(tile)
                hashes = [leaf_hash(entry) for entry in entries]
                yield from self._differing(Tile(0, tile.index, tile.width), hashes)
            except TornTile as error:
                yield Found(Fault.TORN, error.message)
                return
            except MissingTile as error:
                yield Found(Fault.TRUNCATED, error.message)
                return
            for item in hashes:
                self.tree.append(item)
                if self.tree.size in self._sizes:
                    self.roots[self.tree.size] = self.tree.root
            yield from self._of_levels(1, hashes)
        for level, below in sorted(self._above.items()):
            if below:
                count = self._reader.size >> _BITS * level
                yield from self._tile_faults(Tile(level, count // WIDTH, len(below)), below)

    def _of_levels(self, level: int, hashes: list[bytes]) -> Iterator[Found]:
        """What is wrong above a tile that is full."""
        if len(hashes) < WIDTH:
            return
        while len(hashes) > 1:
            hashes = paired(hashes)
        above = self._above.setdefault(level, [])
        above.append(hashes[0])
        if len(above) == WIDTH:
            index = (self.tree.size >> _BITS * level) // WIDTH - 1
            self._above[level] = []
            yield from self._tile_faults(Tile(level, index, WIDTH), above)
            yield from self._of_levels(level + 1, above)

    def _tile_faults(self, tile: Tile, expected: Sequence[bytes]) -> Iterator[Found]:
        try:
            yield from self._differing(tile, expected)
        except TornTile as error:
            yield Found(Fault.TORN, error.message)
        except MissingTile as error:
            yield Found(Fault.TRUNCATED, error.message)

    def _differing(self, tile: Tile, expected: Sequence[bytes]) -> Iterator[Found]:
        for place, (said, right) in enumerate(
            zip(self._reader.hash_tile(tile), expected, strict=True)
        ):
            if said != right:
                what = f"entry {tile.index * WIDTH + place}" if tile.level == 0 else "a hash"
                yield Found(
                    Fault.REWRITTEN, f"{tile.path}: {what} is not the one that was hashed here"
                )
                return


def _against(
    earlier: Checkpoint, now: Checkpoint, reader: LogReader, reading: _Reading
) -> Found | None:
    """What an earlier checkpoint shows to be wrong, None where this log continues it."""
    if earlier.size > now.size:
        return Found(
            Fault.ROLLED_BACK, f"{earlier.size} entries were signed before, {now.size} are now"
        )
    if earlier.size == now.size and earlier.root != now.root:
        return Found(Fault.FORKED, f"two signed checkpoints of {now.size} entries differ")
    try:
        proof = () if not earlier.size else consistency_proof(earlier.size, now.size, reader.whole)
    except (MissingTile, TornTile):
        return Found(Fault.TRUNCATED, f"nothing shows that it continues its first {earlier.size}")
    continued = is_consistent(earlier.size, earlier.root, now.size, now.root, proof)
    counted = reading.roots.get(earlier.size)
    if continued and counted in {None, earlier.root}:
        return None
    return Found(
        Fault.FORKED,
        f"its first {earlier.size} entries are not those that were signed when it had so many",
    )


def _found(fault: Fault, where: str) -> Found:
    return Found(fault, f"{where}: {MEANINGS[fault]}")
