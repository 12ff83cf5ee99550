"""A process that is killed at each step in turn by which it changes files."""

import functools
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

STEPS: Final = ("write_bytes", "mkdir", "rename", "replace", "unlink", "rmdir")
"""What changes files, of a path."""


def killed_at(place: int, run: Callable[[], object]) -> bool:
    """Run in a process that is killed before its step number `place`, or in the middle of it where
    it writes; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def step(path: Path, *arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == place:
                    if name == "write_bytes":
                        original(path, bytes(arguments[0])[: len(arguments[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(path, *arguments, **options)

            return step

        try:
            for name in STEPS:
                setattr(Path, name, wrapped(name, getattr(Path, name)))
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def each_kill(
    begun: Path, folder: Path, run: Callable[[Path], object], *, every: int = 1
) -> Iterator[Path]:
    """What is left in copies of a folder, of a process that was killed at one step after the other,
    until one ends by itself; `every` says at which steps."""
    for place in itertools.count(1, every):
        left = folder / str(place)
        shutil.copytree(begun, left, symlinks=True)
        if not killed_at(place, functools.partial(run, left)):
            break
        yield left
        shutil.rmtree(left)
