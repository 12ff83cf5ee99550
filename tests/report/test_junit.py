"""JUnit: what stops a gate is red there, and text of the evidence stays text."""

from collections.abc import Callable
from datetime import date
from xml.etree.ElementTree import Element, fromstring

import pytest
from msgspec.structs import replace

from verifier.manifest.audit import audit_compose_file
from verifier.manifest.ignore import sift
from verifier.model.report import Report
from verifier.model.result import Requirement, Severity, Status, Verdict
from verifier.report.audit.junit import render_junit, render_lint_junit
from verifier.report.lint.places import Lint, Unread
from verifier.report.lint.told import tell

HOSTILE = "]]>&<failure/>\x00\x1b[2J\u202e\ud800\ufffe\n\"'"


def parsed(text: str) -> Element:
    return fromstring(text)  # noqa: S314 - written by the renderer under test


def number(element: Element, name: str) -> int:
    return int(element.get(name, ""))


def test_every_check_and_the_verdict_are_tests(any_report: Report) -> None:
    root = parsed(render_junit(any_report))
    assert number(root, "tests") == 1 + sum(len(item.checks) for item in any_report.subjects)
    verdict = root[0][0]
    assert (verdict.find("failure") is None) is any_report.accepted
    assert any_report.verdict.value in "".join(verdict.itertext())
    for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert number(root, name) == len(root.findall(f".//{outcome}"))
        assert number(root, name) == sum(number(suite, name) for suite in root)


def test_a_report_that_is_refused_is_red_and_an_affirming_one_is_not(any_report: Report) -> None:
    root = parsed(render_junit(any_report))
    red = number(root, "failures") + number(root, "errors")
    assert (red == 0) is any_report.accepted


def test_a_required_check_that_was_not_decided_is_never_only_skipped(any_report: Report) -> None:
    root = parsed(render_junit(any_report))
    cases = [case for suite in list(root)[1:] for case in suite]
    checks = [check for item in any_report.subjects for check in item.checks]
    for case, check in zip(cases, checks, strict=True):
        if check.requirement is Requirement.REQUIRED and check.status is Status.SKIP:
            assert case.find("error") is not None, check.id
        if check.status is Status.FAIL:
            assert case.find("failure") is not None, check.id


def test_hostile_text_stays_text(
    reports: dict[str, Report], rewritten: Callable[[Report, Callable[[str], str]], Report]
) -> None:
    for report in reports.values():
        text = render_junit(rewritten(report, lambda old: old + HOSTILE))
        root = parsed(text)
        assert {item.tag for item in root.iter()} <= {
            *("testsuites", "testsuite", "testcase", "system-out", "failure", "error", "skipped")
        }
        assert len(root.findall(".//failure")) == number(root, "failures")
        assert not set("\x00\x1b\u202e\ufffe") & set(text)
        text.encode("utf-8")


@pytest.mark.parametrize(("tag", "red"), [("latest", True), ("1.0@sha256:" + "ab" * 32, False)])
def test_a_rule_with_findings_that_count_is_red(tag: str, *, red: bool) -> None:
    raw = f"services:\n  web:\n    image: docker.io/library/nginx:{tag}\n".encode()
    audit = audit_compose_file(raw)
    kept = sift(audit, (), date(2026, 1, 1), comments=True)
    lint = Lint(
        name="compose.yaml",
        raw=raw,
        whole=False,
        audit=audit,
        findings=kept.findings,
        ignored=kept.ignored,
        notes=(),
        min_severity=Severity.MEDIUM,
    )
    root = parsed(render_lint_junit(tell((lint,), "t 1")))
    failed = {
        case.get("name", "")[:7]
        for case in root.iter("testcase")
        if case.find("failure") is not None
    }
    assert failed == {finding.rule for finding in lint.counted}
    assert ("IMG-005" in failed) is red
    assert number(root, "skipped") == len(audit.not_evaluable)


def test_a_file_that_could_not_be_read_is_an_error() -> None:
    root = parsed(render_lint_junit(tell((), "t 1", (Unread(HOSTILE, "no such file", "look"),))))
    assert number(root, "errors") == 1
    assert number(root, "tests") == 1


def test_the_verdict_alone_fails_where_a_policy_refuses_a_warning(
    reports: dict[str, Report],
) -> None:
    refused = replace(reports["warning"], accepted=False)
    assert refused.verdict is Verdict.WARNING
    root = parsed(render_junit(refused))
    assert (number(root, "failures"), number(root, "errors")) == (1, 0)
