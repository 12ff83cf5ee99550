"""What a witness log says of one app's past: the history of apps that have no public log.

Every entry is proven to be among those that the log's key signed. Whether that makes it an own
observation is for its reader to know: who names the key says that it is theirs.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.model.result import Basis
from verifier.model.timeline import Sighting
from verifier.model.witness import Unanswered, Witnessed, WitnessHistory
from verifier.watch.log.check import check_log
from verifier.watch.log.notes import Checkpoint, VerifierKey
from verifier.watch.log.reader import LogReader
from verifier.watch.observation import Fact, Observation, decode


class BrokenLog(EvidenceError):
    """A log that is not what its key signed; the message says what was done to it."""


def read_history(
    folder: Path, key: VerifierKey, app_id: str, *, named: bool, anchor: str
) -> WitnessHistory:
    """What a log says of an app (hex); `named` says whether the reader named the key.

    Observations under another trust anchor than `anchor` ("" for Intel's) do not count.

    Raises BrokenLog, EvidenceError for an entry that is no observation, and UsageError.
    """
    found = check_log(folder, key)
    checkpoint = found.checkpoint
    if found.faults or checkpoint is None:
        first = found.faults[0]
        raise BrokenLog(f"{folder}: {first.fault.value}: {first.words}")
    reading = _Reading(app_id)
    for index, observation in _observations(folder, checkpoint):
        if observation.anchor == anchor:
            reading.take(index, observation)
    return WitnessHistory(
        app_id=app_id,
        log=str(key),
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        basis=Basis.WITNESS if named else Basis.ASSERTED,
        periods=tuple(sorted(reading.periods, key=lambda item: (item.first, item.entries))),
        unanswered=tuple(reading.unanswered),
    )


def up_to(history: WitnessHistory, time: int) -> WitnessHistory:
    """What had been seen up to a time (Unix seconds), as far as one period tells."""
    return replace(
        history,
        periods=tuple(
            replace(item, last=min(item.last, time))
            for item in history.periods
            if item.first <= time
        ),
        unanswered=tuple(
            replace(item, last=min(item.last, time))
            for item in history.unanswered
            if item.first <= time
        ),
    )


def sightings(history: WitnessHistory) -> tuple[Sighting, ...]:
    """When which manifest was attested, by a log whose key its reader named; () by another."""
    if history.basis is not Basis.WITNESS:
        return ()
    return tuple(
        Sighting(compose_hash=item.compose_hash, first=item.first, last=item.last)
        for item in history.periods
    )


def _observations(folder: Path, checkpoint: Checkpoint) -> Iterator[tuple[int, Observation]]:
    for index, raw in enumerate(LogReader(folder, checkpoint.size).entries()):
        try:
            yield index, decode(raw, f"{folder}: entry {index}")
        except EvidenceError as error:
            raise EvidenceError(
                error.message, hint="name the log of a watch, or use a newer version"
            ) from error


class _Look(Struct, frozen=True):
    """One look at one guest."""

    compose_hash: str
    instance: str
    release: str
    time: int
    index: int


class _Reading:
    """Puts looks in a row together."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id
        self._named: set[str] = {app_id}
        self._last: dict[str, int] = {}
        self._silent = False
        self.periods: list[Witnessed] = []
        self.unanswered: list[Unanswered] = []

    def take(self, index: int, observation: Observation) -> None:
        """One more observation, of any app."""
        if not observation.reached and observation.app in self._named:
            self._unanswered(observation.time)
        for attester in observation.attesters:
            manifest = attester.facts.get(Fact.MANIFEST)
            if attester.app_id != self._app_id or not isinstance(manifest, str):
                continue
            # From here on, what answers under this address is this app, or nothing.
            self._named.add(observation.app)
            self._silent = False
            release, instance = attester.release, attester.instance
            self._seen(_Look(manifest, instance, release, observation.time, index))

    def _seen(self, look: _Look) -> None:
        place = self._last.get(look.instance)
        before = None if place is None else self.periods[place]
        same = before is not None and (before.compose_hash, before.release) == (
            look.compose_hash,
            look.release,
        )
        if place is None or before is None or not same:
            self._last[look.instance] = len(self.periods)
            self.periods.append(
                Witnessed(
                    compose_hash=look.compose_hash,
                    instance=look.instance,
                    release=look.release,
                    first=look.time,
                    last=look.time,
                    looks=1,
                    entries=(look.index, look.index),
                )
            )
            return
        self.periods[place] = replace(
            before,
            last=max(before.last, look.time),
            first=min(before.first, look.time),
            looks=before.looks + 1,
            entries=(before.entries[0], look.index),
        )

    def _unanswered(self, time: int) -> None:
        if self._silent:
            last = self.unanswered[-1]
            self.unanswered[-1] = Unanswered(last.first, time, last.looks + 1)
        else:
            self.unanswered.append(Unanswered(time, time, 1))
        self._silent = True
