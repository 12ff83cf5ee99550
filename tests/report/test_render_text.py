"""Terminal, Markdown and summary: what a person reads first, and that nothing is left out."""

import pytest
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from verifier.model.identifiers import format_time
from verifier.model.report import Report
from verifier.model.result import Anchor, Basis, Claim, Requirement, Status, Verdict
from verifier.report.audit import answers, sentences
from verifier.report.audit.markdown import render_markdown
from verifier.report.audit.terminal import render_terminal
from verifier.report.limits import LIMITS
from verifier.report.page import MIN_WIDTH

FIRST_SCREEN = 30


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
    ("name", "verbose", "width"), [("two-subjects", 1, 100), ("warning", 1, 80), ("warning", 0, 50)]
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
    assert all(len(line) <= max(width, MIN_WIDTH) for line in lines)
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


def test_the_words_of_a_mark_in_evidence_are_no_mark(reports: dict[str, Report]) -> None:
    report = reports["affirming"]
    subject = report.subjects[0]
    said = "served as [unsafe root]"
    checks = tuple(replace(item, summary=said) for item in subject.checks)
    lied = render_markdown(replace(report, subjects=(replace(subject, checks=checks),)))
    assert said not in lied
    assert lied.count("unsafe root") == lied.count("served as") >= len(checks)


def test_first_screen_names_verdict_weakest_link_and_remedy(reports: dict[str, Report]) -> None:
    screen = render_terminal(reports["contraindicated"], color=False, width=80).splitlines()
    assert len(screen) <= FIRST_SCREEN
    assert screen[0].startswith("CONTRAINDICATED: ")
    assert any("application.manifest FAIL" in line for line in screen)
    assert any("Ask the operator for the manifest" in line for line in screen)


def test_the_first_screen_is_short(any_report: Report, reports: dict[str, Report]) -> None:
    finding = reports["warning"].findings[0]
    many = replace(any_report, findings=tuple(replace(finding, rule=f"R{n}") for n in range(40)))
    assert len(render_terminal(many, color=False, width=80).splitlines()) <= FIRST_SCREEN


def test_what_is_not_asked_is_not_counted(reports: dict[str, Report]) -> None:
    report = reports["contraindicated"]
    subject = report.subjects[0]
    checks = tuple(
        replace(item, requirement=Requirement.NOT_ASKED, status=Status.FAIL)
        if item.id in ("hardware.tcb", "boot.image")
        else item
        for item in subject.checks
    )
    changed = replace(report, subjects=(replace(subject, checks=checks),))
    assert "The evidence contradicts 1 check." in sentences.verdict_sentence(changed)
    assert sentences.tally(checks) == "1 pass, 1 FAIL, 1 error, 1 n/a; 2 not asked"
    first = render_terminal(changed, color=False, width=80)
    assert first.count("\nNot counted ") == 2
    shown = render_terminal(changed, color=False, width=100, verbose=1)
    assert "(not asked)" in next(line for line in shown.splitlines() if " boot.image  " in line)


def test_all_facts_are_on_the_first_screen(reports: dict[str, Report]) -> None:
    screen = render_terminal(reports["affirming"], color=False, width=80).splitlines()[:24]
    assert f"  Manifest    {'242a6272' * 8}" in screen
    assert not any(line.startswith("CLAIMS") for line in screen)


def test_nothing_proven_is_striking(reports: dict[str, Report]) -> None:
    report = reports["only-said"]
    for text in (render_terminal(report, color=False, width=80), render_markdown(report)):
        assert "NOTHING. Every fact below is the word of whoever served it." in text
        assert text.index("NOTHING") < text.index("242a6272")


def test_no_sentence_stands_twice_in_a_check(reports: dict[str, Report]) -> None:
    report = reports["none"]
    subject = report.subjects[0]
    reason = "no TD quote was collected"
    quoteless = replace(subject.checks[2], summary=reason, reason=reason, remediation="get one")
    checks = tuple(replace(quoteless, id=item) for item in ("hardware.quote", "hardware.td"))
    changed = replace(report, subjects=(replace(subject, checks=checks, claims=()),))
    chain = render_terminal(changed, color=False, width=80, verbose=1).partition("CHAIN")[2]
    assert chain.count(reason) == len(checks)
    assert chain.count("get one") == 1
    assert "as for hardware.quote" in chain


def test_notes_head_the_report(reports: dict[str, Report]) -> None:
    report = reports["unsafe-root"]
    full = render_terminal(report, color=False, width=120, verbose=1)
    for text in (full, render_markdown(report)):
        assert text.index(report.root_note) < text.index("hardware.quote")
        assert text.index("evidence collected at") < text.index("hardware.quote")
    line = sentences.verdict_line(report)
    assert line.startswith("warning [unsafe root], not accepted by policy baseline: app ")
    simulated = replace(report, anchor=Anchor.SIMULATED)
    assert sentences.verdict_line(simulated).startswith("warning [simulated], ")


def test_time_is_said_once(reports: dict[str, Report]) -> None:
    judged = format_time(reports["affirming"].evaluated_at)
    note = f"Judged as of {judged}; evidence collected at {judged}."
    assert sentences.when(replace(reports["affirming"], time_note=note)) == note
    assert sentences.when(reports["affirming"]) == f"Judged as of {judged}"
    assert sentences.when(replace(reports["affirming"], time_note="x")).startswith("Judged as of ")


def test_unsafe_root_is_said_once_on_every_line_that_rests_on_it(
    reports: dict[str, Report],
) -> None:
    report = reports["unsafe-root"]
    text = render_terminal(report, color=False, width=200, verbose=1)
    lines = text.splitlines()
    for check in report.subjects[0].checks:
        line = next(line for line in lines if f" {check.id} " in line)
        assert line.count("unsafe root") == 1
    for claim in report.subjects[0].claims:
        line = next(line for line in lines if line.startswith(f"    {claim.name} "))
        worth = answers.standing(claim, report.subjects[0].checks)
        holds = worth in (answers.Standing.PROVEN, answers.Standing.MATCHED)
        assert line.endswith("[unsafe root]") == holds
    assert "TDX, TCB status UpToDate [unsafe root]" in text
    assert "unsafe root" not in render_terminal(reports["warning"], color=False, width=200)


@pytest.mark.parametrize("width", [80, 90, 100])
def test_hashes_and_addresses_are_whole(reports: dict[str, Report], width: int) -> None:
    digest, address = "ab" * 32, f"0x{'Cd' * 20}"
    report = reports["affirming"]
    subject = report.subjects[0]
    said = f"contract {address} runs an image with the hash {digest}; " + "and more " * 90 + digest
    check = replace(subject.checks[0], summary=said)
    changed = replace(report, subjects=(replace(subject, checks=(check,)),))
    words = render_terminal(changed, color=False, width=width, verbose=1).split()
    assert {address, f"{digest};", digest} <= set(words)


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
    found = sentences.weakest_link(reports[name])
    assert (found.id if found else None) == link


@pytest.mark.parametrize(
    ("basis", "worth"),
    [
        (Basis.HARDWARE, answers.Standing.PROVEN),
        (Basis.MEASURED, answers.Standing.PROVEN),
        (Basis.CHAIN, answers.Standing.PROVEN),
        (Basis.KMS, answers.Standing.PROVEN),
        (Basis.REFERENCE, answers.Standing.MATCHED),
        (Basis.WITNESS, answers.Standing.MATCHED),
        (Basis.ASSERTED, answers.Standing.SAID),
        (Basis.UNKNOWN, answers.Standing.NOT_KNOWN),
    ],
)
def test_standing(reports: dict[str, Report], basis: Basis, worth: answers.Standing) -> None:
    checks = reports["warning"].subjects[0].checks
    broken = answers.Standing.SAID if basis is Basis.ASSERTED else answers.Standing.NOT_KNOWN
    expectations = {
        (): worth,
        ("hardware.quote", "hardware.tcb"): worth,
        ("hardware.quote", "key_management.attestation"): broken,
        ("hardware.quote", "not.registered"): broken,
    }
    for conditions, expected in expectations.items():
        claim = Claim(name="x", value=1, basis=basis, conditions=conditions)
        assert answers.standing(claim, checks) is expected


def test_quiet_is_the_verdict_line(any_report: Report) -> None:
    line = render_terminal(any_report, color=True, width=40, quiet=True)
    assert line == sentences.verdict_line(any_report) + "\n"
    assert line.startswith(any_report.verdict.value)
    assert line.count("\n") == 1


def test_repeat_command_vouches_only_for_a_trusted_bundle(reports: dict[str, Report]) -> None:
    trusted = sentences.repeat_command(reports["affirming"])
    assert f"--trust-bundle sha256:{'d4' * 32}" in trusted
    assert "--trust-bundle" not in sentences.repeat_command(reports["none"])
    assert "--unsafe-root" in sentences.repeat_command(reports["unsafe-root"])
    hostile = replace(reports["affirming"], policy_name="x; rm -rf $HOME")
    assert "--policy 'x; rm -rf $HOME'" in sentences.repeat_command(hostile)


def test_verdict_words_exist_for_every_verdict() -> None:
    assert set(sentences.HEADLINES) == set(Verdict)
