"""A report without the secrets that the evidence holds."""

from collections.abc import Callable
from functools import cache

from msgspec.structs import replace

from verifier.manifest.secret_text import masked, masked_value
from verifier.model.project import ProjectFile
from verifier.model.report import Divergence, Report, SubjectReport
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
        project=None if report.project is None else _project(report.project, hide),
        divergences=tuple(_divergence(item, hide) for item in report.divergences),
        allowed=tuple(replace(item, name=hide(item.name)) for item in report.allowed),
    )


def _divergence(item: Divergence, hide: Callable[[str], str]) -> Divergence:
    """What differs is masked where it was compared, by the names of its fields."""
    return replace(
        item,
        not_comparable=tuple(map(hide, item.not_comparable)),
        differences=tuple(
            replace(one, pointer=hide(one.pointer), service=hide(one.service))
            for one in item.differences
        ),
    )


def _project(project: ProjectFile, hide: Callable[[str], str]) -> ProjectFile:
    settings = tuple((name, tuple(map(hide, values))) for name, values in project.settings)
    return replace(project, settings=settings)


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
