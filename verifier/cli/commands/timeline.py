"""`verify timeline TARGET`: who could run what, when, and who could change it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.clock import moment
from verifier.cli.gather import gather
from verifier.cli.options import BundlePath, Output, Reach, Save, Target, command
from verifier.cli.output import check_places, json_for, save_bundle, write
from verifier.cli.streams import terminal_width, uses_color

if TYPE_CHECKING:
    from verifier.model.timeline import Timeline

EXIT_INCOMPLETE: Final = 3
_TIMEOUT: Final = 3600.0
"""Seconds that a first reading of years of blocks may take; what was read is kept meanwhile."""


class TimelineFormat(StrEnum):
    """How a timeline is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"


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
    on: Annotated[
        str, typer.Option(metavar="TIME", help="Show how things stood at this time (RFC 3339).")
    ] = "",
    reach: Reach,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Everything, and nothing shortened.")
    ] = 0,
) -> None:
    """Show the history of an app's contracts: what was allowed when, and who could change it.

    Every log of the app's contract and of its KMS is read from the chain, held against what the
    contracts hold now, and crossed with what the app runs. Logs of finalized blocks are kept for
    the next time.

    Examples:

      verify timeline APP_ID

      verify timeline APP_ID --on 2026-03-01

      verify timeline APP_ID --format markdown -o history.md --manifests ./manifests

      verify timeline ./evidence --trust-bundle sha256:DIGEST --format csv

    Exit codes: 0 complete, 2 usage, 3 incomplete, disputed, by unknown code, or without evidence,
    4 contradicted.
    """
    from verifier.api import Past  # noqa: PLC0415

    check_places(output, save)
    past = moment(on, "--on") if on else None
    audit = gather(target, reach, past=Past.GATEWAY, bundle=bundle, timeout=_TIMEOUT, save=save)
    unsaved = save_bundle(audit.bundle, save)
    timeline = audit.timeline(past)
    raw = _render(timeline, form, verbose, to_terminal=output is None)
    write(raw, output, "the timeline")
    if unsaved is not None:
        raise unsaved
    raise typer.Exit(exit_code(timeline))


def exit_code(timeline: "Timeline") -> int:
    """0 for a complete history of known code, 4 for a contradicted one, else 3."""
    if any(item.problems for item in timeline.coverage):
        return 4
    known = timeline.app_state.continuous and timeline.kms_state.continuous
    return 0 if timeline.complete and known else EXIT_INCOMPLETE


def _render(
    timeline: "Timeline", form: TimelineFormat, verbose: int, *, to_terminal: bool
) -> bytes:
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
