"""A report without the secrets that the evidence holds."""

from msgspec.structs import replace

from verifier.manifest.secret_text import masked, masked_value
from verifier.model.report import Report, SubjectReport
from verifier.model.result import CheckResult, Claim


def masked_report(report: Report) -> Report:
    """The report with every secret masked in the texts that come from evidence, as `secret_text`
    finds them. Verdict, identifiers and digests are the same."""
    return replace(
        report,
        target=masked(report.target),
        subjects=tuple(map(_subject, report.subjects)),
        sources=tuple(
            replace(item, source=masked(item.source), error=masked(item.error))
            for item in report.sources
        ),
        findings=tuple(
            replace(item, message=masked(item.message), service=masked(item.service))
            for item in report.findings
        ),
    )


def _subject(subject: SubjectReport) -> SubjectReport:
    return replace(
        subject,
        name=masked(subject.name),
        checks=tuple(map(_check, subject.checks)),
        claims=tuple(map(_claim, subject.claims)),
    )


def _check(check: CheckResult) -> CheckResult:
    return replace(
        check,
        summary=masked(check.summary),
        reason=masked(check.reason),
        remediation=masked(check.remediation),
        expected=masked_value(check.expected),
        actual=masked_value(check.actual),
    )


def _claim(claim: Claim) -> Claim:
    return replace(claim, value=masked_value(claim.value, claim.name))
