"""Changes that no test of the four rooms notices, and what each means."""

from typing import Final

LISTED: Final[dict[str, str]] = {}
"""The name of a change (`Point.name`) → why no test has to notice it."""
