"""A gateway that ends the connections of users: what its own evidence is worth.

It is another TD than the app's, which reads what users send. So it is judged as one: by a quote
over the very key that was met, its log, its OS image and its manifest, and by the contracts of the
app's KMS, which name the gateway's app and what it may run.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks import boot, runtime
from verifier.checks.application import identity
from verifier.checks.authorization import contract
from verifier.checks.case import Case
from verifier.checks.engine import USABLE, run_checks
from verifier.checks.hardware import quote
from verifier.checks.key_management import keys as key_management
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.endpoint import Ending
from verifier.evidence.gateway import (
    account_report_data,
    gateway_evidence,
    key_report_data,
    parse_acme_info,
    presented_quote,
)
from verifier.evidence.subject import PresentedQuote
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import spki
from verifier.model.identifiers import AppId
from verifier.model.result import CheckResult, EvidenceRef, Status
from verifier.timeline.gateway import gateway_ids

_CHECKS: Final = (
    *quote.CHECKS,
    *boot.CHECKS,
    *runtime.CHECKS,
    identity.identity,
    identity.manifest,
    key_management.provider,
    *contract.CHECKS,
)
"""What a gateway has to prove, as any app has: which TD, which OS, which app and manifest, and that
the contracts allow it."""

_ADVISORY: Final = ("boot.machine",)
_OF_TODAY: Final = (
    "application.manifest",
    "authorization.contract",
    "authorization.allowed",
)
"""What says how things stand now, and nothing of when a quote was made: a gateway shows the
manifest that it runs now, and a contract what it allows now."""


class GatewayKey(Struct, frozen=True):
    """The quote over a key that a gateway holds, the app id (hex) that its log measures, and how
    the gateway's own checks came out. `doubts` are about other quotes over the same key."""

    app_id: str
    evidence: EvidenceRef
    results: tuple[CheckResult, ...]
    doubts: tuple[str, ...] = ()

    @property
    def failed(self) -> CheckResult | None:
        """The first check that fails, if any does."""
        return next((item for item in self.results if item.status is Status.FAIL), None)

    @property
    def is_false(self) -> bool:
        """Whether a check fails that failed on the day of the quote, too."""
        return any(x.status is Status.FAIL and x.id not in _OF_TODAY for x in self.results)

    @property
    def unproven(self) -> CheckResult | None:
        """The first check that has no usable result, if there is one."""
        needed = (item for item in self.results if item.id not in _ADVISORY)
        return next((item for item in needed if item.status not in USABLE), None)


def judge_gateway(case: Case, key: bytes) -> GatewayKey | None:
    """How the gateway that holds a key (DER SubjectPublicKeyInfo) proves itself; None where its
    quote was made for another key. Of several quotes over one key see `_chosen`. Raises
    MissingEvidence, EvidenceError."""
    sources, unread = _over(case, key)
    found = _chosen(case, sources, key_report_data(key))
    if unread and found is not None and not found.failed:
        raise unread[0]
    return found


def judge_account(case: Case) -> tuple[str, GatewayKey]:
    """The URI of the account with which the gateway asks for certificates, and how the gateway
    proves itself by a quote over it. Raises MissingEvidence, EvidenceError."""
    bundle, found = case.evidence.bundle, dict[str, list[PresentedQuote]]()
    for artifact in bundle.of(Kind.GATEWAY_ACME):
        told = bundle.read(artifact, parse_acme_info, "acme-info of the gateway")
        source = presented_quote(told.account, artifact)
        if source is not None:
            found.setdefault(told.account_uri, []).append(source)
    if len(found) > 1:
        raise EvidenceError(f"the gateway shows two accounts: {' and '.join(sorted(found))}")
    for uri, sources in found.items():
        judged = _chosen(case, sources, account_report_data(uri))
        if judged is None:
            raise EvidenceError("the gateway's quote over its account is over something else")
        return uri, judged
    raise MissingEvidence(
        "the gateway shows no quote over the account with which it asks for certificates",
        hint="a gateway shows none after its account was changed, nor before dstack 0.5.4",
    )


def _chosen(case: Case, sources: Iterable[PresentedQuote], report_data: bytes) -> GatewayKey | None:
    """How one of several quotes over one thing comes out, None where one is over something else.

    Whoever holds it anywhere reads what users send: one that is false counts before all. But a
    cluster keeps the quotes of its earlier nodes, and what those ran may be allowed no longer, as
    it was when their KMS gave them keys: beside a quote that holds, this is a doubt.
    """
    judged, lacking = list[GatewayKey](), list[MissingEvidence]()
    for source in sorted(sources, key=lambda item: item.quote):
        try:
            found = _judged(case, source, report_data)
        except MissingEvidence as error:
            lacking.append(error)
            continue
        if found is None:
            return None
        judged.append(found)
    false = next((item for item in judged if item.is_false), None)
    good = next((item for item in judged if not (item.failed or item.unproven)), None)
    if false is None and good is not None:
        others = [f"{bad.id}: {bad.summary}" for x in judged if (bad := x.failed or x.unproven)]
        others += [error.message for error in lacking]
        said = tuple(f"another quote over the same: {text}" for text in dict.fromkeys(others))
        return replace(good, doubts=said)
    failing = false or next((item for item in judged if item.failed), None)
    if failing is None and lacking:
        raise lacking[0]
    return failing or next(item for item in judged if item.unproven)


def _judged(case: Case, source: PresentedQuote, report_data: bytes) -> GatewayKey | None:
    if parse_quote(source.quote, "TD quote (gateway)").report_data != report_data:
        return None
    asked = _named_by_contract(case)
    if not asked:
        raise MissingEvidence(
            "the KMS's contract lets any gateway carry the app's traffic",
            hint="the KMS's owner has to name the gateway's app id in its contract",
        )
    gateway = gateway_case(case, source)
    measured = gateway.identity.app_id.hex()
    if measured not in asked:
        raise MissingEvidence(
            f"it says that it is the app {measured}, which is no gateway that the KMS's contract "
            "names",
            hint="check that the address is one of the cluster that the app runs in",
        )
    gateway.question = replace(gateway.question, app_id=AppId(measured))
    return GatewayKey(measured, source.evidence, run_checks(_CHECKS, gateway))


def quoted(case: Case, key: bytes) -> tuple[PresentedQuote, ...]:
    """The gateway's quotes over a key that can be read, at least one. Raises MissingEvidence,
    EvidenceError."""
    return _over(case, key)[0]


def _over(case: Case, key: bytes) -> tuple[tuple[PresentedQuote, ...], list[EvidenceError]]:
    """The gateway's quotes over a key, at least one, and why others of them cannot be read. Raises
    MissingEvidence, EvidenceError."""
    bundle, sources, unread = case.evidence.bundle, list[PresentedQuote](), list[EvidenceError]()
    for artifact in bundle.of(Kind.GATEWAY_ACME):
        try:
            listed = bundle.read(artifact, parse_acme_info, "acme-info of the gateway").keys
        except EvidenceError as error:
            unread.append(error)
            continue
        for item in listed:
            if item.content == key:
                try:
                    source = presented_quote(item, artifact)
                except EvidenceError as error:
                    unread.append(error)
                else:
                    sources += [source] if source is not None else []
    if not sources:
        raise unread[0] if unread else _none_over(case)
    return tuple(sources), unread


def _none_over(case: Case) -> MissingEvidence:
    """What is lacking where a gateway shows no quote over a key."""
    answers = case.evidence.bundle.of(Kind.GATEWAY_ACME)
    return MissingEvidence(
        "it quoted no key that was met" if answers else "it shows no quote over its TLS key",
        hint="a gateway of dstack 0.5.4 or later shows its keys at /.dstack/acme-info, and leaves "
        "out those that it could not quote",
    )


def gateway_case(case: Case, source: PresentedQuote) -> Case:
    """The case of the gateway that made a quote; nothing of the app's own question is asked, and
    nothing demanded but what is of any guest."""
    question = replace(
        case.question, app_id=None, challenge=b"", binds=(), instances=(), endpoint=None
    )
    evidence = gateway_evidence(case.evidence.bundle, source)
    return Case(evidence, question, case.exchanges, case.demands.of_guests(), source)


def gateway_to_collect(case: Case) -> Case | None:
    """The gateway's case, so that collection knows what else to ask for; None where the endpoint is
    not ended by one, or it quoted no key that was met. Raises EvidenceError."""
    endpoint = case.question.endpoint
    if endpoint is None or endpoint.ending is not Ending.GATEWAY:
        return None
    for item in case.evidence.peers:
        if item.artifact.source == endpoint.source:
            try:
                return gateway_case(case, quoted(case, spki(item.value.certificates[0]))[0])
            except MissingEvidence:
                return None
    return None


def _named_by_contract(case: Case) -> tuple[str, ...]:
    """The app ids (hex) of the gateways that the KMS's contract names. Raises MissingEvidence."""
    found = case.kms_contract()
    if found is None:
        raise MissingEvidence(
            "no contract names the gateway of this app's KMS",
            hint="ask for an address that the guest itself ends (<app id>-443s), if there is one",
        )
    _, view = found
    text = view.call(view.plan.kms, contracts.GATEWAY_APP_ID, contracts.decode_string)
    if view.single_source:
        raise MissingEvidence(
            "one operator alone says which gateway the KMS's contract names",
            hint="name a second endpoint with --rpc-url",
        )
    ids = gateway_ids(text.value)
    if ids.empty:
        raise EvidenceError("the KMS's contract names no gateway")
    return () if ids.any else ids.ids
