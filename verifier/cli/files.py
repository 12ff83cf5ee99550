"""Files that a user names, and standard input."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from verifier.errors import EvidenceError, UsageError, did_you_mean
from verifier.evidence.regular_file import read_given
from verifier.patterns import pattern

_MOST_NAMES: Final = 1000
MAX_FILE_BYTES: Final = 32 << 20
_NO_SOURCES: Final = frozenset({"node_modules", "__pycache__", "venv"})
_FILE: Final = pattern(
    r".*\.(?:json|ya?ml|html?|tar|txt|toml|bin|pem|(?:docker|container)file)|(?:docker|container)file",
    re.IGNORECASE,
)


def names_file(text: str) -> bool:
    """Whether an argument means a file or a directory, rather than something on the network."""
    if "://" in text:
        return False
    try:
        exists = Path(text).exists()
    except (OSError, ValueError):
        exists = False
    return exists or "/" in text or "\\" in text or _FILE.fullmatch(text) is not None


def names_target(text: str) -> bool:
    """Whether an argument means a running app or a bundle, rather than one file to read."""
    return not names_file(text) or Path(text).is_dir() or Path(text).suffix == ".tar"


def printable_name(path: Path) -> str:
    """A file's name as it is recorded: bytes that are not UTF-8 are escaped."""
    return path.name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_file(path: Path) -> bytes:
    """The bytes of an evidence file. Raises UsageError where there is none of that name, and
    EvidenceError for one that cannot be read."""
    try:
        raw = read_given(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file", hint=near_file(path)) from error
    except IsADirectoryError as error:
        bundle = (path / "manifest.json").is_file()
        hint = f"a bundle is audited: verify APP_ID --bundle {path}" if bundle else "name its files"
        raise EvidenceError(f"{path}: a folder, and no file", hint=hint) from error
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot read it: {error.strerror or error}", hint="name a readable file"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise EvidenceError(f"{path}: larger than {MAX_FILE_BYTES} bytes: no evidence is")
    return raw


def near_file(path: Path) -> str:
    """The file beside it that was probably meant."""
    try:
        names = [item.name for item in path.parent.iterdir()][:_MOST_NAMES]
    except (OSError, ValueError):
        names = []
    others = (name for name in names if name != path.name)
    otherwise = "it is a link that leads nowhere" if path.is_symlink() else "check the name"
    return did_you_mean(path.name, others, otherwise)


def require_file(path: Path) -> None:
    """Raise EvidenceError where there is nothing of that name, with what was probably meant."""
    if not path.exists():
        raise EvidenceError(f"{path}: there is no such file", hint=near_file(path))


@contextmanager
def about(path: Path | str) -> Iterator[None]:
    """What is said of evidence in here, is said of this file."""
    try:
        yield
    except EvidenceError as error:
        said = error.message.startswith(str(path))
        raise EvidenceError(
            error.message if said else f"{path}: {error.message}",
            hint=error.hint or "is it the file that you meant?",
        ) from error


def read_stdin() -> bytes:
    """The bytes of standard input. Raises UsageError, EvidenceError."""
    if sys.stdin is None:
        raise UsageError("-: standard input is closed", hint="name a file")
    raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise EvidenceError(f"-: larger than {MAX_FILE_BYTES} bytes: no evidence is")
    return raw


def walked_files(folder: Path) -> Iterator[Path]:
    """Every file below a directory, in order. Hidden directories, virtual environments and
    installed packages are left out; no link to a directory is followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _NO_SOURCES
        )
        yield from (Path(place) / name for name in sorted(files))
