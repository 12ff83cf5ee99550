"""LIST arguments of a watch: apps one a line, bundles, or those of a project file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from verifier.cli.files import read_file
from verifier.cli.streams import warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.watch.targets import Listing

_PROJECT: Final = ".toml"


def watched_apps(given: str) -> "Listing":
    """The apps of a list, as `verify fleet` reads it, or of a project file. What is left out is
    said. Raises UsageError where no app is left."""
    from verifier.cli.fleet_given import read_list  # noqa: PLC0415 - only to watch

    listing = _of_project(Path(given)) if given.endswith(_PROJECT) else read_list(given)
    for refused in listing.refused:
        warn(f"{given}: line {refused.line}: {refused.reason}; it is left out")
    for repeated in listing.repeated:
        warn(f"{given}: line {repeated.line} repeats line {repeated.first}: {repeated.text}")
    if not listing.targets:
        raise UsageError(f"{given}: it names no app", hint="write one app id or bundle a line")
    return listing


def _of_project(path: Path) -> "Listing":
    """The apps of a project file, by their names."""
    from verifier.cli.project import parse_project  # noqa: PLC0415
    from verifier.watch.targets import Listed, Listing  # noqa: PLC0415

    try:
        apps = parse_project(read_file(path), path).apps
    except EvidenceError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return Listing(
        tuple(Listed(line, app.app_id, name) for line, (name, app) in enumerate(apps.items(), 1))
    )
