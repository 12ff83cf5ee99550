"""A whole fleet: what is to be collected, side by side; what is to be judged, by an engine.

Collection waits for servers and needs threads, judging needs processors and processes. Threads that
wait are daemons: the end of a run waits for none of them.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, Queue
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from verifier.api import Question, Sources, collect_evidence
from verifier.errors import VerifierError
from verifier.evidence import bundle as bundles
from verifier.evidence.bundle import Bundle
from verifier.watch.fleet.job import Cause, Job, Outcome, failed


class Engine(Protocol):
    """Whatever judges jobs."""

    def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """The outcome of every job, as they come; None says that none is ready yet."""


class Live(Struct, frozen=True):
    """An app that is asked for where it is served."""

    job: Job
    question: Question
    sources: Sources


class Collecting(Struct, frozen=True, kw_only=True):
    """How apps are collected.

    `side_by_side` is how many at once; `clock` gives Unix seconds; `at` (Unix seconds) is the time
    of judgement, None for the end of each app's collection. `keep` is given each bundle that was
    collected, from the thread that did.
    """

    side_by_side: int
    clock: Callable[[], int]
    at: int | None = None
    keep: Callable[[Job, Bundle], None] | None = None


def run(
    apps: tuple[Job | Live, ...],
    engine: Engine,
    collecting: Collecting,
) -> Iterator[Outcome]:
    """Audit every app: the outcomes as they come, one for each."""
    live = [item for item in apps if isinstance(item, Live)]
    given = deque(item for item in apps if isinstance(item, Job))
    collector = _Collector(live, collecting)
    failures: deque[Outcome] = deque()

    def jobs() -> Iterator[Job | None]:
        while given or collector.outstanding:
            found = collector.take()
            if isinstance(found, Outcome):
                failures.append(found)
            else:
                yield found or (given.popleft() if given else None)

    try:
        for outcome in engine.run(jobs()):
            yield from _taken(failures)
            yield outcome
        yield from _taken(failures)
    finally:
        collector.stop()


def _taken(failures: deque[Outcome]) -> Iterator[Outcome]:
    while failures:
        yield failures.popleft()


class _Collector:
    """Collects apps in threads, never much further than what is judged."""

    def __init__(self, live: list[Live], collecting: Collecting) -> None:
        self._wanted = deque(live)
        self._collecting = collecting
        count = min(collecting.side_by_side, len(live))
        self._done: Queue[Job | Outcome] = Queue(max(count, 1))
        self._stopped = False
        self.outstanding = len(live)
        for _ in range(count):
            threading.Thread(target=self._work, name="fleet", daemon=True).start()

    def take(self) -> Job | Outcome | None:
        """An app that is collected, or could not be; None where none is ready."""
        try:
            found = self._done.get_nowait()
        except Empty:
            return None
        self.outstanding -= 1
        return found

    def stop(self) -> None:
        """Begin no other collection."""
        self._stopped = True

    def _work(self) -> None:
        while not self._stopped:
            try:
                live = self._wanted.popleft()
            except IndexError:
                return
            self._done.put(self._collected(live))

    def _collected(self, live: Live) -> Job | Outcome:
        how = self._collecting
        try:
            bundle = collect_evidence(live.question, live.sources, how.clock)
            if how.keep is not None:
                how.keep(live.job, bundle)
        except VerifierError as error:
            return failed(live.job, Cause.UNREADABLE, error.message)
        except Exception as error:  # noqa: BLE001 - one app's servers never stop the others
            why = f"the collection crashed: {type(error).__name__}: {error}"
            return failed(live.job, Cause.CRASHED, why)
        at = how.clock() if how.at is None else how.at
        return replace(live.job, files=bundles.files_of(bundle), at=at, collected=True)
