"""Files that are read up to a limit, and never waited for.

A pipe in the place of a file is waited for without end, a device may never end, and opening some
devices already does something.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

_AT_ONCE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class IrregularFile(OSError):
    """What is there and no regular file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is no regular file", str(path))


def require_regular(path: Path) -> None:
    """Raise IrregularFile for what is there and no regular file, and any other OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise IrregularFile(path)


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file, links followed, at most one more than `limit`. Raises
    IrregularFile and any other OSError, and ValueError for what is no name of a file."""
    require_regular(path)
    # Between the two it may have become a pipe: no opening waits, and what is open is asked again.
    handle = os.open(path, _AT_ONCE)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise IrregularFile(path)
        return _read(handle, limit)
    finally:
        os.close(handle)


def read_given(path: Path, limit: int) -> bytes:
    """The bytes of a file that the user named, at most one more than `limit`: also of a pipe that
    some program writes to, as a shell's `<(…)` is. Raises OSError, and ValueError for what is no
    name of a file."""
    if not path.is_fifo():
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    handle = os.open(path, _AT_ONCE)
    try:
        first = _first(handle)
        if first == b"":
            raise OSError(errno.EPIPE, "it is a pipe, and nothing is written to it", str(path))
        os.set_blocking(handle, True)
        return (first or b"") + _read(handle, limit - len(first or b""))
    finally:
        os.close(handle)


def _first(handle: int) -> bytes | None:
    """The first byte of a pipe; b"" where nobody writes to it, None where that is still to come."""
    try:
        return os.read(handle, 1)
    except BlockingIOError:
        return None


def _read(handle: int, limit: int) -> bytes:
    with os.fdopen(handle, "rb", closefd=False) as stream:
        return stream.read(limit + 1)
