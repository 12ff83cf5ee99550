"""Audits over a Dask cluster, past one machine.

The scheduler and the workers run whatever they run: whoever runs the cluster makes the verdicts.
Workers get the bytes of each bundle, since they may not see the files, and judge them by the same
pure function; one of another version judges nothing. Jobs go there by handfuls, since a task of the
cluster costs about as much as a small audit; what is lost goes again, one by one.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import dask

# Before its loggers are made: what goes wrong on the cluster is said once, as an error of ours.
dask.config.set({"logging": {"distributed": "critical", "tornado": "critical"}})

from distributed import Client, Future, KilledWorker, WorkerPlugin, get_worker, wait  # noqa: E402
from msgspec import Struct  # noqa: E402

from verifier.errors import EvidenceError, UsageError, VerifierError  # noqa: E402
from verifier.version import tool_version  # noqa: E402
from verifier.watch.fleet.job import (  # noqa: E402
    Asked,
    Cause,
    Job,
    Outcome,
    failed,
    judge,
    lost,
    with_evidence,
)
from verifier.watch.processes import Loss  # noqa: E402

_CONNECT_SECONDS: Final = 10
_IDLE_SECONDS: Final = 60.0
"""How long a cluster may be without any worker."""
_LOOK_SECONDS: Final = 1.0
"""How often the cluster is looked at as a whole."""
_POLL: Final = 0.1
_AHEAD: Final = 3
"""Handfuls that are handed out for each thread of the cluster."""
_HANDFUL: Final = 32
"""Jobs in one task of the cluster, at most."""
_HANDFUL_SIZE: Final = 8 << 20
"""Bytes of evidence after which no further job joins a handful."""
_PLUGIN: Final = "dstack-audit"
_GONE: Final = "what is finished is kept: --resume goes on, with this engine or another"


class ClusterError(VerifierError):
    """The cluster is not there, or no longer."""


class _Prepared(WorkerPlugin):  # type: ignore[misc]  # an extra without types here
    """What each worker is told once, new ones too: what is asked, and by which version."""

    name = _PLUGIN

    def __init__(self, asked: Asked, prepare: Callable[[], None]) -> None:
        self.asked = asked
        self.version = tool_version()
        self.prepare = prepare
        self.fresh = True

    def setup(self, worker: Any) -> None:  # noqa: ANN401, ARG002 - Dask's
        """Begin as every process does."""
        self.prepare()


def _judge_there(handful: Sequence[Job]) -> list[Outcome]:
    """Judge jobs on a worker, as it was told to."""
    told = get_worker().plugins[_PLUGIN]
    if told.version != tool_version():
        why = f"a worker runs version {tool_version()}, and this run {told.version}"
        return [failed(job, Cause.CRASHED, why) for job in handful]
    outcomes = [judge(told.asked, job) for job in handful]
    gc.collect()  # nobody else does, once a process is prepared
    if told.fresh:
        told.fresh = False
        gc.freeze()  # what is loaded by now stays, and need not be looked through again
    return outcomes


class _Sent(Struct, frozen=True):
    """Jobs that were handed out together, when (monotonic seconds), and whether it is a job that
    was lost among others, alone now."""

    jobs: list[Job]
    since: float
    again: bool


class Cluster:
    """Judges jobs on a Dask cluster, none longer than so many `seconds`.

    `address` is HOST:PORT of its scheduler. `prepare`, a function of a module, is called first on
    each worker. `monotonic` is in seconds.
    """

    def __init__(
        self,
        asked: Asked,
        address: str,
        *,
        seconds: float,
        prepare: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._asked = asked
        self._address = address
        self._seconds = seconds
        self._prepare = prepare
        self._monotonic = monotonic
        self._pending: dict[Future, _Sent] = {}
        self._again: list[Job] = []
        self._number = 0
        self._more = True
        self._threads = 0
        self._seen = self._next_look = monotonic()

    def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """The outcome of every job, as they come. None among the jobs says that there will be more
        and none is ready. Raises ClusterError, UsageError."""
        client = self._connected()
        try:
            while self._more or self._pending or self._again:
                yield from self._handed_out(client, jobs)
                yield from self._settled(client)
        except OSError as error:
            raise self._gone() from error
        finally:
            with suppress(Exception):
                client.cancel(list(self._pending))
                client.unregister_worker_plugin(_PLUGIN)
            with suppress(Exception):
                client.close(timeout=_CONNECT_SECONDS)

    def _connected(self) -> Client:
        """A client of the cluster, within a time: Dask waits for ever for what accepts a connection
        and says nothing."""
        found: SimpleQueue[Client | Exception] = SimpleQueue()

        def connect() -> None:
            try:
                found.put(self._client())
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                found.put(error)

        Thread(target=connect, daemon=True).start()
        try:
            client = found.get(timeout=_CONNECT_SECONDS * 3)
        except Empty:
            raise self._nobody("it accepts connections, and does not answer") from None
        if isinstance(client, Exception):
            raise client
        return client

    def _nobody(self, why: object) -> ClusterError:
        return ClusterError(
            f"no Dask scheduler answers at {self._address}: {why}",
            hint="start one with `dask scheduler`, or leave --engine out",
        )

    def _client(self) -> Client:
        try:
            client = Client(
                f"tcp://{self._address}", timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except Exception as error:  # whatever answers may be no scheduler
            raise self._nobody(str(error) or type(error).__name__) from error
        try:
            versions = set(client.run(tool_version).values())
            client.register_plugin(_Prepared(self._asked, self._prepare))
        except Exception as error:
            client.close()
            raise ClusterError(
                f"the workers at {self._address} cannot audit: {type(error).__name__}: {error}",
                hint="install this very version, with [dask], where they run",
            ) from error
        others = sorted(versions - {tool_version()})
        if others:
            client.close()
            raise UsageError(
                f"workers at {self._address} run version {others[0]}, and this is {tool_version()}",
                hint="install the same version on all of them",
            )
        return client

    def _handed_out(self, client: Client, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """Hand out jobs, not many more than are worked on; those without evidence have ended."""
        while len(self._pending) < max(self._threads, 1) * _AHEAD:
            again = bool(self._again)
            if again and not all(item.again for item in self._pending.values()):
                return  # what goes again waits behind no handful, so that its time is its own
            handful, sent, size = [], [], 0
            for job in self._next(jobs):
                try:
                    sent.append(with_evidence(job))
                except EvidenceError as error:
                    yield failed(job, Cause.UNREADABLE, error.message)
                    continue
                handful.append(job)
                size += sum(map(len, (sent[-1].files or {}).values()))
                if size >= _HANDFUL_SIZE:
                    break
            if not handful:
                return
            self._number += 1
            key = f"{_PLUGIN}-{client.id}-{self._number}"
            future = client.submit(_judge_there, sent, key=key, pure=False)
            self._pending[future] = _Sent(handful, self._monotonic(), again)

    def _next(self, jobs: Iterator[Job | None]) -> Iterator[Job]:
        """Those that may go together: what is ready, and what was lost among others by itself."""
        if self._again:
            yield self._again.pop()
            return
        for _ in range(_HANDFUL if self._more else 0):
            try:
                job = next(jobs)
            except StopIteration:
                self._more = False
                return
            if job is None:
                return
            yield job

    def _settled(self, client: Client) -> Iterator[Outcome]:
        if self._pending:
            with suppress(TimeoutError, CancelledError), client.as_current():
                wait(list(self._pending), timeout=_POLL, return_when="FIRST_COMPLETED")
        self._look_after(client)
        for future in [item for item in self._pending if item.done()]:
            yield from self._outcomes(future, self._pending.pop(future))
            future.release()
        limit = self._seconds * _AHEAD
        late = [
            future
            for future, item in self._pending.items()
            if self._monotonic() - item.since > limit
        ]
        for future in late:
            sent = self._pending.pop(future)
            self._end(client, future)
            yield from self._lost(sent, lambda job: lost(job, Loss.HUNG))

    def _outcomes(self, future: Future, sent: "_Sent") -> list[Outcome]:
        if future.status == "finished":
            outcomes: list[Outcome] = future.result()
            return outcomes
        if future.status != "error":
            raise self._gone()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return self._lost(sent, lambda job: lost(job, Loss.DIED))
        why = f"the audit crashed: {type(error).__name__}: {error}"
        return self._lost(sent, lambda job: failed(job, Cause.CRASHED, why))

    def _lost(self, sent: "_Sent", told: Callable[[Job], Outcome]) -> list[Outcome]:
        """What is told of a job that was lost by itself. Of those that went with others, or behind
        them, nobody knows which it was: each is handed out again."""
        if sent.again:
            return [told(job) for job in sent.jobs]
        self._again += sent.jobs
        return []

    def _gone(self) -> ClusterError:
        return ClusterError(f"the Dask cluster at {self._address} is gone", hint=_GONE)

    def _look_after(self, client: Client) -> None:
        """Raise ClusterError where the scheduler is gone, or there has been no worker for long."""
        present = self._monotonic()
        if client.status != "running":
            raise self._gone()
        if present < self._next_look:
            return
        self._next_look = present + _LOOK_SECONDS
        self._threads = sum(client.nthreads().values())
        if self._threads:
            self._seen = present
        elif present - self._seen > _IDLE_SECONDS:
            raise ClusterError(
                f"the Dask cluster at {self._address} has no worker any more", hint=_GONE
            )

    def _end(self, client: Client, future: Future) -> None:
        """Take a job back, and end the worker that hangs on it."""
        with suppress(Exception):
            holding = [name for name, keys in client.processing().items() if future.key in keys]
            future.cancel(force=True)
            client.restart_workers(holding, timeout=_CONNECT_SECONDS, raise_for_error=False)
