"""What the adversary's worlds are: true to what is collected, affirmed where nobody lies."""

import itertools
import json
from functools import cache
from pathlib import Path

import pytest

from tests.adversary import run, unused
from tests.adversary.cannot import CANNOT
from tests.adversary.explore import Explorer, Recipe, recipes
from tests.adversary.honest import HONEST_WORLDS, PARTLY
from tests.adversary.model import Fact, Liar, Trace, combined, truth_of
from tests.adversary.oracle import breaches, unproven
from tests.adversary.powers import powers
from tests.adversary.worlds import HONEST, Collector, asked_of, question
from verifier.lab.attacks import ATTACKS
from verifier.lab.knobs import Knobs
from verifier.lab.world import build

SLICE = 12
"""Worlds of the long run that the suite audits too."""


@cache
def explorer() -> Explorer:
    return Explorer()


@pytest.mark.parametrize("name", ["plain", "td15", "msgpack"])
def test_an_honest_world_is_affirmed_whoever_asks(name: str) -> None:
    world, judged = explorer().audited(Recipe(name, ()), every_policy=True)
    assert {audit.policy for audit in judged} >= {"genuine", "baseline", "strict", "stage1"}
    assert not unproven(judged)
    assert not breaches(world, truth_of(()), judged)


def test_what_an_oracle_must_not_overlook() -> None:
    """Whoever lies about what an honest report says is told off: the report is then in breach."""
    world, judged = explorer().audited(Recipe("plain", ()))
    lies = [power for power in powers().values() if power.trace is Trace.CERTAIN]
    for fact in (Fact.HARDWARE, Fact.CODE, Fact.KEYS, Fact.ENDPOINT, Fact.ALLOWED):
        lie = next(power for power in lies if fact in power.about)
        assert breaches(world, truth_of([lie]), judged)
    other = build(combined(HONEST, [powers()["debug-td"], powers()["another-owner"]])[0])
    told = "; ".join(breaches(other, truth_of(()), judged))
    assert "td_attributes" in told or "app_owner is said to be" in told


@pytest.mark.parametrize("names", [("tcb-out-of-date", "debug-td", "info-states-otherwise")])
def test_the_evidence_is_what_would_be_collected(names: tuple[str, ...]) -> None:
    """What the honest world was asked may be asked, too, where this one does not call for it."""
    knobs = combined(HONEST, [powers()[name] for name in names])[0]
    collector, world = Collector(), build(HONEST)
    honest = collector.collect(world, question(world, HONEST))
    world = build(knobs)
    asked = question(world, HONEST)
    collected = collector.collect(world, asked)
    found = collector.ask(knobs, asked, names, asked_of(honest))
    assert not set(collected.artifacts) - set(found.artifacts)
    assert len(found.artifacts) < len(collected.artifacts) + 20


def test_a_slice_of_the_long_run() -> None:
    cheap = (
        recipe
        for recipe in recipes(0, explorer().known)
        if len(recipe.powers) > 1 and explorer().is_cheap(recipe)
    )
    found = [explorer().outcome(recipe) for recipe in itertools.islice(cheap, SLICE)]
    assert any(outcome.judged for outcome in found)
    assert not [(str(outcome.recipe), *outcome.breaches) for outcome in found if outcome.breaches]


def test_every_fact_is_in_reach_of_a_liar_or_there_is_a_reason_why_not() -> None:
    within = {
        (power.liar, fact) for power in powers().values() for fact in truth_of([power]).harmed
    }
    told = {(liar, fact) for liar, facts in CANNOT.items() for fact in facts}
    assert within.isdisjoint(told)
    assert within | told == set(itertools.product(Liar, Fact))


def test_every_knob_and_every_attack_is_a_power_or_there_is_a_reason_why_not() -> None:
    """What is new in the lab is somebody's power, before anybody can forget it."""
    plain = Knobs()
    turned = {
        name
        for knobs in (*HONEST_WORLDS.values(), *PARTLY.values())
        for name in Knobs.__struct_fields__
        if getattr(knobs, name) != getattr(plain, name)
    }
    used = {name for power in powers().values() for name in power.knobs} | turned
    assert used.isdisjoint(unused.KNOBS)
    assert used | set(unused.KNOBS) == set(Knobs.__struct_fields__)
    assert not set(powers()) & set(unused.ATTACKS)
    assert {attack.name for attack in ATTACKS} - set(powers()) == set(unused.ATTACKS)


def test_the_honest_worlds_are_worlds_of_their_own() -> None:
    assert len({repr(knobs) for knobs in HONEST_WORLDS.values()}) == len(HONEST_WORLDS)


def test_a_run_goes_on_with_what_was_counted_of_the_same_code(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = run.begun(path, 1)
    path.write_text(json.dumps({**first, "worlds": 3}))
    assert run.begun(path, 1)["worlds"] == 3
    assert run.begun(path, 2)["worlds"] == 0
    path.write_text(json.dumps({**first, "worlds": 3, "code": "another"}))
    assert run.begun(path, 1)["worlds"] == 0
