"""The command as a user runs it: another process, without this one's environment."""

import sys
import warnings
from pathlib import Path

import pytest

from tests.cli.command import Ran, Run, command_in
from verifier.cli.main import main


@pytest.fixture
def run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `verify` with these arguments in an empty directory, with a cache of this test's own."""
    return command_in(tmp_path, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run `verify` with these arguments in this process, which is faster, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["verify", *map(str, arguments)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ran(code or 0, said.out, said.err)

    return run_here


@pytest.fixture(scope="module")
def run_before(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same for fixtures that several tests share."""
    return command_in(tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("cache"))
