"""A pipeline's runner, as far as the gates need one: steps of a composite action with their
environment files, and the job of a GitLab template with its inputs."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
_EXPRESSION: Final = re.compile(r"\$\{\{ ([a-z.\-]+) \}\}")
_INPUT: Final = re.compile(r"\$\[\[ inputs\.([a-z-]+) \]\]")
BASH: Final = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")
FILES: Final = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV")


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an action: its exit code, outputs, step summary and log."""

    code: int
    outputs: dict[str, str]
    summary: str
    log: str
    temp: Path

    @property
    def commands(self) -> list[str]:
        """The workflow commands that the runner obeys: none between stop and go."""
        found, token = [], ""
        for line in self.log.splitlines():
            if token and line == f"::{token}::":
                token = ""
            elif not token and line.startswith("::stop-commands::"):
                token = line.removeprefix("::stop-commands::")
            elif not token and (line.startswith("::") or "##[" in line):
                found.append(line)
        return found


def installed(folder: Path) -> None:
    """A set-up that is finished already: `make` has nothing to do, and runs this very auditor."""
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "verify"):
        (folder / "bin" / name).symlink_to(Path(sys.executable).with_name(name))
    (folder / "pyvenv.cfg").write_bytes((Path(sys.prefix) / "pyvenv.cfg").read_bytes())
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    (folder / ".installed-requirements").write_text("")


def play(
    inputs: Mapping[str, str],
    folder: Path,
    *,
    action: Path = ROOT / "action.yml",
    more: Mapping[str, str] = MappingProxyType({}),
    without: tuple[str, ...] = (),
) -> Played:
    """Run the steps of an action in a folder; `without` names environment files not there."""
    document = yaml.safe_load(action.read_text())
    assert set(inputs) <= set(document["inputs"])
    values = {f"inputs.{name}": str(item["default"]) for name, item in document["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in inputs.items()}
    values["steps.python.outputs.python-path"] = sys.executable
    temp = folder / "temp"
    files = {name: temp / name.lower() for name in FILES}
    temp.mkdir(exist_ok=True)
    for path in files.values():
        path.write_text("")
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    base |= {"GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(action.parent)}
    base |= {"RUNNER_TEMP": str(temp), "XDG_CACHE_HOME": str(temp / "cache"), **more}
    base |= {name: str(path) for name, path in files.items() if name not in without}
    code, log = 0, ""
    for step in (step for step in document["runs"]["steps"] if "run" in step):
        assert step["shell"] == "bash"
        given = {name: _evaluated(text, values) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            [*BASH, step["run"]],
            cwd=folder,
            env=base | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=900,
            check=False,
        )
        code, log = done.returncode, log + done.stdout
        lines = (line.partition("=") for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, _, value in lines}
        if code:
            break
    outputs = {
        name: _evaluated(item["value"], values) for name, item in document["outputs"].items()
    }
    assert files["GITHUB_ENV"].read_text() == ""
    return Played(code, outputs, files["GITHUB_STEP_SUMMARY"].read_text(), log, temp)


def _evaluated(text: str, values: Mapping[str, str]) -> str:
    """A text with the runner's expressions replaced; an output that was not set is empty."""
    return _EXPRESSION.sub(lambda found: values.get(found[1], ""), str(text))


def gitlab_job(template: Path, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The job of a template with these inputs, checked as GitLab checks them."""
    head, job = yaml.safe_load_all(template.read_text())
    values: dict[str, str] = {}
    for name, item in head["spec"]["inputs"].items():
        assert name in inputs or "default" in item, f"{name} is needed"
        values[name] = inputs.get(name, item.get("default"))
        if "regex" in item:
            assert re.search(item["regex"].strip("/"), values[name]), name
    assert set(inputs) <= set(values)

    def filled(value: object) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return (
            _INPUT.sub(lambda found: values[found[1]], value) if isinstance(value, str) else value
        )

    found: dict[str, Any] = filled(job)["dstack-audit"]
    return found
