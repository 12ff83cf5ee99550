"""`verify watch LIST`: what changed, since the last time that somebody looked."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.clock import monotonic, now, pause
from verifier.cli.commands.fleet import VouchFor
from verifier.cli.gather import asked_of_any
from verifier.cli.options import PolicyName, Reach, command
from verifier.cli.output import EXIT_CODES
from verifier.cli.streams import end_progress, prepare_small_process, print_row, progress, warn
from verifier.errors import UsageError
from verifier.model.identifiers import format_time
from verifier.model.result import Verdict

if TYPE_CHECKING:
    from verifier.cli.project_apps import Own
    from verifier.watch.alerts import Alert, Recipient
    from verifier.watch.fleet.job import Asked, Job
    from verifier.watch.fleet.run import Engine
    from verifier.watch.log.notes import SigningKey
    from verifier.watch.observation import Observation
    from verifier.watch.rounds import Watch
    from verifier.watch.targets import Listing

_INTERRUPTED: Final = 130
_BATCH: Final = 32
"""Observations that are appended together, at most: each appending signs a checkpoint."""
_LONGEST: Final = 604_800
_PER_HOST: Final = 4
"""Questions that one server is asked at once."""
_LONGEST_AUDIT: Final = 120.0
"""Seconds that judging the evidence of one app may take."""
_WAIT: Final = 0.05
_WORST: Final = (0, 5, 3, 4)
"""Exit codes from best to worst."""


class AlertFormat(StrEnum):
    """How alerts are printed."""

    TERMINAL = "terminal"
    JSON = "json"


class Kept(Struct, frozen=True, kw_only=True):
    """Where what is observed is kept, as options."""

    log: Annotated[
        Path, typer.Option(metavar="DIR", help="The witness log; made where there is none.")
    ]
    key: Annotated[
        Path | None, typer.Option(help="Key that signs the log: PEM, Ed25519; else its own.")
    ] = None
    log_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of a new log, such as example.org/watch.")
    ] = ""


class Told(Struct, frozen=True, kw_only=True):
    """Who is told what changed, as options."""

    form: Annotated[AlertFormat, typer.Option("--format", help="How alerts are printed.")] = (
        AlertFormat.TERMINAL
    )
    alerts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append alerts here as JSON lines, too.")
    ] = None
    webhook: Annotated[
        str, typer.Option(metavar="URL", help="Send each alert here, too, signed.")
    ] = ""
    webhook_key: Annotated[
        str,
        typer.Option(metavar="SECRET", help="A file with the webhook's secret, or whsec_…."),
    ] = ""
    program: Annotated[
        str,
        typer.Option("--exec", metavar="COMMAND", help="Run this for each alert, JSON on stdin."),
    ] = ""


class Rhythm(Struct, frozen=True, kw_only=True):
    """How often is looked, and how often in vain until that is said, as options."""

    once: Annotated[bool, typer.Option("--once", help="One round, as from cron.")] = False
    interval: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=1, max=_LONGEST, help="From round to round."),
    ] = 3600
    misses: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1000, help="Misses in a row until that is told."),
    ] = 3


class Spread(Struct, frozen=True, kw_only=True):
    """How the work of a round is spread, as options."""

    side_by_side: Annotated[
        int, typer.Option(min=1, max=64, help="Apps that are collected at once.")
    ] = 8
    workers: Annotated[
        int,
        typer.Option(min=0, max=256, help="Processes that judge; 0: this one, with no other."),
    ] = 1


@command
def watch_apps(
    *,
    context: typer.Context,
    listed: Annotated[
        str,
        typer.Argument(metavar="LIST", help="Apps, one a line, or a dstack-audit.toml with apps."),
    ],
    kept: Kept,
    rhythm: Rhythm,
    told: Told,
    spread: Spread,
    policy: PolicyName = "baseline",
    vouch_for: VouchFor = None,
    reach: Reach,
) -> None:
    """Audit apps again and again, log what is observed, and tell what changed.

    Each round audits every app of LIST. What an audit proved goes into the witness log, an
    append-only Merkle tree whose checkpoints are signed, and is compared with what was proven of
    the app before. Changes are printed, and told to whom the options name. An alert that nobody
    took is told again in the next round. Without evidence, nothing is said to have changed: an
    outage is told once, after some misses in a row, and so is its end.

    Examples:

      verify watch apps.txt --log watch-log

      verify watch apps.txt --log watch-log --once --alerts alerts.jsonl

      verify watch dstack-audit.toml --log watch-log --webhook https://hooks.example/tee

      verify watch apps.txt --log watch-log --exec "notify-send --urgency critical"

    Exit codes: 0 stopped, or with --once every app is accepted; 2 usage; else with --once the worst
    of all apps: 3 none, or an alert that nobody took, 4 contraindicated, 5 warning.
    """
    from verifier.api import known  # noqa: PLC0415 - help needs none of it
    from verifier.cli.fleet_given import digests_vouched  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.watch.fleet.job import Asked  # noqa: PLC0415
    from verifier.watch.rounds import watching  # noqa: PLC0415

    asked = Asked(
        question=asked_of_any(reach),
        policy=known(load_policy(policy)),
        vouched=digests_vouched(vouch_for, reach.trust_bundle),
    )
    listing, own = _apps_of(context, listed, asked, reach)
    audit = _Audit(asked, listing, reach, spread, own)
    key = _signing_key(kept)
    who = _recipients(told, key)
    try:
        with _stopped() as stop, watching(kept.log, key, who, rhythm.misses) as watch:
            code = _rounds(watch, audit, rhythm, stop)
    except KeyboardInterrupt:
        end_progress()
        warn("stopped: what was observed is in the log")
        raise typer.Exit(_INTERRUPTED if rhythm.once else 0) from None
    raise typer.Exit(_worse(code, EXIT_CODES[Verdict.NONE]) if listing.refused else code)


def _apps_of(
    context: typer.Context, listed: str, asked: "Asked", reach: Reach
) -> "tuple[Listing, Mapping[str, Own]]":
    """The apps of the list, and what is asked of those that have settings of their own."""
    from verifier.cli.lists import watched_apps  # noqa: PLC0415 - help needs none of it
    from verifier.cli.project_apps import asked_of_each  # noqa: PLC0415

    listing, project = watched_apps(listed)
    return listing, {} if project is None else asked_of_each(context, project, asked, reach)


def _rounds(watch: "Watch", audit: "_Audit", rhythm: Rhythm, stop: "_Stop") -> int:
    """One round, and its exit code; or rounds without an end."""
    while True:
        began = now()
        code = _round(watch, audit.outcomes(), stop)
        if rhythm.once:
            return code
        pause(began + rhythm.interval - now())


class _Audit:
    """One audit of every app, again and again. Raises UsageError for an option that an app of the
    list contradicts."""

    def __init__(
        self,
        asked: "Asked",
        listing: "Listing",
        reach: Reach,
        spread: Spread,
        own: "Mapping[str, Own]",
    ) -> None:
        from verifier.api import Sources, share_collections  # noqa: PLC0415
        from verifier.cli.fleet_given import app_of  # noqa: PLC0415
        from verifier.watch.fleet.run import Collecting, Live  # noqa: PLC0415

        self._asked = asked
        self._at = reach.at
        together = Sources(shared=share_collections(_PER_HOST))
        apps: list[Job | Live] = []
        for item in listing.targets:
            found = own.get(item.text)
            if found is None:
                apps.append(app_of(item, asked.question, reach, together))
                continue
            app = app_of(item, found.asked.question, found.reach, together)
            if isinstance(app, Live):
                app = replace(app, job=replace(app.job, asked=found.asked))
            apps.append(app)
        self._apps = tuple(apps)
        self._collecting = Collecting(side_by_side=spread.side_by_side, clock=now, at=reach.at)
        self._workers = spread.workers

    def outcomes(self) -> "Iterator[Observation]":
        """What is observed of each app, as it comes."""
        from verifier.watch.fleet.run import run  # noqa: PLC0415
        from verifier.watch.look import observed  # noqa: PLC0415

        present = now() if self._at is None else self._at
        asked = replace(self._asked, question=replace(self._asked.question, at=present))
        for done, outcome in enumerate(run(self._apps, self._engine(asked), self._collecting), 1):
            yield observed(outcome, asked, now() if self._at is None else self._at)
            progress(f"{done} of {len(self._apps)} audited")

    def _engine(self, asked: "Asked") -> "Engine":
        from verifier.watch.fleet.job import lost  # noqa: PLC0415
        from verifier.watch.look import Here, look  # noqa: PLC0415
        from verifier.watch.processes import Pool, Work  # noqa: PLC0415

        if not self._workers:
            return Here(asked, lambda: pause(_WAIT))
        return Pool(
            Work(run=look, context=asked, lost=lost, prepare=prepare_small_process),
            workers=self._workers,
            seconds=_LONGEST_AUDIT,
            monotonic=monotonic,
        )


def _round(watch: "Watch", observations: "Iterator[Observation]", stop: "_Stop") -> int:
    """Audit every app once; the worst exit code. What was observed is kept if that ends early."""
    with stop.held():
        watch.begin_round()
    code, batch = 0, list["Observation"]()
    try:
        for item in observations:
            batch.append(item)
            code = _worse(code, _code(item))
            if len(batch) == _BATCH:
                full, batch = batch, []
                with stop.held():
                    watch.take(full)
    finally:
        with stop.held():
            watch.take(batch)
    for name, error in watch.refused.items():
        warn(f"{name}: {error.message}", f"{watch.waiting} alerts wait for the next round")
    return _worse(code, EXIT_CODES[Verdict.NONE]) if watch.refused else code


def _code(observation: "Observation") -> int:
    if observation.accepted:
        return 0
    known = {item.value: code for item, code in EXIT_CODES.items()}
    return known.get(observation.verdict, 0) or EXIT_CODES[Verdict.NONE]


def _worse(one: int, other: int) -> int:
    return max(one, other, key=_WORST.index)


def _signing_key(kept: Kept) -> "SigningKey":
    """The key that signs the log: the user's, else one of its own, made where there is none."""
    from verifier.cli.files import read_file  # noqa: PLC0415
    from verifier.watch.log import files, notes  # noqa: PLC0415
    from verifier.watch.log.reader import CHECKPOINT, MAX_CHECKPOINT_BYTES  # noqa: PLC0415
    from verifier.watch.log.writer import LOCK, PRIVATE, VERIFIER_KEY  # noqa: PLC0415

    def there(path: Path) -> bool:
        return files.get(path, MAX_CHECKPOINT_BYTES) is not None

    own, named, name = kept.log / PRIVATE / "log.key", kept.key, kept.log_name
    if named is None and not there(own) and there(kept.log / CHECKPOINT):
        raise UsageError(
            f"{own}: the key that signs this log is not there",
            hint="put it back, or name it with --key; for a new log, name a new directory",
        )
    if named is None and not there(own):
        with files.locked(own.with_name(LOCK)):
            if not there(own):
                files.put(own, notes.new_key(), private=True)
    pem = read_file(named or own)
    private = notes.read_private_key(pem, str(named or own))
    beside = files.get(kept.log / VERIFIER_KEY, MAX_CHECKPOINT_BYTES)
    if not name and beside is not None:
        name = notes.parse_verifier_key(beside.decode("utf-8", "replace")).name
    return notes.SigningKey(name or notes.default_name(private), private)


def _recipients(told: Told, signing: "SigningKey") -> "list[Recipient]":
    """Who is told, as the options say. Raises UsageError."""
    from verifier.cli import recipients  # noqa: PLC0415
    from verifier.cli.target import split_url  # noqa: PLC0415

    printed = _print_json if told.form is AlertFormat.JSON else _print
    found: list[Recipient] = [recipients.Printed(printed)]
    if told.alerts is not None:
        found.append(recipients.Lines(told.alerts))
    if told.webhook and not told.webhook_key:
        raise UsageError(
            "--webhook needs a secret: who receives an alert has to know whose it is",
            hint="give --webhook-key FILE, or VERIFY_WEBHOOK_KEY",
        )
    if told.webhook:
        split_url(told.webhook, "--webhook")
        secret = recipients.webhook_secret(told.webhook_key)
        found.append(recipients.Webhook(told.webhook, secret, signing.verifier.name, now))
    if told.program:
        found.append(recipients.Program(told.program))
    return found


def _print(alert: "Alert") -> None:
    change = alert.change
    print_row(f"{format_time(alert.time)}  {change.severity.value:8}  ", alert.text)


def _print_json(alert: "Alert") -> None:
    from verifier.cli.output import json_for  # noqa: PLC0415
    from verifier.cli.streams import write_stdout  # noqa: PLC0415
    from verifier.watch.alerts import encode  # noqa: PLC0415

    write_stdout(json_for(encode(alert) + b"\n", to_terminal=True))


class _Stop:
    """Ctrl-C and SIGTERM: the watch ends by KeyboardInterrupt, but not between the log and what
    follows from it. A second one ends it there, too."""

    def __init__(self) -> None:
        self._held = False
        self._asked = False

    def __call__(self, *_: object) -> None:
        if not self._held or self._asked:
            raise KeyboardInterrupt
        self._asked = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing stop what is done here; it ends after it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked:
            raise KeyboardInterrupt


@contextmanager
def _stopped() -> Iterator[_Stop]:
    """What ends the watch."""
    stop = _Stop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
