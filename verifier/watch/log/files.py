"""Files that are there whole or not at all, whatever ends the program, and the lock of a log.

A file is written beside its place, brought to the disk, and renamed; then its directory is brought
to the disk, too. What an ended program leaves beside a place is written over by the next.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from verifier.errors import EvidenceError, UsageError
from verifier.evidence.regular_file import IrregularFile, read_regular

UNFINISHED: Final = ".new"
"""What the name of a file that is being written ends with."""
_COPY: Final = "somebody put it there: put the file back from a copy of the log"
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644


def put(path: Path, raw: bytes, *, private: bool = False) -> None:
    """Write a file. Raises UsageError."""
    unfinished = path.with_name(path.name + UNFINISHED)
    mode = _PRIVATE if private else _PUBLIC
    try:
        _make_folder(path.parent)
        unfinished.unlink(missing_ok=True)
        # A log may be somebody's copy: nothing is written through a link that stands there.
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            left = memoryview(raw)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        unfinished.replace(path)
        _to_disk(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


class UnfitFile(EvidenceError):
    """What is no regular file, or longer than the one that belongs there can be."""


def get(path: Path, limit: int) -> bytes | None:
    """The bytes of a file, None where there is none. A log may be somebody's copy: nothing in it is
    waited for, and nothing longer than `limit` is read. Raises UsageError, UnfitFile."""
    try:
        raw = read_regular(path, limit)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        told = f"{path}: cannot read it: {error.strerror or error}"
        if isinstance(error, IrregularFile) or error.errno == errno.ELOOP:
            raise UnfitFile(told, hint=_COPY) from error
        raise UsageError(told) from error
    if len(raw) > limit:
        told = f"{path}: longer than {limit} bytes, as no such file of a log is"
        raise UnfitFile(told, hint=_COPY)
    return raw


def remove_others(folder: Path, kept: str) -> None:
    """Remove the files of a directory but one, and the directory where nothing is left. What cannot
    be removed stays: nobody needs it gone."""
    with suppress(OSError):
        for item in list(folder.iterdir()):
            if item.name != kept:
                item.unlink()
        if not kept:
            folder.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with the program at the latest. Raises UsageError where another
    program holds it."""
    try:
        _make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{path.parent.parent}: another program is writing this log",
                hint="a log has one writer: end the other one, or name another directory",
            ) from error
        yield
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    """Make a directory, and bring it to the disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    _to_disk(folder.parent)


def _to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot do that for a directory, and say so.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> UsageError:
    hint = {
        errno.ENOSPC: "make room, and start again: what was acknowledged is kept",
        errno.EDQUOT: "make room, and start again: what was acknowledged is kept",
        errno.EROFS: "name a directory that can be written",
        errno.EACCES: "name a directory that you may write",
        errno.EPERM: "name a directory that you may write",
    }.get(error.errno or 0, "name a directory that can be written")
    return UsageError(f"{path}: cannot write it: {error.strerror or error}", hint=hint)
