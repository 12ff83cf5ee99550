"""A report as an EAT Attestation Result (EAR), the claims of a JSON Web Token.

Names and values: draft-ietf-rats-ear, with the trustworthiness vector of draft-ietf-rats-ar4si. A
submodule is one attester. What rests on another trust anchor than Intel's makes no claim at all,
and its status is none: an EAR has no mark for it that its readers would understand.

Beyond the draft, claims named `urn:dstack-audit:…` are the app that was asked for, the anchor where
it is not Intel's, and the sha256 of the JSON report, of the evidence and, where every attester is
proven to run it, of the manifest.
"""

import hashlib
from typing import Final

import rfc8785

from verifier.evidence.codec import JsonObject, parse_json
from verifier.model.identifiers import LATEST_TIME
from verifier.model.report import Report, SubjectReport
from verifier.model.result import JsonValue, Requirement, SkipKind, Status, Verdict
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.json import encodable, render_json

PROFILE: Final = "tag:ietf.org,2026:rats/ear#03"
_OWN: Final = "urn:dstack-audit:"
REPORT, EVIDENCE, MANIFEST = (f"{_OWN}{name}-sha256" for name in ("report", "evidence", "manifest"))
APP_ID: Final = f"{_OWN}app-id"
ANCHOR: Final = f"{_OWN}anchor"
VALID_DAYS: Final = 7
"""How long a result is relied on, where its author names no other number."""
DAY: Final = 86_400

_AFFIRMING, _WARNING, _CONTRADICTED = 2, 32, 96
_NOT_AVAILABLE: Final = 36
_BOOT_APPROVED: Final = 3
_UNRECOGNISED_RUNTIME: Final = 33

_VECTOR: Final[dict[str, tuple[tuple[str, ...], dict[Status, int]]]] = {
    "instance-identity": (
        ("application.identity", "application.binding"),
        {Status.PASS: _AFFIRMING, Status.WARN: _WARNING},
    ),
    "configuration": (
        ("application.manifest", "manifest.rules"),
        {Status.PASS: _AFFIRMING, Status.WARN: _WARNING},
    ),
    "executables": (
        ("boot.image", "runtime.replay", "runtime.events"),
        {Status.PASS: _BOOT_APPROVED, Status.WARN: _UNRECOGNISED_RUNTIME},
    ),
    "hardware": (
        ("hardware.quote", "hardware.tcb"),
        {Status.PASS: _AFFIRMING, Status.WARN: _WARNING},
    ),
    "runtime-opaque": (
        ("hardware.quote", "hardware.td"),
        {Status.PASS: _AFFIRMING, Status.WARN: _WARNING},
    ),
}
"""By name of a claim: the checks that it is made of, and its value where they hold.
`file-system`, `storage-opaque` and `sourced-data` are never claimed: no check is about them."""
EVIDENCE_NAME: Final = "evidence"


def render_ear(report: Report, days: int = VALID_DAYS) -> bytes:
    """The claims of an EAR, canonical JSON (RFC 8785) without a newline at the end.

    These bytes are what is signed. `days` is how long it is valid from the time of judgement.
    """
    name, _, version = report.tool.partition(" ")
    manifest = proven_manifest(report)
    document: JsonObject = {
        "eat_profile": PROFILE,
        "iat": report.evaluated_at,
        "exp": report.evaluated_at + days * DAY,
        "ear_verifier_id": {"developer": f"urn:{name}", "build": version},
        "ear_status": _status(report, report.verdict),
        "submods": _submodules(report),
        APP_ID: report.requested_app_id or "",
        **({ANCHOR: report.anchor.value} if report.anchor is not None else {}),
        REPORT: hashlib.sha256(render_json(report)).hexdigest(),
        EVIDENCE: report.bundle_digest,
        **({MANIFEST: manifest} if manifest else {}),
    }
    return rfc8785.dumps(encodable(document))


def _submodules(report: Report) -> JsonObject:
    """The appraisal of each attester; two of one name are told apart by their number."""
    found: JsonObject = {}
    policy: list[JsonValue] = [f"{report.policy_name} sha256:{report.policy_digest}"]
    for number, subject in enumerate(report.subjects, 1):
        name = subject.name or "guest"
        label = f"{name} ({number})" if name in found else name
        vector = {} if report.anchor is not None else _vector(subject)
        found[label] = {
            "ear_status": _status(report, subject.verdict),
            "ear_appraisal_policy_ids": policy,
            **({"ear_trustworthiness_vector": vector} if vector else {}),
        }
    return found


def _status(report: Report, verdict: Verdict) -> str:
    return Verdict.NONE.value if report.anchor is not None else verdict.value


def _vector(subject: SubjectReport) -> JsonObject:
    """The claims that can be made of an attester: of what the policy asks for and decided, so that
    none is worse than the status. Of the configuration, parts may be not available."""
    by_id = {
        check.id: check
        for check in subject.checks
        if check.requirement is not Requirement.NOT_ASKED
    }
    found: JsonObject = {}
    for name, (ids, values) in _VECTOR.items():
        if not by_id.keys() >= {*ids}:
            continue
        checks = [by_id[check_id] for check_id in ids]
        statuses = {item.status for item in checks if item.skip_kind is not SkipKind.NOT_APPLICABLE}
        if Status.FAIL in statuses:
            found[name] = _CONTRADICTED
        elif statuses - {Status.PASS, Status.WARN}:
            found |= {name: _NOT_AVAILABLE} if name == "configuration" else {}
        elif statuses:
            found[name] = values[Status.WARN if Status.WARN in statuses else Status.PASS]
    return found


def read_ear(raw: bytes) -> tuple[int, int, str, dict[str, str]] | None:
    """When a result begins and ends (Unix seconds), its verifier, and its digests by the names of
    their claims; None for what is no EAR of this program. Raises EvidenceError for bad JSON."""
    match parse_json(raw, "the claims"):
        case {
            "eat_profile": str(profile),
            "iat": int(begin),
            "exp": int(end),
            "ear_verifier_id": {"developer": str(developer), "build": str(build)},
            **rest,
        } if profile == PROFILE and 0 <= begin <= end <= LATEST_TIME:
            named = {REPORT: "report", EVIDENCE: EVIDENCE_NAME, MANIFEST: "manifest"}
            digests = {named[key]: str(value) for key, value in rest.items() if key in named}
            return begin, end, f"{developer}:{build}", digests
    return None
