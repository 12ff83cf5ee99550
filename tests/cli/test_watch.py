"""`verify watch`: rounds over bundles, who is told, how it ends."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM, Ran, Run
from tests.cli.test_live import on_localhost, options
from tests.worlds.audited import audit
from verifier.cli.commands.watch import _Stop
from verifier.evidence.bundle import save
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build
from verifier.model.identifiers import format_time


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """A directory with two bundles of one app, before and after an upgrade, and its world."""
    folder = tmp_path_factory.mktemp("worlds")
    before = audit(Knobs())
    save(before.bundle, folder / "before")
    save(audit(Knobs(app_name="renamed")).bundle, folder / "after")
    (folder / "reference.json").write_bytes(before.world.reference())
    return folder, before.world


def watch(call: Run, places: tuple[Path, World], *more: str | Path) -> Ran:
    folder, world = places
    return call(
        *("watch", "apps.txt", "--log", "log", "--once", "--policy", "genuine", "--misses", "2"),
        *("--unsafe-root", folder / "reference.json", "--at", format_time(world.now)),
        *("--workers", "0"),
        *more,
    )


def test_rounds_tell_what_changed_and_log_it(
    call: Run, tmp_path: Path, places: tuple[Path, World]
) -> None:
    app_id = places[1].app_id
    lines = f"# ours\n{app_id}@app  shop\n{app_id}@app again\n"
    (tmp_path / "apps.txt").write_text(lines, encoding="utf-8")
    app = tmp_path / "app"
    said = []
    for now in ("before", "before", None, None, "after", "before"):
        shutil.rmtree(app, ignore_errors=True)
        if now is not None:
            shutil.copytree(places[0] / now, app)
        ran = watch(call, places, "--format", "json", "--alerts", "alerts.jsonl")
        assert ran.code == (3 if now is None else 5)  # nobody vouches for a bundle's times
        assert "line 3 repeats line 2" in ran.err
        said += [json.loads(line) for line in ran.out.splitlines()]
    assert [(item["id"], item["kind"]) for item in said] == [
        ("0.0", "first-seen"),
        ("3.0", "outage"),
        ("4.0", "manifest"),
        ("4.1", "recovery"),
        ("5.0", "manifest"),
    ]
    assert "earlier manifest" in said[-1]["text"]
    assert all(item["anchor"] == "simulated" and "simulated" in item["text"] for item in said)
    kept = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in kept] == said
    checked = call("log", "check", "log")
    assert checked.code == 0
    assert "6 entries" in checked.out
    shown = call("log", "show", "log", "--first", "5").out.splitlines()
    assert json.loads(shown[0])["entry"]["name"] == "shop"


def test_a_live_app_is_watched_through_an_outage(run: Run, tmp_path: Path) -> None:
    world = build(Knobs(now=int(time.time())))  # noqa: TID251 - the command reads the clock too
    (tmp_path / "apps.txt").write_text(f"{world.app_id} shop\n", encoding="utf-8")
    how = ("watch", "apps.txt", "--log", "log", "--once", "--misses", "1", "--no-cache")
    root = tmp_path / "reference.json"
    with on_localhost(world) as port:
        ran = run(*how, *options(world, port, root)[1:])
    assert ran.code == 0
    assert json.loads(ran.out)["text"].startswith("shop: now watched.")
    with on_localhost(world, silent=("/",)) as port:
        ran = run(*how, *options(world, port, root)[1:], "--timeout", "3", "--workers", "0")
    assert ran.code == 3
    assert json.loads(ran.out)["kind"] == "outage"


def test_each_app_of_a_project_has_its_own_settings(run: Run, tmp_path: Path) -> None:
    world = build(Knobs(now=int(time.time())))  # noqa: TID251 - the command reads the clock too
    project = tmp_path / "ours.toml"
    root = tmp_path / "reference.json"
    with on_localhost(world) as port:
        given = options(world, port, root)[1:]
        place = given.index("--policy")
        policy, given = given[place + 1], [*given[:place], *given[place + 2 :]]
        verdicts = []
        for number, own in enumerate(("", f'expect.compose_hash = ["{"00" * 32}"]')):
            project.write_text(f'[apps.shop]\nid = "{world.app_id}"\npolicy = "{policy}"\n{own}\n')
            ran = run("watch", project, "--log", f"log{number}", "--once", "--no-cache", *given)
            assert ran.out, ran.err
            verdicts.append((ran.code, json.loads(ran.out)["verdict"]))
        ran = run(
            "watch", project, "--log", "log2", "--once", "--no-cache", *given, "--policy", "x"
        )
        assert (ran.code, "x" in ran.err) == (2, True)
    assert verdicts == [(0, "affirming"), (4, "contraindicated")]


def test_one_app_by_two_names_is_refused(run: Run, tmp_path: Path) -> None:
    project = tmp_path / "ours.toml"
    app = f'id = "{"11" * 20}"'
    project.write_text(f'[apps.a]\n{app}\npolicy = "strict"\n[apps.b]\n{app}\npolicy = "genuine"\n')
    ran = run("watch", project, "--log", "log", "--once")
    assert ran.code == 2
    assert "[apps.a] and [apps.b] are one app" in ran.err


@pytest.mark.parametrize(
    ("damaged", "told", "code"),
    [
        ("tile/entries/000.p/1", "log: tile/entries/000.p/1: cut off in entry 0", 3),
        ("tile/0/000.p/1", "log: tile/0/000.p/1: 10 bytes", 3),
        ("checkpoint", "log: it is no checkpoint", 3),
        ("private/state.json", "log/private/state.json: it is no state of a watch", 3),
        ("private/log.key", "log/private/log.key is no private key", 2),
    ],
)
def test_a_file_of_the_log_that_is_cut_off_is_one_line(  # noqa: PLR0913, PLR0917 - a table of cases
    call: Run, tmp_path: Path, places: tuple[Path, World], damaged: str, told: str, code: int
) -> None:
    (tmp_path / "apps.txt").write_text(f"{places[0] / 'before'}\n", encoding="utf-8")
    assert watch(call, places).code == 3
    path = tmp_path / "log" / damaged
    path.write_bytes(path.read_bytes()[:10])
    before = sorted(tmp_path.rglob("*"))
    ran = watch(call, places)
    assert (ran.code, told in ran.err, "Traceback" in ran.err) == (code, True, False), ran.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("change", [{"root": "zz"}, {"size": -5}])
def test_a_state_that_was_changed_is_one_line_that_says_what_to_do(
    call: Run, tmp_path: Path, places: tuple[Path, World], change: dict[str, object]
) -> None:
    (tmp_path / "apps.txt").write_text(f"{places[0] / 'before'}\n", encoding="utf-8")
    watch(call, places)
    place = tmp_path / "log/private/state.json"
    place.write_text(json.dumps(json.loads(place.read_bytes()) | change), encoding="utf-8")
    ran = watch(call, places)
    assert ran.code == 3
    assert "log/private/state.json: it is no state of a watch" in ran.err
    assert "remove it, and it is made again from the log" in ran.err


def test_a_log_without_its_key_gets_no_other(
    call: Run, tmp_path: Path, places: tuple[Path, World]
) -> None:
    (tmp_path / "apps.txt").write_text(f"{places[0] / 'before'}\n", encoding="utf-8")
    watch(call, places)
    key = tmp_path / "log" / "private" / "log.key"
    key.rename(tmp_path / "kept.key")
    ran = watch(call, places)
    assert (ran.code, "--key" in ran.err, key.exists()) == (2, True, False)
    assert watch(call, places, "--key", "kept.key").code == 3


def test_an_alert_that_nobody_took_waits(
    call: Run, tmp_path: Path, places: tuple[Path, World]
) -> None:
    (tmp_path / "apps.txt").write_text(f"{places[0] / 'before'}\n", encoding="utf-8")
    ran = watch(call, places, "--exec", "false")
    assert ran.code == 3
    assert "1 alerts wait" in ran.err
    ran = watch(call, places, "--exec", "true")
    assert (ran.out, "wait" in ran.err) == ("", False)


def test_lines_that_name_no_app_are_said_and_keep_none_from_being_audited(
    call: Run, tmp_path: Path, places: tuple[Path, World]
) -> None:
    lines = f"abcd\n{places[0] / 'before'}\nhttps://user@host.example/\n"
    (tmp_path / "apps.txt").write_text(lines, encoding="utf-8")
    ran = watch(call, places)
    assert ran.code == 3
    assert "line 1" in ran.err
    assert "line 3" in ran.err
    assert "now watched" in ran.out


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--webhook", "https://h.example/x"), "needs a secret"),
        (("--webhook", "nonsense", "--webhook-key", "whsec_AAAAAAAAAAAAAAAAAAAAAA=="), "no URL"),
        (("--log-name", "two words"), "no name of a log"),
        (("--key", "apps.txt"), "no private key"),
        (("--exec", "a 'b"), "--exec"),
        (("--log", "apps.txt"), "cannot write"),
    ],
)
def test_a_mistake_is_one_line(
    call: Run, tmp_path: Path, places: tuple[Path, World], wrong: tuple[str, ...], told: str
) -> None:
    (tmp_path / "apps.txt").write_text(f"{places[0] / 'before'}\n", encoding="utf-8")
    ran = watch(call, places, *wrong)
    assert ran.code == 2
    assert told.removeprefix("no ") in ran.err
    assert "Traceback" not in ran.err


def test_a_wrong_option_accuses_no_app(call: Run, tmp_path: Path) -> None:
    (tmp_path / "apps.txt").write_text("11" * 20, encoding="utf-8")
    ran = call("watch", "apps.txt", "--log", "log", "--once", "--rpc-url", "nonsense")
    assert (ran.code, ran.out) == (2, "")
    assert not (tmp_path / "log/tile").exists()


@pytest.mark.parametrize("content", ["", "# nothing\n", "abcd\n"])
def test_a_list_without_apps_is_refused(
    call: Run, tmp_path: Path, places: tuple[Path, World], content: str
) -> None:
    (tmp_path / "apps.txt").write_text(content, encoding="utf-8")
    ran = watch(call, places)
    assert ran.code == 2
    assert "names no app" in ran.err


def test_sigterm_ends_a_watch_cleanly(
    tmp_path: Path, places: tuple[Path, World], call: Run
) -> None:
    folder, world = places
    (tmp_path / "apps.txt").write_text(f"{folder / 'before'}\n", encoding="utf-8")
    arguments = ["watch", "apps.txt", "--log", "log", "--policy", "genuine", "--workers", "0"]
    arguments += ["--unsafe-root"]
    arguments += [str(folder / "reference.json"), "--at", format_time(world.now)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"now watched" in process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"stopped" in said
    assert b"Traceback" not in said
    assert call("log", "check", "log").code == 0


def test_nothing_ends_a_watch_between_its_log_and_what_follows() -> None:
    stop, done = _Stop(), list[str]()

    def take() -> None:
        with stop.held():
            stop(signal.SIGINT, None)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        take()
    assert done == ["written"]
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGTERM, None)
