"""One audit of a fleet: evidence and what is asked of it, to one line of results.

`judge` is the whole of it. It is a pure function of its arguments, so that a process of this
machine, a worker of a cluster and `verify APP_ID --bundle BUNDLE` come to the same bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.api import Audit, Question
from verifier.errors import VerifierError
from verifier.evidence import bundle as bundles
from verifier.evidence.endpoint import Endpoint
from verifier.manifest.secret_text import masked
from verifier.model.identifiers import AppId, format_time
from verifier.model.report import Report
from verifier.model.result import JsonValue, Verdict
from verifier.policy.policy import Policy
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.json import canonical_json, render_json
from verifier.report.audit.sentences import weakest_link, worst_subject
from verifier.watch.processes import Loss

SCHEMA: Final = "dstack-audit/fleet/v1"


class Cause(StrEnum):
    """Why an app has no report. The value is stable: it is written into results."""

    REFUSED = "refused"
    UNREADABLE = "unreadable"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"


AGAIN: Final = frozenset({Cause.CRASHED, Cause.TIMED_OUT})
"""Causes that are the machine's more likely than the evidence's: a resumed run tries again."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a run asks of every app.

    question  the question, with the time of judgement of bundles; the app comes with each job
    policy    what the answers are held against
    vouched   digests (hex) of the bundles whose collector the user vouches for
    reports   whether each outcome carries the report's JSON
    """

    question: Question
    policy: Policy
    vouched: frozenset[str] = frozenset()
    reports: bool = False


class Job(Struct, frozen=True, kw_only=True):
    """The evidence about one app, and what is asked of this one alone.

    text       what names it in the list
    name       what people call it
    app_id     the app that is asked for; None where only a bundle was named
    path       the bundle's place, which errors name; "" for evidence that was collected just now
    files      the bundle's files by name, for a worker that cannot read `path`; None for one that
               can
    endpoint   the address that its users connect to; None for none
    at         the time of judgement, Unix seconds; None for the run's
    collected  whether this run collected the evidence, so that what it witnessed counts
    asked      what is asked of this app; None for what the run asks of every one
    """

    text: str
    name: str
    app_id: AppId | None = None
    path: str = ""
    files: Mapping[str, bytes] | None = None
    endpoint: Endpoint | None = None
    at: int | None = None
    collected: bool = False
    asked: Asked | None = None


class Result(Struct, frozen=True, kw_only=True):
    """One line of results.

    target         what names the app in the list
    name           what people call it
    verdict        the report's; `none` where there is no report
    accepted       whether the policy accepts it
    app_id         the app that was asked for, hex; None for none
    evaluated_at   the time of judgement, Unix seconds; None without a report
    bundle_digest  digest of the evidence, hex; None where it could not be read
    report_digest  sha256 of the report's JSON, hex; None without a report
    manifest       the compose hash that every guest is proven to run, hex; None where none is
    anchor         the trust anchor where it is not Intel's; None for Intel's
    weakest        id of the check that weighs most against the app; None for none
    statuses       how many checks of the worst guest ended how, in order of the status
    cause          why there is no report; None with one
    error          the same in words; "" with a report
    """

    target: str
    name: str
    verdict: Verdict = Verdict.NONE
    accepted: bool = False
    app_id: str | None = None
    evaluated_at: int | None = None
    bundle_digest: str | None = None
    report_digest: str | None = None
    manifest: str | None = None
    anchor: str | None = None
    weakest: str | None = None
    statuses: tuple[tuple[str, int], ...] = ()
    cause: Cause | None = None
    error: str = ""


class Outcome(Struct, frozen=True):
    """What became of a job: its line, and its report's JSON where the run keeps reports."""

    job: Job
    result: Result
    report: bytes = b""


def judge(asked: Asked, job: Job) -> Outcome:
    """Audit the evidence of one job. Whatever is wrong with it is its result; nothing is raised."""

    def told(report: Report) -> Outcome:
        raw = render_json(report)
        kept = raw if asked.reports else b""
        return Outcome(without_evidence(job), result_of(job, report, raw), kept)

    return audited(asked, job, told)


def audited(asked: Asked, job: Job, told: Callable[[Report], Outcome]) -> Outcome:
    """What is told of the report about one job, else why there is none."""
    try:
        return told(_report(job.asked or asked, job))
    except VerifierError as error:
        return failed(job, Cause.UNREADABLE, error.message)
    except Exception as error:  # noqa: BLE001 - one app's evidence never stops the others
        return failed(job, Cause.CRASHED, f"the audit crashed: {type(error).__name__}: {error}")


def failed(job: Job, cause: Cause, why: str) -> Outcome:
    """The outcome of a job without a report."""
    named = Result(target=masked(job.text), name=masked(job.name), app_id=job.app_id)
    return Outcome(without_evidence(job), replace(named, cause=cause, error=masked(why)))


def lost(job: Job, loss: Loss) -> Outcome:
    """The outcome of a job whose worker died or hung."""
    cause = Cause.TIMED_OUT if loss is Loss.HUNG else Cause.CRASHED
    return failed(job, cause, f"the audit was ended: {loss.value}")


def with_evidence(job: Job) -> Job:
    """A job with its bundle's files, for a worker that cannot read them. Raises EvidenceError."""
    if job.files is not None:
        return job
    return replace(job, files=bundles.read_files(Path(job.path)))


def without_evidence(job: Job) -> Job:
    """A job by what names it."""
    return replace(job, files=None, asked=None)


def line(result: Result) -> bytes:
    """A result as one line of canonical JSON (RFC 8785), with its newline."""
    document: dict[str, JsonValue] = {
        "target": result.target,
        "name": result.name,
        "verdict": result.verdict.value,
        "accepted": result.accepted,
        "requested_app_id": result.app_id,
        "evaluated_at": None if result.evaluated_at is None else format_time(result.evaluated_at),
        "bundle_digest": result.bundle_digest,
        "report_digest": result.report_digest,
        "manifest": result.manifest,
        "anchor": result.anchor,
        "weakest": result.weakest,
        "checks": dict(result.statuses),
        "cause": result.cause.value if result.cause else None,
        "error": result.error,
    }
    return canonical_json(document) + b"\n"


def _report(asked: Asked, job: Job) -> Report:
    where = Path(job.path)
    files = job.files if job.files is not None else bundles.read_files(where)
    bundle = bundles.from_files(files, where)
    question = replace(
        asked.question,
        app_id=job.app_id,
        endpoint=job.endpoint or asked.question.endpoint,
        at=asked.question.at if job.at is None else job.at,
        trusted=job.collected or bundle.digest in asked.vouched,
    )
    target = job.app_id if job.path and job.app_id else job.text
    return Audit(target=target, question=question, bundle=bundle).report(asked.policy)


def result_of(job: Job, report: Report, raw: bytes) -> Result:
    """The line of results about a report, whose JSON is `raw`."""
    weakest = weakest_link(report)
    statuses = Counter(check.status.value for check in worst_subject(report).checks)
    return Result(
        target=masked(job.text),
        name=masked(job.name),
        verdict=report.verdict,
        accepted=report.accepted,
        app_id=report.requested_app_id,
        evaluated_at=report.evaluated_at,
        bundle_digest=report.bundle_digest,
        report_digest=hashlib.sha256(raw).hexdigest(),
        manifest=proven_manifest(report) or None,
        anchor=report.anchor.value if report.anchor else None,
        weakest=weakest.id if weakest else None,
        statuses=tuple(sorted(statuses.items())),
    )
