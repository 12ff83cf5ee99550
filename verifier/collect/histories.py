"""The log scans of one collection: every endpoint side by side, one scan of each at a time.

Explorers have no limit on ranges, so they are asked first, and what they say of a contract's first
log tells nodes where to begin. The time for logs is divided among the scans that an endpoint still
has to make. What was received is recorded whatever becomes of the rest.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct

from verifier.collect.budget import Share
from verifier.collect.creation import creation_block
from verifier.collect.differences import (
    Account,
    Span,
    account_of,
    contradicted,
    explorer_account,
    stale,
)
from verifier.collect.explorer import Explorer, ask_explorer
from verifier.collect.http import HttpClient
from verifier.collect.limits import LIMITS
from verifier.collect.log_cache import LogCache
from verifier.collect.meter import ScanBudget
from verifier.collect.refusals import lags
from verifier.collect.requests import rpc_requests
from verifier.collect.scan import (
    EndpointProfile,
    KnownLog,
    LogQuery,
    Node,
    ask_again,
    scan_logs,
)
from verifier.collect.workers import Workers
from verifier.errors import EvidenceError, NetworkError
from verifier.evidence import codec
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain import contracts, json_rpc
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.endpoint_label import public_label
from verifier.evidence.chain.explorer_logs import Asked, ExplorerLogs, encode_explorer_logs
from verifier.evidence.chain.log_scan import LogFilter, LogScan, RangeAnswer, encode_scan
from verifier.evidence.plan import ScanPlan
from verifier.model.chain import OPERATORS

_PERCENT: Final = 100
_STEP: Final = 5
_WORTH: Final = 200
"""Ranges above which looking for a contract's creation costs less than scanning before it."""
_EXPLORERS_PART: Final = 1 / 4
"""Of the time for logs, how much explorers may take before nodes are asked."""
_LATER_PART: Final = 1 / 4
"""Of the time for logs that is left, what is kept for the contracts that these logs name."""
_MOST_ASKED: Final = 8
"""Blocks about which endpoints are asked that nobody named."""
_CREATION_PART: Final = 1 / 4
"""Of the time for one scan, how much looking for the contract's creation may take."""

Job = tuple[str, ScanPlan]
"""An endpoint's URL, and what to scan there."""


class Scanning(Struct, frozen=True, kw_only=True):
    """How logs are read.

    cache        keeps what finalized blocks hold for later audits; None for none
    warn         is told why the cache is not used
    explorers    are asked for the same logs; what they say is not cached; () for none
    others       (chain id, URL) of endpoints that are asked only where nobody else can decide what
                 an earlier answer is worth; () for none
    operator_of  tells who runs an endpoint or explorer
    reserves     (chain id, URL) of explorers that are asked one after another where fewer than two
                 operators gave every log; () for none
    ranges       endpoint → the most blocks of which it shows logs at once, where that is known
    """

    cache: LogCache | None = None
    warn: Callable[[str], None] = lambda _: None
    explorers: tuple[str, ...] = ()
    others: tuple[tuple[int | None, str], ...] = ()
    operator_of: Callable[[str], str] = lambda url: url
    reserves: tuple[tuple[int, str], ...] = ()
    ranges: Mapping[str, int] = {}


class Scanned(Struct):
    """What one endpoint gave of one plan so far, and why it is not whole, if it is not."""

    answers: list[RangeAnswer] = []
    failure: str = "the collection was interrupted"


class Histories(Struct):
    """Runs scans and records them.

    client       what every request goes through
    builder      the bundle that takes what comes
    scanning     how logs are read
    progress     told what is being read, for people
    _profiles    endpoint → what was learned about it
    _known       (endpoint, chain id) → the oldest log that it gave
    _answers     (endpoint, request body) → its raw answer
    _silent      explorer → why it is not asked again
    _first_logs  filter → the block of the first log that an explorer shows
    _scanned     what each endpoint gave of each plan so far
    _explored    (explorer, filter) → what it answered
    """

    client: HttpClient
    builder: BundleBuilder
    scanning: Scanning
    progress: Callable[[str], None]
    _profiles: dict[str, EndpointProfile] = {}
    _known: dict[tuple[str, int], KnownLog] = {}
    _answers: dict[tuple[str, str], bytes] = {}
    _silent: dict[str, str] = {}
    _first_logs: dict[LogFilter, int] = {}
    _scanned: dict[Job, Scanned] = {}
    _explored: dict[tuple[str, LogFilter], tuple[Asked, ...]] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """Scan, each endpoint in a thread of its own. Never raises for what an endpoint does."""
        queues: dict[str, list[ScanPlan]] = {}
        plans: dict[ScanPlan, None] = {}
        for endpoint, plan in jobs:
            queues.setdefault(endpoint, []).append(plan)
            plans.setdefault(plan)
        if not queues:
            return
        explorers = self.scanning.explorers
        workers = Workers(len(queues) + len(explorers))
        asked = [workers.submit(self._explore, url, list(plans)) for url in explorers]
        left = self.client.budget.left(Share.LOGS)
        wait(asked, None if left == math.inf else left * _EXPLORERS_PART)
        running = [workers.submit(self._scan_all, *item) for item in queues.items()]
        try:
            _results([*asked, *running])
            for plan in plans:
                self._ask_reserves(plan)
        except BaseException:
            self._store(queues)
            raise
        else:
            for plan in plans:
                self._settle(plan)
        finally:
            # Also when interrupted: what was answered is evidence.
            for endpoint, queue in queues.items():
                for plan in queue:
                    self._record(endpoint, plan)

    def _ask_reserves(self, plan: ScanPlan) -> None:
        """Ask further explorers, one after another, until two operators gave all logs of a plan."""
        for chain_id, url in self.scanning.reserves:
            if chain_id != plan.filter.chain_id or (url, plan.filter) in self._explored:
                continue
            if len(self._operators(plan)) >= OPERATORS:
                return
            self._explore(url, [plan])

    def _operators(self, plan: ScanPlan) -> set[str]:
        """Who gave every log of a plan."""
        whole = [
            endpoint
            for (endpoint, asked), scanned in self._scanned.items()
            if asked == plan and not scanned.failure
        ]
        for (url, wanted), answers in self._explored.items():
            with suppress(EvidenceError):
                told = ExplorerLogs(filter=wanted, answers=answers)
                if wanted == plan.filter and not told.read(plan.first, plan.last, "logs")[1]:
                    whole.append(url)
        return {self.scanning.operator_of(url) for url in whole}

    def _store(self, queues: Mapping[str, Iterable[ScanPlan]]) -> None:
        """Put into the cache what the scans that nobody waits for have not put there yet."""
        if self.scanning.cache is None:
            return
        for endpoint, plans in queues.items():
            for plan in plans:
                answers = self._scanned.get((endpoint, plan), Scanned()).answers
                fresh = [answer for answer in answers if not answer.cached]
                self.scanning.cache.store(plan.filter, public_label(endpoint), fresh)

    def renew(self, filters: Collection[LogFilter]) -> None:
        """Ask again for all that earlier audits were answered about these filters: the evidence as
        a whole contradicts it. Earlier answers that are not given again stay; they are no evidence
        against anybody."""
        again = [job for job in self._scanned if job[1].filter in filters]
        workers = Workers(len(again) or 1)
        try:
            _results([workers.submit(self._renew_all, *job) for job in again])
        finally:
            for endpoint, plan in again:
                label = public_label(endpoint)
                self.builder.discard(Kind.LOG_SCAN, label, plan.filter.text)
                self._record(endpoint, plan)

    def _renew_all(self, endpoint: str, plan: ScanPlan) -> None:
        spans = _recalled(self._scanned[endpoint, plan].answers)
        if spans:
            self.scanning.warn(
                f"{public_label(endpoint)}: what earlier audits were answered about "
                f"{plan.filter.address} does not fit the rest, and is asked for again"
            )
            self._refresh(endpoint, plan, spans)

    def _refresh(self, endpoint: str, plan: ScanPlan, spans: list[Span]) -> tuple[list[Span], str]:
        """Ask again for ranges of earlier answers, and put the new ones in their place: the ranges
        that were not answered, and why."""
        budget = ScanBudget(seconds=self.client.budget.left(Share.LOGS))
        answers, failure = ask_again(self._node(endpoint), plan.filter, spans, budget)
        fresh = LogScan(filter=plan.filter, answers=tuple(sorted(answers, key=_first)))
        answered = [span for span in spans if not fresh.gaps(*span)]
        self._replace(endpoint, plan, answered, answers)
        return [span for span in spans if span not in answered], failure

    def _settle(self, plan: ScanPlan) -> None:
        """Ask again for earlier answers on which another account of the same logs differs. One that
        is not answered again is dropped where two live operators contradict it."""
        told = dict(self._accounts(plan))
        unanswered = [
            (endpoint, blocks, *self._refresh(endpoint, plan, told[endpoint].recalled(blocks)))
            for endpoint, blocks in stale(told).items()
        ]
        told = dict(self._accounts(plan))
        for endpoint, blocks, rest, failure in unanswered:
            if rest:
                self._ask_others(plan, blocks, told)
            for first, last in rest:
                within = [block for block in blocks if first <= block <= last]
                if any(self._contradicted(endpoint, block, told) for block in within):
                    self._replace(endpoint, plan, [(first, last)], [])
                    scanned = self._scanned[endpoint, plan]
                    scanned.failure = scanned.failure or (
                        f"blocks {first} to {last}: two operators contradict what it said in an "
                        f"earlier audit, and it does not say it again: {failure}"
                    )

    def _accounts(self, plan: ScanPlan) -> Iterator[tuple[str, Account]]:
        """What every source that was asked says of a plan's logs, by URL."""
        for (endpoint, asked), scanned in self._scanned.items():
            if asked == plan:
                yield endpoint, account_of(plan.filter, scanned.answers)
        for (url, wanted), answers in self._explored.items():
            if wanted == plan.filter:
                with suppress(EvidenceError):
                    told = ExplorerLogs(filter=wanted, answers=answers)
                    yield url, explorer_account(told, plan.first, plan.last)

    def _ask_others(self, plan: ScanPlan, blocks: Iterable[int], told: dict[str, Account]) -> None:
        """Have further endpoints of the chain say what the logs of some blocks are."""
        for chain_id, url in self.scanning.others:
            if chain_id == plan.filter.chain_id and url not in told:
                spans = [(block, block) for block in sorted(blocks)[:_MOST_ASKED]]
                budget = ScanBudget(seconds=self.client.budget.left(Share.LOGS))
                answers, failure = ask_again(self._node(url), plan.filter, spans, budget)
                told[url] = account_of(plan.filter, answers)
                raw = encode_scan(plan.filter, answers) if answers else b""
                self._keep(Kind.LOG_SCAN, url, plan, raw, failure)

    def _contradicted(self, endpoint: str, block: int, told: Mapping[str, Account]) -> bool:
        return contradicted(endpoint, block, told, self.scanning.operator_of)

    def _replace(
        self, endpoint: str, plan: ScanPlan, spans: list[Span], answers: list[RangeAnswer]
    ) -> None:
        """Put answers of this collection in the place of earlier ones, in the cache, too."""
        scanned = self._scanned[endpoint, plan]
        fresh = [item for item in answers if any(a <= item.first <= b for a, b in spans)]
        kept = [item for item in scanned.answers if (item.first, item.last) not in spans]
        scanned.answers[:] = [*kept, *fresh]
        if self.scanning.cache is not None:
            self.scanning.cache.replace(plan.filter, public_label(endpoint), spans, fresh)

    def _scan_all(self, endpoint: str, plans: list[ScanPlan]) -> None:
        profile = self._profile(endpoint)
        for plan, seconds in self._shared(plans):
            scanned = self._scanned.setdefault((endpoint, plan), Scanned())
            began = time.monotonic()
            query = LogQuery(
                filter=plan.filter,
                first=self._first_block(endpoint, plan, profile, began + seconds * _CREATION_PART),
                last=plan.last,
                known_log=self._known.get((endpoint, plan.filter.chain_id)),
            )
            steps = _Steps(f"logs of {plan.filter.address} at {public_label(endpoint)}", self)
            result = scan_logs(
                self._node(endpoint),
                query,
                cache=self.scanning.cache,
                budget=ScanBudget(seconds=max(seconds - time.monotonic() + began, 0.0)),
                progress=steps.report,
                received=scanned.answers,
            )
            scanned.failure = result.failure
            if result.warning:
                self.scanning.warn(result.warning)
            self._remember(endpoint, plan, result.answers)

    def _shared(self, plans: list[ScanPlan]) -> Iterator[tuple[ScanPlan, float]]:
        """Each plan with the seconds that it may take: an equal part of what is left."""
        later = self.client.budget.left(Share.LOGS) * _LATER_PART
        later = 0.0 if later == math.inf else later
        for index, plan in enumerate(plans):
            left = max(self.client.budget.left(Share.LOGS) - later, 0.0)
            yield plan, left / (len(plans) - index)

    def _node(self, endpoint: str) -> Node:
        return Node(
            client=self.client,
            endpoint=endpoint,
            profile=self._profile(endpoint),
            block_hash=lambda number: self._block_hash(endpoint, number),
        )

    def _profile(self, endpoint: str) -> EndpointProfile:
        cap = self.scanning.ranges.get(endpoint)
        return self._profiles.setdefault(endpoint, EndpointProfile(cap=cap))

    def _explore(self, url: str, plans: list[ScanPlan]) -> None:
        explorer = Explorer(client=self.client, url=url)
        for plan, seconds in self._shared(plans):
            self.progress(f"logs of {plan.filter.address} at {public_label(url)}")
            answers: tuple[Asked, ...] = ()
            failure = self._silent.get(url, "")
            if not failure:
                answers, failure = ask_explorer(explorer, plan, seconds=seconds)
            if failure and not answers:
                # It has been tried three times already.
                self._silent[url] = failure
            if answers:
                self._explored[url, plan.filter] = answers
                self._hint(plan, answers)
            raw = encode_explorer_logs(plan.filter, answers) if answers else b""
            self._keep(Kind.EXPLORER_LOGS, url, plan, raw, failure)

    def _hint(self, plan: ScanPlan, answers: tuple[Asked, ...]) -> None:
        """Note the block of the first log that an explorer shows: nodes begin to look there."""
        try:
            told = ExplorerLogs(filter=plan.filter, answers=answers)
            logs, *_ = told.read(plan.first, plan.last, "explorer logs")
        except EvidenceError:
            return
        if logs:
            self._first_logs.setdefault(plan.filter, logs[0].log.block)

    def close(self) -> None:
        """Say why the cache was not used, if it was not."""
        cache = self.scanning.cache
        if cache is not None and cache.problem:
            self.scanning.warn(cache.problem)

    def _record(self, endpoint: str, plan: ScanPlan) -> None:
        scanned = self._scanned.get((endpoint, plan), Scanned())
        answers = sorted(scanned.answers, key=lambda answer: answer.first)
        raw = encode_scan(plan.filter, answers) if answers else b""
        self._keep(Kind.LOG_SCAN, endpoint, plan, raw, scanned.failure)

    def _keep(self, kind: Kind, url: str, plan: ScanPlan, raw: bytes, failure: str) -> None:
        """Record a transcript, if there is one, and why it is not whole, if it is not."""
        moment, label, request = self.client.clock(), public_label(url), plan.filter.text
        if raw:
            self.builder.add(kind, raw, source=label, collected_at=moment, request=request)
        if failure:
            self.builder.add_failure(
                kind, source=label, collected_at=moment, error=failure, request=request
            )

    def _remember(self, endpoint: str, plan: ScanPlan, answers: tuple[RangeAnswer, ...]) -> None:
        """The oldest log that an endpoint gave: it has to give it again before it is believed that
        there are no others. A log that another endpoint gave is not used for that: it may be a lie,
        which would discredit an honest endpoint."""
        try:
            logs = LogScan(filter=plan.filter, answers=answers).logs("log scan")
        except EvidenceError:
            return
        known = self._known.get((endpoint, plan.filter.chain_id))
        if logs and (known is None or logs[0].log.block < known.block):
            known = KnownLog(plan.filter, logs[0].log.block)
            self._known[endpoint, plan.filter.chain_id] = known

    def _first_block(
        self, endpoint: str, plan: ScanPlan, profile: EndpointProfile, ends: float
    ) -> int:
        """Where a scan has to begin: where the contract was created, if the endpoint's ranges are
        so short that it is worth looking for it, as far as it is found by the moment `ends`."""
        wide = profile.cap is None or plan.last - plan.first < _WORTH * profile.cap
        if wide or not plan.from_creation:
            return plan.first

        def code_at(number: int) -> bytes:
            if time.monotonic() >= ends:
                raise NetworkError("the time for finding the contract's creation is over")
            call = contracts.get_code(plan.filter.address, hex(number))
            body = self._ask(endpoint, call)
            label = public_label(endpoint)
            return contracts.decode_bytes(json_rpc.parse_answer(body, label), label)

        likely = self._first_logs.get(plan.filter)
        first = creation_block(code_at, plan.first, plan.last, likely)
        for number in (first - 1, first) if first > plan.first else ():
            call = contracts.get_code(plan.filter.address, hex(number))
            raw = self._answers.get((endpoint, rpc_requests(endpoint, [call])[0].body))
            if raw is not None:
                self.builder.add(
                    Kind.JSON_RPC,
                    raw,
                    source=public_label(endpoint),
                    collected_at=self.client.clock(),
                    request=json_rpc.encode_request(*call),
                )
        return first

    def _ask(self, endpoint: str, call: Call) -> bytes:
        """The raw answer to a call, asked for once, and once more where a backend does not have
        the block. Raises CollectError."""
        (request,) = rpc_requests(endpoint, [call])
        if (endpoint, request.body) not in self._answers:
            exchange = partial(
                self.client.request,
                "POST",
                request.url,
                limits=LIMITS[Kind.JSON_RPC],
                body=request.body.encode("utf-8"),
            )
            response = exchange()
            response = exchange() if lags(response) else response
            self._answers[endpoint, request.body] = response.body
        return self._answers[endpoint, request.body]

    def _block_hash(self, endpoint: str, number: int) -> str:
        """The hash of a block as an endpoint tells it. Raises CollectError."""
        label = public_label(endpoint)
        body = self._ask(endpoint, contracts.get_block(hex(number)))
        try:
            header = codec.as_object(json_rpc.parse_answer(body, label), label)
            return contracts.decode_word(header.get("hash"), label).hex()
        except EvidenceError as error:
            raise NetworkError(error.message) from error


def _recalled(answers: Iterable[RangeAnswer]) -> list[Span]:
    """The ranges of answers of earlier audits."""
    return [(item.first, item.last) for item in answers if item.cached]


def _first(answer: RangeAnswer) -> int:
    return answer.first


def _results(running: Iterable[Future[None]]) -> None:
    """Wait for all of them; what one raised is raised."""
    for done in running:
        done.result()


class _Steps(Struct):
    """Progress in steps: a scan has thousands of answers."""

    what: str
    histories: Histories
    last: int = 0

    def report(self, done: int, total: int) -> None:
        """Note how many blocks are answered."""
        share = done * _PERCENT // max(total, 1)
        if share >= self.last + _STEP:
            self.last = share
            self.histories.progress(f"{self.what}: {share} % of {total:,} blocks")
