"""Wheel and sdist: built, checked, and run as their users run them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.release.conftest import ROOT, Machine, copy_project, succeed
from tests.release.local_index import serve

DEMO: Final = ROOT / "reports" / "demo.json"


def wheel_of(release: Path) -> Path:
    (wheel,) = release.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def own_index(
    files: Path, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An index that has this project's release too."""
    place = tmp_path_factory.mktemp("index")
    for file in (*files.iterdir(), *release.iterdir()):
        (place / file.name).symlink_to(file)
    with serve(place) as address:
        yield address


@pytest.fixture
def commit(machine: Machine, tmp_path: Path) -> str:
    """The address of a commit that holds this work tree."""
    source = copy_project(tmp_path / "repository")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "State")):
        identity = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
        succeed(machine.run("git", *identity, *command, cwd=source))
    head = succeed(machine.run("git", "rev-parse", "HEAD", cwd=source)).strip()
    return f"git+file://{source}@{head}"


def test_wheel_and_sdist_are_well_formed(machine: Machine, tools: Path, release: Path) -> None:
    files = sorted(release.iterdir())
    assert [each.suffix for each in files] == [".whl", ".gz"]
    succeed(machine.run(tools / "twine", "check", "--strict", *files))


def test_a_release_is_installed_by_name(machine: Machine, own_index: str, tmp_path: Path) -> None:
    """From an index of one's own: on the public one, the name is not registered."""
    succeed(machine.run(sys.executable, "-m", "venv", tmp_path / "venv"))
    command = tmp_path / "venv" / "bin"
    where = f"{own_index}/pinned/simple"
    install = (command / "pip", "install", "-qq", "--only-binary", ":all:", "dstack-audit")
    succeed(machine.run(*install, more={"PIP_INDEX_URL": where}))
    output = machine.home / "demo.json"
    for name in ("verify", "dstack-audit"):
        succeed(machine.run(command / name, "demo", "--format", "json", "-o", output))
        assert output.read_bytes() == DEMO.read_bytes()
        output.unlink()


def demo(machine: Machine, *runner: str | Path) -> None:
    output = machine.home / "demo.json"
    succeed(machine.run(*runner, "dstack-audit", "demo", "--format", "json", "-o", output))
    assert output.read_bytes() == DEMO.read_bytes()
    usage = machine.run(*runner, "dstack-audit", "no-such-thing")
    assert usage.returncode == 2, usage.stderr


def test_uvx_runs_the_wheel(machine: Machine, tools: Path, release: Path) -> None:
    demo(machine, tools / "uvx", "--from", wheel_of(release))


def test_uvx_runs_a_commit(machine: Machine, tools: Path, commit: str) -> None:
    demo(machine, tools / "uvx", "--from", commit)


def test_pipx_runs_a_commit(machine: Machine, tools: Path, commit: str) -> None:
    demo(machine, tools / "pipx", "run", "--spec", commit)
