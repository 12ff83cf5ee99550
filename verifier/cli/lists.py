"""LIST arguments of a watch: apps one a line, bundles, or those of a project file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from verifier.cli.files import read_file
from verifier.cli.streams import warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.cli.project import Project
    from verifier.watch.targets import Listing

_PROJECT: Final = ".toml"


def watched_apps(given: str) -> "tuple[Listing, Project | None]":
    """The apps of a list, as `verify fleet` reads it, or of a project file, with that. What is left
    out is said. Raises UsageError where no app is left."""
    from verifier.cli.fleet_given import read_list  # noqa: PLC0415 - only to watch

    project = _read_project(Path(given)) if given.endswith(_PROJECT) else None
    listing = read_list(given) if project is None else _of_project(project)
    for refused in listing.refused:
        warn(f"{given}: line {refused.line}: {refused.reason}; it is left out")
    for repeated in listing.repeated:
        warn(f"{given}: line {repeated.line} repeats line {repeated.first}: {repeated.text}")
    if not listing.targets:
        raise UsageError(f"{given}: it names no app", hint="write one app id or bundle a line")
    return listing, project


def _read_project(path: Path) -> "Project":
    from verifier.cli.project import parse_project  # noqa: PLC0415 - only to watch

    try:
        return parse_project(read_file(path), path)
    except EvidenceError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _of_project(project: "Project") -> "Listing":
    """The apps of a project file, by their names. Raises UsageError for one app by two names: which
    settings are its own would be anybody's guess."""
    from verifier.watch.targets import Listed, Listing  # noqa: PLC0415 - only to watch

    names: dict[str, str] = {}
    for name, app in project.apps.items():
        if names.setdefault(app.app_id, name) != name:
            raise UsageError(
                f"{project.path}: [apps.{names[app.app_id]}] and [apps.{name}] are one app",
                hint="keep one of them in the file that is watched",
            )
    named = enumerate(project.apps.items(), 1)
    return Listing(tuple(Listed(line, app.app_id, name) for line, (name, app) in named))
