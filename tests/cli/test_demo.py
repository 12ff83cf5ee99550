"""The demo, and what it keeps."""

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.command import Run
from verifier.cli.options import Format


@pytest.mark.parametrize("form", list(Format))
def test_every_format_says_that_the_world_is_simulated(run: Run, form: str) -> None:
    ran = run("demo", "--format", form)
    assert ran.code == 0
    assert "simulated" in ran.out.lower()
    assert "\x1b" not in ran.out


def test_demo_is_the_same_every_time(run: Run) -> None:
    assert run("demo", "--format", "json").out == run("demo", "--format", "json").out


def test_demo_can_be_repeated_offline(run: Run, tmp_path: Path) -> None:
    live = run("demo", "--format", "json", "--save", "kept")
    report = json.loads(live.out)
    said = next(line for line in live.err.splitlines() if "--bundle" in line)
    offline = run(*shlex.split(said)[1:], "--format", "json")
    assert offline.out == live.out
    assert report["bundle_digest"] in said.replace("sha256:", "")
    assert (tmp_path / "kept" / "reference.json").exists()


def test_the_simulated_world_counts_for_nothing_under_the_real_root(run: Run) -> None:
    report = json.loads(run("demo", "--format", "json", "--save", "kept").out)
    ran = run(
        *(report["requested_app_id"], "--bundle", "kept/bundle", "--format", "json"),
        *("--trust-bundle", report["bundle_digest"], "--at", report["evaluated_at"]),
    )
    assert ran.code == 4
    statuses = {check["id"]: check["status"] for check in json.loads(ran.out)["checks"]}
    assert statuses["hardware.quote"] == "fail"
