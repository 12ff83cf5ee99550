"""Screens of commands: both usages, what was not taken, and what to do next."""

import os
import pty
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.gates.test_action import APP_ID, BUNDLE
from tests.report.conftest import REPORTS
from verifier.cli import streams
from verifier.policy.policy import load_policy
from verifier.policy.stage import assess_stage
from verifier.report.audit.sentences import repeat_words
from verifier.report.page import Page
from verifier.report.stage import render_stage


def test_help_shows_that_an_app_needs_no_command(call: Run) -> None:
    usage = call("--help").out.split("\n\n")[0].split("\n")
    assert usage[0].startswith("Usage: verify APP_ID [OPTIONS]")
    assert usage[1].strip().startswith("verify COMMAND")


def test_a_name_that_a_tool_does_not_write_is_said(call: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("services:\n  a:\n    image: nginx\n")
    words = ("compose-hash", "c.yaml", "--name", "shop", "--deploy")
    assert 'writes "" as the app\'s name' in call(*words, "phala-cli@1.1.18").err
    assert "as the app's name" not in call(*words, "vmm@0.5.7").err


def test_an_app_without_evidence_is_a_short_stage_with_a_next_step() -> None:
    given = REPORTS["no-checks"]
    text = render_stage(given, assess_stage(given, load_policy("stage1")), 100)
    assert "Nothing was measured" in text
    assert len(text.splitlines()) < 16
    given = REPORTS["contraindicated"]
    text = render_stage(given, assess_stage(given, load_policy("stage1")), 100)
    assert "Weakest link  application.manifest FAIL" in text
    assert "Next  Ask the operator" in text


def test_findings_too_slight_to_break_a_requirement_are_named() -> None:
    given = REPORTS["warning"]
    text = render_stage(given, assess_stage(given, load_policy("stage1")), 100)
    assert "Findings about it, too slight to break it: IMG-001 medium" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_option_stands_apart_from_a_value_that_fits_beside_it(width: int) -> None:
    page = Page(width, full=True)
    words = repeat_words(REPORTS["unsafe-root"])
    page.command(words)
    text = page.render(color=False)
    lines = text.splitlines()
    assert " ".join(text.replace("\\\n", " ").split()) == " ".join(words)
    apart = [line for line in lines if line.rstrip(" \\").split()[-1].startswith("--")]
    assert all("trust-bundle" in line for line in apart)
    assert bool(apart) == (width < 100)


def all_of(terminal: int) -> str:
    """What was written to the other side of a terminal, which gives it in parts."""
    written = b""
    with suppress(OSError):  # the end of a terminal is an error
        while part := os.read(terminal, 10_000):
            written += part
    os.close(terminal)
    return written.decode()


def test_progress_is_one_line_that_is_replaced_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        for number in range(3):
            streams.progress(f"step {number} {'x' * 500}")
        streams.warn("said")
    written = all_of(ours)
    assert written.count("\n") == 1
    assert written.rpartition("\r\x1b[K")[2] == "verify: said\r\n"


def test_progress_is_lines_where_nothing_can_be_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "dumb")
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        streams.progress("one")
        streams.warn("said")
    written = all_of(ours)
    assert written == "verify: one\r\nverify: said\r\n"


def test_nothing_is_written_to_stderr_where_nobody_watches(call: Run) -> None:
    ran = call("app", APP_ID, "--bundle", BUNDLE, "-q")
    assert ran.err == ""
