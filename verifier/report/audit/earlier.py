"""An earlier report, read back from its JSON so that it can be rendered again.

Nothing in it is verified again: the author of the file is the author of the verdict. What is
refused is what no audit writes: another schema, a verdict better than its own checks give, a good
one without the checks that every policy requires, an acceptance of what no policy accepts. The
drawn history is not in the JSON; its lines are.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from verifier.errors import EvidenceError
from verifier.evidence.codec import (
    MAX_LISTED,
    as_int,
    as_list,
    as_object,
    as_str,
    parse_json_object,
)
from verifier.model.identifiers import parse_app_id, parse_time
from verifier.model.project import ProjectFile
from verifier.model.report import (
    AllowedManifest,
    Beside,
    Compared,
    Comparison,
    Difference,
    Divergence,
    QuoteOpinion,
    Report,
    SecondOpinion,
    Seen,
    SharedKey,
    Source,
    SubjectReport,
)
from verifier.model.result import (
    VERDICT_ORDER,
    Anchor,
    Basis,
    CheckResult,
    Claim,
    EvidenceRef,
    Finding,
    JsonValue,
    Location,
    Requirement,
    Severity,
    SkipKind,
    Status,
    Verdict,
)
from verifier.patterns import pattern
from verifier.policy.appraisal import verdict_of
from verifier.policy.document import MAX_NUMBER
from verifier.policy.policy import ACCEPTABLE, FLOOR
from verifier.report.audit.json import SCHEMA
from verifier.report.pending import read_outlook, read_pending

_WHAT: Final = "the report"
_NAMED: Final = pattern(r"dstack-audit/([a-z-]+)/v([0-9]{1,4})", re.ASCII)
_DIGEST: Final = pattern(r"[0-9a-f]{64}", re.ASCII)
_TRUST: Final = {"trusted": True, "untrusted": False}

_Object = Mapping[str, JsonValue]
_Word = TypeVar("_Word", bound=StrEnum)


def read_report(raw: bytes) -> Report:
    """The report that canonical JSON of schema `dstack-audit/report/v1` holds.

    `told_history` has the history's lines, and `timeline` is None. Raises EvidenceError.
    """
    document = parse_json_object(raw, _WHAT, MAX_LISTED)
    _refuse_others(document)
    policy = as_object(document.get("policy"), f"{_WHAT}: policy")
    subjects = _subjects(document)
    report = Report(
        tool=_text(document, "tool"),
        target=_text(document, "target"),
        requested_app_id=_app_id(document),
        verdict=_word(Verdict, document, "verdict"),
        accepted=_flag(document, "accepted"),
        evaluated_at=_time(document, "evaluated_at"),
        time_note=_text(document, "time_note"),
        bundle_digest=_digest(document, "bundle_digest"),
        bundle_trusted=_trusted(document),
        policy_name=_text(policy, "name"),
        policy_digest=_digest(policy, "digest"),
        reference_digest=_digest(document, "reference_digest"),
        anchor=_anchor(document, subjects),
        root_note=_text(document, "root_note"),
        subjects=subjects,
        sources=tuple(map(_source, _objects(document, "sources"))),
        timeline=None,
        findings=tuple(map(_finding, _objects(document, "findings"))),
        gaps=_texts(document, "gaps"),
        second_opinion=_second_opinion(document),
        collected_until=_time(document, "collected_until")
        if document.get("collected_until") is not None
        else None,
        max_age_days=_days(document),
        told_history=_texts(document, "history"),
        pending=tuple(map(read_pending, _objects(document, "pending")))
        if document.get("pending") is not None
        else None,
        outlook=tuple(map(read_outlook, _objects(document, "outlook")))
        if "outlook" in document
        else (),
        comparisons=_comparisons(document),
        seen=_seen(document),
        divergences=tuple(map(_divergence, _later(document, "divergences"))),
        shared_keys=tuple(map(_shared_key, _later(document, "shared_keys"))),
        allowed=tuple(map(_allowed, _later(document, "allowed_manifests"))),
        project=_project(document),
    )
    _refuse_better(report)
    return report


def kind_of(raw: bytes) -> str:
    """Which document of this program its JSON is, such as `report` or `lint`, by the schema that it
    names; "" for none. Raises EvidenceError."""
    schema = parse_json_object(raw, _WHAT, MAX_LISTED).get("schema")
    found = _NAMED.fullmatch(schema) if isinstance(schema, str) else None
    return found[1] if found is not None else ""


def _refuse_others(document: _Object) -> None:
    """Raise EvidenceError for what is no report about an audit, or one of another schema."""
    schema = document.get("schema")
    if schema == SCHEMA:
        return
    found = _NAMED.fullmatch(schema) if isinstance(schema, str) else None
    if found is None:
        raise EvidenceError(
            "it is no report of an audit", hint="name what `verify APP_ID --format json` wrote"
        )
    if found[1] != "report":
        raise EvidenceError(
            f"it is the JSON of a {found[1]}, which does not hold what another form needs",
            hint="run the command that wrote it again, with another --format",
        )
    raise EvidenceError(
        f"the report has schema {schema}, and this version reads {SCHEMA}",
        hint="render it with the version that its `tool` names",
    )


def _refuse_better(report: Report) -> None:
    """Raise EvidenceError where a verdict is better than its checks, or accepted though no policy
    may accept it: no audit writes such a report."""
    for subject in report.subjects:
        given = verdict_of(subject.checks)
        if VERDICT_ORDER.index(subject.verdict) < VERDICT_ORDER.index(given):
            raise EvidenceError(
                f"the report contradicts itself: its checks give {given.value}, and it says "
                f"{subject.verdict.value}",
                hint="it was changed after the audit; ask for the evidence",
            )
        lacking = _lacking(subject)
        if subject.verdict in ACCEPTABLE and lacking:
            raise EvidenceError(
                f"the report contradicts itself: it says {subject.verdict.value}, and "
                f"{lacking} did not pass, which every policy requires",
                hint="it was changed after the audit; ask for the evidence",
            )
    worst = max((VERDICT_ORDER.index(item.verdict) for item in report.subjects), default=None)
    least = VERDICT_ORDER.index(Verdict.NONE if worst is None else VERDICT_ORDER[worst])
    if VERDICT_ORDER.index(report.verdict) < least or (
        report.accepted and report.verdict not in ACCEPTABLE
    ):
        raise EvidenceError(
            f"the report contradicts itself: {report.verdict.value} is not what it came to",
            hint="it was changed after the audit; ask for the evidence",
        )


def _lacking(subject: SubjectReport) -> str:
    """The first check of every policy's floor that has no usable result, "" where all have one."""
    usable = {item.id for item in subject.checks if item.status in (Status.PASS, Status.WARN)}
    return next((check_id for check_id in FLOOR if check_id not in usable), "")


def _subjects(document: _Object) -> tuple[SubjectReport, ...]:
    """Every attester, the worst first; none where no check was run about any."""
    others = _objects(document, "other_subjects")
    name = _text(document, "subject")
    checks = tuple(map(_check, _objects(document, "checks")))
    claims = tuple(map(_claim, _objects(document, "claims")))
    if not (name or checks or claims or others):
        return ()
    worst = SubjectReport(
        name=name, verdict=_word(Verdict, document, "verdict"), checks=checks, claims=claims
    )
    return (worst, *map(_subject, others))


def _subject(value: _Object) -> SubjectReport:
    return SubjectReport(
        name=_text(value, "name"),
        verdict=_word(Verdict, value, "verdict"),
        checks=tuple(map(_check, _objects(value, "checks"))),
        claims=tuple(map(_claim, _objects(value, "claims"))),
    )


def _check(value: _Object) -> CheckResult:
    return CheckResult(
        id=_text(value, "id"),
        title=_text(value, "title"),
        status=_word(Status, value, "status"),
        summary=_text(value, "summary"),
        requirement=_word(Requirement, value, "requirement"),
        expected=value.get("expected"),
        actual=value.get("actual"),
        evidence=_evidence(value),
        reason=_text(value, "reason"),
        skip_kind=_word(SkipKind, value, "skip_kind") if value.get("skip_kind") else None,
        remediation=_text(value, "remediation"),
        requires=_texts(value, "requires"),
        anchor=_word(Anchor, value, "anchor") if value.get("anchor") else None,
    )


def _claim(value: _Object) -> Claim:
    return Claim(
        name=_text(value, "name"),
        value=value.get("value"),
        basis=_word(Basis, value, "basis"),
        conditions=_texts(value, "conditions"),
        evidence=_evidence(value),
    )


def _evidence(value: _Object) -> tuple[EvidenceRef, ...]:
    return tuple(
        EvidenceRef(_text(item, "blob"), _text(item, "pointer"))
        for item in _objects(value, "evidence")
    )


def _source(value: _Object) -> Source:
    return Source(
        kind=_text(value, "kind"),
        subject=_text(value, "subject"),
        source=_text(value, "source"),
        blob=_digest(value, "blob") if value.get("blob") is not None else None,
        error=_text(value, "error"),
    )


def _finding(value: _Object) -> Finding:
    where = as_object(value.get("location"), f"{_WHAT}: location")
    return Finding(
        rule=_text(value, "rule"),
        severity=_text(value, "severity"),
        title=_text(value, "title"),
        service=_text(value, "service"),
        location=Location(
            pointer=_text(where, "pointer"),
            line=as_int(where.get("line"), f"{_WHAT}: line"),
            column=as_int(where.get("column"), f"{_WHAT}: column"),
        ),
        message=_text(value, "message"),
        fix=_text(value, "fix"),
        conditional=_flag(value, "conditional"),
    )


def _second_opinion(document: _Object) -> SecondOpinion | None:
    if document.get("second_opinion") is None:
        return None
    value = as_object(document["second_opinion"], f"{_WHAT}: second_opinion")
    return SecondOpinion(
        reader=_text(value, "reader"),
        calls=as_int(value.get("calls"), f"{_WHAT}: calls"),
        logs=as_int(value.get("logs"), f"{_WHAT}: logs"),
        disagreements=_texts(value, "disagreements"),
        quote=_quote_opinion(value),
    )


def _quote_opinion(document: _Object) -> QuoteOpinion | None:
    if document.get("quote") is None:
        return None
    value = as_object(document["quote"], f"{_WHAT}: quote")
    return QuoteOpinion(
        reader=_text(value, "reader"),
        quotes=as_int(value.get("quotes"), f"{_WHAT}: quotes"),
        disagreements=_texts(value, "disagreements"),
    )


def _days(document: _Object) -> int | None:
    """For how many days the policy relies on it."""
    if document.get("max_age_days") is None:
        return None
    days = as_int(document["max_age_days"], f"{_WHAT}: max_age_days")
    if not 0 <= days <= MAX_NUMBER:
        raise EvidenceError(f"{_WHAT}: max_age_days is not a number of days")
    return days


def _project(document: _Object) -> ProjectFile | None:
    if document.get("project") is None:
        return None
    value = as_object(document["project"], f"{_WHAT}: project")
    return ProjectFile(
        name=_text(value, "file"),
        sha256=_digest(value, "sha256"),
        settings=tuple(
            (_text(item, "option"), _texts(item, "values")) for item in _objects(value, "sets")
        ),
    )


def _comparisons(document: _Object) -> tuple[Comparison, ...]:
    if "comparisons" not in document:
        return ()
    return tuple(map(_comparison, _objects(document, "comparisons")))


def _comparison(value: _Object) -> Comparison:
    return Comparison(
        name=_text(value, "name"),
        source=_text(value, "source"),
        sha256=_digest(value, "sha256"),
        made_at=_time(value, "made_at") if value.get("made_at") is not None else None,
        shows=_text(value, "shows"),
        rows=tuple(
            Compared(
                _text(row, "topic"),
                _text(row, "theirs"),
                _text(row, "ours"),
                _word(Beside, row, "beside"),
            )
            for row in _objects(value, "rows")
        ),
        unseen=tuple(
            (_text(row, "question"), _text(row, "ours")) for row in _objects(value, "unseen")
        ),
        note=_text(value, "note"),
    )


def _later(document: _Object, key: str) -> tuple[_Object, ...]:
    """A list that reports of earlier versions do not have."""
    return _objects(document, key) if key in document else ()


def _seen(document: _Object) -> Seen | None:
    if document.get("instances_seen") is None:
        return None
    value = as_object(document["instances_seen"], f"{_WHAT}: instances_seen")
    met = as_object(value.get("met"), f"{_WHAT}: met")
    return Seen(
        requests=as_int(value.get("requests"), f"{_WHAT}: requests"),
        answered=as_int(value.get("answered"), f"{_WHAT}: answered"),
        met={name: as_int(number, f"{_WHAT}: met") for name, number in met.items()},
        named=_texts(value, "named"),
    )


def _divergence(value: _Object) -> Divergence:
    return Divergence(
        subjects=_texts(value, "subjects"),
        most=_texts(value, "most"),
        differences=tuple(map(_difference, _objects(value, "differences"))),
        same_release=_flag(value, "same_release"),
        platform_only=_flag(value, "platform_only"),
        not_comparable=_texts(value, "not_comparable"),
    )


def _difference(value: _Object) -> Difference:
    return Difference(
        rule=_text(value, "rule"),
        severity=_word(Severity, value, "severity"),
        pointer=_text(value, "pointer"),
        service=_text(value, "service"),
        fact=_text(value, "fact"),
        meaning=_text(value, "meaning"),
        before=_text(value, "before") if value.get("before") is not None else None,
        after=_text(value, "after") if value.get("after") is not None else None,
        conditional=_flag(value, "conditional"),
    )


def _shared_key(value: _Object) -> SharedKey:
    return SharedKey(
        key=_text(value, "key"),
        kms_root=_text(value, "kms_root"),
        subjects=_texts(value, "subjects"),
        compose_hashes=_texts(value, "compose_hashes"),
    )


def _allowed(value: _Object) -> AllowedManifest:
    return AllowedManifest(
        compose_hash=_text(value, "compose_hash"),
        known=_flag(value, "known"),
        name=_text(value, "name"),
        deploy_path=_text(value, "deploy_path"),
        subjects=_texts(value, "subjects"),
    )


def _anchor(document: _Object, subjects: tuple[SubjectReport, ...]) -> Anchor | None:
    """The trust anchor where it is not Intel's. A report that has only a note about one, or only
    checks that rest on one, is never taken for one about real hardware."""
    if document.get("anchor") is not None:
        return _word(Anchor, document, "anchor")
    marked = {item.anchor for subject in subjects for item in subject.checks if item.anchor}
    if marked == {Anchor.SIMULATED}:
        return Anchor.SIMULATED
    return Anchor.UNSAFE_ROOT if marked or _text(document, "root_note") else None


def _app_id(document: _Object) -> str | None:
    value = document.get("requested_app_id")
    if value is None:
        return None
    text = as_str(value, f"{_WHAT}: requested_app_id")
    if parse_app_id(text) != text:
        raise EvidenceError(f"{_WHAT}: requested_app_id {text[:50]!a} is no app id")
    return text


def _trusted(document: _Object) -> bool:
    word = _text(document, "bundle_trust")
    if word not in _TRUST:
        raise EvidenceError(f"{_WHAT}: bundle_trust {word[:20]!a} is not trusted or untrusted")
    return _TRUST[word]


def _objects(value: _Object, key: str) -> tuple[_Object, ...]:
    what = f"{_WHAT}: {key}"
    return tuple(as_object(item, what) for item in as_list(value.get(key), what))


def _texts(value: _Object, key: str) -> tuple[str, ...]:
    what = f"{_WHAT}: {key}"
    return tuple(as_str(item, what) for item in as_list(value.get(key), what))


def _text(value: _Object, key: str) -> str:
    return as_str(value.get(key), f"{_WHAT}: {key}")


def _flag(value: _Object, key: str) -> bool:
    found = value.get(key)
    if not isinstance(found, bool):
        raise EvidenceError(f"{_WHAT}: {key} is not true or false")
    return found


def _digest(value: _Object, key: str) -> str:
    text = _text(value, key)
    if not _DIGEST.fullmatch(text):
        raise EvidenceError(f"{_WHAT}: {key} {text[:70]!a} is no sha256")
    return text


def _time(value: _Object, key: str) -> int:
    """Unix seconds."""
    text = _text(value, key)
    seconds = parse_time(text)
    if seconds is None:
        raise EvidenceError(f"{_WHAT}: {key} {text[:40]!a} is no time")
    return seconds


def _word(words: type[_Word], value: _Object, key: str) -> _Word:
    text = _text(value, key)
    try:
        return words(text)
    except ValueError as error:
        raise EvidenceError(
            f"{_WHAT}: {key} {text[:40]!a} is not one of {', '.join(words)}"
        ) from error
