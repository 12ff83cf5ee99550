"""Whether a change of the code changes any result: `make same BASE=COMMIT`.

    python benchmarks/same_results.py write FILE [PART…]      the results of this checkout
    python benchmarks/same_results.py compare BEFORE AFTER    1 when they differ

With PARTs, only the cases whose names hold one of them, in seconds instead of minutes:
`make same BASE=COMMIT PARTS="demo fixture"`.

`make same BASE=COMMIT` checks COMMIT out beside this checkout, writes the results of both with this
same script, and compares them. `PYTHONPATH=TREE` decides whose package is asked; the first line on
stderr says whose it was.

What is asked (`same_cases.py`): every attack of the package's lab and its honest twin, further
simulated worlds, the demo, the bundle of `fixtures/`, and, where `../shared` is beside the
checkout, every recorded set of evidence and every deployed manifest. Each goes through the command
line (`same_package.py`), under three policies, vouched for and not, and through `timeline`,
`stage`, `lint`, `diff`, `compose-hash`, `quote`, `events` and `signer` where these apply.

What is kept: exit codes, verdicts, statuses, kinds of skips, requirements, claims (value, basis,
conditions), findings (rule, severity, place), and the values of a history, a comparison or an
assessment. Texts are left out, so that a sentence may be bettered without a difference; of a list
of sentences (problems, remarks) the number is kept.

How to read a comparison: equal differences are shown once, with the cases that have them; exit
codes and verdicts come first. A case that only AFTER has is new, which is no difference; one that
only BEFORE has was lost, which is one. A member that no document of BEFORE has (of a history, a
comparison, an assessment: reports are read by name) is new too, and is not looked at. To see a
case whole, look for its name in the two files: they are indented JSON with sorted keys.
"""

import json
import multiprocessing
import os
import re
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Final

from same_cases import EVIDENCE, cases, fixture  # type: ignore[import-not-found] # beside this
from same_package import Json, Results, compact, load_package  # type: ignore[import-not-found]

NOT_SET_UP: Final = "not set up"
SHOWN: Final = 6
"""How many cases are named beside one difference."""

FIRST: Final = ("case", "exit", "verdict", "accepted", "checks", "claims", "findings")
"""Differences in the order in which they are shown."""

_MEMBER: Final = re.compile(r"[a-z_]+")
"""How documents call their members; hashes, check ids and names of cases are spelled otherwise."""

Difference = tuple[str, str, str]
"""What it is about, the value before, and the value after."""


def write(path: Path, parts: tuple[str, ...]) -> None:
    """Write the results of the package under test, of the cases that are named, if any are."""
    package = import_module("verifier")
    print(f"results of {Path(package.__path__[0]).parent}", file=sys.stderr)
    names = [name for name in cases() if not parts or any(part in name for part in parts)]
    names.sort(key=lambda name: not name.endswith("log-range"))  # it takes a minute: it goes first
    if not EVIDENCE.is_dir():
        print(f"without recorded evidence: there is no {EVIDENCE}", file=sys.stderr)
    found: Results = {}
    with (
        tempfile.TemporaryDirectory() as kept_logs,
        ProcessPoolExecutor(
            max_workers=os.cpu_count(),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(kept_logs,),
        ) as pool,
    ):
        for name, results in zip(names, pool.map(results_of, names), strict=True):
            found[name] = results
            if len(found) % 50 == 0:
                print(f"{len(found)} of {len(names)}", file=sys.stderr, flush=True)
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    broken = {name: found[name][NOT_SET_UP] for name in names if NOT_SET_UP in found[name]}
    for name, why in broken.items():
        print(f"{NOT_SET_UP}: {name}: {why}", file=sys.stderr)
    print(f"{len(names) - len(broken)} of {len(names)} cases", file=sys.stderr)


def _prepare(cache: str) -> None:
    """Make a worker ready: nothing of this user's own is read or kept."""
    os.environ["XDG_CACHE_HOME"] = cache
    load_package(fixture())


def results_of(name: str) -> Results:
    """The results of one case. One that cannot be set up says so, and stops no other."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found: Results = cases()[name](Path(folder))
        except Exception:  # noqa: BLE001 - a world that this package cannot make
            return {NOT_SET_UP: traceback.format_exc().splitlines()[-1]}
        return found


def leaves(value: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every plain value below a document, with the way to it. Of objects in a list it is how many
    are equal, so that one more or less moves no other."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for text, number in Counter(map(compact, value)).items():
            yield (*path, text), str(number)
    else:
        yield path, compact(value)


def differences(before: Results, after: Results) -> dict[Difference, list[str]]:
    """Every difference, with the cases that have it."""
    found: dict[Difference, list[str]] = defaultdict(list)
    for name in sorted(before):
        if NOT_SET_UP in before[name]:
            continue
        lost = after.get(name, {NOT_SET_UP: "lost"}).get(NOT_SET_UP)
        if lost is not None:
            found["case", "set up", lost].append(name)
            continue
        old, new = dict(leaves(before[name])), dict(leaves(after[name]))
        for path in sorted(old.keys() | new.keys()):
            if old.get(path) != new.get(path):
                what, where = _named(path)
                difference = (what, old.get(path, "absent"), new.get(path, "absent"))
                found[difference].append(f"{name}{where}")
    return found


def members(value: Json) -> set[str]:
    """The names of members anywhere below a document; of audit reports, those at the top."""
    if isinstance(value, list):
        return {name for item in value for name in members(item)}
    if not isinstance(value, dict):
        return set()
    below = () if "subjects" in value else value.values()
    return value.keys() | {name for item in below for name in members(item)}


def without(value: Json, names: set[str]) -> Json:
    """A document without the members of these names, but audit reports as they are."""
    if isinstance(value, list):
        return [without(item, names) for item in value]
    if not isinstance(value, dict) or "subjects" in value:
        return value
    return {key: without(item, names) for key, item in value.items() if key not in names}


def _named(path: tuple[str, ...]) -> tuple[str, str]:
    """What a way leads to, and the command and attester that it leads through."""
    command, *rest = path
    where = f" [{command}]"
    if rest[:1] == ["subjects"]:
        where += f" [{rest[1]}]" if rest[1] else ""
        rest = ["attester's", "verdict"] if rest[2:] == ["verdict"] else rest[2:]
    return " ".join(rest) or command, where


def compare(before: Path, after: Path) -> int:
    """Print what differs; 1 where something does."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    gained = {name for name in members(new) - members(old) if _MEMBER.fullmatch(name)}
    found = differences(old, {name: without(results, gained) for name, results in new.items()})
    for (what, was, became), places in sorted(found.items(), key=lambda item: _order(item[0])):
        print(f"{_short(what)}: {_short(was)} → {_short(became)}")
        print(*(f"    {place}" for place in places[:SHOWN]), sep="\n")
        if len(places) > SHOWN:
            print(f"    and {len(places) - SHOWN} more")
    fresh = sorted(name for name in new if name not in old or NOT_SET_UP in old[name])
    for name in (*sorted(gained), *fresh):
        print(f"new: {name}")
    touched = {place.partition(" [")[0] for places in found.values() for place in places}
    print(f"{len(old)} cases: {len(touched)} differ, {len(fresh)} more are new")
    return 1 if found else 0


def _order(difference: Difference) -> tuple[int, Difference]:
    what = difference[0]
    return next((n for n, start in enumerate(FIRST) if what.startswith(start)), 99), difference


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 40]}…{text[-39:]}"


def main(arguments: Iterable[str]) -> int:
    match list(arguments):
        case ["write", path, *parts]:
            write(Path(path), tuple(parts))
            return 0
        case ["compare", before, after]:
            return compare(Path(before), Path(after))
        case _:
            print(*(__doc__ or "").splitlines()[2:4], sep="\n", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
