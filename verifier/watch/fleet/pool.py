"""Audits over processes of this machine.

The verifier of quotes holds Python's global lock, so that threads would take turns. Each worker has
a pipe of its own and one job at a time: a worker that dies or hangs takes nothing with it but that
job, which one other worker tries again.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from verifier.errors import VerifierError
from verifier.watch.fleet.job import Asked, Cause, Job, Outcome, failed, judge

START_SECONDS: Final = 120.0
"""The time in which a worker has to have loaded the auditor."""
MAX_STARTS: Final = 3
"""Workers in a row that may end before they are ready."""
_POLL: Final = 0.1
"""Seconds between looks for a job, while none is ready."""


def processors() -> int:
    """How many processors this machine has."""
    return multiprocessing.cpu_count()


class WorkersError(VerifierError):
    """No worker process can be started."""


class _Worker:
    """A process, its pipe, and what it works on since when. It is ready once it has said so."""

    def __init__(self, process: SpawnProcess, pipe: Connection, until: float) -> None:
        self.process = process
        self.pipe = pipe
        self.until = until
        self.ready = False
        self.job: Job | None = None

    def end(self) -> None:
        """Kill it: a worker that hangs hears nothing else."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Pool:
    """Judges jobs in so many processes, none longer than so many `seconds`.

    `prepare`, a function of a module, is called first in each process. `monotonic` is in seconds.
    """

    def __init__(
        self,
        asked: Asked,
        *,
        workers: int,
        seconds: float,
        prepare: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._asked = asked
        self._most = workers
        self._seconds = seconds
        self._prepare = prepare
        self._monotonic = monotonic
        self._workers: list[_Worker] = []
        self._waiting: list[Job] = []
        self._tried: set[str] = set()
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
        while idle and (job := self._waiting.pop() if self._waiting else self._next(jobs)):
            self._give(idle.pop(), job)
        starting = sum(not worker.ready for worker in self._workers)
        while not idle and len(self._workers) < self._most:
            if len(self._waiting) <= starting:
                job = self._next(jobs)
                if job is None:
                    break
                self._waiting.append(job)
            self._start()
            starting += 1
        return bool(self._more or self._waiting or any(worker.job for worker in self._workers))

    def _next(self, jobs: Iterator[Job | None]) -> Job | None:
        if not self._more:
            return None
        try:
            return next(jobs)
        except StopIteration:
            self._more = False
            return None

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job, worker.until = job, self._monotonic() + self._seconds
        try:
            worker.pipe.send(job)
        except OSError:
            # It died while it waited, which is not the job's doing.
            self._workers.remove(worker)
            worker.end()
            self._waiting.append(job)

    def _start(self) -> None:
        if self._unready >= MAX_STARTS:
            raise WorkersError(
                "no worker process can be started: each ended before it was ready",
                hint="look at the memory and the processes that this machine allows",
            )
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._asked, self._prepare), daemon=True
        )
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
            worker.pipe: worker for worker in self._workers if worker.job or not worker.ready
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
            if worker in self._workers and (worker.job or not worker.ready):
                yield from self._lost(worker, Cause.TIMED_OUT)

    def _heard(self, worker: _Worker) -> Iterator[Outcome]:
        try:
            outcome = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._lost(worker, Cause.CRASHED)
            return
        if outcome is None:
            worker.ready, self._unready = True, 0
            return
        worker.job = None
        yield outcome

    def _lost(self, worker: _Worker, cause: Cause) -> Iterator[Outcome]:
        """End a worker that died or hangs. What it worked on is tried once more where the machine
        may have killed it; what takes too long would again."""
        self._workers.remove(worker)
        worker.end()
        job = worker.job
        if job is None:
            self._unready += 1
            self._start()
        elif cause is Cause.CRASHED and job.text not in self._tried:
            self._tried.add(job.text)
            self._waiting.append(job)
        else:
            yield failed(job, cause, _why(cause, self._seconds))


def _why(cause: Cause, seconds: float) -> str:
    if cause is Cause.TIMED_OUT:
        return f"the audit took longer than {seconds:g} seconds, and was ended"
    return "the process that audited it died, twice"


def _serve(pipe: Connection, asked: Asked, prepare: Callable[[], None]) -> None:
    """A worker: judge what comes through the pipe until nobody is at its other end."""
    # Ctrl-C is meant for the run, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        prepare()
        pipe.send(None)
        while True:
            pipe.send(judge(asked, pipe.recv()))
    except BaseException:  # noqa: BLE001 - the run sees that the pipe is closed, and says so
        return
