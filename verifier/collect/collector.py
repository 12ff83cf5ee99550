"""Collection: ask, record every answer as it came, look at what it names, ask again.

In each round everything that the evidence so far calls for, and that was not asked yet, is asked
side by side; the collection ends when nothing new is called for, or when its budget is spent. For
an app behind a gateway that is five rounds: the guest, and the chain's head; its instances,
collateral and KMS, contract state and logs; what these name, and the logs of owners; what these
logs name; what that names.

What a source does not give is recorded with the reason, and the collection goes on. Nothing is
believed here: what an answer names only decides what is asked next.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.collect import requests
from verifier.collect.budget import SpentError
from verifier.collect.chain_state import further, heads_of, state_requests
from verifier.collect.challenged import record_challenged
from verifier.collect.endpoint import endpoint_requests, search_requests
from verifier.collect.guests import Guests
from verifier.collect.histories import Histories, Job, Scanning
from verifier.collect.http import HttpClient, Response
from verifier.collect.instances import listed_instances
from verifier.collect.key_holders import manifest_requests, record_certificate
from verifier.collect.limits import LIMITS
from verifier.collect.refusals import lags
from verifier.collect.requests import Request
from verifier.collect.shared import COLLATERAL
from verifier.collect.workers import Workers
from verifier.errors import CollectError, EvidenceError, NotFoundError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.endpoint import Endpoint, endpoint_of
from verifier.evidence.guest.dns import RECORD_NAMES, parse_app_address
from verifier.evidence.guest.proof import PATH as PROOF_PATH
from verifier.evidence.guest.proof import parse_proof
from verifier.evidence.plan import ChainPlan, HistoryPlan, SubjectPlan
from verifier.model.identifiers import KEY_HOLDER

MAX_ROUNDS: Final = 12
MAX_SIDE_BY_SIDE: Final = 32
"""Requests to one origin at once. A round asks an endpoint of a chain up to ninety things, each of
which its limit of requests a second counts anyway."""
ROUND_PART: Final = 1 / 6
"""Of the whole time, how long a round waits for the slowest source. The others go on then, and what
comes later is recorded when it comes."""
_NOT_FOUND: Final = 404
MAX_ROUND_SECONDS: Final = 30.0
_GUEST_KINDS: Final = (Kind.PAGE, Kind.INFO, Kind.APP_KEY_QUOTE)
_OPTIONAL: Final = (Kind.APP_KEY_QUOTE, Kind.INGRESS_QUOTE, Kind.INGRESS_FILE)
"""Kinds that not every guest has: that one lacks them is nothing to tell."""


class Planner(Struct, frozen=True):
    """What the evidence so far calls for: one plan per attester; and once all of that was asked,
    the logs of which earlier answers do not fit the rest."""

    plans: Callable[[Bundle], tuple[SubjectPlan, ...]]
    doubts: Callable[[Bundle], Iterable[LogFilter]]


class Scope(Struct, frozen=True, kw_only=True):
    """Where to look.

    app_id        the app id that was asked for, hex; None for none
    guests        base URLs of guest agents, tried side by side; () for none
    domain        a custom domain, which is looked up: the guest that its TXT record names is asked
                  at each of `gateways`; "" for none
    proof         URL of an attestation proof; "" for that of `domain`, if there is one
    gateways      URLs of gateways
    named         the ids (hex) of the only instances that are asked for; () for all that are met
    endpoint      the address that users connect to; None where none was named
    searches      addresses of searches of certificate logs about it; () for none
    challenged    asks the app for a quote over the challenge; None where nothing does
    rpc           (chain id, URL) of chain endpoints; those under None are asked for every chain
    reserves      (chain id, URL) of endpoints that are asked one after another, as long as fewer
                  than two operators told a chain's head
    safes         (chain id, URL) of transaction services of Safes, as `rpc`
    likely        what endpoints of its chain are asked before any guest has told which KMS its app
                  has; None for nothing
    pcs_url       where collateral is asked for
    cloud_url     base URL of the cloud's API, which is asked only when no guest gives a quote; ""
                  for never
    dashboards    addresses of what vendors say of the app; () for none
    scanning      how logs are read
    """

    app_id: str | None
    guests: tuple[str, ...] = ()
    domain: str = ""
    proof: str = ""
    gateways: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    searches: tuple[str, ...] = ()
    challenged: Request | None = None
    rpc: tuple[tuple[int | None, str], ...]
    reserves: tuple[tuple[int, str], ...] = ()
    safes: tuple[tuple[int | None, str], ...] = ()
    likely: ChainPlan | None = None
    pcs_url: str
    cloud_url: str = requests.CLOUD_URL
    dashboards: tuple[str, ...] = ()
    scanning: Scanning = field(default_factory=Scanning)


def collect(
    client: HttpClient,
    scope: Scope,
    planner: Planner,
    builder: BundleBuilder,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Collect the evidence about an app. Never raises for a source that fails."""
    collection = _Collection(client, scope, planner, builder)
    histories = Histories(client, builder, scope.scanning, progress)
    collection.look_up()
    rounds, doubted = 0, set[LogFilter]()
    try:
        while rounds < MAX_ROUNDS:
            wanted, scans = collection.wanted()
            rounds += bool(wanted or scans)
            if wanted:
                progress(_describe(wanted))
            collection.send(wanted)
            histories.run(scans)
            if collection.receive() or scans:
                continue
            again = set(planner.doubts(builder.build())) - doubted
            if not again:
                break
            doubted |= again
            histories.renew(again)
        while collection.receive():
            pass
    finally:
        collection.give_up()
        histories.close()


class _Collection:
    """The state of one collection: what was asked, what came, what it calls for."""

    def __init__(
        self, client: HttpClient, scope: Scope, planner: Planner, builder: BundleBuilder
    ) -> None:
        self.builder = builder
        self._client = client
        self._scope = scope
        self._planner = planner
        self._asked: set[Request] = set()
        self._sent: dict[Request, Future[Response | CollectError]] = {}
        self._workers: dict[str, Workers] = {}
        self._scanned: set[Job] = set()
        self._guests = Guests(scope.guests, alone=bool(scope.named))
        self._answers: dict[Request, Future[Response | CollectError]] = {}
        self._reserved: list[tuple[int, str]] = []

    def look_up(self) -> None:
        """Find the guest that a custom domain is mapped to, and what is published there; without a
        record, the guest of the app that this says it is of."""
        published = self._published()
        for name in RECORD_NAMES if self._scope.domain else ():
            request = Request(
                kind=Kind.DNS_TXT, url=f"{requests.DNS_URL}{name}.{self._scope.domain}"
            )
            answer = self.ask(request)
            self.record(request, answer)
            with suppress(EvidenceError):
                identifier = (
                    parse_app_address(answer.body, "TXT record")
                    if isinstance(answer, Response)
                    else None
                )
                if identifier:
                    self._behind(identifier)
                    return
        if self._scope.domain and published:
            self._behind(published)

    def _behind(self, app_id: str) -> None:
        for identifier in self._scope.named or (app_id,):
            self._guests.behind(identifier, self._scope.gateways)

    def _published(self) -> str:
        """Ask for the attestation proof; the app id (hex) that it names, "" for none."""
        scope = self._scope
        if not (scope.proof or scope.domain):
            return ""
        request = Request(kind=Kind.PROOF, url=scope.proof or f"https://{scope.domain}{PROOF_PATH}")
        answer = self.ask(request)
        self.record(request, answer)
        with suppress(EvidenceError):
            if isinstance(answer, Response) and _failure(request, answer) is None:
                return parse_proof(answer.body, "attestation proof").app_id.hex()
        return ""

    def wanted(self) -> tuple[list[Request], list[Job]]:
        """What the evidence so far calls for and was not asked yet, in a stable order."""
        bundle = self.builder.build()
        plans = self._planner.plans(bundle) if self._asked else ()
        found: dict[Request, None] = {}
        found.update(dict.fromkeys(self._guests.requests()))
        for chain_id, endpoint in self._scope.rpc:
            likely = self._scope.likely
            if likely is not None and chain_id in (None, likely.chain_id):
                calls = likely.speculative_calls()
                found.update(dict.fromkeys(requests.rpc_requests(endpoint, calls)))
        found.update(dict.fromkeys(self._for_endpoint(bundle)))
        exchanges = Exchanges(bundle)
        for plan in _each_history_once(plans):
            found.update(dict.fromkeys(self._for_plan(plan, exchanges)))
        found.update(dict.fromkeys(self._for_cloud(plans)))
        found.update(dict.fromkeys(map(requests.dashboard_request, self._scope.dashboards)))
        fresh = [request for request in found if request not in self._asked]
        self._asked.update(fresh)
        jobs = dict.fromkeys(job for plan in plans for job in self._scans(plan, exchanges))
        unscanned = [job for job in jobs if job not in self._scanned]
        self._scanned.update(unscanned)
        return fresh, unscanned

    def send(self, wanted: Iterable[Request]) -> None:
        """Ask, each origin in its own queue: a slow one makes no other wait."""
        for request in wanted:
            workers = self._workers.setdefault(
                requests.base_of(request.url), Workers(MAX_SIDE_BY_SIDE)
            )
            # What is asked for several attesters is asked once.
            plain = replace(request, subject="")
            if plain not in self._answers:
                self._answers[plain] = workers.submit(self.ask, request)
            self._sent[request] = self._answers[plain]

    def receive(self) -> bool:
        """Record what was answered, in the order in which it was asked; whether anything was.

        Waits for all of it, but once there is anything for no longer than a round may take.
        """
        wait(self._sent.values(), min(self._client.budget.seconds * ROUND_PART, MAX_ROUND_SECONDS))
        wait(self._sent.values(), return_when=FIRST_COMPLETED)
        return self._record_answered()

    def give_up(self) -> None:
        """Record what was answered, and of the rest that it was not."""
        self._record_answered()
        for request in list(self._sent):
            del self._sent[request]
            self.record(request, SpentError("no answer before the collection was interrupted"))

    def _record_answered(self) -> bool:
        done = [request for request, future in self._sent.items() if future.done()]
        for request in done:
            self.record(request, self._sent.pop(request).result())
        return bool(done)

    def ask(self, request: Request) -> Response | CollectError:
        """One exchange, or that of another collection; its failure is a value."""
        shared = self._client.shared
        if shared is None or request.kind not in COLLATERAL:
            return self._ask(request)
        return shared.collateral(request.url, self._client.clock, lambda: self._ask(request))

    def _ask(self, request: Request) -> Response | CollectError:
        try:
            response = self._exchange(request, request.url)
            if request.kind is Kind.JSON_RPC and lags(response):
                response = self._exchange(request, request.url)
            if response.status == _NOT_FOUND and request.fallback:
                other = self._exchange(request, request.fallback)
                response = response if other.status == _NOT_FOUND else other
        except CollectError as error:
            return error
        return response

    def record(self, request: Request, answer: Response | CollectError) -> None:
        """Put an answer, or its absence, into the bundle."""
        source = request.label or request.url
        earlier = answer.received_at if isinstance(answer, Response) else None
        moment = self._client.clock() if earlier is None else earlier
        of_guest = request.kind in _GUEST_KINDS
        subject = request.subject or (self._guests.at(request) if of_guest else "")
        self._guests.count(request, answer.body if isinstance(answer, Response) else b"")
        if isinstance(answer, Response):
            failure = _failure(request, answer)
            if failure is None and request.kind is Kind.GET_QUOTE:
                about, names = self._scope.app_id, self._guests.names
                record_challenged(self.builder, request, answer, moment, guests=names, app_id=about)
                return
            if failure is None or _is_rpc_error(request, answer):
                for name in self._subjects(request, answer.body, subject):
                    self._add(request, answer, name, moment)
                return
            # A KMS that refuses itself, since its contract no longer allows it, shows who it is.
            record_certificate(self.builder, request, answer, moment)
            answer = failure
        if self._is_noise(request, answer):
            return
        self.builder.add_failure(
            request.kind,
            source=source,
            collected_at=moment,
            error=_reason(request, answer),
            cause=answer.cause,
            subject=subject,
            request=request.body,
        )

    def _add(self, request: Request, answer: Response, subject: str, moment: int) -> None:
        self.builder.add(
            request.kind,
            answer.body,
            source=request.label or (answer.url if request.fallback else request.url),
            collected_at=moment,
            subject=subject,
            status=None if request.kind is Kind.TLS_PEER else answer.status,
            media_type=answer.header("content-type"),
            headers={
                name: answer.header(name) for name in request.keep_headers if answer.header(name)
            },
            request=request.body,
            peer=record_certificate(self.builder, request, answer, moment),
        )

    def _subjects(self, request: Request, body: bytes, asked: str) -> tuple[str, ...]:
        """The attesters that an answer is about: a guest's is about itself, a vendor's about
        every instance that it lists."""
        if asked.startswith(KEY_HOLDER):
            return (asked,)
        if request.kind in _GUEST_KINDS:
            return (self._guests.answered(request, body),)
        if request.kind is Kind.TLS_PEER:
            return (self._guests.met(endpoint_of(request.label), body),)
        if request.kind is Kind.CLOUD_ATTESTATIONS:
            host = urlsplit(request.url).netloc
            listed = listed_instances(body)
            names = self._guests.names
            return tuple(names.get(item, f"{host}/{item}") for item in listed) or (asked,)
        return (asked,)

    def _exchange(self, request: Request, url: str) -> Response:
        limits = LIMITS[request.kind]
        if request.kind is Kind.TLS_PEER:
            endpoint = endpoint_of(request.label)
            return self._client.handshake(endpoint.host, endpoint.port, limits=limits)
        if request.body:
            return self._client.request(
                "POST",
                url,
                limits=limits,
                body=request.body.encode("utf-8"),
                session=request.session,
            )
        accepted = {"Accept": "application/dns-message"} if request.kind is Kind.DNS_MESSAGE else {}
        return self._client.request(
            "GET", url, limits=limits, headers=accepted, fresh=request.fresh
        )

    def _for_endpoint(self, bundle: Bundle) -> Iterator[Request]:
        """What the endpoint calls for. Under a name of the app's own nobody can tell which gateway
        leads there: once guests have answered, an instance is known by its id."""
        known = bool(self._asked) or not self._guests
        if self._scope.endpoint is not None:
            asked = [*self._scope.gateways, *self._guests.gateways]
            yield from endpoint_requests(self._scope.endpoint, asked, self._guests, known=known)
            yield from search_requests(
                self._scope.endpoint, self._scope.searches, bundle, self._client.clock()
            )
        if self._scope.challenged is not None and known:
            yield self._scope.challenged

    def _for_cloud(self, plans: tuple[SubjectPlan, ...]) -> Iterator[Request]:
        """The vendor's account, where the guest itself gave no quote."""
        scope = self._scope
        silent = bool(self._asked) and not any(plan.platform for plan in plans)
        if silent and scope.cloud_url and scope.app_id:
            yield requests.cloud_request(scope.cloud_url, scope.app_id)

    def _for_plan(self, plan: SubjectPlan, exchanges: Exchanges) -> Iterator[Request]:
        if plan.platform:
            yield from requests.pcs_requests(self._scope.pcs_url, plan.platform)
        if plan.kms_urls:
            url = _nearest(plan.kms_urls, plan.subject)
            yield from requests.kms_requests(url, plan.app_id, plan.subject)
        for holder in plan.key_holders:
            if holder.platform:
                yield from requests.pcs_requests(self._scope.pcs_url, holder.platform)
            for place in manifest_requests(plan, holder, self._scope.cloud_url):
                yield place
                if place not in self._asked or place in self._sent:
                    break
        if plan.chain:
            yield from self._for_chain(plan.chain, plan.history, exchanges)

    def _for_chain(
        self, chain: ChainPlan, history: HistoryPlan, exchanges: Exchanges
    ) -> Iterator[Request]:
        if self._settled(chain):
            rows = (row for row in self._scope.reserves if row not in self._reserved)
            told, known = self._endpoints(chain.chain_id), self._scope.scanning.operator_of
            self._reserved += further(chain, exchanges, told, rows, known)
        endpoints = self._endpoints(chain.chain_id)
        for endpoint in endpoints:
            yield from requests.rpc_requests(endpoint, chain.speculative_calls())
        for endpoint in heads_of(chain, exchanges, endpoints):
            yield from requests.rpc_requests(endpoint, history.calls)
        yield from state_requests(chain, exchanges, endpoints)
        for url in _of_chain(self._scope.safes, chain.chain_id):
            yield from (requests.safe_request(url, *safe) for safe in history.safes)

    def _endpoints(self, chain_id: int) -> list[str]:
        return _of_chain((*self._scope.rpc, *self._reserved), chain_id)

    def _settled(self, chain: ChainPlan) -> bool:
        """Whether every endpoint of a chain was asked for its head, and answered or failed."""
        calls = chain.speculative_calls()
        endpoints = self._endpoints(chain.chain_id)
        asked = {item for url in endpoints for item in requests.rpc_requests(url, calls)}
        return asked <= self._asked and asked.isdisjoint(self._sent)

    def _scans(self, plan: SubjectPlan, exchanges: Exchanges) -> Iterator[Job]:
        if plan.chain is None:
            return
        heads = heads_of(plan.chain, exchanges, self._endpoints(plan.chain.chain_id))
        scans = plan.history.scans
        if plan.with_history and not scans and heads:
            scans = plan.chain.first_scans(min(head.number for head in heads.values()))
        for endpoint in heads:
            for scan in scans:
                yield endpoint, scan

    def _is_noise(self, request: Request, error: CollectError) -> bool:
        """One failure per silent gateway is enough; a method that a version lacks is none."""
        if request.kind in _OPTIONAL and isinstance(error, NotFoundError):
            return True
        several = len(self._scope.guests or self._scope.gateways) > 1
        return several and request.kind in (Kind.PAGE, Kind.APP_KEY_QUOTE)


def _of_chain(sources: Iterable[tuple[int | None, str]], chain_id: int) -> list[str]:
    """The sources of a chain, and those for every chain."""
    return [url for chain, url in sources if chain in (None, chain_id)]


def _each_history_once(plans: Iterable[SubjectPlan]) -> Iterator[SubjectPlan]:
    """The plans, of which only the first has a history that all guests of an app share."""
    shared: set[int] = set()
    for plan in plans:
        yield replace(plan, history=HistoryPlan()) if id(plan.history) in shared else plan
        shared.add(id(plan.history))


def _reason(request: Request, error: CollectError) -> str:
    """Why there is no answer. What may hold a key is left out: the URL of a labelled request, and
    what its server echoes."""
    if not request.label:
        return error.message
    cause = error.__cause__ or (error if isinstance(error, SpentError) else None)
    return f"{request.label}: {cause.message if isinstance(cause, CollectError) else 'refused'}"


def _failure(request: Request, response: Response) -> CollectError | None:
    try:
        response.require_ok()
    except CollectError as error:
        if request.label:
            error.__cause__ = type(error)(f"HTTP {response.status}")
        return error
    return None


def _is_rpc_error(request: Request, response: Response) -> bool:
    """Whether a node says in its own words why it refuses: providers do so under any status."""
    return request.kind is Kind.JSON_RPC and response.body.lstrip()[:1] == b"{"


def _nearest(urls: tuple[str, ...], subject: str) -> str:
    """The KMS of the attester's own cluster where its record has one, else the first."""
    cluster = f"kms.{subject.partition('/')[0]}"
    return next((url for url in urls if urlsplit(url).netloc == cluster), urls[0])


def _describe(wanted: list[Request]) -> str:
    kinds = sorted({request.kind.value for request in wanted})
    count = f"{len(wanted)} request{'s' * (len(wanted) != 1)}"
    return f"{count}: {', '.join(kinds)}"
