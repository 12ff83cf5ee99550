"""Wheel and sdist: the same bytes from every copy, with what their readers need."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from verifier.version import commit

ROOT = Path(__file__).parents[2]
SHIPPED = ("verifier", "docs")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", ".gitignore")


def built(source: Path, place: Path) -> dict[str, Path]:
    """What a build of these sources gives, by the end of its name."""
    command = (sys.executable, "-m", "hatchling", "build", "-d", str(place))
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.suffix: path for path in place.iterdir()}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Path]]:
    """Two builds, the second of a copy whose files have another age."""
    place = tmp_path_factory.mktemp("builds")
    copy = place / "copy"
    copy.mkdir()
    for name in SHIPPED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return [built(ROOT, place / "one"), built(copy, place / "two")]


@pytest.mark.parametrize("suffix", [".whl", ".gz"])
def test_two_builds_are_equal(builds: list[dict[str, Path]], suffix: str) -> None:
    one, two = (hashlib.sha256(build[suffix].read_bytes()).hexdigest() for build in builds)
    assert one == two


def test_schemas_and_rules_are_in_the_wheel(builds: list[dict[str, Path]]) -> None:
    with zipfile.ZipFile(builds[0][".whl"]) as wheel:
        names = set(wheel.namelist())
    shared = {name.partition(".data/data/share/")[2] for name in names} - {""}
    schemas = {f"dstack-audit/schema/{path.name}" for path in (ROOT / "docs/schema").iterdir()}
    rules = {f"dstack-audit/rules/{path.name}" for path in (ROOT / "docs/rules").glob("*.md")}
    assert shared == {"man/man1/verify.1"} | schemas | rules
    assert not [name for name in names if "pycache" in name or "/tests/" in name]


def test_the_version_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = tuple(letter * 40 for letter in "abc")
    git = tmp_path / "a checkout" / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(f"{commits[0]}\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{commits[1]} refs/heads/old\n")
    editable = {"url": git.parent.as_uri(), "dir_info": {"editable": True}}
    told = {"url": "https://repository.example", "vcs_info": {"commit_id": commits[2]}}

    def recorded(document: object) -> str:
        class Recorded:
            """What an installer left."""

            def read_text(self, _: str) -> str:
                """The record."""
                return json.dumps(document)

        monkeypatch.setattr(metadata, "distribution", lambda _: Recorded())
        return commit()

    assert recorded(told) == commits[2]
    for head, expected in (
        ("ref: refs/heads/main\n", commits[0]),
        ("ref: refs/heads/old\n", commits[1]),
        ("ref: refs/heads/gone\n", ""),
        (f"{commits[2]}\n", commits[2]),
        ("ref: ../../etc/passwd\n", ""),
    ):
        (git / "HEAD").write_text(head)
        assert recorded(editable) == expected
    (git / "HEAD").unlink()
    nothing: tuple[object, ...] = ({}, [], {"vcs_info": {"commit_id": "main"}}, editable)
    assert [recorded(item) for item in nothing] == ["", "", "", ""]
