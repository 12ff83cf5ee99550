"""Files that somebody else may have put there: read up to a limit, and only what is a file.

A pipe in the place of a file is waited for without end, a device may never end, and opening some
devices already does something.
"""

import errno
import os
import stat
from pathlib import Path


class IrregularFile(OSError):
    """What is there and no regular file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is no regular file", str(path))


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file, links followed, at most one more than `limit`. Raises
    IrregularFile and any other OSError, and ValueError for what is no name of a file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise IrregularFile(path)
    # Between the two it may have become a pipe: no opening waits, and what is open is asked again.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise IrregularFile(path)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(limit + 1)
    finally:
        os.close(handle)
