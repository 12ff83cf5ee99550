"""The command as a user runs it: another process, without this one's environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Ran, Run

_PROGRAM = "import sys; sys.argv[0] = 'verify'; from verifier.cli.main import main; main()"
_KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `verify` with these arguments in an empty directory."""

    def run_command(*arguments: str | Path, **environment: str) -> Ran:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            cwd=tmp_path,
            env=kept | environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run_command
