"""A fleet: the same bytes whatever judges, and whatever happens to whoever judges."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.watch import workers
from verifier.api import Audit, Question, Sources, collect_evidence, share_collections
from verifier.cli.question import simulated_question
from verifier.cli.streams import prepare_process
from verifier.errors import LimitError
from verifier.evidence import bundle as bundles
from verifier.evidence.bundle import Bundle, Kind
from verifier.lab.response import Response
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.policy.policy import load_policy
from verifier.report.audit.json import render_json
from verifier.watch.fleet.job import Asked, Cause, Job, Outcome, judge, line, lost
from verifier.watch.fleet.run import Collecting, Live, run
from verifier.watch.processes import Pool, Work, WorkersError

POLICY: Final = load_policy("baseline")


class Inline:
    """The engine that is none: every job here and now."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """The outcome of every job."""
        for job in jobs:
            if job is None:
                time.sleep(0.01)
            else:
                yield judge(self.asked, job)


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def question(world: World) -> Question:
    return simulated_question(world.app_id, world.reference(), world.now)


@pytest.fixture(scope="module")
def evidence(world: World, question: Question) -> Bundle:
    sources = Sources(responder=world.respond, cloud=False)
    return collect_evidence(question, sources, lambda: world.now)


@pytest.fixture(scope="module")
def asked(question: Question, evidence: Bundle) -> Asked:
    vouched = frozenset({evidence.digest})
    return Asked(question=question, policy=POLICY, vouched=vouched, reports=True)


@pytest.fixture
def jobs(world: World, evidence: Bundle, tmp_path: Path) -> list[Job]:
    """Six copies of one bundle, of which the fourth is torn."""
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.tar"
        bundles.save(evidence, path)
        app_id = AppId(world.app_id)
        found.append(Job(text=f"{app_id}@{path}", name=str(number), app_id=app_id, path=str(path)))
    torn = Path(found[3].path)
    torn.write_bytes(torn.read_bytes()[:40_000])
    return found


def pool(asked: Asked, *, seconds: float = 60, starts: bool = True) -> Pool[Job, Outcome]:
    prepare = prepare_process if starts else workers.never_ready
    work = Work(run=workers.judge_or_die, context=asked, lost=lost, prepare=prepare)
    return Pool(work, workers=2, seconds=seconds, monotonic=time.monotonic)


def lines(outcomes: Iterator[Outcome]) -> list[bytes]:
    return sorted(line(item.result) + item.report for item in outcomes)


def renamed(job: Job, name: str) -> Job:
    return Job(text=job.text, name=name, app_id=job.app_id, path=job.path)


def test_one_result_is_what_a_single_audit_gives(
    asked: Asked, jobs: list[Job], world: World, question: Question, evidence: Bundle
) -> None:
    outcome = judge(asked, jobs[0])
    given = Question(
        app_id=AppId(world.app_id), reference=question.reference, at=world.now, trusted=True
    )
    alone = Audit(target=world.app_id, question=given, bundle=evidence).report(POLICY)
    assert outcome.report == render_json(alone)
    assert outcome.result.report_digest == hashlib.sha256(outcome.report).hexdigest()
    assert outcome.result.bundle_digest == evidence.digest
    assert (outcome.result.verdict, outcome.result.anchor) == (alone.verdict, "simulated")


def test_nobody_vouches_for_a_bundle_by_default(asked: Asked, jobs: list[Job]) -> None:
    unvouched = Asked(question=asked.question, policy=POLICY)
    assert judge(asked, jobs[0]).result.accepted
    assert not judge(unvouched, jobs[0]).result.accepted


def test_a_bare_bundle_is_never_affirming(asked: Asked, jobs: list[Job]) -> None:
    bare = Job(text=jobs[0].path, name="bare", path=jobs[0].path)
    assert not judge(asked, bare).result.accepted


def test_processes_give_the_same_bytes_whatever_becomes_of_them(
    asked: Asked, jobs: list[Job]
) -> None:
    jobs[1] = renamed(jobs[1], workers.ONCE)
    expected = lines(Inline(asked).run(iter(jobs)))
    assert lines(pool(asked).run(iter(jobs))) == expected
    torn = [item for item in expected if b'"cause":"unreadable"' in item]
    assert len(torn) == 1


def test_a_job_that_kills_or_never_ends_costs_nobody_else_anything(
    asked: Asked, jobs: list[Job]
) -> None:
    good = [jobs[0], jobs[5]]
    bad = [renamed(jobs[1], workers.ALWAYS), renamed(jobs[2], workers.HANGS)]
    found = {
        item.job.name: item.result
        for item in pool(asked, seconds=6).run(iter([bad[0], good[0], bad[1], good[1]]))
    }
    assert found[workers.ALWAYS].cause is Cause.CRASHED
    assert found[workers.HANGS].cause is Cause.TIMED_OUT
    assert {found[workers.ALWAYS].accepted, found[workers.HANGS].accepted} == {False}
    assert [found[item.name].accepted for item in good] == [True, True]


def test_workers_that_cannot_start_end_the_run(asked: Asked, jobs: list[Job]) -> None:
    with pytest.raises(WorkersError, match="no worker process can be started"):
        list(pool(asked, starts=False).run(iter(jobs)))


class Counting:
    """A world's servers, and what they were asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []

    def respond(self, method: str, url: str, headers: object, body: bytes) -> Response:
        """Answer as the world does."""
        self.asked.append(url)
        if "down" in url:
            raise RuntimeError("a server that nobody thought of")
        return self.world.respond(method, url, headers, body)  # type: ignore[arg-type]


def test_apps_are_collected_side_by_side_and_share_their_collateral(
    world: World, asked: Asked, question: Question
) -> None:
    servers = Counting(world)
    kept: list[str] = []
    sources = Sources(responder=servers.respond, cloud=False, shared=share_collections(4))
    apps = tuple(
        Live(Job(text=f"app {number}", name="", app_id=AppId(world.app_id)), question, sources)
        for number in range(3)
    )
    collecting = Collecting(
        side_by_side=2, clock=lambda: world.now, keep=lambda _, bundle: kept.append(bundle.digest)
    )
    found = list(run(apps, Inline(asked), collecting))
    assert [item.result.verdict.value for item in found] == ["affirming"] * 3
    assert sorted(item.result.target for item in found) == ["app 0", "app 1", "app 2"]
    assert {item.result.bundle_digest for item in found} == set(kept)
    tcb = [url for url in servers.asked if "/tcb?" in url]
    assert len(tcb) == 1


def test_an_app_that_cannot_be_collected_stops_no_other(
    world: World, asked: Asked, question: Question
) -> None:
    good = Sources(responder=world.respond, cloud=False)
    bad = Sources(responder=Counting(world).respond, guests=("https://down.example",), cloud=False)
    apps = tuple(
        Live(Job(text=name, name=name, app_id=AppId(world.app_id)), question, sources)
        for name, sources in (("bad", bad), ("good", good))
    )
    collecting = Collecting(side_by_side=2, clock=lambda: world.now)
    found = {item.result.target: item.result for item in run(apps, Inline(asked), collecting)}
    assert (found["bad"].accepted, found["good"].accepted) == (False, True)


def test_shared_collateral_bears_the_time_at_which_it_came(
    world: World, question: Question
) -> None:
    shared, moment = share_collections(4), [world.now - 500]
    sources = Sources(responder=world.respond, cloud=False, shared=shared)
    collect_evidence(question, sources, lambda: moment[0])
    moment[0] = world.now
    later = collect_evidence(question, sources, lambda: moment[0])
    times = {item.collected_at for item in later.of(Kind.PCS_TCB_INFO)}
    assert times == {world.now - 500}
    moment[0] += 4000
    again = collect_evidence(question, sources, lambda: moment[0])
    assert {item.collected_at for item in again.of(Kind.PCS_TCB_INFO)} == {moment[0]}


def test_a_server_is_asked_by_so_many_at_once() -> None:
    shared = share_collections(1)
    with shared.turn("one.example", 1), shared.turn("other.example", 1):
        refused: list[LimitError] = []

        def wait() -> None:
            try:
                with shared.turn("one.example", 0.01):
                    pass
            except LimitError as error:
                refused.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert len(refused) == 1
    with shared.turn("one.example", 1):
        pass
