"""Guests beside each other: which of them an audit is about, and how they differ.

An audit judges each guest alone, and the worst decides. What stands here is about several: it
decides nothing, but it says which guest runs something else, and what.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from verifier.checks.application.identity import named_key
from verifier.checks.case import Case, Question
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Bundle
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.compose.app_compose import parse_app_compose
from verifier.evidence.guest.sightings import sightings
from verifier.evidence.import_files import REPORTED
from verifier.evidence.subject import SubjectEvidence, read_subject
from verifier.evidence.td.event_log import first_payload
from verifier.evidence.td.quote import parse_quote
from verifier.manifest.deployment import path_label
from verifier.model.report import (
    AllowedManifest,
    Difference,
    Divergence,
    Seen,
    SharedKey,
    SubjectReport,
)
from verifier.model.result import Basis, Severity

if TYPE_CHECKING:
    from verifier.manifest.diff import Comparison, Document
    from verifier.model.timeline import Timeline

Audited = tuple[SubjectReport, Case]
_Manifest = bytes | None

_OWN: Final = frozenset({"instance_id", "device_id"})
"""What differs from instance to instance of any app."""
_TELLING: Final = (
    *("app_id", "compose_hash", "os_image", "os_image_hash", "key_provider", "kms", "kms_root"),
    *("app_contract", "app_owner", "kms_owner"),
)
"""The claims in which guests of one app are alike."""


def meant(bundle: Bundle, question: Question) -> tuple[str, ...]:
    """The names of the attesters that the question is about.

    Of instances that it names, each is among them: by what its log measures, by the name that it
    was asked for, or, where it gave no evidence, by its id alone. Evidence that names no attester
    is about one, whichever it is.
    """
    subjects = bundle.subjects
    if not question.instances or subjects == ("",):
        return _reported(bundle, question) or subjects
    claimed = {name: _claimed(bundle, name) for name in subjects}
    found: dict[str, None] = {}
    for instance in question.instances:
        names = [name for name, ids in claimed.items() if instance in ids]
        found.update(dict.fromkeys(names or [instance]))
    return tuple(found)


def _claimed(bundle: Bundle, name: str) -> set[str]:
    """The instance ids (hex) that an attester goes by: in its name, and in its logs."""
    found = {name.rpartition("/")[2]}
    for source in read_subject(bundle, name).quotes:
        with suppress(EvidenceError):
            events = source.events() if source.has_log else ()
            found.add((first_payload(events, "instance-id") or b"").hex())
    return found


def _reported(bundle: Bundle, question: Question) -> tuple[str, ...]:
    """The attesters of a provider's report, which is about several apps, that are said to be of the
    app in question; none where the evidence is not such a report's alone."""
    of_others = any(name.partition("/")[0] not in REPORTED for name in bundle.subjects)
    if of_others or question.app_id is None:
        return ()
    return tuple(
        name
        for name in bundle.subjects
        if any(
            item.value.stated.get("app_id") == question.app_id
            for item in read_subject(bundle, name).infos
        )
    )


def knowing(
    question: Question, evidence: Sequence[SubjectEvidence], exchanges: Exchanges
) -> Question:
    """The question, which knows the manifests that its guests measured and show: each of them is
    audited in this very audit, and the worst decides."""
    if len(evidence) < 2:  # noqa: PLR2004 - one guest's own manifest is known to itself
        return question
    names = dict(question.manifests)
    for subject in evidence:
        raw = _manifest(Case(subject, question, exchanges))
        if raw is not None:
            path = _path(raw)
            digest = hashlib.sha256(raw).hexdigest()
            names.setdefault(digest, f"attested, {path}" if path else "attested")
    return replace(question, manifests=names)


def _manifest(case: Case) -> _Manifest:
    """The text of the manifest that a guest measured, None where it is not in the evidence."""
    with suppress(MissingEvidence, EvidenceError, Blocked):
        return case.measured_manifest.value
    return None


def _path(raw: bytes) -> str:
    with suppress(EvidenceError):
        return path_label(parse_app_compose(raw))
    return ""


def seen(bundle: Bundle, question: Question) -> Seen | None:
    """How the instances of the app in question were looked for; None where nobody looked."""
    found = sightings(bundle, question.app_id) if question.app_id is not None else None
    if found is None:
        return Seen(named=question.instances) if question.instances else None
    return Seen(
        requests=found.requests,
        answered=found.answered,
        met=found.met,
        named=question.instances,
    )


def divergences(audited: Sequence[Audited]) -> tuple[Divergence, ...]:
    """The guests that do not run what most of them run, the worst difference first."""
    alike: dict[str, list[Audited]] = {}
    for subject, case in audited:
        if case.evidence.quotes:
            alike.setdefault(_likeness(subject), []).append((subject, case))
    groups = sorted(alike.items(), key=lambda item: (-len(item[1]), item[0]))
    if len(groups) < 2:  # noqa: PLR2004 - all are alike
        return ()
    most = groups[0][1]
    found = [_divergence(most, others) for _, others in groups[1:]]
    telling = (item for item in found if item.differences or item.not_comparable)
    return tuple(sorted(telling, key=lambda item: (_rank(item), item.subjects)))


def _likeness(subject: SubjectReport) -> str:
    claims = {claim.name: claim.value for claim in subject.claims}
    return repr([claims.get(name) for name in _TELLING])


def _rank(divergence: Divergence) -> int:
    unknown = Severity.CRITICAL.rank if divergence.not_comparable else Severity.INFO.rank
    return min((item.severity.rank for item in divergence.differences), default=unknown)


def _names(audited: Sequence[Audited]) -> tuple[str, ...]:
    return tuple(sorted(subject.name for subject, _ in audited))


def _divergence(most: Sequence[Audited], others: Sequence[Audited]) -> Divergence:
    documents, missing = [], []
    for subject, case in (most[0], others[0]):
        document, problem = _document(subject, case)
        missing.extend([problem] if problem else [])
        documents.append(document)
    comparison, problem = _compared(*documents)
    missing.extend([problem] if problem else [])
    return Divergence(
        subjects=_names(others),
        most=_names(most),
        differences=tuple(_differences(comparison)),
        same_release=comparison is not None and comparison.same_release,
        platform_only=comparison is not None and comparison.platform_only,
        not_comparable=(*missing, *(comparison.not_evaluable if comparison else ())),
    )


def _document(subject: SubjectReport, case: Case) -> "tuple[Document | None, str]":
    """What a guest runs, to be compared; else why it cannot be."""
    from verifier.manifest.diff import Fact, read_document  # noqa: PLC0415 - only where some differ

    facts = {
        claim.name: Fact(claim.value, claim.basis.value)
        for claim in subject.claims
        if claim.name not in _OWN
    }
    raw = _manifest(case)
    if raw is None:
        return None, f"{subject.name}: the manifest that it measured is not in the evidence"
    try:
        return read_document(subject.name, raw, facts), ""
    except EvidenceError as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - nobody's manifest may end an audit
        return None, f"{subject.name}: reading its manifest crashed: {type(error).__name__}"


def _compared(old: "Document | None", new: "Document | None") -> "tuple[Comparison | None, str]":
    """What changed from one to the other, None where that is not known; and why it is not."""
    from verifier.manifest.diff import compare  # noqa: PLC0415 - as above

    if old is None or new is None:
        return None, ""
    try:
        return compare(old, new), ""
    except Exception as error:  # noqa: BLE001 - as above
        return None, f"{new.name}: the comparison crashed: {type(error).__name__}"


def _differences(comparison: "Comparison | None") -> Iterator[Difference]:
    for change in comparison.changes if comparison is not None else ():
        yield Difference(
            rule=change.rule,
            severity=change.severity,
            pointer=change.pointer,
            service=change.service,
            fact=change.fact,
            meaning=change.meaning,
            before=change.before,
            after=change.after,
            conditional=change.conditional,
        )


def shared_keys(audited: Sequence[Audited]) -> tuple[SharedKey, ...]:
    """The signing keys that several guests name, by the report data of their own quotes or in the
    proof that they publish. A name proves no possession."""
    by_key: dict[str, list[Audited]] = {}
    for subject, case in audited:
        for key in sorted(_keys(case.evidence)):
            by_key.setdefault(key, []).append((subject, case))
    return tuple(
        _shared(key, holders) for key, holders in sorted(by_key.items()) if len(holders) > 1
    )


def _keys(evidence: SubjectEvidence) -> set[str]:
    found = {item.value.app_public_key.hex() for item in evidence.proofs} - {""}
    for source in evidence.quotes:
        with suppress(EvidenceError):
            _, key = named_key(parse_quote(source.quote, source.channel).report_data)
            found |= {key.hex()} if key else set()
    return found


def _shared(key: str, holders: Sequence[Audited]) -> SharedKey:
    claims = [{claim.name: claim.value for claim in subject.claims} for subject, _ in holders]
    roots = {str(item.get("kms_root") or "") for item in claims}
    return SharedKey(
        key=key,
        kms_root=roots.pop() if len(roots) == 1 else "",
        subjects=_names(holders),
        compose_hashes=tuple(
            sorted({str(item.get("compose_hash") or "") for item in claims} - {""})
        ),
    )


def allowed_manifests(
    timeline: "Timeline | None", asked: Question, audited: Sequence[Audited]
) -> tuple[AllowedManifest, ...]:
    """What is known of each manifest that the app's contract allows now, by the texts that the
    relying party has (`asked`) and those that the guests show."""
    if timeline is None:
        return ()
    running: dict[str, list[str]] = {}
    texts: dict[str, bytes] = {}
    for subject, case in audited:
        raw = _manifest(case)
        for claim in subject.claims:
            if claim.name == "compose_hash" and claim.basis is Basis.MEASURED:
                running.setdefault(str(claim.value), []).append(subject.name)
        if raw is not None:
            texts[hashlib.sha256(raw).hexdigest()] = raw
    return tuple(
        AllowedManifest(
            compose_hash=item,
            known=item in asked.manifests or item in texts,
            name=asked.manifests.get(item, ""),
            deploy_path=_path(texts[item]) if item in texts else asked.deploy_paths.get(item, ""),
            subjects=tuple(sorted(running.get(item, ()))),
        )
        for item in sorted(timeline.app_state.compose_hashes)
    )
