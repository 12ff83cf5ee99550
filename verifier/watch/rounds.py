"""The watch: observations go into the log, changes come out of it.

The log comes first: an observation is in it before anybody is told of it. What is remembered beside
the log (`state.json`) can be made again from it, and is where the program was killed in between. So
what an observation changed is told at least once, whenever the program ends.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.patterns import pattern
from verifier.watch.alerts import (
    MAX_WAITING,
    Alert,
    NotDelivered,
    Recipient,
    Waiting,
    alert_of,
    deliver,
)
from verifier.watch.log import files
from verifier.watch.log.merkle import EMPTY, consistency_proof, is_consistent
from verifier.watch.log.notes import SigningKey
from verifier.watch.log.reader import LogReader
from verifier.watch.log.writer import PRIVATE, LogWriter, writing
from verifier.watch.memory import Memory, remember
from verifier.watch.observation import Observation, decode, encode

STATE: Final = "state.json"
MAX_STATE_BYTES: Final = 1 << 29
_SCHEMA: Final = "dstack-audit/watch-state/v1"
_ROOT: Final = pattern(r"[0-9a-f]{64}", re.ASCII)


class State(Struct, frozen=True, kw_only=True):
    """What is remembered of the first `size` entries of a log, whose root was `root` (hex): each
    app, and the alerts that somebody has not taken yet."""

    schema: str = _SCHEMA
    size: int = 0
    root: str = EMPTY.hex()
    apps: dict[str, Memory] = {}
    waiting: tuple[Waiting, ...] = ()


@contextmanager
def watching(
    folder: Path, key: SigningKey, recipients: Sequence[Recipient], patience: int
) -> Iterator["Watch"]:
    """The watch whose log is in a directory, for its one writer; what it remembers is kept at the
    end, however that comes.

    Raises UsageError for a directory that cannot be used, EvidenceError for a log that is not what
    was signed, or not what this watch wrote.
    """
    with ExitStack() as held:
        try:
            log = held.enter_context(writing(folder, key))
            watch = Watch(log, recipients, patience)
        except EvidenceError as error:
            if str(folder) in error.message:
                raise
            hint = error.hint or "`verify log check` says what was done to it; a copy puts it back"
            raise type(error)(f"{folder}: {error.message}", hint=hint) from error
        try:
            yield watch
        finally:
            watch.keep()


class Watch:
    """Takes observations in, and tells what changed: see `watching`.

    `patience` is how many observations in a row have to miss something before that is said.
    `refused` says which recipients did not take an alert in this round, and why.
    """

    def __init__(self, log: LogWriter, recipients: Sequence[Recipient], patience: int) -> None:
        self._log = log
        self._recipients = recipients
        self._patience = patience
        self._place = log.folder / PRIVATE / STATE
        self.refused: dict[str, NotDelivered] = {}
        state = _read_state(self._place)
        _refuse_foreign(state, log)
        self._apps = dict(state.apps)
        self._waiting = list(state.waiting)
        reader = LogReader(log.folder, log.size)
        for index, raw in enumerate(reader.entries(state.size), state.size):
            self._fold(index, decode(raw, f"entry {index} of {log.folder}"))

    @property
    def waiting(self) -> int:
        """How many alerts somebody has not taken yet."""
        return len(self._waiting)

    def take(self, observations: Sequence[Observation]) -> tuple[Alert, ...]:
        """Append observations to the log, and hand out what they changed. Raises UsageError where
        the log cannot be written: then none of them counts."""
        if not observations:
            return ()
        first, entries = self._log.size, [encode(item) for item in observations]
        self._log.append(entries)
        alerts: list[Alert] = []
        for index, raw in enumerate(entries, first):
            # As it stands in the log, so that the log alone gives the same.
            alerts.extend(self._fold(index, decode(raw, f"entry {index}")))
        self.tell()
        return tuple(alerts)

    def begin_round(self) -> None:
        """Ask every recipient again, also those that refused an alert before."""
        self.refused.clear()
        self.tell()

    def tell(self) -> None:
        """Hand out what waits."""
        self._waiting = list(deliver(self._waiting, self._recipients, self.refused))

    def keep(self) -> None:
        """Keep what is remembered. Raises UsageError."""
        checkpoint = self._log.checkpoint
        state = State(
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            apps=self._apps,
            waiting=tuple(self._waiting),
        )
        files.put(self._place, msgspec.json.encode(state), private=True)

    def _fold(self, index: int, observation: Observation) -> list[Alert]:
        before = self._apps.get(observation.app, Memory())
        memory, changes = remember(before, observation, self._patience)
        self._apps[observation.app] = memory
        alerts = [
            alert_of(index, place, change, observation) for place, change in enumerate(changes)
        ]
        names = tuple(item.name for item in self._recipients)
        self._waiting.extend(Waiting(alert, names) for alert in alerts if names)
        del self._waiting[:-MAX_WAITING]
        return alerts


def _read_state(place: Path) -> State:
    """What was remembered. Raises EvidenceError for what this version cannot read."""
    try:
        raw = files.get(place, MAX_STATE_BYTES)
        if raw is None:
            return State()
        state = msgspec.json.decode(raw, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        state = State(schema=str(error))
    except files.UnfitFile as error:
        state = State(schema=error.message)
    if state.size < 0 or not _ROOT.fullmatch(state.root):
        state = State(schema=f"size {state.size}, root {state.root[:80]!a}")
    if state.schema != _SCHEMA:
        raise EvidenceError(
            f"{place}: it is no state of a watch that this version reads: {state.schema[:200]}",
            hint="remove it, and it is made again from the log; all changes are told again then",
        )
    return state


def _refuse_foreign(state: State, log: LogWriter) -> None:
    """Raise EvidenceError for a log that does not go on from what is remembered of it."""
    size, now = state.size, log.checkpoint
    if size > now.size:
        raise EvidenceError(
            f"{log.folder}: rolled back: this watch wrote {size} entries, and it has {now.size}",
            hint="put the log back from a copy; to begin anew, name a new directory",
        )
    whole = LogReader(log.folder, now.size).whole
    proof = consistency_proof(size, now.size, whole) if size else ()
    if not is_consistent(size, bytes.fromhex(state.root), now.size, now.root, proof):
        raise EvidenceError(
            f"{log.folder}: forked: its first {size} entries are not those that this watch wrote",
            hint="put the log back from a copy; to begin anew, name a new directory",
        )
