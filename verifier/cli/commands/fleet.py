"""`verify fleet LIST`: many apps or bundles, each audited as one is."""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.clock import monotonic, now
from verifier.cli.gather import asked_of_any
from verifier.cli.options import Expected, PolicyName, Reach, command
from verifier.cli.output import EXIT_CODES, check_places, write
from verifier.cli.streams import prepare_process, progress, warn
from verifier.errors import UsageError

if TYPE_CHECKING:
    from verifier.evidence.bundle import Bundle
    from verifier.watch.fleet.job import Asked, Job, Outcome, Result
    from verifier.watch.fleet.results import Results
    from verifier.watch.fleet.run import Engine
    from verifier.watch.targets import Listing

EXIT_NONE: Final = 3
_PROCESSES: Final = "processes"
_DASK: Final = "dask://"
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_PORTS: Final = 65535
_MINUTE: Final = 60
_HOUR: Final = 3600
_BETWEEN: Final = 0.2
"""Seconds between two lines of progress."""
_MOST_SAID: Final = 20
"""Lines of a list that are named one by one."""


class FleetFormat(StrEnum):
    """What is written to stdout."""

    TERMINAL = "terminal"
    JSON = "json"


class Spread(Struct, frozen=True, kw_only=True):
    """How the work is spread, as options.

    engine        what judges: processes of this machine, or a Dask cluster
    workers       processes of this machine; None for one on each processor
    side_by_side  apps that are collected at once
    per_host      questions that one server is asked at once
    app_timeout   the seconds that one audit may take
    """

    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="`processes`, or dask://HOST:PORT: whoever runs that cluster makes the verdicts.",
        ),
    ] = _PROCESSES
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes; by default one on each processor."),
    ] = None
    side_by_side: Annotated[
        int, typer.Option(min=1, max=64, help="Apps that are collected at once.")
    ] = 8
    per_host: Annotated[
        int, typer.Option(min=1, max=64, help="Questions that one server is asked at once.")
    ] = 4
    app_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, help="How long judging the evidence of one app may take."
        ),
    ] = 120.0


class Kept(Struct, frozen=True, kw_only=True):
    """What a run keeps, as options; None and False are options that were not given."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RESULTS",
            help="Write a JSON line for each app to this file as it is finished.",
        ),
    ] = None
    resume: Annotated[bool, typer.Option(help="Go on where the file of -o ends.")] = False
    reports: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep each report's JSON, named by its sha256."),
    ] = None
    bundles: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the evidence of each app that was asked for, a .tar named by its digest.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise UsageError where there is nothing to resume."""
        if self.resume and self.output is None:
            raise UsageError("--resume needs the file of results", hint="name it with -o")


class Shown(Struct, frozen=True, kw_only=True):
    """What is written to stdout, as options."""

    form: Annotated[
        FleetFormat,
        typer.Option("--format", help="A table at the end, or lines as they come."),
    ] = FleetFormat.TERMINAL
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The last line alone.")] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="A row for every app, accepted ones too.")
    ] = False


AppList = Annotated[
    str,
    typer.Argument(
        metavar="LIST",
        help="A file with an app, an address or a bundle on each line (- for stdin), or a "
        "directory of bundles.",
    ),
]
VouchFor = Annotated[
    Path | None,
    typer.Option(
        "--vouch-for",
        metavar="FILE",
        help="Digests of the bundles that you vouch for, one on each line.",
    ),
]


@command
def audit_fleet(
    *,
    given: AppList,
    policy: PolicyName = "baseline",
    kept: Kept,
    shown: Shown,
    spread: Spread,
    vouch_for: VouchFor = None,
    reach: Reach,
    expected: Expected,
) -> None:
    """Audit many apps: each as `verify APP_ID` does, with a result of its own.

    One app never stops the others. A line of LIST is what TARGET is of an audit, and then a name
    for people if you like; APP_ID@BUNDLE is an app and its evidence. The file of -o is all that
    --resume needs.

    Examples:

      verify fleet apps.txt -o results.jsonl --reports reports

      verify fleet apps.txt -o results.jsonl --resume

      verify fleet bundles --vouch-for digests.txt --at 2026-03-23T21:17:00Z --format json

    Exit codes: that of the worst app: 0 all are accepted, 5 warning, 3 none, or no report, 4
    contraindicated; 2 usage.
    """
    from verifier.api import known  # noqa: PLC0415 - help needs none of it
    from verifier.cli.fleet_given import digests_vouched, read_list  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.watch.fleet.job import Asked  # noqa: PLC0415
    from verifier.watch.fleet.results import Results, judged_at  # noqa: PLC0415

    check_places(kept.output)
    judged = known(load_policy(policy)).expecting(expected.values)
    listing = read_list(given)
    then = judged_at(kept.output) if kept.resume and kept.output and reach.at is None else None
    asked = Asked(
        question=asked_of_any(reach if then is None else replace(reach, at=then)),
        policy=judged,
        vouched=digests_vouched(vouch_for, reach.trust_bundle),
        reports=kept.reports is not None,
    )
    engine = _engine(spread, asked)
    _say_left_out(given, listing)
    with Results(kept.output, asked, resume=kept.resume) as results:
        for outcome in _outcomes(listing, results, asked, engine, spread, reach, kept):
            _keep_report(outcome, kept.reports)
            raw = results.add(outcome.result)
            if shown.form is FleetFormat.JSON:
                write(raw, None, "the results")
        texts = [item.text for item in listing.refused]
        results.finish([*texts, *(item.text for item in listing.targets)])
    _say_results(tuple(results.found.values()), shown)


def _outcomes(
    listing: "Listing",
    results: "Results",
    asked: "Asked",
    engine: "Engine",
    spread: Spread,
    reach: Reach,
    kept: Kept,
) -> "Iterator[Outcome]":
    """What becomes of every app that has no result yet, as it comes, while progress is shown."""
    from verifier.api import Sources, share_collections  # noqa: PLC0415 - as above
    from verifier.cli.fleet_given import app_of  # noqa: PLC0415
    from verifier.watch.fleet.run import Collecting, run  # noqa: PLC0415

    together = Sources(shared=share_collections(spread.per_host))
    apps = [app_of(item, asked.question, reach, together) for item in listing.targets]
    rest = tuple(item for item in apps if not results.hold(item))
    collecting = Collecting(
        side_by_side=spread.side_by_side, clock=now, at=reach.at, keep=_kept_in(kept.bundles)
    )
    course = _Course(len(rest), monotonic)
    progress(f"{len(rest)} apps to audit")
    try:
        for outcome in chain(_refused(listing), run(rest, engine, collecting)):
            yield outcome
            course.say(outcome)
    except KeyboardInterrupt:
        _say_interrupted(course, kept)
        raise


def _engine(spread: Spread, asked: "Asked") -> "Engine":
    """What judges. Raises UsageError for an engine that there is not."""
    if spread.engine == _PROCESSES:
        from verifier.watch.fleet.job import judge, lost  # noqa: PLC0415
        from verifier.watch.processes import Pool, Work, processors  # noqa: PLC0415

        return Pool(
            Work(run=judge, context=asked, lost=lost, prepare=prepare_process),
            workers=spread.workers or processors(),
            seconds=spread.app_timeout,
            monotonic=monotonic,
        )
    if spread.engine.startswith(_DASK):
        return _cluster(spread, asked)
    raise UsageError(
        f"--engine {spread.engine!a} is no engine", hint=f"{_PROCESSES}, or {_DASK}HOST:PORT"
    )


def _cluster(spread: Spread, asked: "Asked") -> "Engine":
    """A Dask cluster. Raises UsageError where its address is none, or Dask is not installed."""
    address = spread.engine.removeprefix(_DASK)
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[1]) <= _PORTS:
        raise UsageError(
            f"--engine {spread.engine!a}: no address of a scheduler", hint=f"{_DASK}HOST:PORT"
        )
    try:
        from verifier.watch.fleet.cluster import Cluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--engine {spread.engine}: Dask is not installed",
            hint="it is an extra: pip install 'dstack-audit[dask]'",
        ) from error
    return Cluster(
        asked,
        address,
        seconds=spread.app_timeout,
        prepare=prepare_process,
        monotonic=monotonic,
    )


def _refused(listing: "Listing") -> "Iterator[Outcome]":
    """The lines that name no app, as results of their own."""
    from verifier.watch.fleet.job import Cause, Job, failed  # noqa: PLC0415

    for item in listing.refused:
        job = Job(text=item.text, name=item.text)
        yield failed(job, Cause.REFUSED, f"line {item.line}: {item.reason}")


def _say_left_out(given: str, listing: "Listing") -> None:
    """Name the lines that are wrong, or say the same twice."""
    said = [f"line {item.line} names no app: {item.reason}" for item in listing.refused]
    said += [
        f"line {item.line} names the app of line {item.first}, which is audited once"
        for item in listing.repeated
    ]
    for text in said[:_MOST_SAID]:
        warn(f"{given}: {text}")
    if len(said) > _MOST_SAID:
        warn(f"{given}: and {len(said) - _MOST_SAID} more such lines")


class _Course:
    """How far a run has come, said on a terminal a few times a second."""

    def __init__(self, total: int, monotonic: Callable[[], float]) -> None:
        self._total = total
        self._monotonic = monotonic
        self._began = self._said = monotonic()
        self.done = 0
        self._bad = 0

    def say(self, outcome: "Outcome") -> None:
        """Count an outcome, and show where the run is and when it may end."""
        self.done += 1
        self._bad += not outcome.result.accepted
        present = self._monotonic()
        if present - self._said < _BETWEEN:
            return
        self._said = present
        left = max(self._total - self.done, 0) * (present - self._began) / self.done
        progress(
            f"{self.done} of {self._total} audited, {self._bad} not accepted, "
            f"about {_duration(left)} left"
        )


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _say_interrupted(course: _Course, kept: Kept) -> None:
    if kept.output is None:
        warn(f"interrupted: {course.done} apps were audited", "-o FILE would have kept the results")
    else:
        warn(
            f"interrupted: the results of {course.done} apps of this run are in {kept.output}",
            "the same command with --resume goes on",
        )


def _say_results(results: "tuple[Result, ...]", shown: Shown) -> None:
    """Print the table, and end as the worst app does."""
    from verifier.watch.fleet.table import sentence, table, worst  # noqa: PLC0415

    if shown.form is FleetFormat.JSON:
        warn(sentence(results))
    else:
        lines = [sentence(results)] if shown.quiet else table(results, full=shown.verbose)
        write(("\n".join(lines) + "\n").encode(), None, "the table")
    found = worst(results)
    raise typer.Exit(0 if found is None else EXIT_CODES[found.verdict] or EXIT_NONE)


def _keep_report(outcome: "Outcome", folder: Path | None) -> None:
    """Write a report's JSON under its digest, all of it or nothing. Raises UsageError."""
    digest = outcome.result.report_digest
    if folder is None or digest is None:
        return
    path = folder / f"{digest}.json"
    part = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(outcome.report)
        part.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot write the report: {error.strerror or error}",
            hint="what is finished is kept: --resume goes on there",
        ) from error


def _kept_in(folder: Path | None) -> "Callable[[Job, Bundle], None] | None":
    """What keeps a bundle in a folder, under its digest; None where none is kept."""
    if folder is None:
        return None
    from verifier.evidence.bundle import save  # noqa: PLC0415

    def keep(_: "Job", bundle: "Bundle") -> None:
        path = folder / f"{bundle.digest}.tar"
        if not path.exists():
            save(bundle, path)

    return keep
