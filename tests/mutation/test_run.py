"""A run goes on where it ended, mixes nothing, and survives what kills its processes."""

import subprocess
import sys
from itertools import islice
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from tests.judged import ROOT, version
from tests.mutation import run
from tests.mutation.block import Breach, Result
from tests.mutation.operations import Level, Op, Operation
from tests.mutation.result import document
from tests.mutation.run import State
from tests.worlds.damage import Certificate, Header, Json
from verifier.evidence.bundle import Kind

NAMES = ["one", "three", "two"]
OPERATION = Operation(
    op=Op.FLIP,
    level=Level.NODE,
    kind=Kind.INFO,
    number=0,
    path=(Header("chain"), Json(), "certificates", 0, Certificate(1)),
    data=b"\x80",
)
BREACH = Breach("two", 7, True, (OPERATION,), ("boot.image passes",))  # noqa: FBT003
AUDITS = {"info|flip|node|breach": 1, "info|pair|node|refused unchanged": 2}
INPUTS = {"info|flip|read": 3, "page|drop|refused": 4}


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    state = State(tmp_path, 1)
    first = list(islice(state.todo(1, NAMES), 5))
    assert len(set(first)) == 5
    assert {name for name, turn in first if turn == 0} == set(NAMES)
    for name, turn in first[:2]:
        state.add(Result(name, turn, breaches=[BREACH]))
    again = State(tmp_path, 1)
    assert again.results == state.results
    assert list(islice(again.todo(1, NAMES), 3)) == first[2:]


def test_a_block_that_was_not_written_to_its_end_is_done_again(tmp_path: Path) -> None:
    state = State(tmp_path, 1)
    state.add(Result("one", 0))
    with state.path.open("ab") as file:
        file.write(b'{"case":"tw')
    again = State(tmp_path, 1)
    assert again.results == [Result("one", 0)]
    again.add(Result("two", 0))
    assert State(tmp_path, 1).results == [Result("one", 0), Result("two", 0)]


def test_a_state_of_another_seed_or_version_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = State(tmp_path, 1)
    old.add(Result("one", 0))
    seeded = State(tmp_path, 2)
    assert (seeded.results, seeded.others) == ([], [old.path])
    monkeypatch.setattr(run, "version", lambda _judged_by: "another")
    newer = State(tmp_path, 1)
    assert newer.results == []
    assert old.path in newer.others


def test_the_version_is_that_of_the_auditor_and_its_judge() -> None:
    assert all((ROOT / name).is_file() for name in run.JUDGED_BY)
    assert version(run.JUDGED_BY) == version(run.JUDGED_BY) != version(())


def test_the_result_counts_everything() -> None:
    results = [Result("two", 0, AUDITS, INPUTS, [BREACH], growth=3 << 20), Result("one", 0, AUDITS)]
    page = document(results, 5, 398, "c0de")
    assert "seed 5, version `c0de` of auditor and judge:\n2 blocks of 2 of 398 bundles" in page
    assert "| done | 6 | 7 |" in page
    assert "| breaches | 2 | 0 |" in page
    assert "| info | 2 / 0 / 0 / 2 |" in page
    assert "| 4 / 4 / 4 / 0 |" in page
    assert "| page |  | 4 / 4 / 0 |" in page
    assert "1 times, first in `two`: boot.image passes" in page


def test_a_breach_is_kept_as_it_is() -> None:
    assert msgspec.json.decode(msgspec.json.encode(BREACH), type=Breach) == BREACH


DYING = """
    import os
    from pathlib import Path
    from tests.mutation import block, cases, run

    whole, made = block.faults, cases.cases()
    run.cases = block.cases = lambda: {"without-a-kms": made["without-a-kms"]}
    deadly = block.Trial(1, "without-a-kms", 0).mutation(2)

    def dying(case, donor, operations, *, fully):
        if operations == deadly:
            os.abort()
        return whole(case, donor, operations, fully=fully)

    block.faults, block.AUDITS, block.INPUTS = dying, 4, 2
    state = run.State(Path("STATE"), 1)
    run.run(state, 1, 0, 1)
"""


def test_an_input_that_kills_the_process_is_named(tmp_path: Path) -> None:
    script = dedent(DYING).replace("STATE", str(tmp_path))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True, timeout=300
    )
    (result,) = State(tmp_path, 1).results
    assert sum(result.audits.values()) == 3
    assert sum(result.inputs.values()) == 2
    (breach,) = result.breaches
    assert (breach.number, breach.whole) == (2, True)
    assert breach.found == ("the process died: Aborted",)
    assert breach.operations
