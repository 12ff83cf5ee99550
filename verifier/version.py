"""The name and version that this program signs its reports with."""

import functools
from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "dstack-audit"


@functools.cache
def tool_version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"


@functools.cache
def homepage() -> str:
    """Where the distribution says that it is published (`Homepage` in its metadata), "" where it
    does not: a link to a place that is not the publisher's would lead readers to somebody else."""
    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:
        return ""
    named = dict(str(item).split(", ", 1) for item in urls if ", " in str(item))
    return named.get("Homepage", "").rstrip("/")
