"""`verify log`: whole logs are proven and shown, and of others it is said what was done to them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.watch.logs import KEY, OTHER_KEY, entry, write
from verifier.watch.log.merkle import is_included


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write(tmp_path / "log", 3)
    (tmp_path / "before").write_bytes((tmp_path / "log/checkpoint").read_bytes())
    write(tmp_path / "log", 4)
    return tmp_path / "log"


def test_a_whole_log_is_proven_to_go_on_from_before(call: Run, log: Path) -> None:
    ran = call("log", "check", log, "--since", "before", "--log-key", str(KEY.verifier))
    assert ran.code == 0
    assert "7 entries give the signed root" in ran.out
    assert "from the checkpoint of 3 entries" in ran.out
    assert "lies beside" not in ran.out


def test_a_key_that_lies_beside_the_log_is_said_to(call: Run, log: Path) -> None:
    ran = call("log", "check", log)
    assert ran.code == 0
    assert "--log-key" in ran.out


def test_entries_are_shown_with_proofs(call: Run, log: Path) -> None:
    ran = call("log", "show", log, "--first", "5", "--proofs")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [(row["index"], row["entry"]) for row in rows] == [
        (number, json.loads(entry(number))) for number in (5, 6)
    ]
    for row in rows:
        path = [bytes.fromhex(item) for item in row["proof"]]
        leaf, root = bytes.fromhex(row["leaf"]), bytes.fromhex(row["root"])
        assert is_included(leaf, row["index"], row["size"], path, root)


def test_a_log_that_was_changed_is_refused_and_not_shown(call: Run, log: Path) -> None:
    path = log / "tile/entries/000.p/7"
    path.write_bytes(path.read_bytes().replace(entry(2), entry(9)))
    for action in ("check", "show"):
        ran = call("log", action, log)
        assert (ran.code, ran.out) == (4, "")
        assert "rewritten: tile/0/000.p/7: entry 2" in ran.err


def _pipe(path: Path, _: int) -> None:
    os.mkfifo(path)


def _linked_pipe(path: Path, _: int) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def _directory(path: Path, _: int) -> None:
    path.mkdir()


def _overlong(path: Path, most: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(most + 1)


def _endless(path: Path, _: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


@pytest.mark.parametrize("put", [_pipe, _linked_pipe, _directory, _overlong, _endless])
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("checkpoint", 1 << 16),
        ("tile/entries/000", 256 * ((1 << 16) + 1)),
        ("tile/entries/001.p/4", 4 * ((1 << 16) + 1)),
        ("tile/0/000", 8192),
        ("tile/0/001.p/4", 4 * 32),
        ("tile/1/000.p/1", 32),
    ],
)
def test_no_file_of_a_copied_log_holds_a_check_up(
    run: Run, tmp_path: Path, put: Callable[[Path, int], None], name: str, most: int
) -> None:
    write(tmp_path / "log", 260)
    path = tmp_path / "log" / name
    path.unlink()
    put(path, most)
    ran = run("log", "check", "log")
    assert (ran.code, ran.out) == (4, "")
    assert f"torn: log/{name}: " in ran.err
    assert ("no regular file" in ran.err) == (put not in {_overlong, _endless})


def test_a_wider_tile_that_somebody_put_there_holds_nobody_up(run: Run, log: Path) -> None:
    (log / "tile/entries/000.p/7").unlink()
    os.mkfifo(log / "tile/entries/000.p/9")
    ran = run("log", "check", "log")
    assert (ran.code, "torn: log/tile/entries/000.p/9" in ran.err) == (4, True)


def test_a_forked_log_and_a_foreign_key_are_named(call: Run, tmp_path: Path, log: Path) -> None:
    write(tmp_path / "fork", 3, first=1)
    ran = call("log", "check", log, "--since", tmp_path / "fork/checkpoint")
    assert ran.code == 4
    assert "forked" in ran.err
    ran = call("log", "check", log, "--log-key", str(OTHER_KEY.verifier))
    assert ran.code == 4
    assert "another-key" in ran.err


def test_what_is_no_log_is_one_line(call: Run, tmp_path: Path, log: Path) -> None:
    assert call("log", "check", "nowhere").code == 2
    assert call("log", "check", log, "--log-key", "a+b+c").code == 2
    assert call("log", "check", log, "--since", log / "log.vkey").code == 2
    (tmp_path / "empty").mkdir()
    assert call("log", "check", "empty").code == 2
    assert call("log", "check", "empty", "--log-key", str(KEY.verifier)).code == 3
