"""Changed fields, for tests of strictness."""

from typing import Any


def each(name: str, values: list[Any]) -> list[dict[str, Any]]:
    """One change per value: `{name: value}`."""
    return [{name: value} for value in values]
