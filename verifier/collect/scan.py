"""Scanning a contract's logs at one node, in ranges as wide as the node allows.

The whole range is asked for first, unless it is known how many blocks the endpoint shows at once;
what it refuses is narrowed as `collect/refusals.py` says. Every answer is read as it arrives, and
goes into the cache: a scan that is cut short is continued by the next one.

An empty answer means no logs only if the node has the logs of those blocks at all: nodes that have
pruned them give an empty list too. So a log that is known to exist is asked for first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct, field

from verifier.collect.budget import SpentError
from verifier.collect.http import HttpClient, printable
from verifier.collect.limits import LIMITS
from verifier.collect.log_cache import CachedStream, LogCache
from verifier.collect.meter import Meter, ScanBudget, spelled
from verifier.collect.network import System
from verifier.collect.refusals import Refusal, RefusalKind, classify
from verifier.collect.workers import Workers
from verifier.errors import CollectError, EvidenceError, LimitError
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import json_rpc
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.endpoint_label import public_label
from verifier.evidence.chain.log_scan import (
    LogFilter,
    LogScan,
    RangeAnswer,
    decode_range,
    written_bytes,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

START_CONCURRENCY: Final = 8
MAX_CONCURRENCY: Final = 16
RATE_PAUSES_SECONDS: Final = (1, 2, 4, 8, 16, 32)
OUTAGE_PAUSES_SECONDS: Final = (1, 2, 4, 8)
MAX_PAUSE_SECONDS: Final = 60
WIDE: Final = 500
"""Blocks above which a failing node may only be overwhelmed (see `refusals.classify`)."""

_CUSTOMARY_CAPS: Final = (100_000, 50_000, 10_000, 5_000, 3_000, 2_000, 1_000, 500, 100, 50, 10, 5)
_CUSTOMARY_CUT: Final = 1_000
_MOST_SCANS: Final = 10
"""Scans that a history may take: one that needs more is given up at once."""
_NARROWER: Final = 10
"""Blocks of the second try after a refusal in unknown words: the least that a free plan shows."""
_ELSEWHERE: Final = "use another endpoint, or try again later"
_MAX_EMPTY_FORMS: Final = 16
_SHORTEST_SECRET: Final = 8
Span = tuple[int, int]


class KnownLog(Struct, frozen=True):
    """A log that is known to exist: one of `filter`, in `block`."""

    filter: LogFilter
    block: int


class EndpointProfile(Struct):
    """What was learned about an endpoint; shared by its scans, which run one after the other.

    cap          the number of blocks that it shows at once; None until it refused more
    concurrency  how many requests are made side by side at present
    ceiling      how many requests may be made side by side: fewer than it refused as too many
    shown        the widest range that it answered, in blocks; 0 for none
    depth        the lowest block of a log that it gave; None for none
    proven       the known logs that it gave
    narrows      whether it answered a part of what it had refused in unknown words: such words are
                 about the range
    given_up     why it is not asked again: it never answered anything; "" where it is
    """

    cap: int | None = None
    concurrency: int = START_CONCURRENCY
    ceiling: int = MAX_CONCURRENCY
    shown: int = 0
    depth: int | None = None
    proven: set[KnownLog] = set()
    narrows: bool = False
    given_up: str = ""


class Node(Struct, frozen=True, kw_only=True):
    """An endpoint, and how it is asked.

    `block_hash` gives the hash (hex) of a block as this endpoint tells it, and raises CollectError;
    it is asked only with a cache, at most twice a scan.
    """

    client: HttpClient
    endpoint: str
    block_hash: Callable[[int], str]
    profile: EndpointProfile = field(default_factory=EndpointProfile)
    system: System = field(default_factory=System)


class LogQuery(Struct, frozen=True, kw_only=True):
    """Which logs: those of a filter in an inclusive range of blocks, all of them finalized."""

    filter: LogFilter
    first: int
    last: int
    known_log: KnownLog | None = None


class ScanResult(Struct, frozen=True, kw_only=True):
    """What one endpoint gave.

    `answers` ascend, do not overlap, and cover the whole range unless `failure` says what happened
    where and what to do. `requests` counts `eth_getLogs`. `proven_from` is the lowest block of any
    log that the endpoint gave in this collection: it has the logs from there on, so that an empty
    answer means that there are none; None if it gave no log. `warning` says why what was cached is
    not used.
    """

    answers: tuple[RangeAnswer, ...]
    failure: str
    requests: int
    proven_from: int | None
    warning: str = ""


def scan_logs(  # noqa: PLR0913 - what the caller keeps between scans
    node: Node,
    query: LogQuery,
    *,
    cache: LogCache | None = None,
    budget: ScanBudget | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    received: list[RangeAnswer] | None = None,
) -> ScanResult:
    """Every answer that one endpoint gives for a query. Never raises for what the endpoint does.

    `progress` is told how many blocks are answered, of how many. `received` is given every answer
    as it comes, in no order, for a caller that may be interrupted.
    """
    label = public_label(node.endpoint)
    meter = Meter(node.system, budget or ScanBudget())
    memory = CachedStream(cache, query.filter, label, (query.first, query.last))
    kept = memory.recall(node.block_hash)
    total = query.last - query.first + 1
    missing = LogScan(filter=query.filter, answers=kept).gaps(query.first, query.last)
    answered = recalled = total - sum(map(_width, missing))
    meter.received = sum(written_bytes(answer.body) for answer in kept)

    def report(more: int) -> None:
        nonlocal answered
        answered += more
        progress(answered, total)

    report(0)
    answers = [] if received is None else received
    answers.extend(kept)
    failure, fetched = _prove(node, query, meter), _Fetch(node, query, meter, answers)
    try:
        if not failure:
            failure = fetched.run(missing, report, memory.keep)
    finally:
        memory.flush()
    if failure:
        left = total - answered
        failure = f"{label}: {failure}; {left:,} of {total:,} blocks are missing"
        if meter.spent and answered > recalled:
            seconds = meter.seconds * left / (answered - recalled)
            failure += f", {spelled(seconds)} more at this pace"
            failure += "; what was read is kept for the next audit" if memory.keeps else ""
    return ScanResult(
        answers=tuple(sorted(answers, key=lambda answer: answer.first)),
        failure=failure,
        requests=meter.requests,
        proven_from=node.profile.depth,
        warning=memory.warning,
    )


def ask_again(
    node: Node, wanted: LogFilter, spans: Iterable[Span], budget: ScanBudget
) -> tuple[list[RangeAnswer], str]:
    """What an endpoint says of some ranges in this very collection, and why some are missing."""
    answers: list[RangeAnswer] = []
    ordered = sorted(spans)
    query = LogQuery(filter=wanted, first=ordered[0][0], last=ordered[-1][1])
    failure = _Fetch(node, query, Meter(node.system, budget), answers).run(ordered)
    return answers, failure


def _prove(node: Node, query: LogQuery, meter: "Meter") -> str:
    """Ask for the known log; why the endpoint's empty answers mean nothing, or ""."""
    known = query.known_log
    if node.profile.given_up or known is None or known in node.profile.proven:
        return node.profile.given_up
    probe = LogQuery(filter=known.filter, first=known.block, last=known.block, known_log=known)
    failure = _Fetch(node, probe, meter, []).run([(known.block, known.block)])
    if not failure:
        node.profile.proven.add(known)
    return failure


class _Reply(Struct, frozen=True):
    """What came of one request."""

    span: Span
    outcome: RangeAnswer | Refusal


class _Fetch:
    """One filter asked of one node, over any number of ranges."""

    def __init__(
        self, node: Node, query: LogQuery, meter: Meter, answers: list[RangeAnswer]
    ) -> None:
        self._answers = answers
        self._answered = False
        self._node = node
        self._query = query
        self._meter = meter
        self._profile = node.profile
        self._pending: deque[Span] = deque()
        self._running = 0
        self._arrived: SimpleQueue[Future[_Reply]] = SimpleQueue()
        self._failure = ""
        self._pause = 0
        self._pauses = 0
        self._in_a_row = 0
        self._empty: set[bytes] = set()
        self._last_chances: set[Span] = set()
        self._doubted: set[Span] = set()

    def run(
        self,
        spans: Iterable[Span],
        report: Callable[[int], None] = lambda _blocks: None,
        keep: Callable[[RangeAnswer], None] = lambda _answer: None,
    ) -> str:
        """Ask until every range is answered; why that was not possible, or "".

        `report` is told how many blocks each answer covers, `keep` is given the answer.
        """
        self._pending.extend(spans)
        workers = Workers(MAX_CONCURRENCY)
        while True:
            self._fill(workers)
            if not self._running:
                if self._failure or not self._pause:
                    return self._failure
                self._node.system.sleep(min(self._pause, self._meter.left))
                self._pause = 0
                continue
            reply = self._arrived.get().result()
            self._running -= 1
            if isinstance(reply.outcome, Refusal):
                self._narrow_or_wait(reply.span, reply.outcome)
            elif self._accepts(reply.outcome):
                keep(reply.outcome)
                report(_width(reply.span))

    def _fill(self, workers: Workers) -> None:
        """Send as many requests as are allowed side by side: one, until a width is answered."""
        profile = self._profile
        allowed = profile.concurrency if self._answered else 1
        while self._pending and self._running < allowed and not (self._failure or self._pause):
            first, last = self._pending[0]
            self._failure = self._meter.spent or self._out_of_reach()
            if self._failure:
                self._failure += f", from block {first} on: {_ELSEWHERE}"
                return
            self._pending.popleft()
            end = last if profile.cap is None else min(last, first + profile.cap - 1)
            if end < last:
                self._pending.appendleft((end + 1, last))
            self._meter.requests += 1
            self._running += 1
            workers.submit(self._ask, (first, end)).add_done_callback(self._arrived.put)

    def _out_of_reach(self) -> str:
        """Why what is missing cannot be had in a few scans, or ""."""
        cap = self._profile.cap
        if cap is None or cap >= _CUSTOMARY_CUT:
            return ""
        needed = sum(-(-_width(span) // cap) for span in self._pending)
        if needed <= _MOST_SCANS * self._meter.budget.requests:
            return ""
        return f"{cap} blocks at a time, which makes {needed:,} requests"

    def _ask(self, span: Span) -> _Reply:
        client, limits = self._node.client, LIMITS[Kind.LOG_SCAN]
        body = json_rpc.encode_request(*self._query.filter.call(*span)).encode("utf-8")
        try:
            response = client.request("POST", self._node.endpoint, limits=limits, body=body)
        except CollectError as error:
            # The message names the endpoint's URL, which may hold a key; its cause does not.
            cause = error.__cause__
            reason = cause.message if isinstance(cause, CollectError) else "no answer"
            kind = RefusalKind.SIZE if isinstance(error, LimitError) else RefusalKind.OUTAGE
            if isinstance(error, SpentError):
                kind = RefusalKind.OTHER
            if kind is RefusalKind.OUTAGE and not self._profile.shown:
                # The client has tried three times to reach it.
                kind = RefusalKind.OTHER
            return _Reply(span, Refusal(kind=kind, reason=reason, final=True))
        refusal = classify(response, wide=_width(span) > max(WIDE, self._profile.shown))
        if refusal is not None:
            return _Reply(span, refusal)
        answer = RangeAnswer(first=span[0], last=span[1], at=client.clock(), body=response.body)
        return _Reply(span, answer)

    def _accepts(self, answer: RangeAnswer) -> bool:
        """Whether an answer is one to rely on; a malformed one ends the scan."""
        span = (answer.first, answer.last)
        self._meter.received += written_bytes(answer.body)
        logs: tuple[TimedLog, ...] = ()
        if answer.body not in self._empty:
            try:
                logs = decode_range(self._query.filter, answer, "eth_getLogs")
            except EvidenceError as error:
                if _is_result(answer):
                    # A false answer stays in the evidence: the checks judge it.
                    self._answers.append(answer)
                self._fail(span, f"what it answered is not to be used: {error.message}")
                return False
            if not logs and len(self._empty) < _MAX_EMPTY_FORMS:
                self._empty.add(answer.body)
        if self._hides(answer, logs):
            if span not in self._doubted:
                # One backend of several may lag behind the others.
                self._doubted.add(span)
                self._pending.appendleft(span)
                self._pause = max(self._pause, OUTAGE_PAUSES_SECONDS[0])
                return False
            self._fail(span, "it does not show a log that is known to exist: it prunes or hides")
            return False
        if _looks_cut(logs) and _width(span) > 1:
            self._halve(span)
            return False
        self._answers.append(answer)
        self._answered = True
        self._profile.narrows |= span in self._last_chances
        self._learn(span, logs)
        return True

    def _learn(self, span: Span, logs: Sequence[TimedLog]) -> None:
        profile = self._profile
        profile.shown = max(profile.shown, _width(span))
        if logs and (profile.depth is None or logs[0].log.block < profile.depth):
            profile.depth = logs[0].log.block
        self._pauses = 0
        self._in_a_row += 1
        if self._in_a_row >= 4 * profile.concurrency and profile.concurrency < profile.ceiling:
            profile.concurrency += 1
            self._in_a_row = 0

    def _hides(self, answer: RangeAnswer, logs: Sequence[TimedLog]) -> bool:
        known = self._query.known_log
        return (
            known is not None
            and known.filter == self._query.filter
            and answer.first <= known.block <= answer.last
            and all(item.log.block != known.block for item in logs)
        )

    def _narrow_or_wait(self, span: Span, refusal: Refusal) -> None:
        kind, width = refusal.kind, _width(span)
        if kind is RefusalKind.OUTAGE and self._pauses and width > max(WIDE, self._profile.shown):
            # A node that fails again may fail because of the range.
            kind = RefusalKind.WIDTH
        if kind is RefusalKind.OTHER and self._profile.narrows and not refusal.final:
            narrower = width > self._profile.shown
            kind = RefusalKind.WIDTH if narrower else RefusalKind.SIZE
        if kind is RefusalKind.OTHER and self._may_ask_for_less(span, refusal):
            return
        if kind is RefusalKind.WIDTH and width > 1:
            self._lower_cap(span, refusal)
            self._pending.appendleft(span)
        elif kind is RefusalKind.SIZE and width > 1:
            self._halve(span, refusal)
        elif kind in (RefusalKind.RATE, RefusalKind.LAG, RefusalKind.OUTAGE):
            self._pending.appendleft(span)
            self._slow_down(span, refusal)
        else:
            self._fail(span, refusal.reason)
        if kind is not RefusalKind.DEPTH and not self._profile.shown:
            self._profile.given_up = self._failure

    def _may_ask_for_less(self, span: Span, refusal: Refusal) -> bool:
        """Ask for the first blocks of a range that was refused in unknown words, once."""
        first, last = span
        if refusal.final or last == first or span in self._last_chances:
            return False
        end = first + min(_NARROWER, _width(span) // 2) - 1
        self._last_chances.add((first, end))
        self._pending.extendleft(((end + 1, last), (first, end)))
        return True

    def _lower_cap(self, span: Span, refusal: Refusal) -> None:
        width, profile = _width(span), self._profile
        if profile.cap is not None and profile.cap < width:
            return  # Another request of the same width has already lowered it.
        stated = refusal.cap
        if stated == width:
            # Some count the blocks, others the distance between the first and the last.
            stated = width - 1
        if not stated or stated >= width:
            first, last = refusal.suggested or span
            stated = last - first + 1
        if not 0 < stated < width:
            stated = next((cap for cap in _CUSTOMARY_CAPS if cap < width), width // 2)
        profile.cap = stated

    def _halve(self, span: Span, refusal: Refusal | None = None) -> None:
        """Ask for a range in two parts, the first as long as the node suggests."""
        first, last = span
        middle = (first + last) // 2
        if refusal is not None and refusal.suggested is not None:
            start, end = refusal.suggested
            if start == first and first <= end < last:
                middle = end
        self._pending.extendleft(((middle + 1, last), (first, middle)))

    def _slow_down(self, span: Span, refusal: Refusal) -> None:
        """Wait before the next request, once for everything that was refused side by side."""
        rated = refusal.kind is RefusalKind.RATE
        schedule = RATE_PAUSES_SECONDS if rated else OUTAGE_PAUSES_SECONDS
        asked = refusal.pause or 0
        if asked > MAX_PAUSE_SECONDS:
            self._fail(span, f"{refusal.reason}, come back in {asked} seconds")
        elif self._pause:
            self._pause = max(asked, self._pause)
        elif self._pauses >= len(schedule):
            self._fail(span, f"{refusal.reason}, {len(schedule) + 1} times in a row")
        else:
            profile = self._profile
            if rated:
                profile.ceiling = max(1, profile.concurrency - 1)
            profile.concurrency = max(1, profile.concurrency // 2)
            self._pause = max(asked, schedule[self._pauses])
            self._pauses += 1
            self._in_a_row = 0

    def _fail(self, span: Span, reason: str) -> None:
        if not self._failure:
            text = printable(without_secrets(reason, self._node.endpoint))
            self._failure = f"blocks {span[0]} to {span[1]}: {text}: {_ELSEWHERE}"


def _is_result(answer: RangeAnswer) -> bool:
    """Whether a node answered at all, whatever it said."""
    try:
        json_rpc.parse_answer(answer.body, "eth_getLogs")
    except EvidenceError:
        return False
    return True


def _looks_cut(logs: Sequence[TimedLog]) -> bool:
    """Whether an answer has a number of logs that says that the node stopped there."""
    return len(logs) >= _CUSTOMARY_CUT and len(logs) % _CUSTOMARY_CUT == 0


def without_secrets(text: str, endpoint: str) -> str:
    """What a server says, without the parts of its URL's path and query that it repeats: they may
    be a key."""
    parts = urlsplit(endpoint)
    secrets = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text


def _width(span: Span) -> int:
    return span[1] - span[0] + 1
