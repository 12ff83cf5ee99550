"""Regular expressions that are compiled when they are first used.

The modules of an audit define hundreds of them. One audit needs a few dozen, and to compile the
others would take as long as all of its signatures.
"""

import re
from functools import cached_property
from typing import Any, AnyStr, cast


def pattern(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` gives, compiled at the first use; a mistake in it is raised there, too."""
    return cast("re.Pattern[AnyStr]", _Pattern(source, flags))


class _Pattern:
    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source, self._flags = source, flags

    @cached_property
    def _compiled(self) -> re.Pattern[Any]:
        return re.compile(self._source, self._flags)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a pattern has
        found = getattr(self._compiled, name)
        # Kept, so that the next use costs no more than that of a pattern.
        setattr(self, name, found)
        return found
