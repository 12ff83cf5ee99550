"""Inputs of readers that open a file."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from tests.fuzz.target import Reader


def in_file(read: Callable[[Path], object], name: str = "input") -> Reader:
    """A reader of a file as a reader of its bytes."""

    def parse(raw: bytes) -> object:
        path = _folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return read(path)

    return parse


def folder_with(files: Mapping[str, bytes]) -> Path:
    """A folder that holds just these files, by their paths below it."""
    folder = _folder() / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return folder


@cache
def _folder() -> Path:
    """The one folder of this process."""
    held = tempfile.TemporaryDirectory(prefix="fuzz-")
    _HELD.append(held)
    return Path(held.name)


_HELD: "list[tempfile.TemporaryDirectory[str]]" = []
