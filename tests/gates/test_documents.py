"""What docs/ci.md gives to copy, run as it stands there: each case on loopback or offline."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, fromstring

import pytest
import yaml

from tests.cli.command import Run
from tests.gates.runner import BASH, ROOT, gitlab_job, installed, play
from tests.gates.test_action import APP_ID, BUNDLE, DIGEST, PINNED, SIMULATED
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs

DOCUMENT: Final = (ROOT / "docs" / "ci.md").read_text()
NOWHERE: Final = {
    f"VERIFY_{name}": "http://127.0.0.1:9" for name in ("GATEWAY", "RPC_URL", "PCCS_URL")
}
POLICY: Final = 'name = "release"\nextends = "baseline"\naccept = ["affirming", "warning"]\n'


def blocks(language: str) -> list[Any]:
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in found] if language == "yaml" else found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installed(tmp_path / "temp" / "dstack-auditor")
    (tmp_path / "app-compose.json").write_text(manifest_text(Knobs()))
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "evidence.tar").write_bytes(Path(BUNDLE).read_bytes())
    return tmp_path


def junit(path: Path) -> Element:
    return fromstring(path.read_text())  # noqa: S314 - written by the command under test


def action_inputs(place: int) -> dict[str, str]:
    """The inputs of a use of the action, by where it stands in the document."""
    steps = [block[0] for block in blocks("yaml") if isinstance(block, list)]
    assert [step["uses"] for step in steps] == ["OWNER/REPOSITORY@COMMIT"] * 2
    found: dict[str, str] = steps[place]["with"]
    return found


def test_the_action_on_an_app_that_nobody_answers_for(folder: Path) -> None:
    played = play(action_inputs(0), folder, more=NOWHERE)
    assert played.code == 3, played.log
    assert played.outputs["verdict"] == "none"
    assert (Path(played.outputs["directory"]) / "evidence").is_dir()


def test_the_action_on_a_bundle(folder: Path) -> None:
    inputs = action_inputs(1)
    inputs["options"] = inputs["options"].replace("sha256:DIGEST", DIGEST)
    inputs["options"] += "\n" + SIMULATED
    assert play(inputs | {"app-id": APP_ID}, folder).code == 0


def test_the_nightly_workflow_may_only_read_and_is_pinned() -> None:
    (workflow,) = (block for block in blocks("yaml") if isinstance(block, dict) and "jobs" in block)
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["verify"]["steps"]
    assert [bool(PINNED.fullmatch(step["uses"])) for step in steps] == [True, False, True]
    assert steps[1]["uses"] == "OWNER/REPOSITORY@COMMIT"
    declared = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(steps[1]["with"]) <= set(declared["inputs"])
    named = re.findall(r"steps\.audit\.outputs\.([a-z]+)", DOCUMENT)
    assert named
    assert set(named) <= set(declared["outputs"])


def repository(folder: Path) -> tuple[str, str]:
    """A repository with what the job runs, and its commit."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml", ".ci/gate.py", ".ci/set_up.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    installed(folder / ".venv")
    git = ("git", "-C", str(folder), "-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "State")):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
    return str(folder), head.stdout.decode().strip()


def test_the_gitlab_job(folder: Path, tmp_path: Path) -> None:
    (block,) = (block for block in blocks("yaml") if isinstance(block, dict) and "include" in block)
    (included,) = block["include"]
    assert included["remote"] == "REPOSITORY/raw/COMMIT/templates/dstack-audit.yml"
    source, commit = repository(tmp_path / "repository")
    inputs = included["inputs"] | {"auditor-repository": source, "auditor-commit": commit}
    inputs |= {"image": f"IMAGE@sha256:{'0' * 64}", "app-id": APP_ID, "bundle": "evidence.tar"}
    job = gitlab_job(ROOT / "templates" / "dstack-audit.yml", inputs | {"options": SIMULATED})
    assert not any("inputs." in line for line in job["script"])
    # Newer than the lock beside it, as the environment that `make` would set up.
    script = "\n".join(job["script"]).replace(
        "make --silent", "touch auditor/.venv/.installed-requirements; make --silent"
    )
    done = subprocess.run(
        [*BASH, script],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **job["variables"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "::" not in done.stdout
    suites = junit(folder / job["artifacts"]["reports"]["junit"])
    assert suites.get("failures") == suites.get("errors") == "0"
    assert json.loads((folder / "dstack-audit" / "report.json").read_bytes())["accepted"] is True


def test_the_junit_lines(run: Run, folder: Path) -> None:
    audit, lint = (
        line.split()[1:] for line in DOCUMENT.splitlines() if re.match("verify .*junit", line)
    )
    words = [APP_ID if word == "APP_ID" else word for word in audit]
    ran = run(*words, "--bundle", BUNDLE, "-q", *SIMULATED.split())
    assert ran.code == 0, ran.err
    assert junit(folder / "report.xml").get("failures") == "0"
    assert run(*lint).code == 0
    assert int(junit(folder / "lint.xml").get("tests", "0")) > 0


def test_the_badge_line(run: Run, folder: Path) -> None:
    (line,) = (line for line in DOCUMENT.splitlines() if re.match("verify .*badge=", line))
    words = [APP_ID if word == "APP_ID" else word for word in line.split()[1:]]
    ran = run(*words, "--bundle", BUNDLE, "-q", *SIMULATED.split())
    assert ran.code == 0, ran.err
    message = json.loads((folder / "audit.json").read_bytes())["message"]
    assert message.startswith("SIMULATED: affirming")
    assert message in (folder / "audit.svg").read_text()


def test_the_containerfile_is_as_the_auditor_wants_it(run: Run) -> None:
    file = ROOT / "Containerfile"
    ran = run("lint", file, "--min-severity", "medium")
    assert ran.code == 0, ran.out
    text = file.read_text()
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name
            assert f"!{name.rstrip('/')}" in kept
    (entry,) = re.findall(r'^ENTRYPOINT \["/auditor/\.venv/bin/(\w+)"\]$', text, re.MULTILINE)
    assert Path(sys.executable).with_name(entry).exists()
    words = next(block for block in blocks("bash") if "podman run" in block).split()
    assert words[words.index("dstack-auditor", 8) + 2 :] == [
        *('"$APP_ID"', "--policy", "policy.toml", "--report", "junit=report.xml")
    ]
