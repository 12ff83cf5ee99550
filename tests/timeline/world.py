"""A chain behind a shim, and scans of it."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.timeline.providers import FILTER, Chain, Lie, Policy, Shim
from verifier.collect.http import HttpClient
from verifier.collect.network import System
from verifier.collect.scan import (
    EndpointProfile,
    KnownLog,
    LogQuery,
    Node,
    ScanResult,
    scan_logs,
)
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.log_scan import LogFilter, LogScan

HEAD = 20_000
NOW = 1_800_000_000


@dataclass
class World:
    """A chain, the client that asks about it, and what that cost."""

    client: HttpClient
    chain: Chain = field(default_factory=lambda: Chain(head=HEAD))
    pauses: list[float] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)

    def node(self, url: str, profile: EndpointProfile | None = None) -> Node:
        """An endpoint that tells this chain's hashes, with pauses that take no time."""
        return Node(
            client=self.client,
            endpoint=url,
            block_hash=self.block_hash,
            profile=profile or EndpointProfile(),
            system=System(sleep=self.pauses.append),
        )

    def block_hash(self, number: int) -> str:
        """The hash of a block now."""
        self.hashes.append(number)
        return self.chain.hash(number)

    def scan(
        self,
        policy: Policy,
        lie: Lie = lambda body: body,
        query: LogQuery | None = None,
        **options: Any,
    ) -> ScanResult:
        """One scan through a provider."""
        with Shim(self.chain, policy, lie) as shim:
            found = scan_logs(self.node(shim.url), query or whole(), **options)
            assert found.requests == len(shim.asked)
        return found


def whole(last: int = HEAD, *, first: int = 0, known: KnownLog | None = None) -> LogQuery:
    return LogQuery(filter=FILTER, first=first, last=last, known_log=known)


def logs_of(found: ScanResult, wanted: LogFilter = FILTER) -> tuple[TimedLog, ...]:
    return LogScan(filter=wanted, answers=found.answers).logs("scan")


def blocks_of(found: ScanResult) -> list[int]:
    return [item.log.block for item in logs_of(found)]


def gaps(found: ScanResult, last: int = HEAD) -> tuple[tuple[int, int], ...]:
    return LogScan(filter=FILTER, answers=found.answers).gaps(0, last)


def assert_complete(found: ScanResult, chain: Chain) -> None:
    assert found.failure == ""
    assert gaps(found, chain.head) == ()
    assert blocks_of(found) == chain.heights
    spans = [(answer.first, answer.last) for answer in found.answers]
    assert spans == sorted(spans)
    assert all(left[1] < right[0] for left, right in pairwise(spans))
