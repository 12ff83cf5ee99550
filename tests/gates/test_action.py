"""action.yml, run step by step as a runner runs it, on the demo's evidence without any network."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.gates.runner import FILES, ROOT, Played, installed, play
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs

ACTION: Final[dict[str, Any]] = yaml.safe_load((ROOT / "action.yml").read_text())
README: Final = (ROOT / "fixtures" / "README.md").read_text().split("```")[1]
APP_ID: Final = re.findall("[0-9a-f]{40}", README)[0]
DIGEST: Final = re.findall("sha256:[0-9a-f]{64}", README)[0]
BUNDLE: Final = str(ROOT / "fixtures" / "demo-bundle.tar")
SIMULATED: Final = (
    f"--unsafe-root\n{ROOT}/fixtures/demo-reference.json\n"
    f"--trust-bundle\n{DIGEST}\n--at\n2026-06-15T12:00:00Z\n"
)
PINNED: Final = re.compile("(?:actions/[a-z-]+|github/codeql-action/upload-sarif)@[0-9a-f]{40}")
AUDIT: Final = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "audit")
DEMO: Final = {"app-id": APP_ID, "bundle": BUNDLE, "options": SIMULATED}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installed(tmp_path / "temp" / "dstack-auditor")
    (tmp_path / "app-compose.json").write_text(manifest_text(Knobs()))
    return tmp_path


def levels(played: Played) -> list[str]:
    return [line.split()[0].strip(":") for line in played.commands]


def test_an_accepted_app(folder: Path) -> None:
    inputs = DEMO | {"expect-manifest": "app-compose.json", "format": "html"}
    played = play(inputs, folder)
    assert played.code == 0, played.log
    assert played.outputs["verdict"] == "affirming"
    assert played.outputs["accepted"] == "true"
    assert played.outputs["digest"] == DIGEST
    assert Path(played.outputs["report"]).read_text().startswith("<!doctype html>")
    sarif = json.loads(Path(played.outputs["sarif"]).read_bytes())
    uris = {
        place["physicalLocation"]["artifactLocation"]["uri"]
        for result in sarif["runs"][0]["results"]
        for place in result["locations"]
    }
    assert uris == {"app-compose.json"}  # as the repository has it, so that lines are shown
    report = json.loads((Path(played.outputs["directory"]) / "report.json").read_bytes())
    assert report["accepted"] is True
    assert played.summary.startswith("# Attestation report")
    assert "SIMULATED" in played.summary
    (said,) = played.commands
    assert said.startswith("::notice title=dstack audit::affirming, accepted")
    assert "SIMULATED" in said


def test_an_app_of_the_project_file_by_its_name(folder: Path) -> None:
    (folder / "dstack-audit.toml").write_text(f'policy = "genuine"\n[apps.shop]\nid = "{APP_ID}"\n')
    played = play(DEMO | {"app-id": "shop"}, folder)
    assert played.code == 0, played.log
    report = json.loads(Path(played.outputs["report"]).read_bytes())
    # The policy is the workflow's to choose, and not a file's that a pull request may change.
    assert (report["requested_app_id"], report["policy"]["name"]) == (APP_ID, "baseline")
    named = play(DEMO | {"app-id": "shop", "policy": "genuine"}, folder)
    assert json.loads(Path(named.outputs["report"]).read_bytes())["policy"]["name"] == "genuine"


def test_without_environment_files_nothing_is_lost(folder: Path) -> None:
    played = play(DEMO | {"policy": "strict"}, folder, without=FILES)
    assert played.code == 5
    assert "cannot write the outputs: GITHUB_OUTPUT is not set" in played.log
    assert "cannot write the summary: GITHUB_STEP_SUMMARY is not set" in played.log
    assert "Traceback" not in played.log
    assert levels(played)[0] == "error"


def test_another_manifest_than_the_expected_one(folder: Path) -> None:
    (folder / "app-compose.json").write_text(manifest_text(Knobs()) + " ")
    played = play(DEMO | {"expect-manifest": "app-compose.json"}, folder)
    assert played.code == 4
    assert played.outputs["verdict"] == "contraindicated"
    assert played.outputs["accepted"] == "false"
    assert set(levels(played)) == {"error"}
    assert any("title=application." in line for line in played.commands)
    let_on = play(DEMO | {"expect-manifest": "app-compose.json", "fail-on": "never"}, folder)
    assert let_on.code == 0
    assert let_on.outputs["accepted"] == "false"
    assert set(levels(let_on)) == {"warning"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"app-id": "", "bundle": ""}, "give an app id or a bundle"),
        ({"fail-on": "sometimes"}, "fail-on: 'sometimes' is none of"),
        ({"expect-manifest": "no.json"}, "expect-manifest: verify: no.json"),
        ({"policy": "no-policy.toml", "fail-on": "never"}, "no-policy.toml"),
    ],
)
def test_mistakes_in_the_inputs_end_the_job(
    folder: Path, changed: dict[str, str], said: str
) -> None:
    played = play(DEMO | changed, folder)
    assert played.code == 2, played.log
    assert said in played.log
    assert played.outputs["verdict"] == ""
    assert played.outputs["accepted"] == "false"
    assert levels(played) == ["error"]
    assert played.summary


@pytest.mark.parametrize("options", ["--help", SIMULATED + "--output\nelsewhere.json"])
def test_an_exit_code_without_an_accepted_report_passes_nobody(folder: Path, options: str) -> None:
    played = play(DEMO | {"options": options, "fail-on": "never"}, folder)
    assert played.code == 1, played.log
    assert played.outputs["accepted"] == "false"


def test_an_argument_is_never_an_option(folder: Path) -> None:
    played = play({"app-id": "--help", "fail-on": "never"}, folder)
    assert played.code == 2
    assert played.outputs["accepted"] == "false"


def test_what_the_evidence_says_is_no_command_of_the_runner(tmp_path: Path) -> None:
    """Text of a hostile report and of a hostile file name, in the log, outputs and annotations."""
    hostile = "x\n::set-output name=accepted::true\n##[add-path]/tmp %0A::error::y"
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / '.ci')!r}); import gate\n"
        f"text = {hostile!r}\n"
        "gate.log(text); gate.annotation('error', text, text)\n"
        "gate.write_outputs({'verdict': text, 'bundle_digest': text}, None)\n"
    )
    output = tmp_path / "output"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    played = Played(0, {}, "", done.stdout, tmp_path)
    (command,) = played.commands
    assert command.startswith("::error title=x")
    assert "%250A" in command
    lines = output.read_text().splitlines()
    assert [line.partition("=")[0] for line in lines] == list(ACTION["outputs"])


def test_the_action_asks_for_nothing_and_names_no_text_of_others_in_its_scripts() -> None:
    for step in ACTION["runs"]["steps"]:
        assert PINNED.fullmatch(step.get("uses", f"actions/x@{'0' * 40}"))
        assert "${{" not in step.get("run", "")
        if "run" in step:
            assert not any("token" in value or "secrets" in value for value in step["env"].values())
    read = set(re.findall(r'given\("([A-Z_]+)"\)', (ROOT / ".ci" / "gate.py").read_text()))
    passed = {name.removeprefix("AUDIT_") for name in AUDIT["env"]}
    assert read == passed
    inputs = {name.upper().replace("-", "_") for name in ACTION["inputs"]}
    assert inputs == passed - {"RESULTS"} | {"UPLOAD_SARIF"}


def test_findings_are_uploaded_only_where_that_was_asked_for() -> None:
    (upload,) = (step for step in ACTION["runs"]["steps"] if "upload-sarif" in step.get("uses", ""))
    assert ACTION["inputs"]["upload-sarif"]["default"] == "false"
    assert "inputs.upload-sarif == 'true'" in upload["if"]
    assert "steps.audit.outputs.sarif != ''" in upload["if"]
    assert upload["with"]["sarif_file"] == ACTION["outputs"]["sarif"]["value"]
