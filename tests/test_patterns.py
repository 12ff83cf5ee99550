"""Patterns are compiled at their first use, so that a mistake in one would show only there."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module  # noqa: TID251 - every module there is

import pytest

import verifier
from verifier.patterns import pattern

EXTRAS = ("dask", "distributed")
"""What need not be installed."""


def held(value: object) -> Iterator[re.Pattern[str]]:
    """The patterns in a value of a module: itself, or those in a table."""
    if type(value) is type(pattern("")):
        yield value
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from held(item)
    elif isinstance(value, dict):
        yield from held(tuple(value.items()))


def test_every_pattern_of_every_module_compiles() -> None:
    found = 0
    for module in pkgutil.walk_packages(verifier.__path__, "verifier."):
        if module.name.endswith("__main__"):
            continue
        try:
            values = vars(import_module(module.name)).values()
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            continue
        for item in held(tuple(values)):
            re.compile(item.pattern, item.flags)
            found += 1
    assert found > 300


def test_a_pattern_is_used_like_a_compiled_one() -> None:
    lazy = pattern("(a)(?P<b>b)", re.IGNORECASE)
    assert lazy.groups == 2
    assert lazy.fullmatch("AB")["b"] == "B"  # type: ignore[index]
    assert [lazy.sub("", text) for text in ("xaby", "ab")] == ["xy", ""]


def test_a_mistake_is_raised_at_the_first_use() -> None:
    wrong = pattern("(")
    with pytest.raises(re.error, match="unterminated"):
        wrong.match("")
