"""What several nodes' scans of one contract say together.

A log counts where every scan that covers its block gives it, in the same block, with the same
content. A log that one node gives and another, which answered for the same block, does not, is a
contradiction that names the log: one of them drops logs or invents them. There is no vote.

Explorers are held against the nodes in the same way, but never stand alone: logs are those that
nodes give, and an explorer is a source only of what some node gave in full. What an explorer
refuses or spoils says nothing about any log.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import combinations
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.explorer_logs import parse_explorer_logs
from verifier.evidence.chain.log_scan import LogFilter, LogScan, parse_scan
from verifier.model.chain import Place

_SHOWN: Final = 3
Range = tuple[int, int]


class AgreedLogs(Struct, frozen=True, kw_only=True):
    """The logs of one filter over one range.

    logs          every log that some endpoint gives, in chain order
    sources       those whose logs count: the endpoints that answered for every block, with the
                  explorers that did too; or all endpoints where they did so only together; () where
                  some block has no answer
    partial       (endpoint or explorer, what it lacks), for each that did not give every block
    contradicted  where endpoints or explorers contradict each other
    unreadable    why a scan cannot be read; nothing of it counts
    pieced        whether the endpoints answered for every block only together
    cached        how many answers come from earlier audits
    """

    logs: tuple[TimedLog, ...]
    sources: tuple[str, ...]
    partial: tuple[tuple[str, str], ...]
    contradicted: tuple[str, ...]
    unreadable: tuple[str, ...]
    pieced: bool
    cached: int

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong with the answers."""
        return (*self.unreadable, *self.contradicted)


class Scans:
    """The log scans of a bundle, by filter and endpoint."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._artifacts: dict[str, list[Artifact]] = {}
        self._explorers: dict[str, list[Artifact]] = {}
        for artifact in bundle.artifacts:
            if artifact.kind is Kind.LOG_SCAN:
                self._artifacts.setdefault(artifact.request, []).append(artifact)
            elif artifact.kind is Kind.EXPLORER_LOGS:
                self._explorers.setdefault(artifact.request, []).append(artifact)

    def asked(self, wanted: LogFilter) -> bool:
        """Whether any endpoint was asked for these logs."""
        return wanted.text in self._artifacts

    def begins(self, wanted: LogFilter, endpoints: Iterable[str]) -> int | None:
        """The highest block with which a scan of one of these endpoints begins; None without one,
        and where another gives a log before it: the contract was there already.

        A scan that cannot be read does not count here: `agree` says what is wrong with it.
        """
        allowed = set(endpoints)
        found: list[int] = []
        logs: list[int] = []
        for artifact in self._artifacts.get(wanted.text, ()):
            if artifact.source in allowed and artifact.sha256 is not None:
                with suppress(EvidenceError):
                    scan = self._parsed(artifact)
                    found.extend(answer.first for answer in scan.answers[:1])
                    logs.extend(item.log.block for item in self._logs(artifact)[:1])
        highest = max(found, default=None)
        return None if highest is None or min(logs, default=highest) < highest else highest

    def told(self, wanted: LogFilter, first: int, last: int) -> tuple[str, ...]:
        """The endpoints and explorers that answered for every block of an inclusive range, as far
        as what they gave can be read."""
        found: list[str] = []
        given = [(item, False) for item in self._artifacts.get(wanted.text, ())]
        given += [(item, True) for item in self._explorers.get(wanted.text, ())]
        for artifact, explorer in given:
            if artifact.sha256 is not None:
                with suppress(EvidenceError):
                    if explorer:
                        scanned, _ = self._read_explorer(artifact, wanted, first, last)
                    else:
                        scanned = self._read(artifact, wanted, first, last)
                    found += [] if scanned.gaps else [artifact.source]
        return tuple(dict.fromkeys(found))

    def agree(
        self,
        wanted: LogFilter,
        first: int,
        last: int,
        endpoints: Iterable[str],
        doubtful: Iterable[str] = (),
    ) -> AgreedLogs:
        """What these endpoints, and explorers, say about an inclusive range; those in doubt are
        held against them as explorers are. Other endpoints do not count."""
        sure = set(endpoints)
        allowed = sure.union(doubtful)
        scans: dict[str, _Scanned] = {}
        contradicted: list[str] = []
        unreadable: list[str] = []
        partial: list[tuple[str, str]] = []
        for artifact in self._artifacts.get(wanted.text, ()):
            if artifact.source not in allowed:
                continue
            if artifact.sha256 is None:
                partial.append((artifact.source, artifact.error))
            elif artifact.source in scans:
                said = f"{artifact.source}: the evidence holds two scans of {wanted.text}"
                contradicted.append(said)
            else:
                try:
                    scans[artifact.source] = self._read(artifact, wanted, first, last)
                except EvidenceError as error:
                    unreadable.append(error.message)
        explored = {name: scans.pop(name) for name in sorted(scans.keys() - sure)}
        if scans:
            by_explorers, unread = self._explored(wanted, first, last)
            explored |= by_explorers
            partial.extend(unread)
        everyone = [*sorted(scans.items()), *sorted(explored.items())]
        for (one, left), (other, right) in combinations(everyone, 2):
            contradicted.extend(_disagreements(one, left, other, right))
        whole = tuple(name for name, item in sorted(scans.items()) if not item.gaps)
        if whole:
            whole += tuple(name for name, item in sorted(explored.items()) if not item.gaps)
        partial.extend((name, _described(item.gaps)) for name, item in everyone if item.gaps)
        pieced = not whole and bool(scans) and not _common(item.gaps for item in scans.values())
        return AgreedLogs(
            logs=_merged(scans.values()),
            sources=tuple(sorted(scans)) if pieced else whole,
            partial=tuple(partial),
            contradicted=tuple(contradicted),
            unreadable=tuple(unreadable),
            pieced=pieced,
            cached=sum(item.cached for item in scans.values()),
        )

    def _explored(
        self, wanted: LogFilter, first: int, last: int
    ) -> tuple[dict[str, "_Scanned"], list[tuple[str, str]]]:
        """What each explorer says, and why some of it cannot be used."""
        found: dict[str, _Scanned] = {}
        unread: list[tuple[str, str]] = []
        artifacts = self._explorers.get(wanted.text, [])
        given = Counter(artifact.source for artifact in artifacts if artifact.sha256 is not None)
        for artifact in artifacts:
            name = artifact.source
            if artifact.sha256 is None:
                unread.append((name, artifact.error))
            elif given[name] > 1:
                unread.append((name, "the evidence holds several accounts of the same logs"))
            else:
                try:
                    found[name], reason = self._read_explorer(artifact, wanted, first, last)
                except EvidenceError as error:
                    reason = error.message
                if reason:
                    unread.append((name, reason))
        return found, unread

    def _read_explorer(
        self, artifact: Artifact, wanted: LogFilter, first: int, last: int
    ) -> tuple["_Scanned", str]:
        what = "explorer logs"
        told = self._bundle.read(artifact, parse_explorer_logs, what)
        if told.filter != wanted:
            raise EvidenceError(f"{what}: they are of another filter than they name")
        logs, gaps, reason = told.read(first, last, what)
        by_place = {Place(item.log.block, item.log.log_index): item for item in logs}
        return _Scanned(by_place, gaps, 0), reason

    def _parsed(self, artifact: Artifact) -> LogScan:
        return self._bundle.read(artifact, parse_scan, f"log scan at {artifact.source}")

    def _logs(self, artifact: Artifact) -> tuple[TimedLog, ...]:
        return self._bundle.read(artifact, _decoded, f"log scan at {artifact.source}")

    def _read(self, artifact: Artifact, wanted: LogFilter, first: int, last: int) -> "_Scanned":
        what = f"log scan at {artifact.source}"
        scan = self._parsed(artifact)
        if scan.filter != wanted:
            raise EvidenceError(f"{what}: it holds the logs of another filter than it names")
        logs = {
            Place(item.log.block, item.log.log_index): item
            for item in self._logs(artifact)
            if first <= item.log.block <= last
        }
        cached = sum(answer.cached for answer in scan.answers)
        return _Scanned(logs, scan.gaps(first, last), cached)


def _decoded(raw: bytes, what: str) -> tuple[TimedLog, ...]:
    """Every log of a scan, once for all who read it."""
    return parse_scan(raw, what).logs(what)


class _Scanned(Struct, frozen=True):
    logs: Mapping[Place, TimedLog]
    gaps: tuple[Range, ...]
    cached: int

    def covers(self, block: int) -> bool:
        return not any(first <= block <= last for first, last in self.gaps)


def _disagreements(one: str, left: _Scanned, other: str, right: _Scanned) -> list[str]:
    found: list[str] = []
    for place in sorted(left.logs.keys() | right.logs.keys()):
        if not (left.covers(place.block) and right.covers(place.block)):
            continue
        a, b = left.logs.get(place), right.logs.get(place)
        if a is None or b is None:
            has, lacks, log = (one, other, a) if a is not None else (other, one, b)
            found.append(f"{has} gives {_named(log)}, which {lacks} does not have")
        elif a.log != b.log or (a.block_hash != b.block_hash and a.block_hash and b.block_hash):
            found.append(f"{one} and {other} give different contents of {_named(a)}")
        elif a.time is not None and b.time is not None and a.time != b.time:
            found.append(f"{one} and {other} give different times of {_named(a)}")
    if len(found) > _SHOWN:
        return [*found[:_SHOWN], f"{one} and {other}: {len(found) - _SHOWN} more such logs"]
    return found


def _named(item: TimedLog | None) -> str:
    if item is None:
        return "a log"
    log = item.log
    return f"the log {log.log_index} of block {log.block} (transaction 0x{log.transaction})"


def _merged(scans: Iterable[_Scanned]) -> tuple[TimedLog, ...]:
    """Every log that some scan gives; its time only where all of them give it."""
    merged: dict[Place, TimedLog] = {}
    for scan in scans:
        for place, item in scan.logs.items():
            if place not in merged or item.time is None:
                merged[place] = item
    return tuple(merged[place] for place in sorted(merged))


def _common(gaps: Iterable[tuple[Range, ...]]) -> tuple[Range, ...]:
    """The ranges that lie in a gap of everyone."""
    common: list[Range] | None = None
    for ranges in gaps:
        if common is None:
            common = list(ranges)
            continue
        common = [
            (max(a, c), min(b, d)) for a, b in common for c, d in ranges if max(a, c) <= min(b, d)
        ]
    return tuple(common or ())


def _described(gaps: tuple[Range, ...]) -> str:
    shown = ", ".join(f"{first} to {last}" for first, last in gaps[:_SHOWN])
    more = f" and {len(gaps) - _SHOWN} more ranges" if len(gaps) > _SHOWN else ""
    return f"no answer for blocks {shown}{more}"
