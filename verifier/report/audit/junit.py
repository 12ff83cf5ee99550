"""JUnit XML, as the test views of GitLab, Jenkins and others read it: of an audit and of lints.

A view of this kind shows what is skipped in grey, beside what passed. Whatever keeps an audit from
its verdict, a missing answer too, is a `failure` or an `error`, never `skipped`. Text of the
evidence has its control characters made visible, which XML 1.0 could not carry either.
"""

from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from verifier.model.identifiers import format_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import CheckResult, Requirement
from verifier.report.audit.families import Mark, mark
from verifier.report.audit.sentences import anchor_note, verdict_line
from verifier.report.escape import visible
from verifier.report.lint.sarif import finding_text, rules_of
from verifier.report.lint.told import ToldLint, ToldLints

_MISSING: Final = frozenset({Mark.MISSING, Mark.BLOCKED})
_COUNTED: Final = ("failure", "error", "skipped")


def render_junit(report: Report) -> str:
    """An audit as JUnit XML: a suite for the verdict, and one for each attester's checks.

    A check that failed is a `failure`. One that ended in an error, or is required and was not
    decided, is an `error`. One that nobody asks for or that does not apply is `skipped`, and so is
    an advisory one that was not decided: the verdict, a test of its own, says what follows.
    """
    suite = _suite("verdict", format_time(report.evaluated_at))
    case = _case(suite, "verdict", f"policy {report.policy_name}")
    line = verdict_line(report)
    if report.accepted:
        _text(case, "system-out", line)
    else:
        _result(case, "failure", report.verdict.value, line)
    suites = [suite, *(_attester(item, report) for item in report.subjects)]
    return _document(f"dstack audit of {report.target}", suites)


def render_lint_junit(told: ToldLints) -> str:
    """Lints as JUnit XML: a suite for each file, a test for each rule that it was asked about.

    A rule with findings that count is a `failure`, one that needs evidence which is not there is
    `skipped`, and what could not be read is an `error`.
    """
    suites = [_file(lint) for lint in told.files]
    for item in told.unread:
        suite = _suite(item.name)
        _result(_case(suite, item.name, "read"), "error", item.problem, item.hint)
        suites.append(suite)
    return _document("dstack lint", suites)


def _attester(subject: SubjectReport, report: Report) -> Element:
    suite = _suite(subject.name or "unnamed", format_time(report.evaluated_at))
    for check in subject.checks:
        case = _case(suite, check.id.partition(".")[0], f"{check.id}: {check.title}")
        said = f"{check.summary}{anchor_note(check)}"
        details = "\n".join(filter(None, (said, check.reason, check.remediation)))
        outcome = _outcome(check)
        if outcome:
            _result(case, outcome, said, details)
        else:
            _text(case, "system-out", details)
    return suite


def _outcome(check: CheckResult) -> str:
    """The JUnit element of a check's outcome, "" for a test that passes."""
    found = mark(check)
    if found is Mark.PASS:
        return ""
    if check.requirement is Requirement.NOT_ASKED or found is Mark.NOT_APPLICABLE:
        return "skipped"
    if found is Mark.FAIL:
        return "failure"
    if found in _MISSING and check.requirement is not Requirement.REQUIRED:
        return "skipped"
    return "" if found is Mark.WARN else "error"


def _file(lint: ToldLint) -> Element:
    suite = _suite(lint.name)
    if lint.problem:
        _result(_case(suite, lint.name, "read"), "error", lint.problem)
    skipped = {rule: reason for reason, rules in lint.missing_reasons().items() for rule in rules}
    for rule in rules_of((lint,)):
        case = _case(suite, lint.name, f"{rule.id}: {rule.title}")
        counted = [finding for finding in lint.counted if finding.rule == rule.id]
        others = [
            finding
            for finding in lint.findings
            if finding.rule == rule.id and not lint.counts(finding)
        ]
        if counted:
            lines = "\n".join(finding_text(lint, finding) for finding in counted)
            _result(
                case, "failure", f"{rule.title} ({len(counted)})", lines, counted[0].severity.value
            )
        elif rule.id in skipped:
            _result(case, "skipped", skipped[rule.id])
        elif others:
            _text(case, "system-out", "\n".join(finding_text(lint, item) for item in others))
    return suite


def _suite(name: str, timestamp: str = "") -> Element:
    stamp = {"timestamp": timestamp} if timestamp else {}
    return Element("testsuite", {"name": visible(name), **stamp})


def _case(suite: Element, group: str, name: str) -> Element:
    return SubElement(suite, "testcase", {"classname": visible(group), "name": visible(name)})


def _result(case: Element, outcome: str, message: str, text: str = "", kind: str = "") -> None:
    element = _text(case, outcome, text)
    element.set("message", visible(message))
    if kind:
        element.set("type", visible(kind))


def _text(case: Element, name: str, text: str) -> Element:
    element = SubElement(case, name)
    element.text = "\n".join(map(visible, text.split("\n")))
    return element


def _document(name: str, suites: list[Element]) -> str:
    root = Element("testsuites", {"name": visible(name)})
    root.extend(suites)
    for element in (root, *suites):
        cases = list(element.iter("testcase"))
        element.set("tests", str(len(cases)))
        for outcome, count in zip(_COUNTED, ("failures", "errors", "skipped"), strict=True):
            element.set(count, str(sum(case.find(outcome) is not None for case in cases)))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=False) + "\n"
