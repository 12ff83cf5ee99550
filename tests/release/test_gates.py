"""The gates of docs/ci.md, as a pipeline that copies them would run them."""

import json
import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.gates.runner import play
from tests.release.conftest import ROOT, Machine, copy_project, succeed

APP_ID: Final = "0123456789abcdef0123456789abcdef01234567"
# Nothing answers there, so that the verdict is `none` and no request leaves this machine.
NOWHERE: Final = {
    f"VERIFY_{name}": "http://127.0.0.1:9" for name in ("GATEWAY", "RPC_URL", "PCCS_URL")
}
POLICY: Final = 'name = "release"\nextends = "baseline"\naccept = ["affirming", "warning"]\n'
PINNED: Final = re.compile(r"actions/[a-z-]+@[0-9a-f]{40}")
DOCUMENT: Final = (ROOT / "docs" / "ci.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def pipeline(machine: Machine, tmp_path: Path) -> tuple[Path, str, str]:
    """A folder with a policy, and the auditor's repository and commit."""
    source = copy_project(tmp_path / "repository")
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "State")):
        succeed(machine.run("git", *identity, *command, cwd=source))
    head = succeed(machine.run("git", "rev-parse", "HEAD", cwd=source)).strip()
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "policy.toml").write_text(POLICY)
    return folder, str(source), head


def stopped_for_want_of_evidence(folder: Path, code: int) -> None:
    assert code == 3
    assert json.loads((folder / "report.json").read_text())["verdict"] == "none"


def test_the_plain_shell_gate(machine: Machine, pipeline: tuple[Path, str, str]) -> None:
    folder, source, commit = pipeline
    gate = next(block for block in blocks("bash") if "make -C auditor setup" in block)
    given = {"REPOSITORY": source, "COMMIT": commit, "APP_ID": APP_ID, **NOWHERE}
    done = machine.run("bash", "-c", gate, cwd=folder, more=given)
    stopped_for_want_of_evidence(folder, done.returncode)


def test_the_gate_with_a_wheel(
    machine: Machine, pipeline: tuple[Path, str, str], release: Path
) -> None:
    folder, source, _ = pipeline
    (wheel,) = release.glob("*.whl")
    for file in (wheel, Path(source) / "requirements.txt"):
        (folder / file.name).symlink_to(file)
    gate = next(block for block in blocks("bash") if ".whl" in block)
    succeed(machine.run("bash", "-euc", gate, cwd=folder))
    verify = (folder / ".venv" / "bin" / "verify", APP_ID, "--policy", "policy.toml")
    done = machine.run(*verify, "--format", "json", "-o", "report.json", cwd=folder, more=NOWHERE)
    stopped_for_want_of_evidence(folder, done.returncode)


def test_the_actions_gate(machine: Machine, pipeline: tuple[Path, str, str]) -> None:
    """Its own steps, with a real installation; checkouts and set-up of Python are played."""
    folder, source, _ = pipeline
    inputs = {"app-id": APP_ID, "policy": "policy.toml"}
    given = {**machine.environment(), **NOWHERE}
    played = play(inputs, folder, action=Path(source) / "action.yml", more=given)
    assert played.code == 3, played.log
    assert played.outputs["verdict"] == "none"


@pytest.mark.parametrize("file", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda p: p.name)
def test_workflows_are_pinned_and_may_only_read(file: Path) -> None:
    text = file.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for uses in re.findall(r"uses: (\S+)", text):
        assert PINNED.fullmatch(uses), uses
