"""What the history leaves open: windows of time, and facts at its end.

A permission that is withdrawn stops new starts and keeps nothing from running on: the keys of an
app are derived from its id, and a machine that has them keeps them (Dstack-TEE/dstack kms).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from verifier.timeline.fold import Fold, Keyed, Setting
from verifier.timeline.model import (
    Exposure,
    ExposureKind,
    Governance,
    Place,
    Role,
    Sighting,
    TimelineEvent,
)

_HOUR: Final = 3600
_CONTRACT: Final = {Role.APP: "the app", Role.KMS: "the KMS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What an attested guest runs. `quote_time` (Unix seconds) is None where nothing bounds it;
    `root_key` is the KMS root key (compressed, hex) whose signature was found, "" for none."""

    compose_hash: str
    quote_time: int | None = None
    root_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What is known besides the chain: what runs, what was seen at other times, and the manifests
    that are known (hash → name)."""

    running: Running | None = None
    sightings: tuple[Sighting, ...] = ()
    manifests: Mapping[str, str] = field(default_factory=dict)


def exposures(
    fold: Fold,
    events: Sequence[TimelineEvent],
    governance: Iterable[Governance],
    *,
    now: int,
    attested: Attested,
) -> tuple[Exposure, ...]:
    """Every exposure, by kind and then by time.

    `events` are the settled ones in chain order; `now` is the time of the block to which the
    timeline is complete.
    """
    clock = _Clock(events)
    found = [
        *_running(fold, clock, now, attested),
        *_seen(fold, clock, attested),
        *_allowed(fold, clock, attested),
        *_removed(fold, clock, attested),
        *_unknown_code(fold, clock),
        *_single_key(governance, now),
    ]
    order = list(ExposureKind)
    return tuple(sorted(found, key=lambda item: (order.index(item.kind), item.since or 0)))


class _Clock:
    """Places of events and their times, which ascend."""

    def __init__(self, events: Sequence[TimelineEvent]) -> None:
        self._times = {event.place: event.time for event in events}
        timed = [(event.time, event.place) for event in events if event.time is not None]
        self._seconds = [seconds for seconds, _ in timed]
        self._places = [place for _, place in timed]

    def time(self, place: Place | None) -> int | None:
        return None if place is None else self._times.get(place)

    def place(self, seconds: int) -> Place | None:
        """The place of the last event up to a time; None before the first."""
        index = bisect_right(self._seconds, seconds)
        return self._places[index - 1] if index else None


def _running(fold: Fold, clock: _Clock, now: int, attested: Attested) -> Iterator[Exposure]:
    running = attested.running
    if running is None:
        return
    digest, seen = running.compose_hash, running.quote_time
    intervals = fold.allowed_intervals(digest)
    allowed_now = bool(intervals) and intervals[-1][1] is None
    then = seen if seen is not None else now
    allowed_then = _allowed_at(fold, clock, digest, then)
    since = clock.time(intervals[-1][0]) if intervals else None
    known = digest in attested.manifests
    if allowed_now and allowed_then:
        words = "What runs was allowed when it was attested, and is allowed now."
        yield _exposure(ExposureKind.RUNNING_ALLOWED, digest, (since, None), words, known)
    else:
        words = (
            "What runs was not allowed when it was attested: it was started before it had the "
            "permission that it has now."
            if allowed_now
            else "What runs is not allowed now: it was started before the permission was "
            "withdrawn, or never had it."
        )
        ended = clock.time(intervals[-1][1]) if intervals else None
        window = (then, since) if allowed_now else (ended, None)
        yield _exposure(ExposureKind.RUNNING_NOT_ALLOWED, digest, window, words, known)
    first = min(
        (item.first for item in attested.sightings if item.compose_hash == digest), default=then
    )
    begun = clock.time(intervals[0][0]) if intervals else None
    if begun is not None and begun < min(first, then):
        words = "From its permission to its first attestation nobody is known to have looked."
        window = (begun, min(first, then))
        yield _exposure(ExposureKind.AUTHORIZED_BEFORE_SEEN, digest, window, words, known)
    place = clock.place(then)
    root = fold.kms_state(place).root_key if place is not None else ""
    if running.root_key and root and root != running.root_key:
        words = (
            "The KMS's contract named another root key at that time than the one that signed for "
            "the app: keys were rotated, or the signature is older."
        )
        yield _exposure(ExposureKind.ROOT_KEY_CHANGED, root, (None, None), words, None)


def _seen(fold: Fold, clock: _Clock, attested: Attested) -> Iterator[Exposure]:
    for item in attested.sightings:
        if not _allowed_at(fold, clock, item.compose_hash, item.first):
            words = "It was attested at a time when the contract did not allow it."
            window = (item.first, item.last)
            known = item.compose_hash in attested.manifests
            yield _exposure(ExposureKind.SEEN_NOT_ALLOWED, item.compose_hash, window, words, known)


def _allowed(fold: Fold, clock: _Clock, attested: Attested) -> Iterator[Exposure]:
    """Manifests that may start besides the one that runs."""
    running = attested.running.compose_hash if attested.running else ""
    present = fold.allowed_intervals(running)
    began = present[-1][0] if present else None
    seen = {item.compose_hash for item in attested.sightings}
    for digest in sorted(fold.app_state().compose_hashes - {running}):
        place = fold.allowed_intervals(digest)[-1][0]
        window, known = (clock.time(place), None), digest in attested.manifests
        what = "a manifest that is known" if known else "a manifest that nobody gave to this audit"
        if began is not None and place < began:
            words = (
                f"An older version, {what}, may still be started: the app can be set back to it."
            )
            yield _exposure(ExposureKind.STALE_STILL_ALLOWED, digest, window, words, known)
        elif digest not in seen:
            words = f"It may be started at any time, and was never seen: {what}."
            yield _exposure(ExposureKind.ALLOWED_NEVER_SEEN, digest, window, words, known)


def _removed(fold: Fold, clock: _Clock, attested: Attested) -> Iterator[Exposure]:
    for digest in fold.keys(Keyed.COMPOSE_HASH):
        intervals = fold.allowed_intervals(digest)
        if intervals and intervals[-1][1] is not None:
            words = (
                "Its permission was withdrawn, which stops new starts alone: a machine that ran it "
                "keeps its keys and may run on."
            )
            window = (clock.time(intervals[-1][1]), None)
            known = digest in attested.manifests
            yield _exposure(ExposureKind.RAN_AFTER_REMOVAL, digest, window, words, known)


def _unknown_code(fold: Fold, clock: _Clock) -> Iterator[Exposure]:
    for role, contract in _CONTRACT.items():
        lost = fold.lost(role)
        if lost is None:
            continue
        at = [value for place, value in fold.values(role, Setting.IMPLEMENTATION) if place <= lost]
        words = (
            f"From here on {contract} ran code that nobody knows: it may allow anything, and say "
            "what it likes."
        )
        window = (clock.time(lost), None)
        subject = str(at[-1]) if at else ""
        yield _exposure(ExposureKind.UNKNOWN_CODE, subject, window, words, None)


def _single_key(governance: Iterable[Governance], now: int) -> Iterator[Exposure]:
    for item in governance:
        if item.keys != 1:
            continue
        until = now if item.until is None else item.until_time
        lasted = ""
        if item.since_time is not None and until is not None:
            lasted = f" for {(until - item.since_time) // _HOUR} hours"
        what = "ship code" if item.role is Role.APP else "admit operating systems and KMS builds"
        words = f"One key alone could {what}{lasted}, without asking anybody else."
        yield Exposure(
            kind=ExposureKind.SINGLE_KEY,
            subject=item.owner,
            since=item.since_time,
            until=item.until_time,
            words=words,
        )


def _allowed_at(fold: Fold, clock: _Clock, digest: str, seconds: int) -> bool:
    place = clock.place(seconds)
    return place is not None and fold.allowed(digest, place)


def _exposure(
    kind: ExposureKind,
    subject: str,
    window: tuple[int | None, int | None],
    words: str,
    manifest: bool | None,  # noqa: FBT001 - as in Exposure
) -> Exposure:
    since, until = window
    return Exposure(
        kind=kind, subject=subject, since=since, until=until, words=words, manifest=manifest
    )
