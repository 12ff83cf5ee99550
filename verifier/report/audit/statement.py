"""A report as an in-toto statement: Statement v1 with the Simple Verification Result (SVR) as its
predicate, https://in-toto.io/attestation/svr/v0.2.

The subjects are what the result is about, by sha256: the JSON report, the evidence, and the
manifest where every attester is proven to run it. `properties` are the verdict and the checks that
passed; what rests on another trust anchor than Intel's has another prefix, so that nobody takes it
for a property of real hardware. What is not accepted by the policy has no property at all.

Beyond SVR, which lets a predicate have more fields, `timeExpires` (RFC 3339) is when the result is
no longer to be relied on.
"""

import hashlib
from enum import StrEnum
from typing import Final

import rfc8785
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_json
from verifier.model.identifiers import format_time, parse_time
from verifier.model.report import Report
from verifier.model.result import JsonValue, Status
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.json import encodable, render_json

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://in-toto.io/attestation/svr/v0.2"
REPORT: Final = "report.json"
EVIDENCE: Final = "evidence"
MANIFEST: Final = "app-compose.json"
VALID_DAYS: Final = 7
"""How long a result is relied on, where its author names no other number."""
_DAY: Final = 86_400


def render_statement(report: Report, days: int = VALID_DAYS) -> bytes:
    """The statement about a report, canonical JSON (RFC 8785) without a newline at the end.

    These bytes are what is signed. `days` is how long it is valid from the time of judgement.
    """
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
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": {
                "id": _verifier(report),
                "policies": [
                    {"name": report.policy_name, "digest": {"sha256": report.policy_digest}}
                ],
            },
            "timeCreated": format_time(report.evaluated_at),
            "timeExpires": format_time(report.evaluated_at + days * _DAY),
            "properties": list(_properties(report)),
        },
    }
    return rfc8785.dumps(encodable(document))


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
    """A statement that was signed: its bytes, when it was made and when it ends (Unix seconds),
    its verifier, and its subjects' sha256 by their name."""

    raw: bytes
    created: int
    expires: int
    verifier: str
    digests: dict[str, str]


def read_statement(raw: bytes) -> Signed:
    """The statement in its bytes. Raises EvidenceError for what is no statement of this program."""
    match parse_json(raw, "the statement"):
        case {
            "_type": str(kind),
            "subject": list(subjects),
            "predicateType": str(predicate_type),
            "predicate": {
                "verifier": {"id": str(verifier)},
                "timeCreated": str(created),
                "timeExpires": str(expires),
            },
        } if kind == STATEMENT_TYPE and predicate_type == PREDICATE_TYPE:
            digests = {}
            for item in subjects:
                match item:
                    case {"name": str(name), "digest": {"sha256": str(digest)}}:
                        digests[name] = digest
            begin, end = parse_time(created), parse_time(expires)
            if begin is not None and end is not None and 0 <= begin <= end:
                return Signed(raw, begin, end, verifier, digests)
    raise EvidenceError("it is no statement about an audit", hint=f"expected is {PREDICATE_TYPE}")


def compare(signed: Signed, report: Report, now: int) -> tuple[Agreement, str]:
    """Whether an audit gives the very statement that was signed, byte for byte, and what to say."""
    days, rest = divmod(signed.expires - signed.created, _DAY)
    if not rest and render_statement(report, days) == signed.raw:
        if now > signed.expires:
            return Agreement.EXPIRED, f"the result expired at {format_time(signed.expires)}"
        return Agreement.SAME, "the signature holds, and this evidence gives this very report"
    if signed.digests.get(EVIDENCE) != report.bundle_digest:
        return Agreement.DIFFERENT, "the signed result is about other evidence"
    if signed.verifier != _verifier(report):
        said = f"the signed result is of {signed.verifier}, this is {_verifier(report)}"
        return Agreement.ANOTHER_VERSION, said
    return Agreement.DIFFERENT, "this evidence, policy and options do not give the signed report"


def _verifier(report: Report) -> str:
    name, _, version = report.tool.partition(" ")
    return f"urn:{name}:{version}"
