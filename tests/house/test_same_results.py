"""What the comparison of two checkouts' results takes for a difference."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "same_results.py"


def audit(status: str = "pass", basis: str = "chain", **findings: int) -> dict[str, Any]:
    """What is kept of an audit."""
    subject = {
        "checks": {"boot.image": {"status": status}},
        "claims": {"kms": {"value": {"name": "lab"}, "basis": basis}},
    }
    found = [{"rule": rule, "line": line} for rule, line in findings.items()]
    return {"baseline": {"exit": 0, "subjects": {"guest": subject}, "findings": found}}


def history(*events: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What is kept of a history."""
    return {"timeline": {"exit": 0, "events": list(events), **members}}


def compared(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit code and the lines of a comparison."""
    for name, results in (("before", before), ("after", after)):
        (folder / name).write_text(json.dumps(results))
    done = subprocess.run(
        [sys.executable, SCRIPT, "compare", folder / "before", folder / "after"],
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": audit()}, {"a": audit()}),
        ({"a": audit()}, {"a": audit(), "b": audit("fail")}),
        ({"a": {"not set up": "TypeError"}}, {"a": audit()}),
        ({"a": history({"block": 1})}, {"a": history({"block": 1, "sender": "0x"})}),
        ({"a": history({"block": 1})}, {"a": history({"block": 1}, begins="created")}),
        ({"a": history({"block": 1}, {"block": 2})}, {"a": history({"block": 2}, {"block": 1})}),
    ],
    ids=["same", "new case", "case that can be made", "member", "top member", "order"],
)
def test_no_difference(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    code, lines = compared(tmp_path, before, after)
    assert code == 0
    assert lines[-1].startswith("1 cases: 0 differ")


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (audit(), audit("warn"), 'checks boot.image status: "pass" → "warn"'),
        (audit(), audit(basis="asserted"), 'claims kms basis: "chain" → "asserted"'),
        (audit(), audit(KMS=1), 'findings {"line":1,"rule":"KMS"}: absent → 1'),
        (audit(KMS=1), audit(), 'findings {"line":1,"rule":"KMS"}: 1 → absent'),
        (audit(), {"baseline": {"exit": 1}}, "exit: 0 → 1"),
        (history({"block": 1}), history({"block": 2}), 'events {"block":1}: 1 → absent'),
        (history({"block": 1}), history({}), 'events {"block":1}: 1 → absent'),
        (audit(), {"not set up": "TypeError"}, "case: set up → TypeError"),
        (audit(), None, "case: set up → lost"),
    ],
)
def test_a_difference(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any] | None, line: str
) -> None:
    code, lines = compared(
        tmp_path,
        {"a": before, "b": audit()},
        {"a": after, "b": audit()} if after else {"b": audit()},
    )
    assert code == 1
    assert line in lines
    assert lines[-1].startswith("2 cases: 1 differ")


def test_equal_differences_are_shown_once(tmp_path: Path) -> None:
    names = [f"case {number}" for number in range(10)]
    before = {name: audit() for name in names}
    code, lines = compared(tmp_path, before, {name: audit("fail") for name in names})
    assert code == 1
    assert [line for line in lines if "boot.image" in line] == [
        'checks boot.image status: "pass" → "fail"'
    ]
    assert "    case 0 [baseline] [guest]" in lines
    assert "    and 4 more" in lines
