"""`verify conformance`: honest verifiers, and those that hang, lie, crash or eat memory."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures import vectors
from verifier.cli.commands import conformance
from verifier.cli.main import app, register
from verifier.conformance.corpus import read_corpus
from verifier.errors import UsageError


@pytest.fixture(autouse=True)
def _commands() -> None:
    register(["conformance"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of one honest and one forged vector."""
    root = tmp_path_factory.mktemp("corpus")
    held = read_corpus(vectors.ROOT, ("manifest",))
    for expected in ("accept", "reject"):
        folder = next(item.folder for item in held if item.expected == expected)
        shutil.copytree(folder, root / "manifest" / folder.name)
    shutil.copytree(vectors.ROOT / "reference", root / "reference")
    return root


def ask(corpus: Path, code: str, *more: str) -> tuple[int, dict[str, str]]:
    """Exit code and what was said of each vector by a verifier of this Python code."""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    words = ["conformance", str(corpus), "--json", "--command", command, *more]
    result = CliRunner().invoke(app, words)
    rows = json.loads(result.stdout)["answers"]
    return result.exit_code, {row["expected"]: row["said"] for row in rows}


RIGHT = """
import json, pathlib, sys
about = json.loads((pathlib.Path(sys.argv[-1]) / "vector.json").read_bytes())
print(about["expected"])
"""


@pytest.mark.parametrize(
    ("code", "exit_code", "accept", "reject"),
    [
        (RIGHT, 0, "accept", "reject"),
        ("print('accept')", 4, "accept", "accept"),
        ("print('reject')", 3, "reject", "reject"),
        ("print('unsupported')", 3, "unsupported", "unsupported"),
        ("print('broken')", 3, "broken", "broken"),
        ("print('ACCEPT')", 3, "broken", "broken"),
        ("", 3, "broken", "broken"),
        ("print('accept'); raise SystemExit(1)", 3, "broken", "broken"),
        ("import os; print('accept', flush=True); os.kill(os.getpid(), 9)", 3, "broken", "broken"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)", 3, "broken", "broken"),
        ("x = bytearray(64 << 30); print('accept')", 3, "broken", "broken"),
    ],
)
def test_answers(small: Path, code: str, exit_code: int, accept: str, reject: str) -> None:
    assert ask(small, code) == (exit_code, {"accept": accept, "reject": reject})


def test_one_that_hangs_is_ended_with_what_it_started(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conformance, "SECONDS", 0.3)
    mark = tmp_path / "late"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen(['sh', '-c', 'sleep 1; echo x > {mark}']); time.sleep(60)"
    )
    assert ask(small, code) == (3, {"accept": "broken", "reject": "broken"})
    time.sleep(1.2)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--command", "'"], "No closing quotation"),
        (["--command", " "], "--command is empty"),
        (["--link", "quotes"], "--link 'quotes' is no link of the corpus"),
    ],
)
def test_mistakes_are_named(small: Path, words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["conformance", str(small), *words])
    assert isinstance(result.exception, UsageError)
    assert said in result.exception.message


def test_a_program_that_is_not_there_is_broken(small: Path) -> None:
    words = ["conformance", str(small), "--command", "/nowhere/verifier"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == conformance.NOT_RIGHT
    assert "/nowhere/verifier: No such file or directory" in result.output


def test_the_table_names_what_was_accepted(small: Path) -> None:
    always = f"{shlex.quote(sys.executable)} -c \"print('accept')\""
    result = CliRunner().invoke(app, ["conformance", str(small), "--command", always])
    assert "Accepted, and forged:\n  manifest/" in result.output
    assert CliRunner().invoke(app, ["conformance", str(small)]).exit_code == 0
