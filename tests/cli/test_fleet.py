"""`verify fleet`: lists, results that are resumed, and how it ends."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.cli.command import PROGRAM, Run
from verifier.api import Sources, collect_evidence
from verifier.cli.fleet_given import digests_vouched
from verifier.cli.question import simulated_question
from verifier.evidence import bundle as bundles
from verifier.lab.world import build
from verifier.model.identifiers import format_time
from verifier.report.audit.json import canonical_json

SCHEMA: Final = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs/schema/fleet-v1.schema.json").read_bytes())
)
APP_ID: Final = build().app_id
JUDGED: Final = {"report_digest": "ab" * 32, "evaluated_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def listed(run: Run, tmp_path: Path) -> tuple[Run, list[str]]:
    """The command, and the arguments that audit a list: good, torn, bad, repeated and missing."""
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False)
    evidence = collect_evidence(question, sources, lambda: world.now)
    for number in range(6):
        bundles.save(evidence, tmp_path / f"{number}.tar")
    torn = tmp_path / "3.tar"
    torn.write_bytes(torn.read_bytes()[:40_000])
    (tmp_path / "reference.json").write_bytes(world.reference())
    (tmp_path / "digests.txt").write_text(f"# mine\nsha256:{evidence.digest}\n")
    rows = [f"{world.app_id}@{number}.tar  app {number}" for number in range(6)]
    (tmp_path / "list.txt").write_text("\n".join([*rows, "0123", f"{rows[0]}", "nowhere.tar"]))
    options = ["--vouch-for", "digests.txt", "--at", format_time(world.now)]
    root = ["--unsafe-root", "reference.json", "--workers", "1"]
    return run, ["fleet", "list.txt", *options, *root]


def test_the_command_ends_as_its_worst_app_and_goes_on_where_it_was_torn(
    listed: tuple[Run, list[str]], tmp_path: Path
) -> None:
    run, arguments = listed
    first = run(*arguments, "-o", "results.jsonl", "--reports", "reports", "-v")
    assert first.code == 3
    assert "8 apps [simulated]: 5 affirming, 1 refused without a report, 2 unreadable" in first.out
    assert "line 7 names no app" in first.err
    assert "line 8 names the app of line 1" in first.err
    whole = (tmp_path / "results.jsonl").read_bytes()
    assert len(list((tmp_path / "reports").iterdir())) == 1
    rows = [json.loads(row) for row in whole.splitlines()]
    for row in rows:
        SCHEMA.validate(row)
    assert [row["target"] for row in rows[1:3]] == ["0123", f"{APP_ID}@0.tar"]
    again = run(*arguments, "-o", "results.jsonl")
    assert (again.code, "exists already" in again.err) == (2, True)
    other = run(*arguments, "-o", "results.jsonl", "--resume", "--policy", "genuine")
    assert (other.code, "asked something else" in other.err) == (2, True)
    (tmp_path / "results.jsonl").write_bytes(whole[:-100])
    resumed = run(*arguments, "-o", "results.jsonl", "--resume", "--format", "json")
    assert resumed.code == 3
    assert (tmp_path / "results.jsonl").read_bytes() == whole
    assert len(resumed.out.splitlines()) < len(whole.splitlines()) - 3


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda raw: raw.replace(b'"accepted":false', b'"accepted":true', 1), "line 2"),
        (lambda raw: raw + b"{}\n", "line 3"),
        (lambda _: b"not results\n", "line 1"),
        (lambda _: b'{"schema":"dstack-audit/report/v1"}\n', "no results of a fleet"),
    ],
)
def test_a_file_that_no_run_wrote_is_refused(
    call: Run, tmp_path: Path, spoil: object, said: str
) -> None:
    (tmp_path / "list.txt").write_text("nowhere at all\n")
    assert call("fleet", "list.txt", "-o", "r.jsonl", "--at", "2026-01-01").code == 3
    path = tmp_path / "r.jsonl"
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    ran = call("fleet", "list.txt", "-o", "r.jsonl", "--resume")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


@pytest.mark.parametrize(
    "other",
    [
        {"accepted": True},
        {"accepted": True, "verdict": "affirming"},
        {"accepted": True, "verdict": "affirming", **JUDGED, "report_digest": None},
        {"accepted": True, "verdict": "warning", **JUDGED, "evaluated_at": None},
        {"accepted": True, "verdict": "contraindicated", **JUDGED},
        {"accepted": True, **JUDGED},
        {"accepted": False},
    ],
)
def test_a_line_that_no_audit_can_write_is_not_believed(
    call: Run, tmp_path: Path, other: dict[str, object]
) -> None:
    (tmp_path / "list.txt").write_text("nowhere at all\n")
    assert call("fleet", "list.txt", "-o", "r.jsonl", "--at", "2026-01-01").code == 3
    path = tmp_path / "r.jsonl"
    first, row = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + canonical_json(json.loads(row) | {"cause": None} | other) + b"\n")
    ran = call("fleet", "list.txt", "-o", "r.jsonl", "--resume")
    assert (ran.code, ran.out) == (2, "")
    assert "line 2 is no result that this version writes" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.txt",), "there is no such file"),
        (("empty.txt",), "it names no app"),
        (("folder",), "there is no bundle in it"),
        (("list.txt", "--resume"), "--resume needs the file of results"),
        (("list.txt", "--engine", "ray://x"), "is no engine"),
        (("apps.txt", "--offline"), "--offline: line 2 names"),
        (("list.txt", "--vouch-for", "list.txt"), "is no digest"),
        (("list.txt", "-o", "nowhere/r.jsonl"), "is no directory"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(
    call: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "list.txt").write_text("some.tar\n")
    (tmp_path / "apps.txt").write_text("\n" + "ab" * 20 + "\n")
    ran = call("fleet", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


@pytest.mark.parametrize("resume", [(), ("--resume",)])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_takes_no_results(
    run: Run, tmp_path: Path, resume: tuple[str, ...], *, linked: bool
) -> None:
    (tmp_path / "list.txt").write_text("nowhere.tar\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    ran = run("fleet", "list.txt", "-o", "link" if linked else "pipe", *resume)
    assert (ran.code, ran.out) == (2, "")
    assert "it is no regular file" in ran.err
    assert "--format json" in ran.err
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_results_go_where_a_link_leads_and_it_stays_one(call: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("nowhere.tar\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/results.jsonl").touch()
    (tmp_path / "link").symlink_to("folder/results.jsonl")
    assert call("fleet", "list.txt", "-o", "link", "--at", "2026-01-01").code == 3
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "folder/results.jsonl").read_bytes().splitlines()) == 2
    assert [item.name for item in (tmp_path / "folder").iterdir()] == ["results.jsonl"]


def test_no_results_are_written_through_a_link_that_somebody_put_there(
    call: Run, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("nowhere.tar\n")
    (tmp_path / "results.jsonl").touch(0o600)
    theirs = tmp_path / "theirs"
    theirs.write_text("mine")
    whole = hashlib.sha256()

    def planted(name: str) -> None:
        (tmp_path / name).symlink_to("theirs")

    planted("results.jsonl.part")
    ran = call("fleet", "list.txt", "-o", "results.jsonl", "--at", "2026-01-01")
    heading = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)[0]
    whole.update(heading + bytes((tmp_path / "results.jsonl").resolve()))
    planted(part := f".{whole.hexdigest()[:16]}.part")
    again = call("fleet", "list.txt", "-o", "results.jsonl", "--at", "2026-01-01", "--resume")
    assert (ran.code, again.code) == (3, 3)
    assert theirs.read_text() == "mine"
    assert not (tmp_path / part).is_symlink()
    assert (tmp_path / "results.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", ["\r", "\v", "\x85", "\u2028", "\0"])
def test_no_app_of_a_list_is_lost_without_a_word(call: Run, tmp_path: Path, end: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{APP_ID}@one.tar{end}{APP_ID}@two.tar", encoding="utf-8", newline="")
    ran = call("fleet", "list.txt", "-o", "r.jsonl", "--at", "2026-01-01")
    assert ran.code == 3
    rows = (tmp_path / "r.jsonl").read_bytes().splitlines()[1:]
    assert len(rows) == 2 if end == "\r" else "line 1 names no app: it holds U+" in ran.err


def test_nobody_vouches_in_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "digests.txt"
    path.write_text(f"# not\u2028{'ab' * 32}\r{'cd' * 32}\r", encoding="utf-8", newline="")
    assert digests_vouched(path, "") == {"cd" * 32}


def test_two_runs_write_no_file_together(call: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("some.tar\n")
    with (tmp_path / "r.jsonl").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        ran = call("fleet", "list.txt", "-o", "r.jsonl")
    assert (ran.code, ran.out) == (2, "")
    assert "r.jsonl: another run is writing it" in ran.err


@pytest.mark.skipif(find_spec("distributed") is not None, reason="Dask is installed")
def test_the_extra_is_named_where_it_is_not_installed(call: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("some.tar\n")
    ran = call("fleet", "list.txt", "--engine", "dask://127.0.0.1:9")
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'dstack-audit[dask]'" in ran.err


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.0.1:abc", "127.0.0.1:0", "127.0.0.1:65536", "tls://a:1", "a:1/x"],
)
def test_what_is_no_address_of_a_scheduler(call: Run, tmp_path: Path, address: str) -> None:
    (tmp_path / "list.txt").write_text("some.tar\n")
    ran = call("fleet", "list.txt", "--engine", f"dask://{address}")
    assert (ran.code, ran.out) == (2, "")
    assert "no address of a scheduler" in ran.err


def test_ctrl_c_keeps_what_is_finished_and_leaves_nobody_behind(
    listed: tuple[Run, list[str]], tmp_path: Path
) -> None:
    _, arguments = listed
    for number in range(6, 30):
        (tmp_path / f"{number}.tar").hardlink_to(tmp_path / "0.tar")
    (tmp_path / "list.txt").write_text("\n".join(f"{APP_ID}@{number}.tar" for number in range(30)))
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, "-o", "results.jsonl"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    results = tmp_path / "results.jsonl"
    for _ in range(600):
        if results.exists() and results.read_bytes().count(b"\n") > 2:
            break
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    # The pipes are closed by the last process that holds them: the worker is gone, too.
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130
    finished = results.read_bytes().count(b"\n") - 1
    assert f"the results of {finished} apps of this run are in results.jsonl" in err.decode()
    assert "Traceback" not in err.decode()
    assert 2 <= finished < 30
