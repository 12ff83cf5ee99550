"""Fuzz every reader of hostile input under libFuzzer: `make fuzz` writes fuzz.md beside this file.

Each target runs in a process of its own, which coverage of the auditor's code leads. What it finds
is kept in .fuzz, where the next run goes on; the few inputs that reach as much as all go into
tests/fuzz/corpus, and what a reader fails at into tests/fuzz/regressions: the suite tries both.
"""

import argparse
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.seeds import seeds
from tests.fuzz.target import CORPUS, READ, REFUSED, REGRESSIONS, Target, inputs
from verifier.version import DISTRIBUTION, tool_version

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
WORK: Final = ROOT / ".fuzz"
STATE: Final = WORK / "state.json"
_COUNTS: Final = re.compile(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_DONE: Final = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)

Row = dict[str, Any]


def module(name: str, *arguments: object) -> str:
    """What a module prints, in a process of its own, which a native crash may end."""
    command = [sys.executable, "-W", "ignore", "-m", name, *map(str, arguments)]
    with (WORK / "errors").open("a") as errors:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
    return ended.stdout.decode() or f"ended with {ended.returncode}"


def save(folder: Path, raws: Iterable[bytes]) -> None:
    """Inputs by the digest of their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for raw in raws:
        (folder / hashlib.sha256(raw).hexdigest()[:16]).write_bytes(raw)


def dictionary(target: Target) -> str:
    """The tokens as libFuzzer reads them."""
    spelled = ("".join(f"\\x{byte:02x}" for byte in token) for token in target.tokens)
    return "".join(f'"{token}"\n' for token in spelled)


def prepare(target: Target) -> None:
    """The folders of a target, and what it is given."""
    own = WORK / target.name
    for folder in (own / "found", own / "crashes", CORPUS / target.name):
        folder.mkdir(parents=True, exist_ok=True)
    save(own / "seeds", target.given())
    (own / "tokens").write_text(dictionary(target), encoding="ascii")


def runs_of(name: str) -> list[str]:
    """What libFuzzer's log says of a target, by run; what stands before the first is none."""
    log = WORK / name / "log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text.split("INFO: Seed:")


def counted(name: str, earlier: int) -> Row:
    """What libFuzzer's log says of a target: of all its runs, and what the last one reached. Ends
    the program where there are no more than `earlier` ones."""
    told = runs_of(name)
    if len(told) <= earlier:
        raise SystemExit(f"{name}: libFuzzer did not start: {WORK / name / 'log'}")
    runs = [_COUNTS.findall(text) for text in told]
    last = [run[-1] for run in runs if run]
    if not last:
        raise SystemExit(f"{name}: libFuzzer did not start: {WORK / name / 'log'}")
    return {
        "executions": sum(int(count) for count, _, _ in last),
        "edges": int(last[-1][1]),
        "features": int(last[-1][2]),
        "seconds": sum(map(int, _DONE.findall("".join(told)))),
    }


def standing(target: Target) -> list[str]:
    """What the reader fails at without libFuzzer too, kept as regressions; the rest is removed."""
    failed = []
    for path in sorted((WORK / target.name / "crashes").iterdir()):
        outcome = module("tests.fuzz.replay", target.name, path).strip()
        if outcome not in (READ, REFUSED):
            save(REGRESSIONS / target.name, [path.read_bytes()])
            failed.append(outcome)
        path.unlink()
    return failed


def table(rows: Mapping[str, Row]) -> str:
    """The result as Markdown."""
    tool = f"{DISTRIBUTION} {tool_version()}"
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    lines = [
        "# Fuzzing the readers of hostile input",
        "",
        f"`make fuzz`: {tool}, {machine}, atheris.",
        "",
        "*Edges* and *features* are libFuzzer's, of the auditor and the Python libraries it parses",
        "with; *lines* are those of the auditor alone that all inputs reach. An input may be read",
        "or refused with an error of the reader's own; anything else, more than a second of",
        "processor time or more than 512 MB is a crash. *Seconds* are those of the clock.",
        "",
        "| Target | Seconds | Executions | Edges | Features | Lines | Kept | KiB | Crashes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {row['seconds']} | {row['executions']:,} | {row['edges']:,} | "
        f"{row['features']:,} | {row['lines']:,} | {row['kept']} | {row['bytes'] / 1024:.1f} | "
        f"{len(row['crashes'])} |"
        for name, row in sorted(rows.items())
    ]
    total = sum(row["executions"] for row in rows.values())
    crashes = sum(len(row["crashes"]) for row in rows.values())
    mended = sum(len(inputs(REGRESSIONS, name)) for name in rows)
    summed = f"{len(rows)} targets, {total:,} executions, {crashes} crashes"
    lines += ["", f"{summed}. {mended} inputs that readers once failed at are kept."]
    return "\n".join(lines) + "\n"


def tell(name: str, row: Row) -> None:
    """One line about a run, and one for each crash."""
    print(
        f"{name:24} {row['executions']:10,} executions, {row['features']:6,} features, "
        f"{row['lines']:6,} lines",
        *(f"\n  CRASH {outcome}" for outcome in row["crashes"]),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(TARGETS), nargs="*")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    for target in TARGETS.values():
        prepare(target)
    if asked.record:
        for name, raws in seeds(TARGETS).items():
            shutil.rmtree(WORK / name / "seeds", ignore_errors=True)
            save(WORK / name / "seeds", raws)
    rows: dict[str, Row] = json.loads(STATE.read_text()) if STATE.exists() else {}
    names = asked.target or list(TARGETS)
    earlier = {name: len(runs_of(name)) if asked.seconds else 0 for name in names}
    if asked.seconds:  # with none, what earlier runs found is summed up
        module("tests.fuzz.child", WORK, asked.seconds, asked.seed, *names)
    kept = module("tests.fuzz.keep", WORK, *names).splitlines()
    failed = False
    for name, counts in zip(names, kept, strict=True):
        row = counted(name, earlier[name]) | json.loads(counts)
        row["crashes"] = standing(TARGETS[name])
        failed = failed or bool(row["crashes"])
        rows[name] = row
        tell(name, row)
    STATE.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if rows.keys() >= TARGETS.keys():
        (HERE / "fuzz.md").write_text(table(rows), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
