"""A report as an in-toto statement: Statement v1 with the Simple Verification Result (SVR) or the
Verification Summary of SLSA (VSA) as its predicate, https://in-toto.io/attestation/svr/v0.2 and
https://slsa.dev/verification_summary/v1.

The subjects are what the result is about, by sha256: the JSON report, the evidence, and the
manifest where every attester is proven to run it. `properties` are the verdict and the checks that
passed; what rests on another trust anchor than Intel's has another prefix, so that nobody takes it
for a property of real hardware. What is not accepted by the policy has no property at all. A VSA
has one word for all of it, so only real hardware that the policy accepts is PASSED;
`verifiedLevels` names the policy where it is a built-in one.

Beyond both, which let a predicate have more fields, `timeExpires` (RFC 3339) is when the result is
no longer to be relied on, and `anchor` the trust anchor where it is not Intel's.
"""

import hashlib
from enum import StrEnum
from typing import Final
from urllib.parse import quote

import rfc8785
from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_json
from verifier.model.identifiers import format_time, parse_time
from verifier.model.report import Report
from verifier.model.result import JsonValue, Status
from verifier.policy.document import BUILT_IN
from verifier.policy.policy import load_policy
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.ear import DAY, PROFILE, VALID_DAYS, read_ear, render_ear
from verifier.report.audit.json import encodable, render_json
from verifier.report.audit.sentences import outdated

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://in-toto.io/attestation/svr/v0.2"
VSA_TYPE: Final = "https://slsa.dev/verification_summary/v1"
REPORT: Final = "report.json"
EVIDENCE: Final = "evidence"
MANIFEST: Final = "app-compose.json"


def render_statement(report: Report, days: int = VALID_DAYS) -> bytes:
    """The statement about a report (SVR), canonical JSON (RFC 8785) without a newline at the end.

    These bytes are what is signed. `days` is how long it is valid from the time of judgement.
    """
    predicate: dict[str, JsonValue] = {
        "verifier": {
            "id": _verifier(report),
            "policies": [{"name": report.policy_name, "digest": {"sha256": report.policy_digest}}],
        },
        "timeCreated": format_time(report.evaluated_at),
        "timeExpires": format_time(report.evaluated_at + days * DAY),
        "properties": list(_properties(report)),
        **_anchor(report),
    }
    return _statement(report, PREDICATE_TYPE, predicate)


def render_vsa(report: Report, days: int = VALID_DAYS) -> bytes:
    """The same as a Verification Summary (VSA)."""
    name, _, version = report.tool.partition(" ")
    passed = report.accepted and report.anchor is None and bool(proven_manifest(report))
    predicate: dict[str, JsonValue] = {
        "verifier": {"id": f"urn:{name}", "version": {name: version}},
        "timeVerified": format_time(report.evaluated_at),
        "timeExpires": format_time(report.evaluated_at + days * DAY),
        "resourceUri": f"urn:dstack-app:{report.requested_app_id or 'unnamed'}",
        "policy": {
            "uri": f"urn:{name}:policy:{quote(report.policy_name, safe='')}",
            "digest": {"sha256": report.policy_digest},
        },
        "inputAttestations": [{"uri": "urn:evidence", "digest": {"sha256": report.bundle_digest}}],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": list(_levels(report)) if passed else [],
        **_anchor(report),
    }
    return _statement(report, VSA_TYPE, predicate)


def _statement(report: Report, kind: str, predicate: dict[str, JsonValue]) -> bytes:
    manifest = proven_manifest(report)
    digests = {
        REPORT: hashlib.sha256(render_json(report)).hexdigest(),
        EVIDENCE: report.bundle_digest,
        **({MANIFEST: manifest} if manifest else {}),
    }
    document: dict[str, JsonValue] = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": item, "digest": {"sha256": digest}} for item, digest in digests.items()
        ],
        "predicateType": kind,
        "predicate": predicate,
    }
    return rfc8785.dumps(encodable(document))


def _anchor(report: Report) -> dict[str, JsonValue]:
    """The trust anchor, where it is not Intel's."""
    return {} if report.anchor is None else {"anchor": report.anchor.value}


def _levels(report: Report) -> tuple[str, ...]:
    """The level that a built-in policy stands for; another one's name says nothing to others."""
    if report.policy_name not in BUILT_IN or (
        load_policy(report.policy_name).digest != report.policy_digest
    ):
        return ()
    return (f"DSTACK_AUDIT_{report.policy_name.upper()}",)


def _properties(report: Report) -> tuple[str, ...]:
    """What was verified: nothing, where the policy does not accept the verdict."""
    if not report.accepted:
        return ()
    anchor = f"{report.anchor.value.upper().replace(' ', '_')}_" if report.anchor else ""
    passed = [
        {check.id for check in subject.checks if check.status is Status.PASS}
        for subject in report.subjects
    ]
    by_all = set.intersection(*passed) if passed else set()
    names = (f"VERDICT_{report.verdict.value}", *sorted(f"CHECK_{item}" for item in by_all))
    return tuple(f"{anchor}DSTACK_{item.upper().replace('.', '_')}" for item in names)


class Agreement(StrEnum):
    """How a signed result and an audit of the same evidence compare."""

    SAME = "same"
    EXPIRED = "expired"
    ANOTHER_VERSION = "another version"
    DIFFERENT = "different"


class Signed(Struct, frozen=True):
    """A result that was signed.

    raw       its bytes
    kind      a predicate type, or the profile of an EAR
    created   when it was made, Unix seconds
    expires   when it ends, Unix seconds
    verifier  who made it: id and versions
    digests   what they are of, such as `evidence` → sha256 in hex
    """

    raw: bytes
    kind: str
    created: int
    expires: int
    verifier: str
    digests: dict[str, str]


def read_statement(raw: bytes) -> Signed:
    """The statement in its bytes. Raises EvidenceError for what is no statement of this program."""
    found = _read(raw)
    if found is None:
        raise EvidenceError(
            "it is no statement about an audit", hint=f"expected is {', '.join(RENDERERS)}"
        )
    return found


def _read(raw: bytes) -> Signed | None:
    match parse_json(raw, "the statement"):
        case {
            "_type": str(kind),
            "subject": list(subjects),
            "predicateType": str(predicate_type),
            "predicate": {
                "verifier": {"id": str(author), **named},
                "timeExpires": str(expires),
                **rest,
            },
        } if kind == STATEMENT_TYPE and predicate_type in _TIMES:
            digests = {}
            for item in subjects:
                match item:
                    case {"name": str(name), "digest": {"sha256": str(digest)}}:
                        digests[name] = digest
            created = rest.get(_TIMES[predicate_type])
            begin = parse_time(created) if isinstance(created, str) else None
            end = parse_time(expires)
            if begin is not None and end is not None and 0 <= begin <= end:
                verifier = ":".join((author, *_versions(named.get("version"))))
                return Signed(raw, predicate_type, begin, end, verifier, digests)
        case {"eat_profile": _}:
            ear = read_ear(raw)
            return None if ear is None else Signed(raw, PROFILE, *ear)
    return None


def _versions(value: object) -> tuple[str, ...]:
    """The versions that stand beside a verifier's id, as a VSA has them."""
    return tuple(map(str, value.values())) if isinstance(value, dict) else ()


def compare(signed: Signed, report: Report, now: int) -> tuple[Agreement, str]:
    """Whether an audit gives the very result that was signed, byte for byte, and what to say."""
    days, rest = divmod(signed.expires - signed.created, DAY)
    if not rest and RENDERERS[signed.kind](report, days) == signed.raw:
        if now > signed.expires:
            return Agreement.EXPIRED, f"the result expired at {format_time(signed.expires)}"
        return Agreement.SAME, "the signature holds, and this evidence gives this very report"
    if signed.digests.get(EVIDENCE) != report.bundle_digest:
        return Agreement.DIFFERENT, "the signed result is about other evidence"
    if signed.verifier != _verifier(report):
        said = f"the signed result is of {signed.verifier}, this is {_verifier(report)}"
        return Agreement.ANOTHER_VERSION, said
    return Agreement.DIFFERENT, "this evidence, policy and options do not give the signed report"


def compare_report(raw: bytes, earlier: Report, again: Report, now: int) -> tuple[Agreement, str]:
    """Whether an audit gives the very bytes of an earlier report's JSON, and what to say. The
    report names the time as of which it was judged: nobody relies on it for longer after that than
    its policy does."""
    if render_json(again) == raw:
        late = outdated(replace(again, shown_at=now))
        if late:
            return Agreement.EXPIRED, f"this evidence gives this very report. {late}"
        return Agreement.SAME, "this evidence gives this very report, which nobody signed"
    if earlier.bundle_digest != again.bundle_digest:
        return Agreement.DIFFERENT, "the report is about other evidence"
    if earlier.tool != again.tool:
        return Agreement.ANOTHER_VERSION, f"the report is of {earlier.tool}, this is {again.tool}"
    if earlier.policy_digest != again.policy_digest:
        return Agreement.DIFFERENT, f"it was judged by another policy, {earlier.policy_name}"
    return Agreement.DIFFERENT, "this evidence and these options do not give this report"


def _verifier(report: Report) -> str:
    name, _, version = report.tool.partition(" ")
    return f"urn:{name}:{version}"


_TIMES: Final = {PREDICATE_TYPE: "timeCreated", VSA_TYPE: "timeVerified"}
"""Where each predicate says when it was made."""
RENDERERS: Final = {PREDICATE_TYPE: render_statement, VSA_TYPE: render_vsa, PROFILE: render_ear}
"""What makes the bytes that are signed, by what they are."""
