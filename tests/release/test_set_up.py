"""`make` on a machine where nobody has done anything yet: today, later, and on bad days."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.release.conftest import ROOT, Machine, succeed

PINS: Final = re.compile(r"^([A-Za-z0-9][^=\s]*==\S+)", re.MULTILINE)
PYTHON: Final = f"PYTHON={sys.executable}"
DEMO: Final = ROOT / "reports" / "demo.json"


def demo_report(machine: Machine, command: Path) -> bytes:
    """What the demo of the installed command reports."""
    output = machine.home / "demo.json"
    succeed(machine.run(command, "demo", "--format", "json", "-o", output))
    return output.read_bytes()


def test_a_later_day_gives_the_environment_of_the_pins(machine: Machine, project: Path) -> None:
    """Also where the pinned files were withdrawn since."""
    succeed(machine.run("make", PYTHON, "develop", cwd=project, view="withdrawn"))
    python = project / ".venv" / "bin" / "python"
    frozen = succeed(machine.run(python, "-m", "pip", "freeze", "--all", "--exclude-editable"))
    installed = {each for each in frozen.split() if not re.match(r"(pip|setuptools)==", each)}
    pinned = set(PINS.findall((project / "requirements-dev.txt").read_text()))
    assert {each.lower().replace("_", "-") for each in installed} == {
        each.lower().replace("_", "-") for each in pinned
    }
    assert demo_report(machine, project / ".venv" / "bin" / "verify") == DEMO.read_bytes()


def test_the_later_day_stops_who_resolves_on_it(machine: Machine, project: Path) -> None:
    """Without `--no-deps` the same pins hold on the day of the lock alone: the day is simulated."""
    resolve = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed")
    pins = ("--only-binary", ":all:", "--require-hashes", "-r", project / "requirements-dev.txt")
    assert machine.run(*resolve, *pins, view="pinned").returncode == 0
    later = machine.run(*resolve, *pins, view="later")
    assert later.returncode != 0
    assert "all requirements must have their versions pinned" in later.stderr


def refused(done: subprocess.CompletedProcess[str], project: Path) -> str:
    """The one line of a set-up that failed, which leaves nothing that counts as done."""
    assert done.returncode != 0
    assert not list(project.glob(".venv/.installed-*"))
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_another_file_than_the_pinned_one_is_refused(machine: Machine, project: Path) -> None:
    done = machine.run("make", PYTHON, "setup", cwd=project, view="altered")
    assert "another file than the pinned one for rich==" in refused(done, project)


@pytest.mark.parametrize("view", ["broken", "slow", "gone"])
def test_an_index_that_does_not_answer(machine: Machine, project: Path, view: str) -> None:
    where = "http://127.0.0.1:9/simple" if view == "gone" else f"{machine.index}/{view}/simple"
    given = {"PIP_INDEX_URL": where, "PIP_DEFAULT_TIMEOUT": "2"}
    done = machine.run("make", PYTHON, "setup", cwd=project, more=given)
    assert "not answer" in refused(done, project)


def test_a_folder_that_cannot_be_written(machine: Machine, project: Path) -> None:
    """Root may write into any folder, so what refuses here is a file in the place of the folder."""
    (project / "taken").write_text("")
    done = machine.run("make", PYTHON, "VENV=taken/venv", "setup", cwd=project)
    assert "cannot be written" in refused(done, project)


def test_a_set_up_that_was_killed_begins_again(
    machine: Machine, project: Path, tmp_path: Path
) -> None:
    """Outside of a checkout that is read-only."""
    elsewhere = tmp_path / "elsewhere"
    command = ("make", PYTHON, f"VENV={elsewhere}", "setup")
    folders = [project, *(each for each in project.rglob("*") if each.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=machine.environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        while process.poll() is None and not list(elsewhere.glob("lib/*/site-packages/msgpack")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not list(elsewhere.glob(".installed-*"))
        succeed(machine.run(*command, cwd=project))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert demo_report(machine, elsewhere / "bin" / "verify") == DEMO.read_bytes()


def test_a_folder_of_somebody_else_is_left_alone(machine: Machine, project: Path) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "thesis.txt").write_text("mine")
    done = machine.run("make", PYTHON, "setup", cwd=project)
    assert "is no virtual environment" in refused(done, project)
    assert (project / ".venv" / "thesis.txt").read_text() == "mine"


def runs(python: str) -> bool:
    """Whether it starts: a version manager's shim may stand for a Python that is not chosen."""
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def test_a_python_that_is_too_old(machine: Machine, project: Path) -> None:
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
        "versions/3.[6-9]*/bin/python"
    )
    candidates = ["python3.10", "python3.9", "python3.8", *map(str, managed)]
    old = next((each for each in candidates if shutil.which(each) and runs(each)), None)
    if old is None:
        pytest.skip("no Python older than 3.11 is at hand")
    done = machine.run("make", f"PYTHON={old}", "setup", cwd=project)
    assert "Python 3.11 or later is needed" in refused(done, project)


def test_a_python_that_is_not_there(machine: Machine, project: Path) -> None:
    done = machine.run("make", "PYTHON=python3.99", "setup", cwd=project)
    assert "there is no python3.99" in refused(done, project)


def test_node_packages_without_npm(machine: Machine, project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh"):
        (tools / name).symlink_to(shutil.which(name) or pytest.fail(name))
    done = machine.run("make", "node", cwd=project, more={"PATH": str(tools)})
    assert "npm is needed" in refused(done, project)
