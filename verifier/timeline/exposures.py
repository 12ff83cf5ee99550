"""What the history leaves open: windows of time, and facts at its end.

A permission that is withdrawn stops new starts and keeps nothing from running on: the keys of an
app are derived from its id, and a machine that has them keeps them (Dstack-TEE/dstack kms).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from verifier.model.chain import Place, Role
from verifier.model.timeline import Exposure, ExposureKind, Governance, Sighting, TimelineEvent
from verifier.timeline.fold import Fold, Interval, Keyed, Setting

_UNITS: Final = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
_CONTRACT: Final = {Role.APP: "the app", Role.KMS: "the KMS"}


class Running(Struct, frozen=True, kw_only=True):
    """What an attested guest runs.

    `quote_time` (Unix seconds) is when this audit received the guest's quote, which was made
    before; None where that is not known. `root_key` is the KMS root key (compressed, hex) whose
    signature was found, "" for none.
    """

    compose_hash: str
    quote_time: int | None = None
    root_key: str = ""


class Attested(Struct, frozen=True, kw_only=True):
    """What is known besides the chain: what runs, what was seen at other times, and the manifests
    that are known (hash → name)."""

    running: Running | None = None
    sightings: tuple[Sighting, ...] = ()
    manifests: Mapping[str, str] = {}


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
        *_before_seen(fold, clock, now, attested),
        *_unknown_code(fold, clock, events),
        *_single_key(governance, now),
    ]
    order = list(ExposureKind)
    return tuple(sorted(found, key=lambda item: (order.index(item.kind), item.since or 0)))


class _Clock:
    """Places of events and their times, which ascend; an event without a time has its block's."""

    def __init__(self, events: Sequence[TimelineEvent]) -> None:
        self._times = {item.place.block: item.time for item in events if item.time is not None}
        timed = [item for item in events if item.place.block in self._times]
        self._seconds = [self._times[item.place.block] for item in timed]
        self._places = [item.place for item in timed]
        self._all = [item.place for item in events]

    def time(self, place: Place | None) -> int | None:
        return None if place is None else self._times.get(place.block)

    def place(self, seconds: int) -> Place | None:
        """The place of the last event that is known to be up to a time; None before the first."""
        index = bisect_right(self._seconds, seconds)
        return self._places[index - 1] if index else None

    def later(self, seconds: int) -> Place | None:
        """The place of the last event that may be up to a time: one without a time may be."""
        index = bisect_right(self._seconds, seconds)
        if index == len(self._places):
            return self._all[-1] if self._all else None
        index = bisect_left(self._all, self._places[index])
        return self._all[index - 1] if index else None


class _Then(Struct, frozen=True):
    """How a manifest stood at one time: `allowed` is None where an event without a time decides;
    `earlier` is the last permission that had ended by then, `later` the next one."""

    allowed: bool | None
    earlier: Interval | None
    later: Interval | None


def _then(clock: _Clock, intervals: Sequence[Interval], seconds: int) -> _Then:
    place, latest = clock.place(seconds), clock.later(seconds)
    count = 0 if place is None else bisect_right(intervals, place, key=lambda item: item[0])
    later = intervals[count] if count < len(intervals) else None
    end = intervals[count - 1][1] if count else None
    over = end is not None and place is not None and end <= place
    current = count > 0 and not over
    change = end if current else later and later[0]
    unsure = change is not None and latest is not None and change <= latest
    ended = count - current
    return _Then(
        allowed=None if unsure else current,
        earlier=intervals[ended - 1] if ended else None,
        later=later,
    )


def _running(fold: Fold, clock: _Clock, now: int, attested: Attested) -> Iterator[Exposure]:
    running = attested.running
    if running is None:
        return
    digest, seen = running.compose_hash, running.quote_time
    intervals = fold.allowed_intervals(digest)
    known = digest in attested.manifests
    then = _then(clock, intervals, now if seen is None else seen)
    if not intervals or intervals[-1][1] is not None:
        window = (clock.time(intervals[-1][1]) if intervals else None, None)
        words = (
            "What runs is not allowed now: it was started before its permission was withdrawn, or "
            "without one."
            if intervals
            else "What runs is not allowed, and no event ever allowed it."
        )
        yield _exposure(ExposureKind.RUNNING_NOT_ALLOWED, digest, window, words, known)
    elif seen is not None and then.allowed is False:
        words = (
            "What runs was not allowed when this audit received its quote: it ran before it had "
            "the permission that it has now."
        )
        until = clock.time(then.later[0]) if then.later else None
        yield _exposure(ExposureKind.RUNNING_NOT_ALLOWED, digest, (seen, until), words, known)
    else:
        words = "What runs is allowed now."
        if seen is not None:
            words = (
                "What runs was allowed when this audit received its quote, and is allowed now."
                if then.allowed
                else "What runs is allowed now; whether it was when this audit received its quote "
                "is not known, because nobody told when its permission changed."
            )
        window = (clock.time(intervals[-1][0]), None)
        yield _exposure(ExposureKind.RUNNING_ALLOWED, digest, window, words, known)
    yield from _root_key(fold, clock, running, now if seen is None else seen)


def _root_key(fold: Fold, clock: _Clock, running: Running, seconds: int) -> Iterator[Exposure]:
    place = clock.place(seconds)
    if place is None or not running.root_key:
        return
    root = fold.kms_state(place).root_key
    latest = fold.kms_state(clock.later(seconds)).root_key
    if root and running.root_key not in (root, latest):
        words = (
            "The KMS's contract named another root key at that time than the one that signed for "
            "the app: keys were rotated, or the signature is older."
        )
        yield _exposure(ExposureKind.ROOT_KEY_CHANGED, root, (None, None), words, None)


def _seen(fold: Fold, clock: _Clock, attested: Attested) -> Iterator[Exposure]:
    intervals: dict[str, tuple[Interval, ...]] = {}
    for item in attested.sightings:
        digest, since = item.compose_hash, item.first
        if digest not in intervals:
            intervals[digest] = fold.allowed_intervals(digest)
        first = _then(clock, intervals[digest], item.first)
        last = _then(clock, intervals[digest], item.last)
        withdrawn = first.earlier if first.allowed is False else None
        if first.allowed is not False and last.allowed is False and last.earlier is not None:
            withdrawn = last.earlier
            since = max(item.first, clock.time(withdrawn[1]) or 0)
        if withdrawn is not None:
            words = (
                "It was still seen running after its permission was withdrawn; it may have been "
                "started while it was allowed."
            )
        elif first.allowed is False:
            words = "It was seen running before the contract allowed it."
            if first.later is None:
                words = "It was seen running, and the contract never allowed it."
        elif first.allowed is None or last.allowed is None:
            words = (
                "It was seen running, and whether the contract allowed it then is not known, "
                "because nobody told when its permission changed."
            )
        else:
            continue
        known = digest in attested.manifests
        window = (since, item.last)
        yield _exposure(ExposureKind.SEEN_NOT_ALLOWED, digest, window, words, known)


def _before_seen(fold: Fold, clock: _Clock, now: int, attested: Attested) -> Iterator[Exposure]:
    """From each permission of what was seen to the first time that it was seen under it."""
    seen: dict[str, list[tuple[int, int]]] = {}
    for item in attested.sightings:
        seen.setdefault(item.compose_hash, []).append((item.first, item.last))
    if attested.running is not None:
        quoted = attested.running.quote_time
        received = now if quoted is None else quoted
        seen.setdefault(attested.running.compose_hash, []).append((received, received))
    for digest, spans in seen.items():
        timed = [
            (since, end)
            for begin, end in fold.allowed_intervals(digest)
            if (since := clock.time(begin)) is not None
        ]
        known = digest in attested.manifests
        earliest: dict[int, int] = {}
        for first, _ in sorted(spans):
            index = bisect_right(timed, first, key=lambda item: item[0]) - 1
            earliest.setdefault(index, first)
        for index, first in earliest.items():
            if index < 0:
                continue
            since, end = timed[index]
            ended = clock.time(end)
            if end is not None and (ended is None or ended <= first):
                continue
            if not any(one <= since <= last for one, last in spans):
                words = "From its permission until it was first seen, nobody is known to have "
                words += "looked: it may have run all that time."
                window = (since, first)
                yield _exposure(ExposureKind.AUTHORIZED_BEFORE_SEEN, digest, window, words, known)


def _allowed(fold: Fold, clock: _Clock, attested: Attested) -> Iterator[Exposure]:
    """Manifests that may start besides the one that runs, or the latest where none is known to."""
    allowed = fold.app_state().compose_hashes
    running = attested.running.compose_hash if attested.running else ""
    present = fold.allowed_intervals(running)
    began = present[-1][0] if present else None
    if not running:
        began = max((fold.allowed_intervals(item)[-1][0] for item in allowed), default=None)
    seen = {item.compose_hash for item in attested.sightings}
    for digest in sorted(allowed - {running}):
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


def _unknown_code(fold: Fold, clock: _Clock, events: Sequence[TimelineEvent]) -> Iterator[Exposure]:
    for role, contract in _CONTRACT.items():
        lost = fold.lost(role)
        if lost is None:
            continue
        at = [value for place, value in fold.values(role, Setting.IMPLEMENTATION) if place <= lost]
        code = (fold.app_state(lost) if role is Role.APP else fold.kms_state(lost)).code
        words = f"From here on what {contract} allows is not certain: it said what cannot be "
        words += "followed."
        if code is None:
            words = (
                f"From here on {contract} ran code that nobody knows: it may allow anything, and "
                "say what it likes."
            )
        own = next((item.address for item in events if item.role is role), "")
        subject = str(at[-1]) if at and code is None else own
        yield _exposure(ExposureKind.UNKNOWN_CODE, subject, (clock.time(lost), None), words, None)


def _single_key(governance: Iterable[Governance], now: int) -> Iterator[Exposure]:
    for item in governance:
        if item.keys != 1:
            continue
        until = now if item.until is None else item.until_time
        lasted = ""
        if item.since_time is not None and until is not None:
            lasted = f" for {_lasting(until - item.since_time)}"
        what = "ship code" if item.role is Role.APP else "admit operating systems and KMS builds"
        words = f"One key alone could {what}{lasted}, at once and without asking anybody else."
        if item.notice is None:
            words = (
                f"One key alone could {what}{lasted}, without asking anybody else; how long that "
                "has to be public before is not known."
            )
        elif item.notice:
            words = (
                f"One key alone could {what}{lasted}, without asking anybody else; each act has to "
                f"be public for {_lasting(item.notice)} before."
            )
        yield Exposure(
            kind=ExposureKind.SINGLE_KEY,
            subject=item.owner,
            since=item.since_time,
            until=item.until_time,
            words=words,
        )


def _lasting(seconds: int) -> str:
    """A span of time in the largest unit of which there are two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


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
