"""A collection that takes long: what was read between its start and its end counts."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_live import on_localhost, options
from tests.worlds.outcomes import RefusedError
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.result import Verdict

FROM_THE_CHAIN = (
    *("key_management.provider", "authorization.contract"),
    *("authorization.allowed", "authorization.history"),
)

SLOW_CLOCK = """
import sys, time
start, most, real = int(sys.argv.pop(1)), int(sys.argv.pop(1)), time.time
asked = -1
def clock():
    global asked
    asked += 1
    return float(start + min(7 * asked, most))
time.time = clock
sys.argv[0] = "verify"
from verifier.cli.main import main
main()
"""
"""The command, whose clock goes on by seven seconds whenever it is asked, up to a number of seconds
after its start."""


@pytest.mark.parametrize("seconds", [300, 840, 1500])
def test_every_answer_of_a_slow_collection_counts(tmp_path: Path, seconds: int) -> None:
    now = int(time.time())  # noqa: TID251 - logs are cached by the machine's own time
    world = build(Knobs(now=now))
    with on_localhost(world) as port:
        arguments = options(world, port, tmp_path / "reference.json")
        done = subprocess.run(
            [sys.executable, "-c", SLOW_CLOCK, str(now), str(seconds), *arguments, "--no-cache"],
            cwd=tmp_path,
            capture_output=True,
            timeout=300,
            check=False,
        )
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert not [item for item in report["sources"] if item["error"] and item["kind"] == "json-rpc"]
    assert report["verdict"] in set(Verdict)
    checks = {item["id"]: item["status"] for item in report["checks"]}
    found = {check_id: checks[check_id] for check_id in FROM_THE_CHAIN}
    # The simulated KMS dates its answer at the start, which may be a reservation by the end.
    if set(found.values()) != {"pass"} or report["verdict"] not in ("affirming", "warning"):
        raise RefusedError(f"{report['verdict']}: {found}")
