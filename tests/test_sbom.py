"""The bill of materials lists what the lock pins, all of it and nothing else."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from verifier.version import VERSION

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.txt"


def written(lock: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-I", str(ROOT / ".ci" / "sbom.py"), str(lock))
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    done = written(LOCK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_it_lists_exactly_the_lock(bill: dict[str, Any]) -> None:
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n((?: +--hash=.*\n)+)", LOCK.read_text(), re.MULTILINE)
    assert len(pins) == LOCK.read_text().count("==")
    pinned = {
        (canonicalize_name(name), version, tuple(sorted(re.findall("sha256:([0-9a-f]{64})", rest))))
        for name, version, rest in pins
    }
    listed = [
        (each["name"], each["version"], tuple(digest["content"] for digest in files["hashes"]))
        for each in bill["components"]
        for files in each["externalReferences"]
    ]
    assert len(listed) == len(pins)
    assert set(listed) == pinned


def test_who_asks_for_what(bill: dict[str, Any]) -> None:
    asks = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    component = bill["metadata"]["component"]
    assert component["version"] == VERSION
    assert set(asks) == {component["bom-ref"], *(each["bom-ref"] for each in bill["components"])}
    assert {ref for asked in asks.values() for ref in asked} < set(asks)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    names = {each["bom-ref"]: each["name"] for each in bill["components"]}
    scopes = {each["name"]: each["scope"] for each in bill["components"]}
    asked = {names[ref] for ref in asks[component["bom-ref"]]}
    assert {name for name in asked if scopes[name] == "required"} == direct
    assert {name for name in asked if scopes[name] == "excluded"} == {"hatchling", "editables"}
    assert scopes["httpcore"] == "required"
    assert scopes["pluggy"] == "excluded"


def test_the_same_lock_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(LOCK.read_bytes())
    assert written(copy).stdout == written(LOCK).stdout


def test_a_line_of_another_form_is_no_part_of_a_bill(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    for line in ("--index-url https://index.example", "anything>=1", "    --hash=md5:00"):
        lock.write_text(f"# A lock.\nanything==1 \\\n{line}\n")
        done = written(lock)
        assert done.returncode == 1
        assert f"not a line of a pinned file: {line}" in done.stderr
