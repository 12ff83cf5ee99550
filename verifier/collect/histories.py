"""The log scans of one collection: every endpoint side by side, one scan of each at a time."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from verifier.collect.creation import creation_block
from verifier.collect.explorer import Explorer, ask_explorer
from verifier.collect.http import LIMITS, HttpClient
from verifier.collect.log_cache import LogCache
from verifier.collect.requests import public_label, rpc_requests
from verifier.collect.scan import (
    Canary,
    EndpointProfile,
    LogQuery,
    Node,
    ScanBudget,
    ScanResult,
    scan_logs,
)
from verifier.errors import EvidenceError, NetworkError
from verifier.evidence import codec, contracts, json_rpc
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.contracts import Call
from verifier.evidence.explorer_logs import Asked, encode_explorer_logs
from verifier.evidence.log_scan import LogScan, encode_scan
from verifier.evidence.plan import ScanPlan

_PERCENT: Final = 100
_STEP: Final = 5
_WORTH: Final = 200
"""Ranges above which looking for a contract's creation costs less than scanning before it."""

Job = tuple[str, ScanPlan]
"""An endpoint's URL, and what to scan there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanning:
    """How logs are read. `cache` keeps what finalized blocks hold for later audits, and `warn` is
    told why it is not used. `patience` is how many seconds the scans at one endpoint may take.
    `explorers` are asked for the same logs; what they say is not cached."""

    cache: LogCache | None = None
    warn: Callable[[str], None] = lambda _: None
    patience: float = 1800.0
    explorers: tuple[str, ...] = ()


@dataclass
class Histories:
    """Runs scans and records them."""

    client: HttpClient
    builder: BundleBuilder
    scanning: Scanning
    progress: Callable[[str], None]
    _profiles: dict[str, EndpointProfile] = field(default_factory=dict)
    _known: dict[tuple[str, int], Canary] = field(default_factory=dict)
    _answers: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _spent: dict[str, float] = field(default_factory=dict)
    _silent: dict[str, str] = field(default_factory=dict)
    _stopped: bool = False

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
        with ThreadPoolExecutor(len(queues) + len(explorers)) as pool:
            running = [pool.submit(self._scan_all, *item) for item in queues.items()]
            running += [pool.submit(self._explore, url, list(plans)) for url in explorers]
            try:
                for done in running:
                    done.result()
            except BaseException:
                # Interrupted: every scan ends at its next answer, and has kept what it has.
                self._stopped = True
                raise

    def _scan_all(self, endpoint: str, plans: list[ScanPlan]) -> None:
        profile = self._profiles.setdefault(endpoint, EndpointProfile())
        for plan in plans:
            began = time.monotonic()
            node = Node(
                client=self.client,
                endpoint=endpoint,
                profile=profile,
                block_hash=lambda number: self._block_hash(endpoint, number),
            )
            query = LogQuery(
                filter=plan.filter,
                first=self._first_block(endpoint, plan, profile),
                last=plan.last,
                known_log=self._known.get((endpoint, plan.filter.chain_id)),
            )
            told = _Told(f"logs of {plan.filter.address} at {public_label(endpoint)}", self)
            left = self.scanning.patience - self._spent.get(endpoint, 0.0)
            result = scan_logs(
                node,
                query,
                cache=self.scanning.cache,
                budget=ScanBudget(seconds=max(left, 0.0)),
                progress=told.say,
            )
            self._spent[endpoint] = self._spent.get(endpoint, 0.0) + time.monotonic() - began
            self._record(endpoint, plan, result)

    def _explore(self, url: str, plans: list[ScanPlan]) -> None:
        explorer = Explorer(client=self.client, url=url, check=self.check)
        for plan in plans:
            self.progress(f"logs of {plan.filter.address} at {public_label(url)}")
            began = time.monotonic()
            left = self.scanning.patience - self._spent.get(url, 0.0)
            answers: tuple[Asked, ...] = ()
            failure = self._silent.get(url, "")
            if not failure:
                answers, failure = ask_explorer(explorer, plan, seconds=max(left, 0.0))
            if failure and not answers:
                # It has been tried three times; it is not waited for again.
                self._silent[url] = failure
            self._spent[url] = self._spent.get(url, 0.0) + time.monotonic() - began
            raw = encode_explorer_logs(plan.filter, answers) if answers else b""
            self._keep(Kind.EXPLORER_LOGS, url, plan, raw, failure)

    def close(self) -> None:
        """Say why the cache was not used, if it was not."""
        cache = self.scanning.cache
        if cache is not None and cache.problem:
            self.scanning.warn(cache.problem)

    def check(self) -> None:
        """Raises KeyboardInterrupt once the collection was interrupted."""
        if self._stopped:
            raise KeyboardInterrupt

    def _record(self, endpoint: str, plan: ScanPlan, result: ScanResult) -> None:
        if result.warning:
            self.scanning.warn(result.warning)
        raw = encode_scan(plan.filter, result.answers) if result.answers else b""
        self._keep(Kind.LOG_SCAN, endpoint, plan, raw, result.failure)
        if result.answers:
            self._remember(endpoint, plan, result)

    def _keep(self, kind: Kind, url: str, plan: ScanPlan, raw: bytes, failure: str) -> None:
        """Record a transcript, if there is one, and why it is not whole, if it is not."""
        moment, label, request = self.client.clock(), public_label(url), plan.filter.text
        if raw:
            self.builder.add(kind, raw, source=label, collected_at=moment, request=request)
        if failure:
            self.builder.add_failure(
                kind, source=label, collected_at=moment, error=failure, request=request
            )

    def _remember(self, endpoint: str, plan: ScanPlan, result: ScanResult) -> None:
        """The oldest log that an endpoint gave: it has to give it again before it is believed that
        there are no others. What another endpoint gave would let one that lies discredit it."""
        scan = LogScan(filter=plan.filter, answers=result.answers)
        try:
            logs = scan.logs("log scan")
        except EvidenceError:
            return
        known = self._known.get((endpoint, plan.filter.chain_id))
        if logs and (known is None or logs[0].log.block < known.block):
            canary = Canary(plan.filter, logs[0].log.block)
            self._known[endpoint, plan.filter.chain_id] = canary

    def _first_block(self, endpoint: str, plan: ScanPlan, profile: EndpointProfile) -> int:
        """Where a scan has to begin: where the contract was created, if the endpoint's ranges are
        so short that it is worth to look for that."""
        wide = profile.cap is None or plan.last - plan.first < _WORTH * profile.cap
        if wide or not plan.from_creation:
            return plan.first

        def code_at(number: int) -> bytes:
            call = contracts.get_code(plan.filter.address, hex(number))
            body = self._ask(endpoint, call)
            label = public_label(endpoint)
            return contracts.decode_bytes(json_rpc.parse_answer(body, label), label)

        first = creation_block(code_at, plan.first, plan.last)
        for number in (first - 1, first) if first > plan.first else ():
            call = contracts.get_code(plan.filter.address, hex(number))
            self.builder.add(
                Kind.JSON_RPC,
                self._ask(endpoint, call),
                source=public_label(endpoint),
                collected_at=self.client.clock(),
                request=json_rpc.encode_request(*call),
            )
        return first

    def _ask(self, endpoint: str, call: Call) -> bytes:
        """The raw answer to a call, asked once. Raises CollectError."""
        (request,) = rpc_requests(endpoint, [call])
        if (endpoint, request.body) not in self._answers:
            response = self.client.request(
                "POST",
                request.url,
                limits=LIMITS[Kind.JSON_RPC],
                body=request.body.encode("utf-8"),
            )
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


@dataclass
class _Told:
    """Progress in steps: a scan has thousands of answers."""

    what: str
    histories: Histories
    last: int = 0

    def say(self, done: int, total: int) -> None:
        """Note how many blocks are answered. Raises KeyboardInterrupt (see `Histories.check`)."""
        self.histories.check()
        share = done * _PERCENT // max(total, 1)
        if share >= self.last + _STEP:
            self.last = share
            self.histories.progress(f"{self.what}: {share} % of {total:,} blocks")
