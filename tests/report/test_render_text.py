"""Terminal, Markdown and summary: what a person reads first, and that nothing is left out."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from verifier.model.result import Basis, Claim, Report, Verdict
from verifier.report import summary
from verifier.report.chain import Mark, mark
from verifier.report.limits import LIMITS
from verifier.report.markdown import render_markdown
from verifier.report.terminal import MIN_WIDTH, render_terminal


class TextExtension(SingleFileSnapshotExtension):
    """A snapshot is the text itself."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


class MarkdownExtension(TextExtension):
    """A snapshot that GitHub displays as what it is."""

    file_extension = "md"


def test_terminal_snapshot(any_report: Report, snapshot: SnapshotAssertion) -> None:
    assert render_terminal(any_report, color=False, width=80) == snapshot(
        extension_class=TextExtension
    )


def test_markdown_snapshot(any_report: Report, snapshot: SnapshotAssertion) -> None:
    assert render_markdown(any_report) == snapshot(extension_class=MarkdownExtension)


@pytest.mark.parametrize(
    ("name", "verbose", "width"), [("two-subjects", 1, 100), ("warning", 0, 50)]
)
def test_terminal_layout_snapshot(
    reports: dict[str, Report], snapshot: SnapshotAssertion, name: str, verbose: int, width: int
) -> None:
    rendered = render_terminal(reports[name], color=False, width=width, verbose=verbose)
    assert rendered == snapshot(extension_class=TextExtension)


def test_color_snapshot(reports: dict[str, Report], snapshot: SnapshotAssertion) -> None:
    assert render_terminal(reports["unsafe-root"], color=True, width=80) == snapshot


def test_color_changes_no_letter(any_report: Report) -> None:
    rich_text = pytest.importorskip("rich.text")
    colored = render_terminal(any_report, color=True, width=80)
    plain = render_terminal(any_report, color=False, width=80)
    assert rich_text.Text.from_ansi(colored).plain.rstrip("\n") == plain.rstrip("\n")


def test_environment_decides_nothing(
    reports: dict[str, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = reports["two-subjects"]
    colored = render_terminal(report, color=True, width=80)
    plain = render_terminal(report, color=False, width=80)
    environment = {"NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "20"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        assert render_terminal(report, color=True, width=80) == colored
        assert render_terminal(report, color=False, width=80) == plain
    assert "\x1b" not in plain
    assert "\x1b" in colored


@pytest.mark.parametrize("width", [0, MIN_WIDTH, 80, 200])
def test_lines_fit_the_width(any_report: Report, width: int) -> None:
    lines = render_terminal(any_report, color=False, width=width).splitlines()
    command = summary.repeat_command(any_report)
    assert all(len(line) <= max(width, MIN_WIDTH) for line in lines if line.strip() != command)
    assert all(line == line.rstrip() for line in lines)


def test_every_check_claim_gap_and_limit_is_shown(any_report: Report) -> None:
    verbose = render_terminal(any_report, color=False, width=400, verbose=1)
    for rendered in (verbose, render_markdown(any_report)):
        for subject in any_report.subjects:
            for check in subject.checks:
                assert check.id in rendered
                assert check.summary in rendered
        for claim in any_report.subjects[0].claims if any_report.subjects else ():
            assert claim.name in rendered
        for text in (*any_report.gaps, *LIMITS):
            assert text in rendered


def test_first_screen_names_verdict_weakest_link_and_remedy(reports: dict[str, Report]) -> None:
    screen = render_terminal(reports["contraindicated"], color=False, width=80).splitlines()[:16]
    assert screen[0].startswith("CONTRAINDICATED: ")
    assert any("application.manifest FAIL" in line for line in screen)
    assert any("Ask the operator for the manifest" in line for line in screen)


def test_notes_head_the_report(reports: dict[str, Report]) -> None:
    report = reports["unsafe-root"]
    for text in (render_terminal(report, color=False, width=80), render_markdown(report)):
        assert text.index(report.root_note) < text.index("hardware.quote")
        assert text.index(report.time_note) < text.index("hardware.quote")
    line = summary.verdict_line(report)
    assert report.root_note in line
    assert report.time_note in line


def test_unsafe_root_is_said_on_every_line_that_rests_on_it(reports: dict[str, Report]) -> None:
    report = reports["unsafe-root"]
    text = render_terminal(report, color=False, width=200)
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    for check in report.subjects[0].checks:
        line = next(line for line in lines if f" {check.id} " in line)
        assert ("(unsafe root)" in line) == (mark(check) in (Mark.OK, Mark.WARN))
    assert "signed by the CPU (unsafe root)" in text
    assert "unsafe root)" not in render_terminal(reports["warning"], color=False, width=200)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("affirming", None),
        ("warning", "hardware.tcb"),
        ("none", "boot.image"),
        ("contraindicated", "application.manifest"),
        ("two-subjects", "application.manifest"),
        ("no-checks", None),
        ("no-subjects", None),
    ],
)
def test_weakest_link(reports: dict[str, Report], name: str, link: str | None) -> None:
    found = summary.weakest_link(reports[name])
    assert (found.id if found else None) == link


@pytest.mark.parametrize(
    ("basis", "worth"),
    [
        (Basis.HARDWARE, summary.Standing.PROVEN),
        (Basis.MEASURED, summary.Standing.PROVEN),
        (Basis.CHAIN, summary.Standing.PROVEN),
        (Basis.KMS, summary.Standing.PROVEN),
        (Basis.REFERENCE, summary.Standing.MATCHED),
        (Basis.WITNESS, summary.Standing.MATCHED),
        (Basis.ASSERTED, summary.Standing.SAID),
        (Basis.UNKNOWN, summary.Standing.NOT_KNOWN),
    ],
)
def test_standing(reports: dict[str, Report], basis: Basis, worth: summary.Standing) -> None:
    checks = reports["warning"].subjects[0].checks
    broken = summary.Standing.SAID if basis is Basis.ASSERTED else summary.Standing.NOT_KNOWN
    expectations = {
        (): worth,
        ("hardware.quote", "hardware.tcb"): worth,
        ("hardware.quote", "key_management.attestation"): broken,
        ("hardware.quote", "not.registered"): broken,
    }
    for conditions, expected in expectations.items():
        claim = Claim(name="x", value=1, basis=basis, conditions=conditions)
        assert summary.standing(claim, checks) is expected


def test_quiet_is_the_verdict_line(any_report: Report) -> None:
    line = render_terminal(any_report, color=True, width=40, quiet=True)
    assert line == summary.verdict_line(any_report) + "\n"
    assert line.startswith(any_report.verdict.value)
    assert line.count("\n") == 1


def test_repeat_command_vouches_only_for_a_trusted_bundle(reports: dict[str, Report]) -> None:
    trusted = summary.repeat_command(reports["affirming"])
    assert f"--trust-bundle sha256:{'d4' * 32}" in trusted
    assert "--trust-bundle" not in summary.repeat_command(reports["none"])
    assert "--unsafe-root" in summary.repeat_command(reports["unsafe-root"])
    hostile = replace(reports["affirming"], policy_name="x; rm -rf $HOME")
    assert "--policy 'x; rm -rf $HOME'" in summary.repeat_command(hostile)


def test_verdict_words_exist_for_every_verdict() -> None:
    assert set(summary.HEADLINES) == set(Verdict)
