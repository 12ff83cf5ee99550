"""`verify timeline TARGET`: who could run what, when, and who could change it."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.gather import (
    Endpoints,
    Explorers,
    Gateways,
    Manifests,
    NamedKms,
    NoCache,
    Pccs,
    Reach,
    TrustBundle,
    UnsafeRoot,
    gather,
    log_cache,
)
from verifier.cli.output import json_for, terminal_width, uses_color, write

if TYPE_CHECKING:
    from verifier.timeline.model import Timeline

EXIT_INCOMPLETE: Final = 3
_PATIENCE: Final = 3600.0
"""Seconds that a first reading of years of blocks may take; what was read is kept meanwhile."""


class TimelineFormat(StrEnum):
    """How a timeline is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"


def show_timeline(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="App id, metadata URL, Trust Center URL, domain or bundle."
        ),
    ],
    form: Annotated[
        TimelineFormat, typer.Option("--format", help="How to write it.")
    ] = TimelineFormat.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Keep the evidence bundle: a new directory, or a .tar.")
    ] = None,
    manifests: Manifests = None,
    no_cache: NoCache = False,
    on: Annotated[
        str, typer.Option(metavar="TIME", help="Show how things stood at this time (RFC 3339).")
    ] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="Judge as of this time (RFC 3339).")] = "",
    trust_bundle: TrustBundle = "",
    gateway: Gateways = None,
    rpc_url: Endpoints = None,
    explorer_url: Explorers = None,
    kms: NamedKms = "",
    pccs_url: Pccs = "",
    unsafe_root: UnsafeRoot = None,
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

    Exit codes: 0 complete, 2 usage, 3 incomplete, by unknown code, or without evidence, 4
    contradicted.
    """
    from verifier.audit import app_timeline  # noqa: PLC0415
    from verifier.cli.question import moment, save_bundle  # noqa: PLC0415
    from verifier.collection import Past  # noqa: PLC0415

    gathered = gather(
        target,
        Reach(
            at=moment(at) if at else int(time.time()),
            gateways=tuple(gateway or ()),
            rpc_urls=tuple(rpc_url or ()),
            explorer_urls=tuple(explorer_url or ()),
            kms=kms,
            pccs_url=pccs_url,
            unsafe_root=unsafe_root,
            trust_bundle=trust_bundle,
            manifests=manifests,
            log_cache=None if no_cache else log_cache(),
            past=Past.GATEWAY,
            patience=_PATIENCE,
        ),
    )
    unsaved = save_bundle(gathered.bundle, save)
    past = moment(on, "--on") if on else None
    timeline = app_timeline(gathered.bundle, gathered.question, past)
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
        from verifier.report.timeline_json import render_json  # noqa: PLC0415

        return json_for(render_json(timeline), to_terminal=to_terminal)
    if form is TimelineFormat.MARKDOWN:
        from verifier.report.timeline_markdown import render_markdown  # noqa: PLC0415

        return render_markdown(timeline).encode("utf-8")
    if form is TimelineFormat.CSV:
        from verifier.report.timeline_csv import render_csv  # noqa: PLC0415

        return render_csv(timeline).encode("utf-8")
    from verifier.report.timeline_terminal import render_terminal  # noqa: PLC0415

    color = to_terminal and uses_color()
    text = render_terminal(timeline, color=color, width=terminal_width(), verbose=verbose)
    return text.encode("utf-8")
