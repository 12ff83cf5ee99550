"""Copies of this project, and an index on loopback to install them from.

The pinned files are fetched once from the real index, by child processes, which the guard against
foreign addresses does not see: so these tests stand behind a marker, and `make release` runs them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from tests.release.local_index import serve

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / "tests" / "release" / "requirements.txt"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this directory belongs to `make release`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.release)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine on which nobody has done anything yet: an empty home, no cache, one index."""

    home: Path
    index: str

    def environment(self, view: str = "pinned") -> dict[str, str]:
        """What a new login there would have set."""
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.index}/{view}/simple",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_DEFAULT_INDEX": f"{self.index}/{view}/simple",
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON": sys.executable,
        }

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        view: str = "pinned",
        seconds: float = 900,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` there, to its end."""
        return subprocess.run(
            [str(each) for each in command],
            cwd=cwd or self.home,
            env={**self.environment(view), **more},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """Its standard output, where it exited with 0."""
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def copy_project(target: Path) -> Path:
    """What a checkout holds, as it stands in the work tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every pinned file for this Python and machine, from the real index."""
    target = tmp_path_factory.mktemp("files")
    for lock in (ROOT / "requirements-dev.txt", TOOLS):
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"),
                *("--only-binary", ":all:", "--dest", str(target), "--requirement", str(lock)),
            ],
            check=True,
        )
    return target


@pytest.fixture(scope="session")
def index(files: Path) -> Iterator[str]:
    """The address of the local index."""
    with serve(files) as address:
        yield address


@pytest.fixture
def machine(index: str, tmp_path: Path) -> Machine:
    """A machine of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home, index)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project that was not set up."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def tools(index: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with what builds, checks and runs releases."""
    place = tmp_path_factory.mktemp("tools")
    (place / "home").mkdir()
    there = Machine(place / "home", index)
    succeed(there.run(sys.executable, "-m", "venv", place / "venv"))
    pinned = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", TOOLS)
    succeed(there.run(place / "venv" / "bin" / "pip", "install", "-qq", *pinned))
    return place / "venv" / "bin"


@pytest.fixture(scope="session")
def release(tools: Path, index: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and an sdist that were built from this project's files."""
    place = tmp_path_factory.mktemp("release")
    (place / "home").mkdir()
    source = copy_project(place / "project")
    built = Machine(place / "home", index).run(tools / "python", "-m", "build", source)
    succeed(built)
    return source / "dist"
