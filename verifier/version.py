"""The name and version that this program signs its reports with."""

import functools
from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "dstack-audit"
HOMEPAGE: Final = "https://github.com/dstack-audit/dstack-audit"
"""Where the project is published; SARIF links the pages of rules there. As in pyproject.toml."""


@functools.cache
def tool_version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"
