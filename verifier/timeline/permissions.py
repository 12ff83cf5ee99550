"""How old the manifests are that may start: to which of them an operator may set the app back."""

from collections.abc import Iterable

from verifier.model.chain import Place
from verifier.model.timeline import Permission, Sighting, TimelineEvent
from verifier.timeline.fold import Fold


def permissions(
    fold: Fold, events: Iterable[TimelineEvent], sightings: Iterable[Sighting]
) -> tuple[Permission, ...]:
    """The manifests that are allowed at the end, the oldest first. `events` are the settled ones,
    `sightings` when manifests were attested."""
    times = {item.place.block: item.time for item in events if item.time is not None}
    seen: dict[str, int] = {}
    for item in sightings:
        seen[item.compose_hash] = min(item.first, seen.get(item.compose_hash, item.first))

    def time(place: Place) -> int | None:
        return times.get(place.block)

    found = []
    for digest in fold.app_state().compose_hashes:
        intervals = fold.allowed_intervals(digest)
        found.append(
            Permission(
                compose_hash=digest,
                first=time(intervals[0][0]),
                since=time(intervals[-1][0]),
                seen=seen.get(digest),
            )
        )
    return tuple(sorted(found, key=_age))


def _age(item: Permission) -> tuple[int, str]:
    known = [moment for moment in (item.first, item.seen) if moment is not None]
    return (-1 if item.first is None else min(known)), item.compose_hash
