"""What several nodes' scans of one contract say together.

A log counts where every scan that covers its block gives it, in the same block, with the same
content. A log that one node gives and another, which answered for the same block, does not, is a
contradiction that names the log: one of them drops or invents. Nothing is voted on.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.log_scan import LogFilter, LogScan, TimedLog, parse_scan
from verifier.timeline.model import Place

_SHOWN: Final = 3
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedLogs:
    """The logs of one filter over one range.

    `sources` are the endpoints that rest of it is known from: those that answered for every block,
    or, where none did, all that together did (`pieced`). `partial` names what an endpoint lacks,
    `problems` the contradictions. `cached` counts the answers that came from earlier audits.
    """

    logs: tuple[TimedLog, ...]
    sources: tuple[str, ...]
    partial: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    pieced: bool
    cached: int


class Scans:
    """The log scans of a bundle, by filter and endpoint."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._scans: dict[str, LogScan] = {}
        self._artifacts: dict[str, list[Artifact]] = {}
        for artifact in bundle.artifacts:
            if artifact.kind is Kind.LOG_SCAN:
                self._artifacts.setdefault(artifact.request, []).append(artifact)

    def asked(self, wanted: LogFilter) -> bool:
        """Whether any endpoint was asked for these logs."""
        return wanted.text in self._artifacts

    def begins(self, wanted: LogFilter, endpoints: Iterable[str]) -> int | None:
        """The highest block with which a scan of one of these endpoints begins; None without one.

        A scan that cannot be read begins nowhere: `agree` says what is wrong with it.
        """
        allowed = set(endpoints)
        found: list[int] = []
        for artifact in self._artifacts.get(wanted.text, ()):
            if artifact.source in allowed and artifact.sha256 is not None:
                with suppress(EvidenceError):
                    answers = self._parsed(artifact).answers
                    found.extend(answer.first for answer in answers[:1])
        return max(found, default=None)

    def agree(
        self, wanted: LogFilter, first: int, last: int, endpoints: Iterable[str]
    ) -> AgreedLogs:
        """What these endpoints say about an inclusive range. Other endpoints do not count."""
        allowed = set(endpoints)
        scans: dict[str, _Scanned] = {}
        problems: list[str] = []
        partial: list[tuple[str, str]] = []
        for artifact in self._artifacts.get(wanted.text, ()):
            if artifact.source not in allowed:
                continue
            if artifact.sha256 is None:
                partial.append((artifact.source, artifact.error))
            elif artifact.source in scans:
                problems.append(f"{artifact.source}: the evidence holds two scans of {wanted.text}")
            else:
                try:
                    scans[artifact.source] = self._read(artifact, wanted, first, last)
                except EvidenceError as error:
                    problems.append(error.message)
        for (one, left), (other, right) in combinations(sorted(scans.items()), 2):
            problems.extend(_disagreements(one, left, other, right))
        whole = tuple(name for name, item in sorted(scans.items()) if not item.gaps)
        partial.extend(
            (name, _described(item.gaps)) for name, item in sorted(scans.items()) if item.gaps
        )
        pieced = not whole and bool(scans) and not _common(item.gaps for item in scans.values())
        return AgreedLogs(
            logs=_merged(scans.values()),
            sources=tuple(sorted(scans)) if pieced else whole,
            partial=tuple(partial),
            problems=tuple(problems),
            pieced=pieced,
            cached=sum(item.cached for item in scans.values()),
        )

    def _parsed(self, artifact: Artifact) -> LogScan:
        digest = artifact.sha256 or ""
        if digest not in self._scans:
            self._scans[digest] = parse_scan(
                self._bundle.blob(artifact), f"log scan at {artifact.source}"
            )
        return self._scans[digest]

    def _read(self, artifact: Artifact, wanted: LogFilter, first: int, last: int) -> "_Scanned":
        what = f"log scan at {artifact.source}"
        scan = self._parsed(artifact)
        if scan.filter != wanted:
            raise EvidenceError(f"{what}: it holds the logs of another filter than it names")
        logs = {
            Place(item.log.block, item.log.log_index): item
            for item in scan.logs(what)
            if first <= item.log.block <= last
        }
        return _Scanned(scan, logs, scan.gaps(first, last))


@dataclass(frozen=True, slots=True)
class _Scanned:
    scan: LogScan
    logs: Mapping[Place, TimedLog]
    gaps: tuple[Range, ...]

    @property
    def cached(self) -> int:
        return sum(answer.cached for answer in self.scan.answers)

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
        elif (a.log, a.block_hash) != (b.log, b.block_hash):
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
