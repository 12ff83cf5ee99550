"""A fleet on a real local Dask cluster: the same bytes, also where a worker is killed in the
middle. `make dask` runs it; without Dask these tests say that they were skipped."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.watch.evidence import Simulated, simulate
from tests.watch.test_fleet import Inline, lines
from verifier.cli.streams import prepare_process
from verifier.watch.fleet.job import Asked, Cause, Job, Outcome, judge
from verifier.watch.processes import Loss

pytest.importorskip("distributed", reason="Dask is not installed: `make dask` tests with it")

from verifier.watch.fleet import cluster
from verifier.watch.fleet.cluster import Cluster, ClusterError

LISTENING: Final = re.compile(r"tcp://(127\.0\.0\.1:\d+)")
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return simulate()


class Local:
    """A scheduler and two workers, each a process of its own with a nanny."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        log = folder / "scheduler.log"
        self._start(log, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._said(log)
        for number in range(2):
            name = ("--name", f"w{number}", "--nthreads", "1", "--no-dashboard")
            self._start(folder / f"{number}.log", "worker", f"tcp://{self.address}", *name)

    def _start(self, log: Path, *arguments: str) -> None:
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            self.running.append(
                subprocess.Popen(
                    command, stdout=stream, stderr=stream, cwd=self.folder, env=environment
                )
            )

    def _said(self, log: Path) -> str:
        for _ in range(600):
            if found := LISTENING.search(log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.1)
        raise AssertionError(log.read_text(errors="replace"))

    def end(self) -> None:
        """End every process."""
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    cluster = Local(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.end()


def on(
    local: Local,
    simulated: Simulated,
    seconds: float = 60,
    prepare: Callable[[], None] = prepare_process,
) -> Cluster:
    return Cluster(
        simulated.asked, local.address, seconds=seconds, prepare=prepare, monotonic=time.monotonic
    )


def judge_or_end(asked: Asked, job: Job) -> Outcome:
    """Two jobs that no worker ends: one kills it, and one hangs."""
    if job.text.endswith("/3.tar"):
        os._exit(1)
    if job.text.endswith("/5.tar"):
        time.sleep(600)
    return judge(asked, job)


def prepare_badly() -> None:
    """On a worker, which finds this by its name."""
    prepare_process()
    vars(cluster)["judge"] = judge_or_end


def killed_in_the_middle(outcomes: Iterator[Outcome], local: Local) -> Iterator[Outcome]:
    """The outcomes, while the process that one worker's nanny started is killed."""
    for place, outcome in enumerate(outcomes):
        if place == 20:
            nanny = local.running[1].pid
            found = subprocess.run(
                ["/bin/ps", "-o", "pid=", "--ppid", str(nanny)], capture_output=True, check=True
            )
            for pid in map(int, found.stdout.split()):
                os.kill(pid, signal.SIGKILL)
        yield outcome


@pytest.mark.filterwarnings("default")
def test_a_cluster_whose_worker_is_killed_gives_the_same_bytes(
    local: Local, simulated: Simulated, tmp_path: Path
) -> None:
    jobs = simulated.copies(tmp_path, 120)
    Path(jobs[7].path).write_bytes(b"torn")
    Path(jobs[8].path).unlink()
    expected = lines(Inline(simulated.asked).run(iter(jobs)))
    found = killed_in_the_middle(on(local, simulated).run(iter(jobs)), local)
    assert lines(found) == expected


@pytest.mark.filterwarnings("default")
def test_what_kills_or_hangs_takes_nothing_with_it(
    local: Local, simulated: Simulated, tmp_path: Path
) -> None:
    jobs = simulated.copies(tmp_path, 20)
    found = {
        outcome.job.path: outcome.result
        for outcome in on(local, simulated, 10, prepare_badly).run(iter(jobs))
    }
    died, hung = (found.pop(jobs[place].path) for place in (3, 5))
    assert (died.cause, hung.cause) == (Cause.CRASHED, Cause.TIMED_OUT)
    assert Loss.DIED.value in died.error
    assert Loss.HUNG.value in hung.error
    assert len(found) == len(jobs) - 2
    assert all(result.accepted for result in found.values())


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_vanishes_is_said_in_one_line(simulated: Simulated, tmp_path: Path) -> None:
    local = Local(tmp_path)
    found = on(local, simulated).run(iter(simulated.copies(tmp_path, 60)))
    try:
        assert next(found).result.accepted
        for process in local.running:
            process.kill()
        with pytest.raises(ClusterError, match=r"is gone|no worker"):
            list(found)
    finally:
        local.end()


@pytest.mark.filterwarnings("default")
def test_nobody_there(simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.watch.fleet.cluster._CONNECT_SECONDS", 1)
    nowhere: Any = type("Nowhere", (), {"address": "127.0.0.1:9"})
    with pytest.raises(ClusterError, match="no Dask scheduler answers at 127"):
        list(on(nowhere, simulated).run(iter([Job(text="x", name="x")])))


class Peer:
    """Something on loopback that is no scheduler: it accepts, says this, and no more."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listening.getsockname())
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                held, _ = self._listening.accept()
                self._held.append(held)
                held.sendall(self._said)

    def end(self) -> None:
        """Close it, and what it accepted."""
        for each in (self._listening, *self._held):
            each.close()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_what_is_no_scheduler(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr("verifier.watch.fleet.cluster._CONNECT_SECONDS", 1)
    peer: Any = Peer(said)
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no Dask scheduler answers at 127"):
        list(on(peer, simulated).run(iter([Job(text="x", name="x")])))
    assert time.monotonic() - began < 60
    peer.end()
