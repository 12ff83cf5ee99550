"""The pinned requirements are closed: nothing that a pinned package asks for, extras included, is
left to whatever release an index holds on the day of the set-up."""

import re
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = "dstack-audit"
PYTHONS: Final = ("3.11", "3.12", "3.13")
SYSTEMS: Final[dict[str, tuple[str, ...]]] = {
    "linux": ("Linux", "x86_64", "aarch64"),
    "darwin": ("Darwin", "x86_64", "arm64"),
}
LOCKS: Final[dict[str, tuple[str, ...]]] = {
    "requirements.txt": (),
    "requirements-dev.txt": ("dev",),
}
# What an editable installation asks the build backend for, which no metadata names.
BUILD: Final = ("hatchling", "editables")


def pins(lock: str) -> dict[NormalizedName, str]:
    lines = re.findall(r"^([A-Za-z0-9][^=\s]*)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def environments() -> Iterator[Environment]:
    for python in PYTHONS:
        for system, (name, *machines) in SYSTEMS.items():
            for machine in machines:
                yield {
                    **default_environment(),
                    "python_version": python,
                    "python_full_version": f"{python}.0",
                    "sys_platform": system,
                    "platform_system": name,
                    "platform_machine": machine,
                }


def unpinned(
    pinned: dict[NormalizedName, str], extras: tuple[str, ...], where: Environment
) -> set[str]:
    """Every requirement that is reached from the project and that the pins do not satisfy."""
    found = set()
    done = set()
    todo = [(PROJECT, extra) for extra in ("", *extras)] + [(name, "") for name in BUILD]
    while todo:
        name, extra = asked = todo.pop()
        if asked in done:
            continue
        done.add(asked)
        marks: dict[str, str | AbstractSet[str]] = {**where, "extra": extra}  # type: ignore[dict-item] # strings all
        for text in metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker and not wanted.marker.evaluate(marks):
                continue
            version = pinned.get(canonicalize_name(wanted.name))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                found.add(f"{name} wants {text}, pinned is {version}")
                continue
            todo += [(wanted.name, ""), *((wanted.name, other) for other in wanted.extras)]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_every_pinned_package_is_pinned(lock: str) -> None:
    for where in environments():
        assert not unpinned(pins(lock), LOCKS[lock], where), where


def test_a_requirement_that_only_an_extra_asks_for_is_missed() -> None:
    pinned = pins("requirements.txt")
    # `pydantic[email]`, two steps from the project.
    del pinned[canonicalize_name("email-validator")]
    assert any("email-validator" in each for each in unpinned(pinned, (), default_environment()))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pinned_package_takes_the_oldest_python_of_each_line(lock: str) -> None:
    for name in pins(lock):
        try:
            wanted = metadata.metadata(name)["Requires-Python"]
        except metadata.PackageNotFoundError:
            pytest.fail(f"{name} is pinned in {lock} and not installed")
        specifier = Requirement(f"python{wanted or ''}").specifier
        refused = [python for python in PYTHONS if not specifier.contains(f"{python}.0")]
        assert not refused, (name, wanted)


def test_what_is_installed_is_what_is_pinned() -> None:
    installed = {
        canonicalize_name(each.metadata["Name"]): each.version for each in metadata.distributions()
    }
    for name in (PROJECT, "pip", "setuptools"):  # venv brings the last two
        installed.pop(canonicalize_name(name), None)
    # Where `make oracle` ran, what it pins is there too.
    oracle = pins("tests/oracle/build.txt") | pins("tests/oracle/requirements.txt")
    added = {name: version for name, version in oracle.items() if name in installed}
    assert installed == pins("requirements-dev.txt") | added


def test_the_pins_of_the_auditor_are_those_of_the_workshop() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


def test_pip_finds_no_broken_requirement() -> None:
    check = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout


def test_every_place_that_installs_uses_the_one_way() -> None:
    places = [ROOT / name for name in ("Makefile", "README.md", "CONTRIBUTING.md")]
    places += [*ROOT.glob("docs/*.md"), *ROOT.glob(".github/workflows/*.yml")]
    for place in places:
        for line in place.read_text().replace("\\\n", " ").splitlines():
            without = "pip-tools" in line or "-latest/" in line  # not the auditor; on purpose
            if re.search(r"\bpip install\b", line) and not without:
                assert "--no-deps" in line, (place, line)
                assert "--require-hashes" in line or ".whl" in line, (place, line)
            assert not re.search(r"\b(uvx|pipx run|uv tool install) dstack-audit\b", line), (
                place,
                "the bare name is nobody's yet",
            )
