"""The live half of an audit: the question and its sources give a bundle of evidence.

The only module that reaches `verifier.collect`. It judges nothing: what a check reads is read here
only to know what to ask for next.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.authorization.history import doubted_logs, plan_history
from verifier.checks.case import Case, Question
from verifier.checks.dcap import platform_of
from verifier.checks.endpoint.gateway import gateway_to_collect
from verifier.checks.key_management.kms_guest import KmsGuest, allowance_calls, tried_guests
from verifier.checks.provenance.named_images import named_images
from verifier.errors import Blocked, CollectError, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Bundle, BundleBuilder
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.images.oci import ImageReference, parse_reference
from verifier.evidence.plan import (
    ChainPlan,
    HistoryPlan,
    KeyHolderPlan,
    SubjectPlan,
    cluster_of,
)
from verifier.evidence.subject import read_subject
from verifier.model.identifiers import KEY_HOLDER
from verifier.reference.values import EXPLORER, RPC

if TYPE_CHECKING:
    from verifier.checks.provenance.sigstore import SignedStatement
    from verifier.collect.collector import Scope
    from verifier.collect.http import Handshakes, Responder
    from verifier.collect.log_cache import Kept, LogCache
    from verifier.collect.shared import Shared
    from verifier.evidence.sources import Sounding
    from verifier.reference.values import ReferenceValues


_MOST_ANSWERED: Final = 1 << 20
"""Bytes of an answer that is not looked at."""
_PLANNED_FOR: Final = 60
"""Seconds for which what to ask next is planned as of one time: what is read later counts."""


class Past(Enum):
    """How much of the past of an app's contracts is collected."""

    NONE = "none"
    APP = "the app's, the KMS's and their owners'"
    GATEWAY = "the gateway's own too"


class Sources(Struct, frozen=True, kw_only=True):
    """Where to look for evidence; empty means the reference values' own.

    guests         base URLs of guest agents; () asks for the app id at every gateway, or for
                   `domain`
    domain         a custom domain; "" for none
    proof          URL of an attestation proof; "" for that of `domain`, if there is one
    gateways       URLs of gateways
    instances      the only instance ids that are asked for, hex; () for all that can be met
    rpc_urls       chain endpoints, asked for every chain
    explorer_urls  block explorers that are asked for the same logs; () for none
    safe_urls      transaction services of Safes, asked for every chain; () for those of the
                   reference values
    pcs_url        where collateral is asked for
    kms_url        where the app's KMS answers; "" for where its record or its cluster's name says
    challenge_url  where the app answers a challenge with a quote, with `{challenge}` in its place;
                   "" for nowhere
    cloud          whether Phala Cloud's API is asked where no guest gives a quote
    dashboards     addresses of what vendors say of the app, which decides nothing; () for none
    log_cache      the file that keeps the logs of finalized blocks between audits; None for none
    past           whose logs are asked for
    timeout        the seconds that all of it may take together
    shared         what it shares with other collections that run at once; None for nothing
    routes         logical host → (address, port) that serves it, in a simulated world; None for
                   none
    responder      what answers every request, in a simulated world; None for the network
    handshakes     what answers every TLS handshake, in a simulated world; None for the network
    """

    guests: tuple[str, ...] = ()
    domain: str = ""
    proof: str = ""
    gateways: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    rpc_urls: tuple[str, ...] = ()
    explorer_urls: tuple[str, ...] = ()
    safe_urls: tuple[str, ...] = ()
    pcs_url: str = ""
    kms_url: str = ""
    challenge_url: str = ""
    cloud: bool = True
    dashboards: tuple[str, ...] = ()
    log_cache: Path | None = None
    past: Past = Past.APP
    timeout: float = 180.0
    shared: "Shared | None" = None
    routes: Mapping[str, tuple[str, int]] | None = None
    responder: "Responder | None" = None
    handshakes: "Handshakes | None" = None


class CollectionInterrupted(KeyboardInterrupt):
    """The collection was interrupted; `bundle` holds what was collected until then."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__("the collection was interrupted")
        self.bundle = bundle


def collect_evidence(
    question: Question,
    sources: Sources,
    clock: Callable[[], int],
    progress: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Collect the evidence about an app from where it is served. `clock` gives Unix seconds.

    `progress` is told what is being asked, `warn` why the log cache is not used. A source that
    fails is recorded with its reason; nothing that was collected is lost, also where
    CollectionInterrupted is raised.
    """
    # Collection only has to know what to ask for next; the audit reads the answers again.
    question = replace(question, second_opinion=False)
    from verifier.collect.budget import Budget  # noqa: PLC0415 - offline needs no network
    from verifier.collect.collector import Planner, collect  # noqa: PLC0415
    from verifier.collect.container_registry import Registries  # noqa: PLC0415
    from verifier.collect.http import HttpClient  # noqa: PLC0415
    from verifier.collect.log_cache import LogCache  # noqa: PLC0415

    builder, budget = BundleBuilder(), Budget(sources.timeout)
    with (
        HttpClient(
            clock=clock,
            allow_hosts=_named_hosts(question, sources),
            routes=sources.routes,
            responder=sources.responder,
            handshakes=sources.handshakes,
            budget=budget,
            shared=sources.shared,
        ) as client,
        LogCache(sources.log_cache) if sources.log_cache else nullcontext() as cache,
    ):
        images, present = Registries(client, builder, progress), _presently(question, clock)

        def plan(bundle: Bundle) -> tuple[SubjectPlan, ...]:
            cases = _cases(bundle, present())
            images.ask(_images(cases.values()))
            return _asked_at(sources.kms_url, _plans(cases, sources.past))

        def doubts(bundle: Bundle) -> tuple[LogFilter, ...]:
            return doubted(bundle, replace(question, at=max(question.at, clock())))

        try:
            scope = _scope(question, sources, cache, warn)
            collect(client, scope, Planner(plan, doubts), builder, progress)
            images.wait()
        except KeyboardInterrupt as error:
            budget.stop()
            raise CollectionInterrupted(builder.build()) from error
    return builder.build()


def _presently(question: Question, clock: Callable[[], int]) -> Callable[[], Question]:
    """The question as of the present, so that what was read since the collection began is read for
    it, too; as of one time for a minute, so that what was judged need not be judged again."""
    present = question

    def asked() -> Question:
        nonlocal present
        if clock() - present.at > _PLANNED_FOR:
            present = replace(question, at=clock())
        return present

    return asked


def _scope(
    question: Question,
    sources: Sources,
    cache: "LogCache | None",
    warn: Callable[[str], None],
) -> "Scope":
    """Where collection begins: the sources that were named, else the reference values' own."""
    from verifier.collect.collector import Scope  # noqa: PLC0415 - as above
    from verifier.collect.histories import Scanning  # noqa: PLC0415
    from verifier.collect.requests import (  # noqa: PLC0415
        CLOUD_URL,
        challenge_request,
        guest_url,
    )

    reference = question.reference
    gateways = sources.gateways or tuple(row.url for row in reference.gateways)
    labels = sources.instances or ((question.app_id,) if question.app_id else ())
    at_gateways = tuple(guest_url(label, url) for label in labels for url in gateways)
    rpc: tuple[tuple[int | None, str], ...] = tuple((None, url) for url in sources.rpc_urls)
    safes: tuple[tuple[int | None, str], ...] = tuple((None, url) for url in sources.safe_urls)
    reserves = () if sources.rpc_urls or sources.explorer_urls else reference.reserves
    return Scope(
        app_id=question.app_id,
        guests=sources.guests or (() if sources.domain else at_gateways),
        domain=sources.domain,
        proof=sources.proof,
        gateways=gateways,
        named=sources.instances,
        endpoint=question.endpoint,
        searches=question.ct_searches,
        challenged=challenge_request(sources.challenge_url, question.challenge)
        if sources.challenge_url
        else None,
        rpc=rpc or tuple((row.chain_id, row.url) for row in reference.rpc),
        reserves=tuple((row.chain_id, row.url) for row in reserves if row.kind == RPC),
        safes=safes or tuple((row.chain_id, row.url) for row in reference.safe_services),
        likely=question.chain_plan or _likely(question),
        pcs_url=sources.pcs_url or reference.pcs_url,
        cloud_url=CLOUD_URL if sources.cloud else "",
        dashboards=sources.dashboards,
        scanning=Scanning(
            cache=cache,
            warn=warn,
            explorers=tuple(dict.fromkeys(sources.explorer_urls)),
            others=tuple((row.chain_id, row.url) for row in reference.rpc),
            operator_of=reference.operator_of,
            reserves=tuple((row.chain_id, row.url) for row in reserves if row.kind == EXPLORER),
            ranges={row.url: row.log_range for row in reserves if row.log_range},
        ),
    )


def _likely(question: Question) -> ChainPlan | None:
    """What to read where the app has the first known KMS with a contract, None without one."""
    if question.app_id is None:
        return None
    app_id = bytes.fromhex(question.app_id)
    plans = (ChainPlan.of(row, app_id) for row in question.reference.kms)
    return next((plan for plan in plans if plan is not None), None)


def share_collections(per_host: int) -> "Shared":
    """What collections share that run at once: each server is asked `per_host` questions at once,
    and the same collateral is asked for once an hour."""
    from verifier.collect.shared import Shared  # noqa: PLC0415 - as in collect_evidence

    return Shared(per_host)


def default_log_cache() -> Path:
    """The file that keeps chain logs between this user's audits."""
    from verifier.collect.log_cache import default_path  # noqa: PLC0415 - as in collect_evidence

    return default_path()


def log_cache_contents(path: Path) -> "tuple[Kept, ...]":
    """What the log cache holds. Raises EvidenceError when it cannot be read."""
    from verifier.collect.log_cache import contents  # noqa: PLC0415 - as in collect_evidence

    return contents(path)


def clear_log_cache(path: Path) -> bool:
    """Remove the log cache; whether there was one. Raises EvidenceError where it is not ours."""
    from verifier.collect.log_cache import clear  # noqa: PLC0415 - as in collect_evidence

    return clear(path)


def fetch_image(
    os_image_hash: str, base: str, clock: Callable[[], int], progress: Callable[[int, int], None]
) -> Path:
    """The tarball of an OS image (its hash in hex), from this user's cache or else downloaded from
    where dstack publishes, or from `base`. Its files are not yet held against the hash.

    Raises CollectError.
    """
    from verifier.collect import image_download as images  # noqa: PLC0415 - as in collect_evidence
    from verifier.collect.http import HttpClient  # noqa: PLC0415

    path = images.default_folder() / f"{os_image_hash}.tar.gz"
    if not path.is_file():
        named = (urlsplit(base).hostname or "",) if base else ()
        with HttpClient(clock=clock, allow_hosts=named) as client:
            url = images.image_url(os_image_hash, base or images.PUBLISHED)
            images.download(client, url, path, progress)
    return path


def identity_token() -> str:
    """The OIDC token that this machine gives for Sigstore, "" where it gives none. Raises
    UsageError."""
    from verifier.collect.keyless import ambient_token  # noqa: PLC0415 - as in collect_evidence

    return ambient_token()


def sign_for_identity(
    statement: bytes, token: str, trust_config: bytes | None, clock: Callable[[], int]
) -> tuple[bytes, "SignedStatement"]:
    """An in-toto statement in a Sigstore bundle, signed for the identity of an OIDC token, and who
    that is. `trust_config` (JSON) describes another instance than the public-good one.

    Nothing is given that does not verify from the instance's trusted root. Raises UsageError and
    CollectError.
    """
    from verifier.checks.provenance.sigstore import (  # noqa: PLC0415
        public_good_config,
        verify_statement,
    )
    from verifier.collect import keyless  # noqa: PLC0415 - as in collect_evidence
    from verifier.collect.http import HttpClient  # noqa: PLC0415

    instance = keyless.read_instance(trust_config or public_good_config())
    with HttpClient(clock=clock, allow_hosts=instance.hosts) as client:
        raw = keyless.sign_for_identity(statement, token, instance, client)
    signed = verify_statement(raw, None, instance.trusted_root)
    if signed.failure or signed.payload != statement:
        raise CollectError(
            f"what Sigstore's services gave does not verify: {signed.failure or 'another payload'}",
            hint="nothing was written; somebody between here and there, or one of them, lies",
        )
    return raw, signed


def examine_sources(
    reference: "ReferenceValues", sources: Sources, clock: Callable[[], int]
) -> "tuple[Sounding, ...]":
    """Whether each source that an audit may ask answers from here: one question to each, all side
    by side, none longer than the time-out of `sources`. Nothing is kept, and no app is judged."""
    from verifier.collect.canaries import canaries, sound  # noqa: PLC0415 - as above
    from verifier.collect.http import HttpClient  # noqa: PLC0415

    with HttpClient(
        clock=clock,
        routes=sources.routes,
        responder=sources.responder,
    ) as client:
        return sound(client, canaries(reference), sources.timeout)


def post_document(
    url: str, body: bytes, headers: Mapping[str, str], clock: Callable[[], int], timeout: float
) -> None:
    """Hand a JSON document to an address that the user named: https, or http on this machine.

    It is sent again, at most twice, where the connection fails and after 429 and 5xx; `timeout`
    (seconds) is for all of it. No redirect is followed. Raises CollectError unless it is taken.
    """
    from verifier.collect.budget import Budget, Share  # noqa: PLC0415 - as in collect_evidence
    from verifier.collect.http import HttpClient  # noqa: PLC0415
    from verifier.collect.limits import Limits  # noqa: PLC0415

    host = urlsplit(url).hostname or ""
    limits = Limits(share=Share.GUESTS, max_bytes=_MOST_ANSWERED, deadline_seconds=timeout)
    with HttpClient(clock=clock, allow_hosts=(host,), budget=Budget(timeout)) as client:
        client.request("POST", url, limits=limits, headers=headers, body=body).require_ok()


def _named_hosts(question: Question, sources: Sources) -> tuple[str, ...]:
    """Hosts that the user named, and those below them: a gateway serves its guests below it."""
    asked = (*sources.rpc_urls, *sources.explorer_urls, sources.pcs_url, sources.challenge_url)
    asked = (*asked, *sources.safe_urls, *question.ct_searches)
    asked = (*asked, *sources.dashboards, sources.kms_url)
    urls = (*sources.guests, *sources.gateways, *asked)
    hosts = {urlsplit(url).hostname or "" for url in urls if url}
    if question.endpoint is not None:
        hosts.add(question.endpoint.host.strip("[]"))
    return tuple(sorted(hosts | {f".{host}" for host in hosts if not host[-1:].isdigit()}))


def _asked_at(kms_url: str, plans: tuple[SubjectPlan, ...]) -> tuple[SubjectPlan, ...]:
    """The plans, whose KMS is asked at the address that the user names, "" for none."""
    if not kms_url:
        return plans
    return tuple(replace(item, kms_urls=(kms_url,)) if item.kms_urls else item for item in plans)


def plan_collection(
    bundle: Bundle, question: Question, *, past: Past = Past.APP
) -> tuple[SubjectPlan, ...]:
    """What the evidence collected so far calls for, one plan per attester in it."""
    return _plans(_cases(bundle, question), past)


def _cases(bundle: Bundle, question: Question) -> dict[str, Case]:
    """Every attester's case, by its name."""
    exchanges = Exchanges(bundle)
    return {name: Case(read_subject(bundle, name), question, exchanges) for name in bundle.subjects}


def _plans(cases: Mapping[str, Case], past: Past) -> tuple[SubjectPlan, ...]:
    plans = []
    for name, case in cases.items():
        plans.append(_plan_subject(case, name, past))
        with suppress(MissingEvidence, EvidenceError):
            gateway = gateway_to_collect(case)
            if gateway is not None:
                own = _plan_subject(gateway, "", Past.NONE)
                plans.append(replace(own, kms_urls=(), key_holders=()))
    return tuple(plans)


def doubted(bundle: Bundle, question: Question) -> tuple[LogFilter, ...]:
    """The logs of which answers of earlier audits do not fit the rest of the evidence."""
    found: dict[LogFilter, None] = {}
    for case in _cases(bundle, question).values():
        with suppress(MissingEvidence, Blocked, EvidenceError):
            found.update(dict.fromkeys(doubted_logs(case)))
    return tuple(found)


def image_references(bundle: Bundle, question: Question) -> tuple[ImageReference, ...]:
    """The images that the measured manifests name, those of KMSs' guests too, each once."""
    return _images(_cases(bundle, question).values())


def _images(cases: Iterable[Case]) -> tuple[ImageReference, ...]:
    found: dict[str, ImageReference] = {}
    for case in [each for app in cases for each in (app, *(x.case for x in tried_guests(app)))]:
        with suppress(MissingEvidence, EvidenceError):
            texts = {item.reference for item in named_images(case)}
            for text in sorted(texts - found.keys()):
                with suppress(EvidenceError):
                    found[text] = parse_reference(text)
    return tuple(found.values())


def _plan_subject(case: Case, name: str, past: Past) -> SubjectPlan:
    platform: tuple[str, str] | None = None
    kms_urls: tuple[str, ...] = ()
    app_id = b""
    chain: ChainPlan | None = None
    history = HistoryPlan()
    key_holders: tuple[KeyHolderPlan, ...] = ()
    with suppress(MissingEvidence, EvidenceError):
        platform = platform_of(case.quote.raw)
    with suppress(MissingEvidence, EvidenceError):
        app_id = case.identity.app_id
        record = case.kms_record
        kms_urls = record.urls if record is not None else ()
        cluster = cluster_of(name)
        if record is not None and not kms_urls and cluster:
            # A KMS that only the relying party knows: where its cluster has its own.
            kms_urls = (f"https://kms.{cluster}",)
        key_holders = tuple(_plan_key_holder(guest) for guest in tried_guests(case))
        chain = case.chain_plan
        if chain is not None:
            chain = replace(chain, of_kms=allowance_calls(case))
    if chain is None and not case.evidence.quotes:
        chain = case.question.chain_plan
    with suppress(MissingEvidence, EvidenceError):
        if past is not Past.NONE:
            history = plan_history(case, gateways=past is Past.GATEWAY)
    return SubjectPlan(
        subject=name,
        platform=platform,
        kms_urls=kms_urls,
        app_id=app_id,
        chain=chain,
        history=history,
        with_history=past is not Past.NONE,
        key_holders=key_holders,
    )


def _plan_key_holder(guest: KmsGuest) -> KeyHolderPlan:
    platform: tuple[str, str] | None = None
    app_id = ""
    source = guest.case.presented
    with suppress(MissingEvidence, EvidenceError):
        platform = platform_of(source.quote)
    with suppress(EvidenceError):
        app_id = guest.case.identity.app_id.hex() if source.has_log else ""
        with suppress(MissingEvidence):
            app_id = "" if guest.case.measured_manifest.value else app_id
    return KeyHolderPlan(subject=KEY_HOLDER + guest.name, platform=platform, app_id=app_id)
