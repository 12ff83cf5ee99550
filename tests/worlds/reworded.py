"""An audit in other words, and what is decided in it.

Summaries, reasons, problems, remarks and messages of errors become digests of themselves wherever
the engine makes them, while the same evidence is judged again.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.worlds.audited import Audited
from verifier.audit import app_timeline
from verifier.chain.agreed_logs import AgreedLogs
from verifier.checks.dcap import DcapResult
from verifier.checks.engine import Outcome
from verifier.checks.provenance.sigstore import SigstoreResult
from verifier.checks.provenance.source_link import Provenance
from verifier.cli.commands.timeline import exit_code as timeline_exit_code
from verifier.cli.output import exit_code
from verifier.errors import VerifierError
from verifier.manifest.audit import ManifestAudit, NotEvaluable
from verifier.manifest.rule import Hit
from verifier.model.report import SecondOpinion
from verifier.model.result import CheckResult, Finding
from verifier.model.timeline import Change, Coverage, Exposure, Governance, Timeline
from verifier.policy.stage import assess_stage
from verifier.timeline.governance import Governed
from verifier.timeline.initial import InitialFlags

TEXTS: Final[dict[type, tuple[str, ...]]] = {
    Outcome: ("summary", "reason", "remediation"),
    CheckResult: ("summary", "reason", "remediation"),
    DcapResult: ("failure",),
    SigstoreResult: ("failure",),
    Provenance: ("note", "disagreements"),
    Hit: ("message",),
    Finding: ("title", "message", "fix"),
    NotEvaluable: ("reason",),
    ManifestAudit: ("compose_problem",),
    AgreedLogs: ("problems", "partial"),
    InitialFlags: ("problems",),
    Coverage: ("problems", "disputed", "unproven", "partial"),
    Governed: ("problems",),
    Governance: ("remarks",),
    Change: ("how",),
    Exposure: ("words",),
    Timeline: ("notes",),
    SecondOpinion: ("disagreements",),
}
"""What is text for people: the records that hold it, and their fields."""


@contextmanager
def other_words() -> Iterator[None]:
    """While this lasts, every text that the engine makes is another one."""
    with pytest.MonkeyPatch.context() as patch:
        for record, names in TEXTS.items():
            for name in names:
                patch.setattr(record, name, _reworded_field(vars(record)[name]))
        patch.setattr(VerifierError, "__init__", _rewording(VerifierError.__init__))
        yield


def reworded(audited: Audited) -> Audited:
    """The same evidence, judged again in other words."""
    with other_words():
        return audited.again()


def decided(audited: Audited) -> dict[str, Any]:
    """Everything in an audit that somebody acts on."""
    report = audited.report
    return {
        "verdict": (report.verdict, report.accepted, exit_code(report)),
        "checks": [
            (subject.name, item.id, item.status, item.skip_kind, item.requirement)
            for subject in report.subjects
            for item in subject.checks
        ],
        "claims": [
            (subject.name, item.name, item.value, item.basis, item.conditions)
            for subject in report.subjects
            for item in subject.claims
        ],
        "findings": sorted(
            (item.rule, item.severity, item.service, item.conditional) for item in report.findings
        ),
        "stage": [item.standing for item in assess_stage(report, audited.policy)],
        "timeline": _timeline(audited),
    }


def _timeline(audited: Audited) -> Any:
    try:
        found = app_timeline(audited.bundle, audited.question)
    except VerifierError as error:
        return type(error)
    return (
        timeline_exit_code(found),
        found.single_source,
        found.app_state,
        found.kms_state,
        [(item.kind, item.subject, item.since, item.until) for item in found.exposures],
        [(item.role, item.owner, item.since, item.keys, item.notice) for item in found.governance],
    )


def _reworded_field(member: Any) -> property:
    return property(lambda record: _other(member.__get__(record)))


def _rewording(made: Callable[..., None]) -> Callable[..., None]:
    def make(error: VerifierError, message: str, *, hint: str = "") -> None:
        made(error, _other(message), hint=_other(hint))

    return make


def _other(value: Any) -> Any:
    """A text in words that nobody knows; of texts each, and of a pair the second."""
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest() if value else ""
    return tuple(
        (*item[:-1], _other(item[-1])) if isinstance(item, tuple) else _other(item)
        for item in value
    )
