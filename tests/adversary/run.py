"""The long run: `python -m tests.adversary.run --seconds N --seed S`.

It goes on where the last run of that seed ended, and writes benchmarks/adversary.md.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.adversary.cannot import CANNOT
from tests.adversary.explore import PLAIN, Explorer, Outcome, Recipe, recipes
from tests.adversary.model import Fact, Liar, truth_of
from tests.adversary.oracle import noticing
from tests.judged import version

RESULT: Final = Path("benchmarks/adversary.md")
_SAVED_EVERY: Final = 5
_NAMED: Final = 4
"""Checks that a cell of the table names, the most frequent ones."""

State = dict[str, Any]

_HEAD: Final = """\
# The semantic adversary

Worlds in which somebody lies with up to three of the powers in their hands, or two of them with one
each. What must not be claimed of a world follows from a model of what is true in it
(docs/adversary.md). `make adversary SEED={seed}` goes on where this run ended, of version `{code}`
of auditor and model; of another version it begins anew.

| | |
|---|---|
| worlds audited | {worlds:,} |
| combinations of which no world can be made | {impossible:,} |
| audits | {audits:,} |
| audits a second of CPU time, worlds made too | {per_second:.1f} |
| counterexamples | {breaches} |

"""
_TABLE: Final = """\
A check is named where it refuses, warns of, or misses evidence in, worlds whose powers are all
about the same; a lie about several facts counts for each of them.

| Liar | Fact | Noticed by, and in how many worlds it was tried |
|---|---|---|
"""


def main() -> int:
    """Go on for some seconds, and write the result; 1 where something is wrong."""
    options = argparse.ArgumentParser(description="Look for worlds that an audit gets wrong.")
    options.add_argument("--seconds", type=float, default=3600)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--state", type=Path, default=Path(".adversary.json"))
    asked = options.parse_args()
    state = begun(asked.state, asked.seed)
    until = time.monotonic() + asked.seconds
    explorer, questions = Explorer(), asked.state.with_suffix(".asked")
    if not asked.state.is_file() or not state["place"]:
        questions.unlink(missing_ok=True)
    elif questions.is_file():
        explorer.remember(questions.read_bytes())
    _try_again(state, explorer)
    for count, recipe in enumerate(
        itertools.islice(recipes(asked.seed, explorer.known), state["place"], None), 1
    ):
        started = time.process_time()
        outcome = explorer.outcome(recipe)
        _count(state, explorer, outcome)
        state["seconds"] += time.process_time() - started
        if count % _SAVED_EVERY == 0:
            asked.state.write_text(json.dumps(state), encoding="utf-8")
        if time.monotonic() > until:
            break
    asked.state.write_text(json.dumps(state), encoding="utf-8")
    questions.write_bytes(explorer.questions)
    RESULT.write_text(document(state), encoding="utf-8")
    return int(bool(state["breaches"]))


def begun(path: Path, seed: int) -> State:
    """What an earlier run of that seed counted of this very code; nothing of any other."""
    judged = sorted(f"tests/adversary/{item.name}" for item in Path(__file__).parent.glob("*.py"))
    code = version([*judged, "tests/worlds/audited.py"])
    if path.is_file():
        held: State = json.loads(path.read_text("utf-8"))
        if (held["seed"], held.get("code")) == (seed, code):
            return held
    counts = dict.fromkeys(("place", "worlds", "impossible", "audits", "seconds"), 0)
    return {"seed": seed, "code": code, **counts, "cells": {}, "breaches": {}, "affirming": 0}


def _try_again(state: State, explorer: Explorer) -> None:
    """What an earlier run found: what was a breach and is none is forgotten, and what nothing was
    seen to notice is looked at once more."""
    again = [Recipe(honest, tuple(names)) for honest, *names in map(_split, state["breaches"])]
    unnamed = {cell for cell, found in state["cells"].items() if not found["by"]}
    again += [
        Recipe(power.within or PLAIN, (power.name,))
        for power in explorer.known.values()
        if unnamed & {f"{power.liar.name} {fact.name}" for fact in power.about}
    ]
    state["breaches"] = {}
    for recipe in again:
        _note(state, explorer, explorer.outcome(recipe))


def _split(recipe: str) -> list[str]:
    return recipe.split("+")


def _count(state: State, explorer: Explorer, outcome: Outcome) -> None:
    """Add a world to the counts; a breach is made as small as can be, and printed."""
    state["place"] += 1
    if not outcome.judged:
        state["impossible"] += 1
        return
    state["worlds"] += 1
    state["audits"] += len(outcome.judged)
    for cell in _cells(state, explorer, outcome):
        cell["worlds"] += 1
    _note(state, explorer, outcome)


def _cells(state: State, explorer: Explorer, outcome: Outcome) -> list[dict[str, Any]]:
    """The cells of the table that a world belongs to."""
    used = [explorer.known[name] for name in outcome.recipe.powers]
    names = [
        f"{liar.name} {fact.name}"
        for liar in {power.liar for power in used}
        for fact in truth_of(power for power in used if power.liar is liar).harmed
    ]
    return [state["cells"].setdefault(name, {"worlds": 0, "by": {}}) for name in names]


def _note(state: State, explorer: Explorer, outcome: Outcome) -> None:
    """Note which checks notice a world, and a breach, which is made as small as can be."""
    used = [explorer.known[name] for name in outcome.recipe.powers]
    if len({power.about for power in used}) == 1:
        for cell in _cells(state, explorer, outcome):
            for check in refused_by(outcome):
                cell["by"][check] = cell["by"].get(check, 0) + 1
    if outcome.breaches:
        least = explorer.least(outcome.recipe)
        line = f"{least}: {'; '.join(explorer.outcome(least).breaches)}"
        if str(least) not in state["breaches"]:
            print(line, flush=True)  # noqa: T201 - a counterexample is what the run is for
        state["breaches"][str(least)] = line


def refused_by(outcome: Outcome) -> list[str]:
    """The checks that notice, under whichever policy."""
    return sorted({check for audit in outcome.judged for check in noticing(audit)})


def document(state: State) -> str:
    """The result as a Markdown page."""
    per_second = state["audits"] / state["seconds"] if state["seconds"] else 0.0
    rows = [
        f"| {liar.value} | {fact.value} | {_cell(state, liar, fact)} |"
        for liar in Liar
        for fact in Fact
    ]
    found = [f"- `{line}`" for line in state["breaches"].values()]
    head = _HEAD.format(
        seed=state["seed"],
        code=state["code"],
        worlds=state["worlds"],
        impossible=state["impossible"],
        audits=state["audits"],
        per_second=per_second,
        breaches=len(found),
    )
    listed = "".join(f"{line}\n" for line in found) + ("\n" if found else "")
    return head + listed + _TABLE + "\n".join(rows) + "\n"


def _cell(state: State, liar: Liar, fact: Fact) -> str:
    cell = state["cells"].get(f"{liar.name} {fact.name}")
    if cell is None:
        reason = CANNOT[liar].get(fact)
        return f"cannot: {reason}" if reason else "not tried yet"
    by: dict[str, int] = cell["by"]
    names = sorted(by, key=lambda name: (-by[name], name))[:_NAMED]
    return f"{', '.join(f'`{name}`' for name in names) or 'tried'} ({cell['worlds']:,})"


if __name__ == "__main__":
    sys.exit(main())
