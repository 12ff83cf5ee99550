"""Every fence is broken on purpose, and says so: those of imports on a copy of the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The file that gets a line at its end, that line, and the arrow that is reported for it.
BREAKS = (
    ("timeline/build.py", "import httpx", "timeline.build -> httpx"),
    ("manifest/audit.py", "import socket", "manifest.audit -> socket"),
    ("manifest/diff/table.py", "import ssl", "manifest.diff.table -> ssl"),
    ("checks/runtime.py", "from httpcore import request", "checks.runtime -> httpcore"),
    ("cli/target.py", "import requests", "cli.target -> requests"),
    ("api.py", "import aiohttp", "api -> aiohttp"),
    ("audit.py", "from websockets import connect", "audit -> websockets"),
    ("collection.py", "import http.client", "collection -> http"),
    ("collect/scan.py", "import asyncio", "collect.scan -> asyncio"),
    ("collect/scan.py", "import subprocess", "collect.scan -> subprocess"),
    ("collect/scan.py", "import multiprocessing", "collect.scan -> multiprocessing"),
    ("audit.py", "import distributed", "audit -> distributed"),
    ("lab/rpc.py", "import http.client", "lab.rpc -> http"),
    ("checks/runtime.py", "import dns.message", "checks.runtime -> dns"),
    ("evidence/td/quote.py", "import dcap_qvl", "evidence.td.quote -> dcap_qvl"),
    (
        "checks/second_opinion/levels.py",
        "import verifier.evidence.td.quote",
        "checks.second_opinion.levels -> verifier.evidence.td.quote",
    ),
    ("evidence/td/quote.py", "import sigstore.oidc", "evidence.td.quote -> sigstore"),
    ("report/audit/json.py", "def f():\n    import web3", "report.audit.json -> web3"),
    ("chain/view.py", "from web3 import Web3", "chain.view -> web3"),
    ("timeline/fold.py", "import time", "timeline.fold -> time"),
    ("cli/commands/stage.py", "from time import time", "cli.commands.stage -> time"),
    ("lab/chain.py", "import random", "lab.chain -> random"),
    ("model/result.py", "import uuid", "model.result -> uuid"),
    ("timeline/build.py", "from rich import print", "timeline.build -> rich"),
    ("report/audit/json.py", "import rich", "report.audit.json -> rich"),
    ("manifest/rule.py", "import typer", "manifest.rule -> typer"),
    ("policy/policy.py", "import click", "policy.policy -> click"),
    ("policy/policy.py", "import logging", "policy.policy -> logging"),
    ("manifest/audit.py", "import warnings", "manifest.audit -> warnings"),
    ("timeline/fold.py", "import timeit", "timeline.fold -> timeit"),
    ("timeline/fold.py", "import sqlite3", "timeline.fold -> sqlite3"),
    ("timeline/fold.py", "import importlib", "timeline.fold -> importlib"),
    ("timeline/fold.py", "import runpy", "timeline.fold -> runpy"),
    ("checks/runtime.py", "from sys import stdout", "checks.runtime -> sys"),
    ("audit.py", "from os import environ", "audit -> os"),
    ("cli/target.py", "import verifier.audit", "cli.target -> verifier.audit"),
    ("cli/target.py", "from verifier import collection", "cli.target -> verifier.collection"),
    ("api.py", "from verifier.collect import http", "api -> verifier.collect.http"),
    ("cli/target.py", "from verifier.lab import world", "cli.target -> verifier.lab.world"),
    (
        "evidence/codec.py",
        "import verifier.checks.runtime",
        "evidence.codec -> verifier.checks.runtime",
    ),
    ("collect/http.py", "import verifier.lab.keys", "collect.http -> verifier.lab.keys"),
    ("errors.py", "import verifier.model.result", "errors -> verifier.model.result"),
)
CODE = (
    ("print('x')", "T201"),
    ("from datetime import datetime\nx = datetime.now()", "TID251"),
    ("from datetime import date\nx = date.today()", "TID251"),
    ("import time\nx = time.localtime()", "TID251"),
    ("from time import time", "TID251"),
    ("import urllib.request", "TID251"),
    ("from urllib import request", "TID251"),
    ("from urllib.request import urlopen", "TID251"),
    ("import importlib\nx = importlib.import_module('socket')", "TID251"),
    ("from importlib import import_module\nx = import_module('socket')", "TID251"),
    ("x = exec('import socket')", "S102"),
    ("import dcap_qvl\nx = dcap_qvl.get_collateral", "TID251"),
    ("from dns import resolver", "TID251"),
)


def linted(copy: Path) -> str:
    """What the import linter says of a copy of the package."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its settings, elsewhere."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        ROOT / "verifier", copy / "verifier", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@pytest.fixture(scope="module")
def broken(copy: Path) -> str:
    """What is said of the copy with every break at once."""
    assert ", 0 broken." in linted(copy)
    for name, line, _ in BREAKS:
        path = copy / "verifier" / name
        path.write_text(f"{path.read_text()}\n{line}\n")
    return linted(copy)


@pytest.mark.parametrize("arrow", [arrow for *_, arrow in BREAKS])
def test_an_import_over_a_fence(broken: str, arrow: str) -> None:
    assert f"verifier.{arrow} (l." in broken


def test_every_contract_is_broken_by_some_import(broken: str) -> None:
    assert "0 kept" in broken


def test_a_new_room_has_to_be_given_its_place(copy: Path) -> None:
    (copy / "verifier" / "attic.py").touch()
    try:
        assert "attic" in linted(copy)
    finally:
        (copy / "verifier" / "attic.py").unlink()


def test_nothing_is_imported_by_name_behind_the_fences() -> None:
    modules = sorted((ROOT / "verifier").rglob("*.py"))
    assert [path for path in modules if "__import__" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("place", ["manifest/audit", "collect/scan"])
@pytest.mark.parametrize(("code", "rule"), CODE)
def test_code_over_a_fence(code: str, rule: str, place: str) -> None:
    assert f": {rule} " in checked(code, f"verifier/{place}.py")


def test_the_command_line_prints_and_has_one_clock() -> None:
    code = "from datetime import datetime\nprint('x')\nx = datetime.now()"
    for place in ("target", "commands/stage"):
        said = checked(code, f"verifier/cli/{place}.py")
        assert ": TID251 " in said
        assert ": T201 " not in said


def checked(code: str, name: str) -> str:
    """What ruff says of code that stands in a file of this name."""
    command = (sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--no-cache")
    done = subprocess.run(
        [*command, "--stdin-filename", name, "-"],
        cwd=ROOT,
        input=f"{code}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
