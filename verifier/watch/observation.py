"""What one audit observed of an app, as it stands in the witness log: values, and no report.

An observation holds only what was proven, by its own audit: a claim that is merely said, or that
rests on a check that did not hold, is not among its facts. So nothing that a host says about itself
is ever compared with what was proven before.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
import rfc8785
from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_json_object
from verifier.manifest.secret_text import masked
from verifier.model.identifiers import format_time, parse_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Basis, CheckResult, Claim, JsonValue, SkipKind, Status
from verifier.report.audit.json import encodable, render_json
from verifier.watch.log.tiles import MAX_ENTRY_BYTES

SCHEMA: Final = "dstack-audit/observation/v1"
_PROVEN: Final = frozenset(
    {Basis.HARDWARE, Basis.MEASURED, Basis.CHAIN, Basis.KMS, Basis.REFERENCE}
)
_ROOT: Final = "hardware.quote"
_LONG: Final = 2048
"""Bytes of a fact's JSON from which on its hash is kept in its place, where an entry is too
long."""
_LONGEST_ERROR: Final = 500
Facts = dict[str, Any]
"""Values by `Fact`, as JSON."""


class Fact(StrEnum):
    """What is known of an app, one value each. The value is stable: it is written into logs."""

    MANIFEST = "manifest"
    IMAGES = "images"
    SYSTEM = "operating-system"
    TCB = "tcb"
    QUOTE = "quote"
    MACHINE = "machine"
    CERTIFICATE = "certificate"
    ENDPOINT = "endpoint"
    KMS = "kms"
    KMS_ROOT = "kms-root"
    KMS_CODE = "kms-code"
    OWNER = "owner"
    KMS_OWNER = "kms-owner"
    AUTHORIZATION = "authorization"
    PENDING = "pending"


class Attester(Struct, frozen=True):
    """One guest: its measured instance id (hex, "" where none is proven), what is proven of it, the
    release of its operating system in words ("" where it is not recognised), and the app id (hex)
    that it was proven to have ("" for none)."""

    instance: str
    facts: Facts
    release: str = ""
    app_id: str = ""


class Observation(Struct, frozen=True, kw_only=True):
    """One audit of an app, by its values.

    app        what names the app, in the list's spelling, with secrets masked
    name       what people call it, with secrets masked
    time       as of when it was judged, Unix seconds
    reached    whether any guest gave a quote
    verdict    the verdict; "" where no audit could be made
    accepted   whether the policy accepted it
    failed     ids of the checks that failed or erred, sorted
    warned     ids of the checks that passed with a reservation, sorted
    missing    ids of the checks for which evidence was missing, sorted
    attesters  the guests that were audited
    chain      what the chain said of the app, by `Fact`, as of `block`
    block      the finalized block; None where two operators agreed on none
    report     sha256 of the report as JSON; "" where there is none
    bundle     digest of the evidence; "" where there is none
    policy     digest of the policy
    reference  digest of the reference values
    tool       the auditor's name and version
    anchor     the trust anchor where it is not Intel's; "" for Intel's
    trusted    whether the collector's own observations counted
    error      why no audit could be made; "" where one was
    left_out   how many guests, or facts, found no place in the entry
    """

    app: str
    name: str
    time: int
    reached: bool
    verdict: str
    accepted: bool
    failed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    attesters: tuple[Attester, ...] = ()
    chain: Facts = {}
    block: int | None = None
    report: str = ""
    bundle: str = ""
    policy: str = ""
    reference: str = ""
    tool: str = ""
    anchor: str = ""
    trusted: bool = False
    error: str = ""
    left_out: int = 0


def observe(report: Report, app: str, name: str) -> Observation:
    """What a report comes to. Secrets in how the app is named are masked: others read the log."""
    checks = [item for subject in report.subjects for item in subject.checks]
    chain, block = _chain(report)
    return Observation(
        app=masked(app),
        name=masked(name),
        time=report.evaluated_at,
        reached=any(_has_quote(item) for item in checks if item.id == _ROOT),
        verdict=report.verdict.value,
        accepted=report.accepted,
        failed=_ids(checks, Status.FAIL, Status.ERROR),
        warned=_ids(checks, Status.WARN),
        missing=tuple(
            sorted({item.id for item in checks if item.skip_kind is SkipKind.MISSING_EVIDENCE})
        ),
        attesters=tuple(sorted(map(_attester, report.subjects), key=lambda item: item.instance)),
        chain=chain,
        block=block,
        report=hashlib.sha256(render_json(report)).hexdigest(),
        bundle=report.bundle_digest,
        policy=report.policy_digest,
        reference=report.reference_digest,
        tool=report.tool,
        anchor=report.anchor.value if report.anchor else "",
        trusted=report.bundle_trusted,
    )


def unobserved(app: str, name: str, time: int, error: str, anchor: str) -> Observation:
    """An audit that could not be made, and why; `anchor` as in an observation."""
    return Observation(
        app=masked(app),
        name=masked(name),
        time=time,
        reached=False,
        verdict="",
        accepted=False,
        anchor=anchor,
        error=error[:_LONGEST_ERROR],
    )


def encode(observation: Observation) -> bytes:
    """An observation as an entry of a log: RFC 8785 JSON. Where it is too long for one, the hashes
    of its long facts stand in their place, and guests at the end are left out and counted."""
    raw = _encoded(observation)
    if len(raw) > MAX_ENTRY_BYTES:
        attesters = [replace(item, facts=_shortened(item.facts)) for item in observation.attesters]
        observation = replace(
            observation, attesters=tuple(attesters), chain=_shortened(observation.chain)
        )
        raw = _encoded(observation)
    while len(raw) > MAX_ENTRY_BYTES and observation.attesters:
        kept = observation.attesters[: len(observation.attesters) // 2]
        gone = len(observation.attesters) - len(kept)
        observation = replace(observation, attesters=kept, left_out=observation.left_out + gone)
        raw = _encoded(observation)
    return raw


def decode(raw: bytes, what: str) -> Observation:
    """The observation of an entry. Raises EvidenceError."""
    document = parse_json_object(raw, what)
    if document.pop("schema", None) != SCHEMA:
        raise EvidenceError(
            f"{what}: it is no observation of this version", hint="use a newer version to read it"
        )
    time = document.get("time")
    document["time"] = parse_time(time) if isinstance(time, str) else None
    try:
        found = msgspec.convert(document, Observation)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{what}: it is no observation: {error}") from error
    told = {*found.chain, *(name for item in found.attesters for name in item.facts)}
    unknown = sorted(told - set(Fact))
    if unknown:
        raise EvidenceError(
            f"{what}: it tells {unknown[0][:40]!a}, which this version does not know",
            hint="use a newer version to read it",
        )
    return found


def _encoded(observation: Observation) -> bytes:
    document = msgspec.to_builtins(observation)
    document |= {"schema": SCHEMA, "time": format_time(observation.time)}
    return rfc8785.dumps(encodable(document))


def _shortened(facts: Facts) -> Facts:
    found: Facts = {}
    for name, value in facts.items():
        raw = rfc8785.dumps(encodable(value))
        digest: JsonValue = {"sha256": hashlib.sha256(raw).hexdigest()}
        found[name] = digest if len(raw) > _LONG else value
    return found


def _has_quote(result: CheckResult) -> bool:
    return result.skip_kind is not SkipKind.MISSING_EVIDENCE


def _ids(checks: list[CheckResult], *statuses: Status) -> tuple[str, ...]:
    return tuple(sorted({item.id for item in checks if item.status in statuses}))


def _attester(subject: SubjectReport) -> Attester:
    claims = {item.name: item for item in subject.claims if item.basis in _PROVEN}
    facts: Facts = {fact.value: value for fact, value in _facts(claims) if value is not None}
    image = _value(claims, "os_image")
    release = image.get("release") if isinstance(image, dict) else ""
    texts = (_value(claims, "instance_id"), release, _value(claims, "app_id"))
    instance, release, app_id = (item if isinstance(item, str) else "" for item in texts)
    return Attester(instance, facts, release, app_id)


def _facts(claims: Mapping[str, Claim]) -> Iterator[tuple[Fact, JsonValue]]:
    """What is proven of one guest."""
    yield Fact.MANIFEST, _value(claims, "compose_hash")
    yield Fact.IMAGES, _value(claims, "images")
    registers = [_value(claims, name) for name in ("mrtd", "rtmr1", "rtmr2")]
    yield Fact.SYSTEM, None if None in registers else registers
    status, advisories = _value(claims, "tcb_status"), _value(claims, "tcb_advisories")
    if status is not None:
        yield Fact.TCB, {"status": status, "advisories": advisories}
    yield Fact.QUOTE, _value(claims, "td_attributes")
    yield Fact.MACHINE, _value(claims, "device_id")
    yield Fact.CERTIFICATE, _value(claims, "report_data")
    yield Fact.ENDPOINT, _value(claims, "endpoint_key")
    yield Fact.KMS, _value(claims, "key_provider")
    yield Fact.KMS_ROOT, _value(claims, "kms_root")
    guests = _value(claims, "kms_guest")
    if isinstance(guests, list):
        yield Fact.KMS_CODE, _sorted(guests)


def _chain(report: Report) -> tuple[Facts, int | None]:
    """What two operators of the chain agreed on, and as of which block."""
    for subject in report.subjects:
        claims = {item.name: item for item in subject.claims if item.basis is Basis.CHAIN}
        block = _value(claims, "block")
        if not isinstance(block, dict) or block.get("single_source") is not False:
            continue
        number = block.get("number")
        found = dict(_chain_facts(report, subject, claims))
        known: Facts = {fact.value: value for fact, value in found.items() if value is not None}
        return known, number if isinstance(number, int) else None
    return {}, None


def _chain_facts(
    report: Report, subject: SubjectReport, claims: Mapping[str, Claim]
) -> Iterator[tuple[Fact, JsonValue]]:
    yield Fact.OWNER, _value(claims, "app_owner")
    yield Fact.KMS_OWNER, _value(claims, "kms_owner")
    for item in subject.checks:
        if item.id == "authorization.governance" and isinstance(item.actual, dict):
            allowed = item.actual.get("allowed_compose_hashes")
            yield Fact.AUTHORIZATION, _sorted(allowed) if isinstance(allowed, list) else None
    timeline = report.timeline
    if timeline is None or timeline.single_source or not timeline.complete:
        return
    yield (
        Fact.PENDING,
        {
            "app_owner": timeline.app_state.pending_owner,
            "kms_owner": timeline.kms_state.pending_owner,
            "calls": _sorted(
                [
                    {
                        "timelock": operation.account,
                        "target": call.target,
                        "data": call.function or call.data[:8],
                        "id": operation.id,
                    }
                    for operation in timeline.pending
                    if operation.basis is Basis.CHAIN
                    for call in operation.calls
                ]
            ),
        },
    )


def _sorted(items: Iterable[JsonValue]) -> list[JsonValue]:
    """A list whose order says nothing, in one order, each item once."""
    by_text = {rfc8785.dumps(encodable(item)): item for item in items}
    return [by_text[text] for text in sorted(by_text)]


def _value(claims: Mapping[str, Claim], name: str) -> JsonValue:
    claim = claims.get(name)
    return None if claim is None else claim.value
