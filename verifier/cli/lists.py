"""LIST arguments: apps one a line, or those of a project file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from verifier.cli.files import read_file, read_stdin
from verifier.cli.streams import warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.watch.targets import Listing

_PROJECT: Final = ".toml"


def read_list(path: Path) -> "Listing":
    """The apps of a list ("-" for standard input), or of a project file. A bundle's path is
    relative to the list. What is left out is said. Raises UsageError where no app is left."""
    from verifier.watch.targets import Listed, Listing, read_targets  # noqa: PLC0415

    if path.suffix == _PROJECT:
        from verifier.cli.project import parse_project  # noqa: PLC0415

        apps = parse_project(_read(path), path).apps
        listing = Listing(
            tuple(
                Listed(line, app.app_id, name) for line, (name, app) in enumerate(apps.items(), 1)
            )
        )
    else:
        try:
            text = _read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: it is no text in UTF-8", hint="name a list") from error
        folder = Path() if path == Path("-") else path.parent
        listing = read_targets(text, lambda word: _spelled(word, folder))
    for refused in listing.refused:
        warn(f"{path}: line {refused.line}: {refused.reason}; it is left out")
    for repeated in listing.repeated:
        warn(f"{path}: line {repeated.line} repeats line {repeated.first}: {repeated.text}")
    if not listing.targets:
        raise UsageError(f"{path}: it names no app", hint="write one app id or bundle a line")
    return listing


def _read(path: Path) -> bytes:
    try:
        return read_stdin() if path == Path("-") else read_file(path)
    except EvidenceError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _spelled(word: str, folder: Path) -> str:
    """What a line names, in its own spelling. Raises UsageError."""
    from verifier.cli.target import parse_target  # noqa: PLC0415

    beside = folder / word
    if "://" in word or not beside.exists():
        target = parse_target(word)
        if target.bundle is None:
            return target.text
    text = str(beside)
    return text if "/" in text else f"./{text}"
