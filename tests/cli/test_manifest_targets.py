"""`lint`, `diff` and `stage` of a running app, over real HTTP, and of the bundle that it left."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.cli.test_live import on_localhost
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build
from verifier.model.identifiers import format_time


@pytest.fixture
def world() -> World:
    return build(Knobs(now=int(time.time())))  # noqa: TID251 - the command reads the clock too


def reach(world: World, port: int, root: Path) -> list[str]:
    """Where to ask."""
    kms = f"http://kms.localhost:{port}".encode()
    root.write_bytes(world.reference().replace(b"https://kms.gw.lab.invalid", kms))
    base = f"http://localhost:{port}"
    return [
        *("--gateway", base, "--pccs-url", f"{base}/pcs", "--unsafe-root", str(root)),
        *("--rpc-url", f"{base}/a/", "--rpc-url", f"http://127.0.0.1:{port}/b/"),
    ]


NO_CACHE = "--no-cache"


def test_the_measured_manifest_of_a_running_app_is_linted(
    run: Run, world: World, tmp_path: Path
) -> None:
    with on_localhost(world) as port:
        ran = run(
            "lint", NO_CACHE, world.app_id, *reach(world, port, tmp_path / "r"), "--format", "json"
        )
    assert ran.err == ""
    (file,) = json.loads(ran.out)["files"]
    assert file["notes"] == ["this manifest was measured: application.manifest passes"]
    decided = {item["rule"] for item in file["not_evaluable"]}
    assert not {"MAN-001", "KMS-005", "KMS-008", "KMS-010", "PLT-001", "RUN-001"} & decided
    assert ran.code == file["exit_code"]


def test_what_is_only_shown_is_said_to_be(run: Run, world: World, tmp_path: Path) -> None:
    with on_localhost(world, silent=("/pcs/",)) as port:
        ran = run(
            "lint", NO_CACHE, world.app_id, *reach(world, port, tmp_path / "r"), "--format", "json"
        )
    notes = [note for file in json.loads(ran.out)["files"] for note in file["notes"]]
    assert any("not proven to be what runs" in note for note in notes)


def test_an_app_that_does_not_answer(run: Run, world: World, tmp_path: Path) -> None:
    with on_localhost(world, silent=("/",)) as port:
        asked = reach(world, port, tmp_path / "r")
        linted = run("lint", NO_CACHE, world.app_id, *asked)
        compared = run("diff", world.app_id, world.app_id, *asked)
        staged = run("stage", NO_CACHE, world.app_id, *asked)
    assert (linted.code, compared.code, staged.code) == (3, 3, 3)
    assert "no manifest" in linted.err
    for ran in (linted, compared, staged):
        assert "Traceback" not in ran.err
    assert "Stage 1" not in staged.out


def test_a_running_app_against_the_file_that_was_deployed(
    run: Run, world: World, tmp_path: Path
) -> None:
    with on_localhost(world) as port:
        asked = reach(world, port, tmp_path / "r")
        run(world.app_id, NO_CACHE, *asked, "--save", tmp_path / "saved", "--format", "json")
        shown = run("lint", tmp_path / "saved", "--format", "json", "--unsafe-root", tmp_path / "r")
        manifest = tmp_path / "app-compose.json"
        edited = tmp_path / "edited.json"
        manifest.write_text(manifest_text(world.knobs), encoding="utf-8")
        edited.write_text(
            manifest_text(world.knobs).replace("lab-app", "another"), encoding="utf-8"
        )
        same = run("diff", manifest, world.app_id, *asked, "--format", "json")
        other = run("diff", edited, world.app_id, *asked, "--min-severity", "info")
    assert same.code == 0
    comparison = json.loads(same.out)["comparisons"][0]
    assert comparison["identical"]
    assert json.loads(same.out)["documents"][1]["facts"]["compose_hash"]["basis"] == "measured"
    assert other.code == 4
    assert json.loads(shown.out)["files"][0]["sha256"]


def test_the_stage_of_a_running_app_and_of_its_bundle(
    run: Run, world: World, tmp_path: Path
) -> None:
    saved, root = tmp_path / "saved", tmp_path / "r"
    with on_localhost(world) as port:
        asked = reach(world, port, root)
        audited = run(world.app_id, NO_CACHE, *asked, "--save", saved, "--format", "json")
        live = run("stage", NO_CACHE, world.app_id, *asked, "--format", "json")
    digest = json.loads(audited.out)["bundle_digest"]
    document = json.loads(live.out)
    assert document["schema"] == "dstack-audit/stage/v1"
    assert document["stage"] != 1
    assert live.code == {0: 4, None: 3}[document["stage"]]
    assert [item["number"] for item in document["requirements"]] == list(range(1, 8))
    offline = run(
        *("stage", saved, "--trust-bundle", f"sha256:{digest}", "--unsafe-root", root),
        *("--at", format_time(world.now)),
    )
    assert offline.code in (3, 4)
    assert "SIMULATED" in offline.out
    assert "Stage 1" not in offline.out
    assert all(f"\n{number}. " in offline.out for number in range(1, 8))


@pytest.mark.parametrize("command", ["lint", "stage", "diff"])
def test_what_names_nothing_is_a_usage_error(run: Run, command: str) -> None:
    ran = run(command, "nothing", *(["nothing"] if command == "diff" else []))
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_file_that_is_not_there_is_never_asked_for_on_the_network(run: Run) -> None:
    for command in (("lint", "app-compose.json"), ("diff", "a.json", "b.yaml")):
        ran = run(*command)
        assert ran.code == 2
        assert "there is no such file" in ran.err
