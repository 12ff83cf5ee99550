"""Mutate the evidence of every case, and audit it: `make mutate` goes on where it ended.

A run is made of blocks (`tests.mutation.block`): block 0 of every case, block 1 of every case, and
so on. Each is done by a process that a seed alone decides, and joins the state when it is whole, so
that an interrupted run loses what was begun. A state belongs to one seed and to one version of what
is audited and of what judges it: of another one it is said that it lies there.

    python -m tests.mutation.run [--seconds S] [--workers N] [--seed N] [--state FOLDER]
"""

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from mmap import mmap
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

import msgspec

from tests.judged import ROOT, version
from tests.mutation import block
from tests.mutation.block import Breach, Result, Trial
from tests.mutation.cases import cases
from tests.mutation.chosen import seeded
from tests.mutation.invariants import honest
from tests.mutation.result import document
from verifier.lab.attacks import ATTACKS

RESULT: Final = ROOT / "benchmarks" / "mutate.md"
JUDGED_BY: Final = (
    *("tests/mutation/block.py", "tests/mutation/cases.py", "tests/mutation/chosen.py"),
    *("tests/mutation/invariants.py", "tests/mutation/operations.py", "tests/mutation/parsers.py"),
    *("tests/worlds/damage.py", "tests/worlds/monotone.py", "tests/worlds/test_words.py"),
)

Block = tuple[str, int]
_FORGED: Final = frozenset(attack.name for attack in ATTACKS)


class State:
    """The blocks that are done, a line each in a file of its own for each version and seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.version = version(JUDGED_BY)
        self.path = folder / f"{self.version}-{seed}.jsonl"
        self.others = sorted(item for item in folder.glob("*.jsonl") if item != self.path)
        self.results: list[Result] = []
        folder.mkdir(exist_ok=True)
        whole = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        # A line that was not written to its end is that of a run that was interrupted.
        whole = [line for line in whole if line.endswith(b"\n")]
        self.path.write_bytes(b"".join(whole))
        self.results = [msgspec.json.decode(line, type=Result) for line in whole]

    def add(self, result: Result) -> None:
        """Keep what came of one more block."""
        self.results.append(result)
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")

    def todo(self, seed: int, names: list[str]) -> Iterator[Block]:
        """The blocks that are not done, in the order of the seed, without an end: first those of
        honest evidence, in which most can get worse unseen."""
        done = {(item.case, item.turn) for item in self.results}
        turn = 0
        while True:
            order = list(names)
            seeded(seed, "order", turn).shuffle(order)
            order.sort(key=_FORGED.__contains__)
            yield from ((name, turn) for name in order if (name, turn) not in done)
            turn += 1


class Worker:
    """A process that does one block, and another one where it dies."""

    def __init__(self, seed: int, which: Block) -> None:
        self.seed, self.which = seed, which
        self.marker = mmap(-1, 8)
        self.skip: set[int] = set()
        self.breaches: list[Breach] = []
        self._start()

    def _start(self) -> None:
        self.connection, other = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        arguments = (other, self.seed, *self.which, self.marker, frozenset(self.skip))
        self.marker[:] = bytes([255] * 8)
        self.process = context.Process(target=_work, args=arguments)
        self.process.start()
        other.close()

    def result(self) -> Result | None:
        """What came of the block, once its connection is ready; None where the process died, and
        another one began. Raises RuntimeError where it died of no input."""
        try:
            result: Result = self.connection.recv()
        except EOFError:
            self.process.join()
            self._name_the_input()
            self._start()
            return None
        self.process.join()
        result.breaches += self.breaches
        return result

    def _name_the_input(self) -> None:
        number, code = int.from_bytes(self.marker[:8]), self.process.exitcode or 0
        if number in self.skip or number >= block.AUDITS + block.INPUTS:
            raise RuntimeError(f"block {self.which} ended with {code}, before any input")
        why = signal.strsignal(-code) if code < 0 else f"exit {code}"
        self.skip.add(number)
        self.breaches.append(block.dead(Trial(self.seed, *self.which), number, str(why)))


def _work(  # noqa: PLR0913, PLR0917 - what a block is made of
    connection: Connection, seed: int, name: str, turn: int, marker: mmap, skip: frozenset[int]
) -> None:
    connection.send(block.run(seed, name, turn, marker, skip))


def run(state: State, seed: int, seconds: float, workers: int) -> None:
    """Do blocks for some time; those that run then are still ended."""
    honest()  # made once, for the processes of all blocks
    todo = state.todo(seed, sorted(cases()))
    end = time.monotonic() + seconds
    busy = [Worker(seed, next(todo)) for _ in range(workers)]
    while busy:
        for ready in wait([item.connection for item in busy]):
            worker = next(item for item in busy if item.connection is ready)
            result = worker.result()
            if result is None:
                continue
            busy.remove(worker)
            state.add(result)
            for item in result.breaches:
                told = msgspec.json.encode(item).decode()
                print(f"{item.case} {result.turn}: {told}", flush=True)  # noqa: T201
            if time.monotonic() < end:
                busy.append(Worker(seed, next(todo)))


def main() -> int:
    """Go on with a run, and write what came of it so far."""
    options = argparse.ArgumentParser(description="Audit mutated evidence.")
    options.add_argument("--seconds", type=float, default=7200)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--state", type=Path, default=ROOT / ".mutate")
    options.add_argument("--result", type=Path, default=RESULT)
    asked = options.parse_args()
    state = State(asked.state, asked.seed)
    if state.results:
        print(f"goes on after {len(state.results)} blocks", flush=True)  # noqa: T201
    for other in state.others:
        print(f"left alone, of another version or seed: {other}", flush=True)  # noqa: T201
    try:
        run(state, asked.seed, asked.seconds, asked.workers)
    finally:
        page = document(state.results, asked.seed, len(cases()), state.version)
        asked.result.write_text(page, "utf-8")
    return int(any(item.breaches for item in state.results))


if __name__ == "__main__":
    sys.exit(main())
