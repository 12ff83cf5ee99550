"""A folder that is changed all at once.

Everything new is written beside the old, under a hidden name. Only then a list of what moves where
is written, and followed. A run that breaks before the list leaves the old files as they were; one
that breaks later is completed by the next, from the list.
"""

import fcntl
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from verifier.errors import UsageError
from verifier.evidence.regular_file import read_regular

STAGE: Final = ".publish"
_NEW: Final = "new"
_MOVES: Final = "moves.json"
_MAX_BYTES: Final = 1 << 28
_LOCK: Final = ".publish.lock"
_REMOVE: Final = "somebody changed this site: name a new folder"
OWN: Final = frozenset({STAGE, _LOCK})
"""Names in the folder that are the writer's own."""


class _Moves(Struct, frozen=True):
    """The list: paths in the folder that staged files take, and those of files to remove."""

    move: tuple[str, ...]
    remove: tuple[str, ...]


class Staged:
    """The new files of a folder that nobody sees yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stage = folder / STAGE

    def write(self, path: str, raw: bytes) -> None:
        """Stage a file. Raises OSError."""
        staged = self._stage / _NEW / path
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(raw)

    def commit(self, paths: Iterable[str], removed: Iterable[str]) -> None:
        """Let the staged files take their places in this order, then remove others. Raises
        OSError, and UsageError for a path that leads out of the folder."""
        moves = self._stage / _MOVES
        part = moves.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(_Moves(tuple(paths), tuple(removed))))
        part.replace(moves)
        self.follow()

    def follow(self) -> None:
        """Do what the list says that is not done yet, if there is one; nothing stays staged.

        A site may be somebody's copy, so that the list is, too. Raises UsageError for one that
        cannot be read, or leads out of the folder."""
        moves = self._stage / _MOVES
        if moves.is_file():
            try:
                listed = msgspec.json.decode(read_regular(moves, _MAX_BYTES), type=_Moves)
            except (msgspec.MsgspecError, ValueError) as error:
                raise UsageError(f"{moves}: it is no list of moves", hint=_REMOVE) from error
            places = {path: self._place(path) for path in (*listed.move, *listed.remove)}
            for path in listed.move:
                staged, place = self._stage / _NEW / path, places[path]
                if staged.is_file():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    staged.replace(place)
            for path in listed.remove:
                self._remove(places[path])
            moves.unlink()
        if self._stage.is_dir():
            shutil.rmtree(self._stage)

    def _place(self, path: str) -> Path:
        """Where a path leads, which is in the folder, links followed. Raises UsageError."""
        place = self._folder / path
        if "\0" in path or not place.parent.resolve().is_relative_to(self._folder.resolve()):
            raise UsageError(f"{self._folder}: {path!a} leads out of the site", hint=_REMOVE)
        return place

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        parent = path.parent
        while parent != self._folder and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


@contextmanager
def staged(folder: Path) -> Iterator[Staged]:
    """A folder to change, by one run at a time; what an earlier one left is completed or forgotten.
    Raises UsageError where another run changes it, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _LOCK).is_symlink():
        raise UsageError(f"{folder / _LOCK}: it is a link", hint=_REMOVE)
    if (folder / _LOCK).exists() and not (folder / _LOCK).is_file():
        raise UsageError(f"{folder / _LOCK}: it is no regular file", hint=_REMOVE)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{folder}: another run is writing it", hint="wait for that one"
            ) from error
        change = Staged(folder)
        change.follow()
        yield change
