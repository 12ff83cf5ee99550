"""A report without the secrets that the evidence holds."""

from collections.abc import Callable
from functools import cache

from msgspec.structs import replace

from verifier.manifest.secret_text import masked, masked_value
from verifier.model.report import Report, SubjectReport
from verifier.model.result import CheckResult, Claim


def masked_report(report: Report) -> Report:
    """The report with every secret masked in the texts that come from evidence, as `secret_text`
    finds them. Verdict, identifiers and digests are the same."""
    # Checks and sources repeat each other's texts.
    hide = cache(masked)
    return replace(
        report,
        target=hide(report.target),
        subjects=tuple(_subject(item, hide) for item in report.subjects),
        sources=tuple(
            replace(item, source=hide(item.source), error=hide(item.error))
            for item in report.sources
        ),
        findings=tuple(
            replace(item, message=hide(item.message), service=hide(item.service))
            for item in report.findings
        ),
    )


def _subject(subject: SubjectReport, hide: Callable[[str], str]) -> SubjectReport:
    return replace(
        subject,
        name=hide(subject.name),
        checks=tuple(_check(item, hide) for item in subject.checks),
        claims=tuple(map(_claim, subject.claims)),
    )


def _check(check: CheckResult, hide: Callable[[str], str]) -> CheckResult:
    return replace(
        check,
        summary=hide(check.summary),
        reason=hide(check.reason),
        remediation=hide(check.remediation),
        expected=masked_value(check.expected),
        actual=masked_value(check.actual),
    )


def _claim(claim: Claim) -> Claim:
    return replace(claim, value=masked_value(claim.value, claim.name))
