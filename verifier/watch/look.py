"""One look at one app: the evidence of a fleet's job, audited, and what was observed."""

from collections.abc import Callable, Iterator

from verifier.model.report import Report
from verifier.report.audit.json import render_json
from verifier.watch.fleet.job import Asked, Job, Outcome, audited, result_of, without_evidence
from verifier.watch.observation import Observation, observe, unobserved


class Look(Outcome, frozen=True):
    """What became of a job, and what was observed."""

    observation: Observation | None = None


class Here:
    """An engine that looks in this process: evidence that ends the process ends the watch. `wait`
    is called while no job is ready."""

    def __init__(self, asked: Asked, wait: Callable[[], None]) -> None:
        self._asked = asked
        self._wait = wait

    def run(self, jobs: Iterator[Job | None]) -> Iterator[Outcome]:
        """The outcome of every job, as they come."""
        for job in jobs:
            if job is None:
                self._wait()
            else:
                yield look(self._asked, job)


def look(asked: Asked, job: Job) -> Outcome:
    """Audit the evidence of one job. Whatever is wrong with it is what comes of it; nothing is
    raised."""

    def told(report: Report) -> Outcome:
        result = result_of(job, report, render_json(report))
        seen = observe(report, job.text, job.name)
        return Look(without_evidence(job), result, observation=seen)

    return audited(asked, job, told)


def observed(outcome: Outcome, asked: Asked, time: int) -> Observation:
    """What was observed; where no audit could be made, that and why, at a time (Unix seconds)."""
    if isinstance(outcome, Look) and outcome.observation is not None:
        return outcome.observation
    anchor, job = asked.question.reference.anchor, outcome.job
    why = outcome.result.error
    return unobserved(job.text, job.name, time, why, anchor.value if anchor else "")
