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
