"""The lines of docs/watch.md that are there to be copied are taken by the command."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.cli.conftest import call  # noqa: F401 - a fixture
from verifier.cli.main import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text(encoding="utf-8")
LINES = [
    *re.findall(r"^(verify .*?)(?:  .*)?$", PAGE, re.MULTILINE),
    *re.findall(r"^(?:[\d*]+ +\S+ \S+ \S+ \S+ +|ExecStart=)(verify .*)$", PAGE, re.MULTILINE),
]


def test_there_are_lines_for_cron_and_for_systemd() -> None:
    assert len(LINES) == 7
    assert any("--once --alerts" in line for line in LINES)
    assert any("--webhook-key" in line for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_what_is_to_be_copied_is_understood(
    line: str,
    call: Run,  # noqa: F811 - the fixture
) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in COMMANDS
    ran = call(*(word.replace("APP_ID", "11" * 20) for word in words))
    # The list, the log and the secret are not here; that is said, and no option is unknown.
    assert ran.code == 2
    assert "there is no such" in ran.err or "names no app" in ran.err
    assert "No such option" not in ran.err
