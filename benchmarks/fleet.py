"""What many apps cost: `make fleet COUNT=10000` writes fleet.md beside this file.

Bundles are links to one file, so that the disk is not what is measured. Every rate includes the
start of the processes. The same bytes are compared: a run that gives other results has no speed.
Processor time is given beside the clock's, since it says more on a machine that is busy.
"""

import hashlib
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import rfc8785
from msgspec.structs import replace

from benchmarks.run import Material, recorded, simulated
from tests.watch.reports import DEMO, NOW
from verifier.cli.streams import prepare_process
from verifier.evidence import bundle as bundles
from verifier.lab.world import build
from verifier.model.identifiers import AppId
from verifier.policy.policy import load_policy
from verifier.report.site.pages import Site
from verifier.watch.fleet.job import Asked, Job, Outcome, judge, line, lost
from verifier.watch.fleet.run import Engine
from verifier.watch.processes import Pool, Work
from verifier.watch.publish.pages import Page, Rendered, lost_page, render_page
from verifier.watch.publish.site import publish

HERE = Path(__file__).parent
REPORTS = 1000
SECONDS = 600.0


def jobs_of(material: Material, folder: Path, count: int) -> tuple[Asked, list[Job]]:
    """So many bundles of one evidence."""
    folder.mkdir()
    first = folder / "0.tar"
    first.write_bytes(bundles.to_tar(material.bundle))
    found = []
    for number in range(count):
        path = folder / f"{number}.tar"
        if number:
            os.link(first, path)
        app_id = AppId(material.question.app_id or "")
        found.append(Job(text=f"{app_id}@{path}", name="", app_id=app_id, path=str(path)))
    question = replace(material.question, app_id=None, trusted=False)
    vouched = frozenset({material.bundle.digest}) if material.question.trusted else frozenset()
    return Asked(question=question, policy=load_policy("baseline"), vouched=vouched), found


def pool(asked: Asked, workers: int, run: Callable[[Asked, Job], Outcome] = judge) -> Engine:
    work = Work(run=run, context=asked, lost=lost, prepare=prepare_process)
    return Pool(work, workers=workers, seconds=SECONDS, monotonic=time.monotonic)


def judge_unprepared(asked: Asked, job: Job) -> Outcome:
    """Judge a job with nothing remembered of the ones before: what bundles of one platform or one
    image share, and a short text that two of them hold, is read and verified again."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("verifier.checks.", "verifier.evidence.", "verifier.manifest.")):
            for each in vars(module).values():
                if hasattr(each, "cache_clear"):
                    each.cache_clear()
    return judge(asked, job)


def timed(engine: Engine, jobs: list[Job]) -> tuple[float, str]:
    """Seconds, and a digest of all results in the order of the list."""
    began, found = time.perf_counter(), {}
    given: Iterator[Job | None] = iter(jobs)
    for outcome in engine.run(given):
        found[outcome.job.text] = hashlib.sha256(line(outcome.result)).digest()
    seconds = time.perf_counter() - began
    assert len(found) == len(jobs)
    return seconds, hashlib.sha256(b"".join(found[job.text] for job in jobs)).hexdigest()


def largest() -> float:
    """The most memory that one of the processes that this one started ever had (MB)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def worked() -> float:
    """Seconds of processor time of this process and of those that it started, and that ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def fleets(material: Material, folder: Path, count: int) -> list[str]:
    """One process and two, in turn with each other."""
    asked, jobs = jobs_of(material, folder, count)
    timed(pool(asked, 2), jobs[: count // 10])
    few, before = largest(), worked()
    one, first = timed(pool(asked, 1), jobs)
    alone, between = worked() - before, worked()
    two, second = timed(pool(asked, 2), jobs)
    both = worked() - between
    assert first == second
    fewer = jobs[: max(count // 10, 20)]
    anew, _ = timed(pool(asked, 2, judge_unprepared), fewer)
    unlike = f"{len(fewer) / anew:.0f} a second"
    each = f"{alone / count * 1000:.1f} and {both / count * 1000:.1f} ms"
    rows = [
        f"| {count} times {material.name}, one process | {count / one:.0f} a second |",
        f"| the same on two | {count / two:.0f} a second, {one / two:.2f} times |",
        f"| as many unlike each other on two: nothing is remembered of others | {unlike} |",
        f"| processor time of each audit, of one process and of two | {each} |",
        f"| the largest process by {count // 10}, and by {count} | {few:.0f}, {largest():.0f} MB |",
    ]
    if find_spec("distributed") is not None:
        seconds, third = timed(cluster(asked), jobs)
        assert third == first
        rate = f"{count / seconds:.0f} a second, {two / seconds:.2f} of the two processes"
        rows.append(f"| the same on a local Dask cluster of two workers | {rate} |")
    return rows


def cluster(asked: Asked) -> Engine:
    from distributed import LocalCluster

    from verifier.watch.fleet.cluster import Cluster

    local = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)

    class Once:
        """The cluster, closed at the end."""

        def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
            """The outcome of every job."""
            address = str(local.scheduler_address).removeprefix("tcp://")
            engine = Cluster(
                asked,
                address,
                seconds=SECONDS,
                prepare=prepare_process,
                monotonic=time.monotonic,
            )
            yield from engine.run(jobs)
            local.close()

    return Once()


def site(folder: Path) -> list[str]:
    """A site of 1,000 reports of 500 apps: all of it, nothing new, and one report more."""
    reports, output = folder / "reports", folder / "site"
    reports.mkdir()
    for number in range(REPORTS):
        (reports / f"{number}.json").write_bytes(report(number))

    def render(wanted: tuple[Page, ...]) -> Iterator[Rendered]:
        if len(wanted) == 1:
            yield render_page(None, wanted[0])
            return
        work = Work(run=render_page, context=None, lost=lost_page, prepare=prepare_process)
        yield from Pool(work, workers=2, seconds=SECONDS, monotonic=time.monotonic).run(
            iter(wanted)
        )

    def seconds(of: Callable[[], object]) -> float:
        began = time.perf_counter()
        of()
        return time.perf_counter() - began

    def write() -> object:
        return publish(reports, output, Site(title="Site", published_at=NOW), render)

    before = worked()
    cold = seconds(write)
    used, same = worked() - before, seconds(write)
    (reports / "0.json").write_bytes(report(REPORTS))
    one = seconds(write)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / (1 << 20)
    return [
        f"| a site of {REPORTS} reports ({size:.0f} MB), written on two processes | {cold:.1f} s |",
        f"| its processor time, of all processes together | {used:.1f} s |",
        f"| the same, where nothing changed | {same:.2f} s |",
        f"| the same, where one report changed | {one:.2f} s |",
    ]


def report(number: int) -> bytes:
    app_id = hashlib.sha256(str(number // 2).encode()).hexdigest()[:40]
    day = f"2026-06-{15 + number % 2:02}T12:00:00Z"
    return rfc8785.dumps(
        {**DEMO, "requested_app_id": app_id, "target": app_id, "evaluated_at": day}
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    prepare_process()
    folder = Path(tempfile.mkdtemp())
    try:
        near = recorded()
        rows = [*site(folder)]
        rows += fleets(near, folder / "near", count) if near is not None else []
        rows += fleets(simulated(build(), folder), folder / "full", max(count // 10, 20))
    finally:
        shutil.rmtree(folder)
    told = (
        f"`make fleet COUNT={count}`, Python {platform.python_version()}, {os.cpu_count()} "
        f"processors; {os.getloadavg()[2]:.1f} processes wanted one of them meanwhile (on a quiet "
        "machine it is about 2). Asked for: a site in 10 s, and in 1 s where one report changed; "
        "two processes 1.75 times one; on two, 300 a second of the near/mpc bundle and 50 of the "
        "full simulated one; flat memory; a Dask cluster 0.85 of the two processes."
    )
    head = ["# What many apps cost", "", told, "", "| What | Figure |", "|---|---|"]
    (HERE / "fleet.md").write_text("\n".join([*head, *rows]) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
