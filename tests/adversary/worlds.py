"""Worlds, built and audited many at a time.

A world of one power is collected. One of several is asked whatever its powers alone call for, in
one go, and everything that was read of equal bytes is read once for all of them.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from tests.adversary.oracle import Judged
from verifier.audit import audit_subject
from verifier.checks.case import Case, Question
from verifier.checks.instances import knowing, meant
from verifier.checks.manifest.rules import judged_at
from verifier.cli.question import simulated_reference
from verifier.collect.chain_state import state_requests
from verifier.collect.instances import claimed_ids
from verifier.collect.requests import Request, dns_requests, guest_url, rpc_requests
from verifier.collection import Sources, collect_evidence, plan_collection
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, BundleBuilder, Kind
from verifier.evidence.chain.json_rpc import Exchanges, encode_request
from verifier.evidence.chain.log_scan import encode_scan, parse_scan
from verifier.evidence.endpoint import parse_endpoint
from verifier.evidence.readings import Readings
from verifier.evidence.subject import read_subject
from verifier.evidence.td.ra_tls import to_pem
from verifier.evidence.td.report_data import CHALLENGE_LEAF, Binding
from verifier.lab.knobs import Knobs
from verifier.lab.logged import CT_URL
from verifier.lab.place import ppid_of
from verifier.lab.response import Response
from verifier.lab.sigstore import REPOSITORY
from verifier.lab.world import DOMAIN, GATEWAY_BASE, RPC_URLS, World, build
from verifier.model.identifiers import AppId
from verifier.model.report import SubjectReport
from verifier.model.result import VERDICT_ORDER, Verdict
from verifier.policy.appraisal import appraise
from verifier.policy.policy import Policy, load_policy
from verifier.reference.values import ReferenceValues

CHALLENGE: Final = b"N" * 32
"""What the relying party asked the app to quote."""

HONEST: Final = Knobs(challenge=CHALLENGE)
"""The honest world, in which everything can be proven that anybody asks."""

WORTH: Final = (Verdict.AFFIRMING, Verdict.WARNING)
"""Verdicts on which somebody may rely."""

WORKFLOW: Final = f"{REPOSITORY}/.github/workflows/build.yml@refs/heads/main"
"""Which workflow the relying party of the policy `signed` means."""

_ROUNDS: Final = 3
"""How often what was answered may call for more."""

_OK: Final = 400
"""Below it, an HTTP status is an answer."""

OFF_CHAIN: Final = frozenset(
    {
        *("edit_td", "edit_quote", "edit_log", "edit_events", "edit_served_manifest"),
        *("edit_response", "edit_proof", "edit_dns", "edit_gateway", "attest", "peer", "logged"),
        *("cert_attestation", "cert_issued", "cert_ca", "cert_forged", "cert_app_id", "cert_usage"),
        *("cert_leaf_is_ca", "cert_report_data", "app_key_report_data", "challenge", "root"),
        *("rogue", "revoked", "expired", "tcb_status", "module_status", "qe_status", "advisories"),
        *("tcb_evaluation", "tcb_signer", "qe_signer", "collateral_age", "collateral_window"),
        *("collateral_fmspc", "collateral_pce_id", "kms_answers", "kms_certificate"),
        *("kms_bootstrap", "stated_machine", "quote_format", "mr_config_id"),
    }
)
"""Knobs of which no node of the chain gives another answer."""

FURTHER: Final = frozenset(
    {
        *("edit_chain", "governance", "image", "edit_manifest", "manifest", "app_id", "seed"),
        *("guest_app_id", "key_provider", "kms", "kms_k256", "edit_kms", "others", "spread"),
        *("peer", "edit_gateway", "edit_dns", "logged", "app_on_chain", "collateral_fmspc"),
        *("kms_certificate", "enclave", "spread_tls", "rpc_faults", "log_range"),
        *("compose_hash_on_chain", "device_on_chain", "os_image_on_chain", "app_registered"),
        *("platform", "allow_any_device", "kms_version", "finalized_lag"),
    }
)
"""Knobs that may call for further questions than the honest world does."""


class Unlike(Exception):
    """The world names its guests otherwise than the one that it is asked as."""


@cache
def reference() -> ReferenceValues:
    """What the relying party knows, whoever lies."""
    return simulated_reference(build(HONEST).reference())


def question(
    world: World, honest: Knobs, endpoint: str = DOMAIN, *, read: bool = False
) -> Question:
    """What the relying party asks about a world: everything that it can. It names the convention of
    the manifest that it read: the one that runs, if it could read that, else the honest one."""
    manifest = (world if read else build(honest)).guest.compose_hash
    return Question(
        app_id=AppId(world.app_id),
        reference=reference(),
        at=HONEST.now,
        trusted=True,
        challenge=CHALLENGE,
        binds=(Binding(CHALLENGE_LEAF, (manifest,)),),
        endpoint=parse_endpoint(endpoint.replace("APP", world.app_id)),
        ct_searches=(CT_URL,),
    )


class Asked(Struct, frozen=True):
    """One thing that a world was asked: the artifact that came of it, and what else it takes to ask
    for it again."""

    item: Artifact
    raw: bytes

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What was asked, without the answer."""
        return self.item.kind, self.item.source, self.item.request


_KEPT: Final = (Kind.LOG_SCAN, Kind.TLS_PEER, Kind.INFO)
"""Of these the answer says how to ask again, or whom the answer is about."""

Answers = dict[tuple[str, str], Response]


class Collector:
    """Collects worlds. What nodes answer is kept for the last few chains."""

    def __init__(self) -> None:
        self.readings = Readings()
        self._chains: dict[object, Answers] = {}

    def collect(self, world: World, asked: Question) -> Bundle:
        """The evidence of a world, as anybody collects it."""
        # A relying party that knows of several instances asks each, where none answers for it.
        several = world.knobs.others and world.knobs.spread is None
        labels = world.instance_ids if several else ()
        sources = Sources(
            guests=tuple(guest_url(label, f"https://{GATEWAY_BASE}") for label in labels),
            responder=world.respond,
            handshakes=world.handshake,
            cloud=False,
        )
        bundle = collect_evidence(asked, sources, lambda: HONEST.now)
        return Bundle(bundle.artifacts, bundle.blobs, self.readings)

    def ask(self, knobs: Knobs, asked: Question, chain: object, wanted: Iterable[Asked]) -> Bundle:
        """What a world answers to these questions, and to what its own answers call for at the
        chain's endpoints. Worlds with the same `chain` have the same one. Raises Unlike."""
        plain = build(replace(knobs, edit_response=None))
        answers = self._chains.pop(chain, {})
        self._chains[chain] = answers
        if len(self._chains) > 40:
            del self._chains[next(iter(self._chains))]
        edit = knobs.edit_response

        def respond(url: str, body: str, *, of_chain: bool) -> Response:
            key = (url, body)
            answer = answers.get(key) if of_chain else None
            method, raw = ("POST" if body else "GET"), body.encode()
            if answer is None:
                answer = plain.respond(method, url, None, raw)
                if of_chain:
                    answers[key] = answer
            return edit(method, url, raw, answer) if edit else answer

        builder = BundleBuilder(Bundle((), {}, self.readings))
        for each in {each.key: each for each in wanted}.values():
            _ask(builder, each, plain, respond)
        for _ in range(_ROUNDS):
            bundle = builder.build()
            further = _further(bundle, asked)
            for request in further:
                item = Artifact(
                    kind=request.kind,
                    source=request.label,
                    collected_at=HONEST.now,
                    request=request.body,
                )
                _ask(builder, Asked(item, b""), plain, respond)
            if not further:
                break
        return builder.build()


def _further(bundle: Bundle, asked: Question) -> list[Request]:
    """What the evidence calls for at the chain's endpoints, and does not hold."""
    held = {(x.source, x.request) for x in bundle.artifacts if x.kind is Kind.JSON_RPC}
    exchanges = Exchanges(bundle)
    found: dict[Request, None] = {}
    for plan in plan_collection(bundle, asked):
        if plan.chain is not None:
            found.update(dict.fromkeys(state_requests(plan.chain, exchanges, RPC_URLS.values())))
            for url in RPC_URLS.values():
                found.update(dict.fromkeys(rpc_requests(url, plan.history.calls)))
    return [request for request in found if (request.label, request.body) not in held]


def asked_of(bundle: Bundle) -> tuple[Asked, ...]:
    """What was asked to get this evidence."""
    return tuple(
        Asked(item, bundle.blob(item) if item.sha256 and item.kind in _KEPT else b"")
        for item in bundle.artifacts
        if item.kind is not Kind.KMS_TLS  # comes with the answers of the KMS
    )


def _ask(
    builder: BundleBuilder, each: Asked, world: World, respond: Callable[..., Response]
) -> None:
    item = each.item
    if item.kind is Kind.TLS_PEER:
        host = item.source.removeprefix("tls://").rpartition(":")[0]
        builder.add(item.kind, world.handshake(host, 443), **_place(item))
        return
    if item.kind is Kind.LOG_SCAN:
        if each.raw:
            _scan(builder, each, respond)
        return
    rpc = item.kind is Kind.JSON_RPC
    url = f"{item.source}/" if rpc else _url(item)
    answer = respond(url, item.request, of_chain=rpc)
    if answer.status >= _OK and not (rpc and answer.body.lstrip()[:1] == b"{"):
        place = {**_place(item), "status": None}
        builder.add_failure(item.kind, error=f"HTTP {answer.status}", **place)
        return
    if item.kind is Kind.INFO and each.raw and _ids(answer.body) != _ids(each.raw):
        raise Unlike
    headers = {name.lower(): value for name, value in answer.headers.items()}
    builder.add(
        item.kind,
        answer.body,
        **{**_place(item), "status": answer.status},
        media_type=headers.get("content-type", ""),
        headers={name: headers.get(name.lower(), "") for name, _ in item.headers},
        peer=_peer(builder, item, answer),
    )


def _peer(builder: BundleBuilder, item: Artifact, answer: Response) -> str:
    """Record the certificate of a KMS that answers; its sha256."""
    der = answer.peer_certificate
    if der is None or item.kind not in (Kind.KMS_META, Kind.KMS_ENV_KEY):
        return ""
    parts = urlsplit(item.source)
    builder.add(
        Kind.KMS_TLS,
        to_pem(der),
        source=f"{parts.scheme}://{parts.netloc}/",
        collected_at=item.collected_at,
        subject=f"kms/{parts.netloc}",
    )
    return hashlib.sha256(der).hexdigest()


def _scan(builder: BundleBuilder, each: Asked, respond: Callable[..., Response]) -> None:
    scan = parse_scan(each.raw, each.item.source)
    answers = []
    for part in scan.answers:
        body = encode_request(*scan.filter.call(part.first, part.last))
        answer = respond(f"{each.item.source}/", body, of_chain=True)
        if answer.status >= _OK or b'"result":[' not in answer.body:
            place = {**_place(each.item), "status": None}
            builder.add_failure(each.item.kind, error=f"HTTP {answer.status}", **place)
            return
        answers.append(replace(part, body=answer.body))
    builder.add(each.item.kind, encode_scan(scan.filter, answers), **_place(each.item))


def _place(item: Artifact) -> dict[str, Any]:
    return {
        "source": item.source,
        "collected_at": item.collected_at,
        "subject": item.subject,
        "status": item.status,
        "request": item.request,
    }


@cache
def _url(item: Artifact) -> str:
    """Where the answer is from: a label leaves out what is not asked about."""
    url = item.source.partition("#")[0]
    if item.kind is not Kind.DNS_MESSAGE:
        return url
    asked = parse_qs(urlsplit(url).query)
    found = dns_requests(asked["name"][0], asked["type"][0])
    return next(request.url for request in found if request.label == url)


@cache
def _ids(raw: bytes) -> tuple[str, str]:
    with suppress(EvidenceError):
        return claimed_ids(Kind.INFO, raw)
    return "", ""


def judge(
    bundle: Bundle, asked: Question, *, every_policy: bool = False, further: Iterable[str] = ()
) -> list[Judged]:
    """The audits of the evidence. The stricter policies ask all that `baseline` asks, and more: of
    evidence that it refuses, they are asked only where `every_policy` says so. `further` are those
    of `_demands` that ask, too."""
    baseline, cases = _audited(bundle, asked, "baseline")
    found = [_under_genuine(baseline, cases), baseline]
    for name in _demands() if every_policy else further:
        found.insert(0, _audited(bundle, asked, name)[0])
    for name in ("strict", "stage1"):
        if every_policy or found[-1].verdict in WORTH:
            found.append(_audited(bundle, asked, name)[0])
    return found


def _audited(bundle: Bundle, asked: Question, policy: str) -> tuple[Judged, list[Case]]:
    exchanges = Exchanges(bundle)
    evidence = [read_subject(bundle, name) for name in meant(bundle, asked)]
    asked = knowing(asked, evidence, exchanges)
    audited = [audit_subject(item, asked, exchanges, _policy(policy)) for item in evidence]
    subjects = tuple(subject for subject, _ in audited)
    return Judged(policy, _worst(subjects), subjects), [case for _, case in audited]


def _under_genuine(baseline: Judged, cases: list[Case]) -> Judged:
    """What `genuine`, which demands the same of less, says of results that `baseline` judged."""
    subjects = []
    for subject, case in zip(baseline.subjects, cases, strict=True):
        claims = {claim.name: claim for claim in subject.claims}
        verdict, checks = appraise(subject.checks, claims, _policy("genuine"), judged_at(case))
        subjects.append(replace(subject, verdict=verdict, checks=checks))
    return Judged("genuine", _worst(subjects), tuple(subjects))


def _worst(subjects: Sequence[SubjectReport]) -> Verdict:
    return max((item.verdict for item in subjects), key=VERDICT_ORDER.index)


@cache
def _demands() -> dict[str, str]:
    """What policies demand that are `baseline` else (TOML), by their names."""
    machine = ppid_of(build(HONEST)).hex()
    return {
        "signed": f'[signers]\nworkflows = ["{WORKFLOW}"]\n',
        "held": f'[platform]\nppid = ["{machine}"]\n',
    }


@cache
def _policy(name: str) -> Policy:
    if name not in _demands():
        return load_policy(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.toml"
        path.write_text(f'extends = "baseline"\n{_demands()[name]}', encoding="utf-8")
        return load_policy(str(path))
