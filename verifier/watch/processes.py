"""Work over processes of this machine.

The verifier of quotes holds Python's global lock, so that threads would take turns. Each worker has
a pipe of its own and one job at a time: a worker that dies or hangs takes nothing with it but that
job. What a worker died of is tried once more, since the machine may have killed it; what takes too
long would again.
"""

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from verifier.errors import VerifierError

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

START_SECONDS: Final = 120.0
"""The time in which a worker has to have loaded the auditor."""
MAX_STARTS: Final = 3
"""Workers in a row that may end before they are ready."""
_TIDIED: Final = 20
"""Jobs after which a worker looks for garbage, so that it never grows: one may leave a megabyte."""
_POLL: Final = 0.1
"""Seconds between looks for a job, while none is ready."""


def processors() -> int:
    """How many processors this machine has."""
    return multiprocessing.cpu_count()


class Loss(Enum):
    """Why a job has no outcome of a worker."""

    DIED = "the process that worked on it died, twice"
    HUNG = "it took too long, and was ended"


class Work(Struct, Generic[Job, Outcome], frozen=True, kw_only=True):
    """What is done to each job. Functions are those of modules, which processes find by name.

    run      (context, job) → outcome; whatever goes wrong is an outcome
    context  the same for every job
    lost     (job, why) → the outcome of a job whose worker died or hung
    prepare  called first in each process
    """

    run: Callable[[Any, Job], Outcome]
    context: Any
    lost: Callable[[Job, Loss], Outcome]
    prepare: Callable[[], None]


class WorkersError(VerifierError):
    """No worker process can be started."""


class _Worker(Generic[Job]):
    """A process, its pipe, and what it works on, for the first time or again, until when. It is
    ready once it has said so."""

    def __init__(self, process: SpawnProcess, pipe: Connection, until: float) -> None:
        self.process = process
        self.pipe = pipe
        self.until = until
        self.ready = False
        self.job: Job | None = None
        self.again = False

    def end(self) -> None:
        """Kill it: a worker that hangs hears nothing else."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Pool(Generic[Job, Outcome]):
    """Does work in so many processes, on no job longer than so many `seconds`. `monotonic` is in
    seconds."""

    def __init__(
        self,
        work: Work[Job, Outcome],
        *,
        workers: int,
        seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._work = work
        self._most = workers
        self._seconds = seconds
        self._monotonic = monotonic
        self._workers: list[_Worker[Job]] = []
        self._waiting: list[tuple[Job, bool]] = []
        self._unready = 0
        self._more = True

    def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """The outcome of every job, as they come. None among the jobs says that there will be more
        and none is ready. Raises WorkersError."""
        try:
            while self._feed(jobs):
                yield from self._settled()
        finally:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def _feed(self, jobs: Iterator[Job | None]) -> bool:
        """Give each worker that waits a job; whether anything is left to wait for."""
        idle = [worker for worker in self._workers if worker.ready and worker.job is None]
        while idle:
            if self._waiting:
                waiting, again = self._waiting.pop()
                self._give(idle.pop(), waiting, again=again)
            elif (fresh := self._next(jobs)) is not None:
                self._give(idle.pop(), fresh, again=False)
            else:
                break
        starting = sum(not worker.ready for worker in self._workers)
        while not idle and len(self._workers) < self._most:
            if len(self._waiting) <= starting:
                job = self._next(jobs)
                if job is None:
                    break
                self._waiting.append((job, False))
            self._start()
            starting += 1
        return bool(self._more or self._waiting or any(map(_works, self._workers)))

    def _next(self, jobs: Iterator[Job | None]) -> Job | None:
        if not self._more:
            return None
        try:
            return next(jobs)
        except StopIteration:
            self._more = False
            return None

    def _give(self, worker: _Worker[Job], job: Job, *, again: bool) -> None:
        worker.job, worker.again = job, again
        worker.until = self._monotonic() + self._seconds
        try:
            worker.pipe.send(job)
        except OSError:
            # It died while it waited, which is not the job's doing.
            self._workers.remove(worker)
            worker.end()
            self._waiting.append((job, again))

    def _start(self) -> None:
        if self._unready >= MAX_STARTS:
            raise WorkersError(
                "no worker process can be started: each ended before it was ready",
                hint="look at the memory and the processes that this machine allows",
            )
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        try:
            process.start()
        except OSError as error:
            raise WorkersError(
                f"no worker process can be started: {error.strerror or error}",
                hint="ask for fewer with --workers",
            ) from error
        theirs.close()
        self._workers.append(_Worker(process, ours, self._monotonic() + START_SECONDS))

    def _settled(self) -> Iterator[Outcome]:
        """What became of jobs since the last look, and of workers."""
        awaited = {
            worker.pipe: worker for worker in self._workers if _works(worker) or not worker.ready
        }
        now = self._monotonic()
        nearest = min((worker.until - now for worker in awaited.values()), default=_POLL)
        # Where more is being collected, look again soon whether it is ready.
        patience = min(nearest, _POLL) if self._more else nearest
        for pipe in wait(list(awaited), max(patience, 0.0)):
            worker = awaited[pipe]  # type: ignore[index]
            yield from self._heard(worker)
        now = self._monotonic()
        for worker in [item for item in awaited.values() if item.until <= now]:
            if worker in self._workers and (_works(worker) or not worker.ready):
                yield from self._lost(worker, Loss.HUNG)

    def _heard(self, worker: _Worker[Job]) -> Iterator[Outcome]:
        try:
            outcome = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._lost(worker, Loss.DIED)
            return
        if outcome is None:
            worker.ready, self._unready = True, 0
            return
        worker.job = None
        yield outcome

    def _lost(self, worker: _Worker[Job], loss: Loss) -> Iterator[Outcome]:
        """End a worker that died or hangs, and say what becomes of its job."""
        self._workers.remove(worker)
        worker.end()
        job = worker.job
        if job is None:
            self._unready += not worker.ready
            if not worker.ready:
                self._start()
        elif loss is Loss.DIED and not worker.again:
            self._waiting.append((job, True))
        else:
            yield self._work.lost(job, loss)


def _works(worker: _Worker[Any]) -> bool:
    return worker.job is not None


def _serve(pipe: Connection, work: Work[Any, Any]) -> None:
    """A worker: do what comes through the pipe until nobody is at its other end."""
    # Ctrl-C is meant for the run, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work.prepare()
        pipe.send(None)
        for number in count(1):
            pipe.send(work.run(work.context, pipe.recv()))
            if number == 1 or number % _TIDIED == 0:
                gc.collect()
            if number in (1, _TIDIED):
                # What is loaded by now stays, and need not be looked through again.
                gc.freeze()
    except BaseException:  # noqa: BLE001 - the run sees that the pipe is closed, and says so
        return
