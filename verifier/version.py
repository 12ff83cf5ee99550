"""The name and version that this program signs its reports with."""

import functools
from typing import Final

DISTRIBUTION: Final = "dstack-audit"
VERSION: Final = "0.1.0"
"""Of this code; the distribution takes its own from here."""


def tool_version() -> str:
    """The version that reports name."""
    return VERSION


@functools.cache
def homepage() -> str:
    """Where the distribution says that it is published (`Homepage` in its metadata), "" where it
    does not: a link to a place that is not the publisher's would lead readers to somebody else."""
    from importlib import metadata  # noqa: PLC0415 - only for documents with links

    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:
        return ""
    named = dict(str(item).split(", ", 1) for item in urls if ", " in str(item))
    return named.get("Homepage", "").rstrip("/")
