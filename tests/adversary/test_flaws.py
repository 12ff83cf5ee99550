"""The adversary finds what an auditor gets wrong: flaws that are put into one, one by one."""

from functools import cache

import pytest

from tests.adversary.explore import Explorer, Recipe
from tests.adversary.flaws import FLAWS


@cache
def explorer() -> Explorer:
    """It keeps the evidence, which a flawed auditor judges again."""
    return Explorer(keeps=True)


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flaw = FLAWS[name]
    recipe = Recipe(flaw.honest, flaw.powers)
    sound = explorer().outcome(recipe)
    assert sound.judged
    assert not sound.breaches
    for place, attribute, flawed in flaw.patches:
        monkeypatch.setattr(place, attribute, flawed)
    assert explorer().outcome(recipe).breaches
