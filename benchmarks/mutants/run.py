"""How well the tests would notice a wrong verifier: changes of its own judgement, each put to the
tests that run the changed line.

    python -m benchmarks.mutants.run [--seconds 7200] [--seed 1] [--picked]

Edits that were picked by hand come first, and each has to be noticed. Then all places where a
judgement can be turned are drawn in a seeded order, those of checks and policy first, until the
time is up; a later run goes on where this one ended, with what had survived first. Writes
mutants.md beside this folder.
"""

import argparse
import ast
import json
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.mutants import page
from benchmarks.mutants.picked import PICKED
from benchmarks.mutants.points import ROOT, Point, changed, modules, points
from benchmarks.mutants.warm import (
    KEPT,
    SECONDS,
    TESTS,
    Covering,
    Session,
    Verdict,
    digest,
    with_tests,
)

STATE: Final = KEPT / "state.json"
_JUDGING: Final = ("verifier/checks/", "verifier/policy/")
OUT: Final = Path(__file__).parents[1] / "mutants.md"


class Tests:
    """Which tests run which line, and in which order they are asked."""

    def __init__(self, session: Session) -> None:
        self._covered = _coverings(session)
        self._by_line: dict[tuple[str, int], set[str]] = defaultdict(set)
        for name, covering in self._covered.items():
            for file, lines in covering.lines.items():
                for line in lines:
                    self._by_line[file, line].add(name)

    def running(self, places: Iterable[tuple[str, int]]) -> list[str]:
        """The tests that run one of these lines: of those that go the same way through the function
        around it, one at a time, the rarest way first, and the fastest of them first."""
        places = list(places)
        found = set().union(*(self._by_line.get(place, set()) for place in places))
        around = [each for place in places for each in _around(*place)]
        ways: dict[tuple[tuple[str, int], ...], list[str]] = defaultdict(list)
        for name in sorted(found, key=lambda each: (self._covered[each].seconds, each)):
            way = tuple(place for place in around if name in self._by_line.get(place, ()))
            ways[way].append(name)
        order = [
            (rank, -self._rarity(way), name)
            for way, names in ways.items()
            for rank, name in enumerate(names)
        ]
        return [name for _, _, name in sorted(order)]

    def usual(self, names: Iterable[str]) -> list[float]:
        """The seconds that these tests take."""
        return [self._covered[name].seconds for name in names]

    def _rarity(self, way: tuple[tuple[str, int], ...]) -> float:
        return sum(1 / len(self._by_line[place]) for place in way)


def _coverings(session: Session) -> Mapping[str, Covering]:
    """What each test runs, from an earlier run where neither it nor the verifier has changed."""
    folder = KEPT / f"covering-{digest('verifier')}"
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = defaultdict(list)
    for name in session.names:
        files[name.partition("::")[0]].append(name)
    found: dict[str, Covering] = {}
    for file, names in files.items():
        kept = folder / f"{file.replace('/', '.')}-{digest(file)}.json"
        if not kept.is_file():
            kept.write_bytes(msgspec.json.encode(session.coverings(names)))
        found |= msgspec.json.decode(kept.read_bytes(), type=dict[str, Covering])
    return found


@cache
def _source(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


@cache
def _functions(file: str) -> list[ast.FunctionDef]:
    return [
        each for each in ast.walk(ast.parse(_source(file))) if isinstance(each, ast.FunctionDef)
    ]


@cache
def _around(file: str, line: int) -> list[tuple[str, int]]:
    """The lines of the function that holds a line."""
    for function in _functions(file):
        last = function.end_lineno or function.lineno
        if function.lineno <= line <= last:
            return [(file, each) for each in range(function.lineno, last + 1)]
    return []


@cache
def _run_at_all(file: str) -> frozenset[int]:
    """The lines of a module that its functions have code for."""
    found: set[int] = set()
    waiting = [compile(_source(file), file, "exec")]
    while waiting:
        code = waiting.pop()
        waiting += [each for each in code.co_consts if isinstance(each, type(code))]
        if code.co_name != "<module>":
            found |= {line for _, _, line in code.co_lines() if line}
    return frozenset(found)


@cache
def _users(target: str) -> list[tuple[str, int]]:
    """The lines of functions that use a constant of this name, or one of several that are assigned
    at once."""
    names = set(re.findall(r"\w+", target))
    return [
        (file, node.lineno)
        for file in modules()
        if any(name in _source(file) for name in names)
        for function in _functions(file)
        for node in ast.walk(function)
        if (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
    ]


def _places(point: Point) -> list[tuple[str, int]]:
    """The lines whose tests are asked about a change."""
    if not _around(point.file, point.line):
        return _users(point.function)
    code = _run_at_all(point.file)
    above = [line for _, line in _around(point.file, point.line) if line <= point.line]
    return [(point.file, max((line for line in above if line in code), default=point.line))]


def _drawn(seed: int) -> list[Point]:
    """Every change, in the order of the seed: those of the rooms that judge come first."""
    every = [point for file in modules() for point in points(file, _source(file))]
    random.Random(seed).shuffle(every)  # noqa: S311 - a sample, no secret
    return sorted(every, key=lambda point: not point.file.startswith(_JUDGING))


class State:
    """What was found, by change; kept while the changed module and the tests are the same."""

    def __init__(self) -> None:
        raw = json.loads(STATE.read_text("utf-8")) if STATE.is_file() else {}
        self._rows = msgspec.convert(raw, dict[str, tuple[str, str, Verdict]])
        self._tests = digest("tests")
        self._ranks = {
            name.rpartition(" (")[0]: int(bool(verdict.killed))
            for name, (_, _, verdict) in sorted(
                self._rows.items(), key=lambda row: not row[1][2].killed
            )
        }

    def get(self, point: Point) -> Verdict | None:
        """What was found about a change of the module as it is."""
        module, _, verdict = self._rows.get(point.key, ("", "", None))
        return verdict if module == digest(point.file) else None

    def is_open(self, point: Point) -> bool:
        """Whether it is not known what the tests of today make of a change."""
        verdict = self.get(point)
        return verdict is None or not (verdict.killed or self._rows[point.key][1] == self._tests)

    def rank(self, point: Point) -> int:
        """0 for a change that once survived, 1 for one that was once noticed, 2 for any other,
        whatever became of its module since."""
        return self._ranks.get(point.name, 2)

    def put(self, point: Point, verdict: Verdict) -> None:
        """Keep what was found."""
        self._rows[point.key] = (digest(point.file), self._tests, verdict)
        STATE.write_bytes(msgspec.json.encode(self._rows))


def _picked(session: Session) -> dict[str, Verdict]:
    found, pass_now = {}, dict[str, bool]()
    for edit in PICKED:
        tree = ast.parse(edit.changed(_source(edit.file)))
        names = [name for name in session.names if name.startswith(edit.by)]
        usual = [SECONDS] * len(names)
        if edit.by not in pass_now:
            # A test that fails or is skipped as the code is would notice any change.
            plain = ast.parse(_source(edit.file))
            pass_now[edit.by] = not session.judged((edit.file, plain), names, usual).killed
        names = names if pass_now[edit.by] else []
        found[edit.why] = session.judged((edit.file, tree), names, usual)
        print(f"{found[edit.why].killed or 'SURVIVED'}: {edit.file}: {edit.why}", flush=True)
    return found


def _go_on(session: Session, tests: Tests, state: State, drawn: list[Point], until: float) -> None:
    """Try what survived other tests or another module than today's, then what these noticed in
    another module than today's, and then what was never tried."""
    for point in sorted((each for each in drawn if state.is_open(each)), key=state.rank):
        if time.monotonic() > until:
            return
        names = tests.running(_places(point))
        tree = changed(_source(point.file), point)
        verdict = session.judged((point.file, tree), names, tests.usual(names))
        state.put(point, verdict)
        if not verdict.killed:
            print(f"{point.line} {point.name} {verdict}", flush=True)


def main() -> None:
    """Replay the picked edits, go on with the drawn changes for some seconds, write the page."""
    options = argparse.ArgumentParser(description="Change the verifier's judgements, one by one.")
    options.add_argument("--seconds", type=float, default=7200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--picked", action="store_true", help="the picked edits alone")
    asked = options.parse_args()
    picked: dict[str, Verdict] = {}

    def run(session: Session) -> None:
        until = time.monotonic() + asked.seconds
        picked.update(_picked(session))
        if asked.picked:
            return
        tests, state, drawn = Tests(session), State(), _drawn(asked.seed)
        _go_on(session, tests, state, drawn, until)
        found = [(point, state.get(point)) for point in drawn]
        OUT.write_text(page.written(picked, found, asked.seed), encoding="utf-8")

    files = sorted({edit.by for edit in PICKED}) if asked.picked else TESTS
    failed = with_tests(run, files, worlds=not asked.picked)
    lived = [why for why, verdict in picked.items() if not verdict.killed]
    if failed or lived or not picked:
        sys.exit(f"picked edits that no test notices: {len(lived)}")


if __name__ == "__main__":
    main()
