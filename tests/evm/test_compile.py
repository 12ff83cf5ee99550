"""The committed bytecode is what the compiler makes of the sources beside it."""

import json
import os
import shutil
import subprocess

import pytest

from tests.evm.anvil import COMPILED, FOLDER, compiled


@pytest.mark.usefixtures("node_packages")
def test_the_bytecode_is_that_of_the_sources() -> None:
    node = shutil.which("node")
    if node is None:
        assert not os.environ.get("CI"), "no Node"
        pytest.skip("no Node: nothing to compile with")
    done = subprocess.run(
        [node, FOLDER / "compile.mjs"], capture_output=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) == compiled(), "npm run --silent compile > …, see compile.mjs"
    assert done.stdout == COMPILED.read_bytes()


def test_the_compiled_contracts_stay_small() -> None:
    assert COMPILED.stat().st_size < 400_000


@pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
def test_no_lock_names_a_registry(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "resolved" not in text
    assert "registry" not in text
