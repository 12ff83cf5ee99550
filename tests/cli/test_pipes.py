"""A pipe in the place of a file: nothing waits for it, and what a shell's `<(…)` gives is read."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import PROGRAM, Run

APP: Final = "ab" * 20
WRITTEN: Final = "nothing is written to it"
NO_FILE: Final = "it is no regular file"


@pytest.fixture
def pipes(tmp_path: Path) -> Path:
    """Pipes in the place of whatever a command reads."""
    for folder in ("manifests", "bundles"):
        (tmp_path / folder).mkdir()
    for name in ("p.json", "p.tar", "p.toml", "p.txt", "manifests/m.tar", "bundles/b.tar"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "list.txt").write_text("nowhere.tar\n")
    (tmp_path / "one.txt").write_text("p.tar\n")
    (tmp_path / "a.toml").write_text('extends = "p.toml"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("p.tar", 3, NO_FILE),
        (f"app {APP} --bundle p.tar", 3, NO_FILE),
        ("oci p.tar", 3, NO_FILE),
        ("image p.tar", 3, NO_FILE),
        ("fleet one.txt --format json", 3, ""),
        ("fleet bundles", 3, ""),
        ("fleet p.txt", 2, WRITTEN),
        ("fleet list.txt --vouch-for p.txt", 3, WRITTEN),
        ("fleet list.txt --policy ./p.toml", 2, WRITTEN),
        ("fleet list.txt --policy ./a.toml", 2, WRITTEN),
        ("fleet list.txt --unsafe-root p.json", 2, WRITTEN),
        ("fleet list.txt --image p.json", 2, WRITTEN),
        ("report p.json", 3, WRITTEN),
        ("import p.json -o out", 3, WRITTEN),
        ("lint p.json", 3, WRITTEN),
        ("watch list.txt --log log --webhook https://a.example --webhook-key p.txt", 2, WRITTEN),
    ],
)
def test_no_command_waits_for_a_pipe(
    run: Run, pipes: Path, command: str, code: int, said: str
) -> None:
    assert pipes.is_dir()
    ran = run(*command.split())
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_the_project_file_is_not_waited_for(run: Run, pipes: Path) -> None:
    assert pipes.is_dir()
    ran = run("nowhere.tar", VERIFY_PROJECT="p.toml")
    assert (ran.code, WRITTEN in ran.err) == (2, True)


def test_what_a_shell_gives_as_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_text('{"manifest_version":2,"runner":"docker-compose"}')
    shell = 'exec "$0" -c "$1" compose-hash <(sleep 1; cat app.json)'
    done = subprocess.run(
        ["bash", "-c", shell, sys.executable, PROGRAM],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    direct = subprocess.run(
        [sys.executable, "-c", PROGRAM, "compose-hash", "app.json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (direct.returncode, direct.stdout)
    assert b"pipe" not in done.stderr
