"""Answers about short texts, remembered: rules ask for the same paths, names and ports many times.

A long text is computed anew each time: what a hostile file names must not stay in memory.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

_T = TypeVar("_T")

LONGEST: Final = 300  # characters
_MOST: Final = 4_096  # texts


def remembered(function: Callable[[str], _T]) -> Callable[[str], _T]:
    """The same function of one text, which computes each of the last short ones once."""
    known = lru_cache(maxsize=_MOST)(function)

    @wraps(function)
    def answer(text: str) -> _T:
        return known(text) if len(text) <= LONGEST else function(text)

    return answer
