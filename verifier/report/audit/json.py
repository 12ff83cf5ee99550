"""The report as canonical JSON (RFC 8785), schema `dstack-audit/report/v1`.

The names are a contract, written down in `docs/schema/report-v1.schema.json`. `checks` and
`claims` are those of the worst attester, named by `subject`; `other_subjects` holds the rest.
Text stands as it was collected: RFC 8785 escapes C0 controls and nothing else.
"""

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec.json
import rfc8785

from verifier.model.identifiers import format_time
from verifier.model.project import ProjectFile
from verifier.model.report import (
    AllowedManifest,
    Comparison,
    Divergence,
    Report,
    SecondOpinion,
    SharedKey,
    Source,
    SubjectReport,
)
from verifier.model.result import Basis, CheckResult, Claim, EvidenceRef, Finding, JsonValue
from verifier.report.audit import instances
from verifier.report.audit.sentences import history
from verifier.report.escape import without_surrogates
from verifier.report.pending import outlook_json, pending_json

if TYPE_CHECKING:
    from collections.abc import Collection

SCHEMA: Final = "dstack-audit/report/v1"
MAX_SAFE_INTEGER: Final = 2**53 - 1  # RFC 8785 3.2.2.3: numbers are IEEE 754 doubles

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_SCALARS: Final = frozenset((str, bool, type(None)))
_Object = dict[str, JsonValue]


def render_json(report: Report) -> bytes:
    """The report as one line of canonical JSON in UTF-8, with a newline at the end.

    Integers beyond 2^53 - 1 in either direction are written as decimal strings.
    """
    worst = report.subjects[0] if report.subjects else None
    document: _Object = {
        "schema": SCHEMA,
        "tool": report.tool,
        "target": report.target,
        "requested_app_id": report.requested_app_id,
        "verdict": report.verdict.value,
        "accepted": report.accepted,
        "evaluated_at": format_time(report.evaluated_at),
        "time_note": report.time_note,
        "collected_until": _time(report.collected_until),
        "max_age_days": report.max_age_days,
        "bundle_digest": report.bundle_digest,
        "bundle_trust": "trusted" if report.bundle_trusted else "untrusted",
        "policy": {"name": report.policy_name, "digest": report.policy_digest},
        "reference_digest": report.reference_digest,
        "anchor": report.anchor.value if report.anchor else None,
        "root_note": report.root_note,
        "subject": worst.name if worst else "",
        "checks": [_check(item) for item in worst.checks] if worst else [],
        "claims": [_claim(item) for item in worst.claims] if worst else [],
        "other_subjects": [_subject(item) for item in report.subjects[1:]],
        "sources": [_source(item) for item in report.sources],
        "history": list(history(report)),
        "pending": None if report.pending is None else [*map(pending_json, report.pending)],
        "outlook": [*map(outlook_json, report.outlook)],
        "findings": [_finding(item) for item in report.findings],
        "gaps": list(report.gaps),
        "instances": [_instance(row) for row in instances.rows(report)],
        "instances_seen": _seen(report),
        "divergences": [_divergence(item) for item in report.divergences],
        "shared_keys": [_shared_key(item) for item in report.shared_keys],
        "allowed_manifests": [_allowed(item) for item in report.allowed],
    }
    if report.second_opinion is not None:
        document["second_opinion"] = _second_opinion(report.second_opinion)
    if report.project is not None:
        document["project"] = _project(report.project)
    if report.comparisons:
        document["comparisons"] = [_comparison(item) for item in report.comparisons]
    return canonical_json(document) + b"\n"


def _subject(subject: SubjectReport) -> _Object:
    return {
        "name": subject.name,
        "verdict": subject.verdict.value,
        "checks": [_check(item) for item in subject.checks],
        "claims": [_claim(item) for item in subject.claims],
    }


def _check(check: CheckResult) -> _Object:
    return {
        "id": check.id,
        "title": check.title,
        "status": check.status.value,
        "requirement": check.requirement.value,
        "skip_kind": check.skip_kind.value if check.skip_kind else None,
        "summary": check.summary,
        "expected": check.expected,
        "actual": check.actual,
        "reason": check.reason,
        "remediation": check.remediation,
        "requires": list(check.requires),
        "anchor": check.anchor.value if check.anchor else None,
        "evidence": _evidence(check.evidence),
    }


def _claim(claim: Claim) -> _Object:
    return {
        "name": claim.name,
        "value": claim.value,
        "basis": claim.basis.value,
        "conditions": list(claim.conditions),
        "evidence": _evidence(claim.evidence),
    }


def _evidence(refs: tuple[EvidenceRef, ...]) -> list[JsonValue]:
    return [{"blob": ref.blob, "pointer": ref.pointer} for ref in refs]


def _source(source: Source) -> _Object:
    return {
        "kind": source.kind,
        "subject": source.subject,
        "source": source.source,
        "blob": source.blob,
        "error": source.error,
    }


def _second_opinion(opinion: SecondOpinion) -> _Object:
    document: _Object = {
        "reader": opinion.reader,
        "calls": opinion.calls,
        "logs": opinion.logs,
        "disagreements": list(opinion.disagreements),
    }
    if opinion.quote is not None:
        document["quote"] = {
            "reader": opinion.quote.reader,
            "quotes": opinion.quote.quotes,
            "disagreements": list(opinion.quote.disagreements),
        }
    return document


def _project(project: ProjectFile) -> _Object:
    return {
        "file": project.name,
        "sha256": project.sha256,
        "sets": [{"option": name, "values": [*values]} for name, values in project.settings],
    }


def _comparison(comparison: Comparison) -> _Object:
    return {
        "name": comparison.name,
        "source": comparison.source,
        "sha256": comparison.sha256,
        "made_at": _time(comparison.made_at),
        "shows": comparison.shows,
        "rows": [
            {
                "topic": row.topic,
                "theirs": row.theirs,
                "theirs_basis": Basis.ASSERTED.value,
                "ours": row.ours,
                "beside": row.beside.value,
            }
            for row in comparison.rows
        ],
        "unseen": [{"question": question, "ours": ours} for question, ours in comparison.unseen],
        "note": comparison.note,
    }


def _instance(row: instances.Row) -> _Object:
    return {
        "subject": row.subject,
        "instance_id": row.instance_id,
        "asked_as": row.asked_as,
        "named": row.named,
        "app_id": row.app_id,
        "quote": row.quote.value if row.quote else None,
        "compose_hash": row.compose_hash,
        "os_release": row.os_release,
        "os_kind": row.os_kind,
        "os_image_hash": row.os_image_hash,
        "device_id": row.device_id,
        "answers": row.answers,
        "verdict": row.verdict.value,
    }


def _seen(report: Report) -> JsonValue:
    seen = report.seen
    if seen is None:
        return None
    return {
        "count": instances.count(report),
        "requests": seen.requests,
        "answered": seen.answered,
        "met": dict(seen.met),
        "named": list(seen.named),
        "exhaustive": False,
    }


def _divergence(item: Divergence) -> _Object:
    return {
        "subjects": list(item.subjects),
        "most": list(item.most),
        "severity": instances.worst(item).value,
        "same_release": item.same_release,
        "platform_only": item.platform_only,
        "not_comparable": list(item.not_comparable),
        "differences": [
            {
                "rule": one.rule,
                "severity": one.severity.value,
                "pointer": one.pointer,
                "service": one.service,
                "fact": one.fact,
                "meaning": one.meaning,
                "before": one.before,
                "after": one.after,
                "conditional": one.conditional,
            }
            for one in item.differences
        ],
    }


def _shared_key(item: SharedKey) -> _Object:
    return {
        "key": item.key,
        "kms_root": item.kms_root,
        "subjects": list(item.subjects),
        "compose_hashes": list(item.compose_hashes),
    }


def _allowed(item: AllowedManifest) -> _Object:
    return {
        "compose_hash": item.compose_hash,
        "known": item.known,
        "name": item.name,
        "deploy_path": item.deploy_path,
        "subjects": list(item.subjects),
    }


def _time(seconds: int | None) -> JsonValue:
    return None if seconds is None else format_time(seconds)


def _finding(finding: Finding) -> _Object:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "title": finding.title,
        "service": finding.service,
        "location": {
            "pointer": finding.location.pointer,
            "line": finding.location.line,
            "column": finding.location.column,
        },
        "message": finding.message,
        "fix": finding.fix,
        "conditional": finding.conditional,
    }


def canonical_json(value: JsonValue) -> bytes:
    """RFC 8785 JSON in UTF-8, of what is encodable in the value.

    msgspec writes the same bytes many times as fast, but for what `_is_plain` leaves out, and for
    lone surrogates, which it refuses.
    """
    if _is_plain(value):
        with suppress(UnicodeEncodeError):
            return _ENCODER.encode(value)
    made = encodable(value)
    return _ENCODER.encode(made) if _is_plain(made) else rfc8785.dumps(made)


def _is_plain(value: JsonValue) -> bool:
    """Whether there is no number with a fraction, no large one, and no name beyond ASCII."""
    stack: list[Collection[JsonValue]] = [(value,)]
    while stack:
        values = stack.pop()
        if _SCALARS.issuperset(map(type, values)):
            continue
        for item in values:
            if isinstance(item, dict):
                if not "".join(item).isascii():
                    return False
                stack.append(item.values())
            elif isinstance(item, list | tuple):
                stack.append(item)
            elif isinstance(item, int):
                if abs(item) > MAX_SAFE_INTEGER:
                    return False
            elif type(item) not in _SCALARS and not isinstance(item, StrEnum):
                return False
    return True


def encodable(value: JsonValue) -> JsonValue:
    """The value with what RFC 8785 cannot write, large integers and lone surrogates, as text."""
    if isinstance(value, dict):
        return {without_surrogates(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    if isinstance(value, str):
        return without_surrogates(value)
    if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    return value
