"""`verify timeline TARGET`: who could run what, when, and who could change it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec.structs import replace

from verifier.cli.clock import moment
from verifier.cli.commands.log import LogKey, verifier_key
from verifier.cli.gather import gather
from verifier.cli.options import BundlePath, Output, Reach, Save, Target, command
from verifier.cli.output import check_places, json_for, save_bundle, write
from verifier.cli.streams import terminal_width, uses_color
from verifier.errors import MissingEvidence, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from verifier.api import Audit, Question
    from verifier.model.timeline import Timeline
    from verifier.model.witness import WitnessHistory
    from verifier.watch.log.notes import VerifierKey

EXIT_INCOMPLETE: Final = 3
_TIMEOUT: Final = 3600.0
"""Seconds that a first reading of years of blocks may take; what was read is kept meanwhile."""


class TimelineFormat(StrEnum):
    """How a timeline is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"


On = Annotated[
    str, typer.Option(metavar="TIME", help="Show how things stood at this time (RFC 3339).")
]
Log = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The witness log of a watch: what it saw is told, too."),
]


@command
def show_timeline(
    *,
    target: Target,
    form: Annotated[
        TimelineFormat, typer.Option("--format", help="How to write it.")
    ] = TimelineFormat.TERMINAL,
    output: Output = None,
    save: Save = None,
    bundle: BundlePath = None,
    on: On = "",
    log: Log = None,
    log_key: LogKey = "",
    reach: Reach,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Everything, and nothing shortened.")
    ] = 0,
) -> None:
    """Show the history of an app's contracts: what was allowed when, and who could change it.

    Every log of the app's contract and of its KMS is read from the chain, held against what the
    contracts hold now, and crossed with what the app runs. Logs of finalized blocks are kept for
    the next time. An app without a public log has the history that a witness log holds.

    Examples:

      verify timeline APP_ID

      verify timeline APP_ID --on 2026-03-01

      verify timeline APP_ID --format markdown -o history.md --manifests ./manifests

      verify timeline APP_ID --log watch-log --log-key log.vkey

      verify timeline ./evidence --trust-bundle sha256:DIGEST --format csv

    Exit codes: 0 complete, 2 usage, 3 incomplete, disputed, by unknown code, or without evidence,
    4 contradicted.
    """
    from verifier.api import Past  # noqa: PLC0415

    check_places(output, save)
    past = moment(on, "--on") if on else None
    key = None if log is None else verifier_key(log, log_key)
    audit = gather(target, reach, past=Past.GATEWAY, bundle=bundle, timeout=_TIMEOUT, save=save)
    unsaved = save_bundle(audit.bundle, save)
    seen = None if log is None or key is None else _seen(log, key, audit.question, past)
    raw, code = _told(
        audit,
        past,
        seen,
        lambda item: render(item, form, verbose, to_terminal=output is None),
        form,
    )
    write(raw, output, "the timeline")
    if unsaved is not None:
        raise unsaved
    raise typer.Exit(code)


def exit_code(timeline: "Timeline") -> int:
    """0 for a complete history of known code, 4 for a contradicted one, else 3."""
    if any(item.problems for item in timeline.coverage):
        return 4
    known = timeline.app_state.continuous and timeline.kms_state.continuous
    return 0 if timeline.complete and known else EXIT_INCOMPLETE


def _seen(
    log: Path, key: "tuple[VerifierKey, bool]", question: "Question", on: int | None
) -> "WitnessHistory":
    """What a witness log says of the app in question. Raises UsageError, EvidenceError."""
    from verifier.watch.history import read_history, up_to  # noqa: PLC0415

    if question.app_id is None:
        raise UsageError("--log needs an app id", hint="name the app, and the bundle by --bundle")
    anchor = question.reference.anchor
    history = read_history(
        log, key[0], question.app_id, named=key[1], anchor=anchor.value if anchor else ""
    )
    return up_to(history, question.at if on is None else on)


def _told(
    audit: "Audit",
    on: int | None,
    seen: "WitnessHistory | None",
    render: "Callable[[Timeline], bytes]",
    form: TimelineFormat,
) -> tuple[bytes, int]:
    """The history of the app's contracts, with what was seen; that alone where there is no other.
    What is written, and the exit code. Raises MissingEvidence where there is neither."""
    from verifier.watch.history import sightings  # noqa: PLC0415

    if seen is None:
        timeline = audit.timeline(on)
        return render(timeline), exit_code(timeline)
    question = audit.question
    question = replace(question, sightings=(*question.sightings, *sightings(seen)))
    try:
        timeline = replace(audit, question=question).timeline(on)
    except MissingEvidence as error:
        if not seen.periods:
            raise
        return _render_seen(seen, error.message, form), EXIT_INCOMPLETE
    timeline = replace(timeline, witness=seen)
    return render(timeline), exit_code(timeline)


def _render_seen(seen: "WitnessHistory", reason: str, form: TimelineFormat) -> bytes:
    from verifier.report.timeline import witnessed  # noqa: PLC0415

    if form is TimelineFormat.JSON:
        return witnessed.render_json(seen, reason)
    if form is TimelineFormat.CSV:
        return witnessed.render_csv(seen).encode("utf-8")
    if form is TimelineFormat.MARKDOWN:
        return witnessed.render_markdown(seen, reason).encode("utf-8")
    return witnessed.render_text(seen, reason).encode("utf-8")


def render(timeline: "Timeline", form: TimelineFormat, verbose: int, *, to_terminal: bool) -> bytes:
    """A timeline in a form."""
    if form is TimelineFormat.JSON:
        from verifier.report.timeline.json import render_json  # noqa: PLC0415

        return json_for(render_json(timeline), to_terminal=to_terminal)
    if form is TimelineFormat.MARKDOWN:
        from verifier.report.timeline.markdown import render_markdown  # noqa: PLC0415

        return render_markdown(timeline).encode("utf-8")
    if form is TimelineFormat.CSV:
        from verifier.report.timeline.csv import render_csv  # noqa: PLC0415

        return render_csv(timeline).encode("utf-8")
    from verifier.report.timeline.terminal import render_terminal  # noqa: PLC0415

    color = to_terminal and uses_color()
    text = render_terminal(timeline, color=color, width=terminal_width(), verbose=verbose)
    return text.encode("utf-8")
