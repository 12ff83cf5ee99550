"""Real evidence that others recorded, kept beside the project and never inside it."""

from pathlib import Path

import pytest

from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.evidence.bundle import Bundle
from verifier.evidence.import_files import import_files
from verifier.model.identifiers import parse_app_id, parse_time
from verifier.model.report import Report
from verifier.model.result import CheckResult
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "evidence"

needs_recorded = pytest.mark.skipif(
    not RECORDED.is_dir(),
    reason="the recorded evidence is not part of the project; it is read from ../shared/evidence",
)


def read(path: str) -> bytes:
    """One recorded file."""
    return (RECORDED / path).read_bytes()


def imported(at: str, app_id: str | None, *paths: str) -> tuple[Bundle, Question]:
    """Recorded files, named by number so that shape alone tells them apart, and what is asked about
    them."""
    moment = parse_time(at)
    assert moment is not None
    files = [(f"file {number}", read(path)) for number, path in enumerate(paths)]
    question = Question(
        app_id=parse_app_id(app_id) if app_id else None,
        reference=embedded(),
        at=moment,
        trusted=False,
    )
    return import_files(files, collected_at=moment), question


def audit(at: str, app_id: str | None, *paths: str, policy: str = "baseline") -> Report:
    """Import recorded files, and audit."""
    bundle, question = imported(at, app_id, *paths)
    return audit_bundle(bundle, "recorded", question, load_policy(policy))


def checks(report: Report) -> dict[str, CheckResult]:
    """The results of the only attester, by check id."""
    (subject,) = report.subjects
    return {item.id: item for item in subject.checks}


def claims(report: Report) -> dict[str, tuple[object, str]]:
    """Value and basis of every claim of the only attester."""
    (subject,) = report.subjects
    return {item.name: (item.value, item.basis.value) for item in subject.claims}


def statuses(report: Report, *ids: str) -> list[str]:
    """The statuses of some checks."""
    found = checks(report)
    return [found[check_id].status.value for check_id in ids]
