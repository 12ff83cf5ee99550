"""`verify publish DIR -o SITE`: reports as a site that anybody can serve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.clock import monotonic
from verifier.cli.files import walked_files
from verifier.cli.options import At, command
from verifier.cli.question import plain_url
from verifier.cli.streams import prepare_process, warn, write_stdout
from verifier.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verifier.watch.publish.pages import Page, Rendered
    from verifier.watch.publish.site import Published

EXIT_NOT_SHOWN: Final = 3
_FEW: Final = 40
"""Pages that are rendered before other processes would have started."""
_SECONDS: Final = 60.0
_MOST_SAID: Final = 20


@command
def publish_site(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of reports: JSON, at any depth.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="SITE", help="The folder of the site: new, or written before."
        ),
    ],
    title: Annotated[str, typer.Option(help="What the site is called.")] = "dstack audits",
    base_url: Annotated[
        str,
        typer.Option(metavar="URL", help="Where the site will stand, for the feeds' addresses."),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes; by default one on each processor."),
    ] = None,
    at: At,
) -> None:
    """Publish reports as a static site: all apps, their history, what changed, feeds.

    Reports are shown as their authors wrote them; nothing in them is verified again. Those that
    their policies no longer rely on, at the present or `--at`, are grey. Only what changed is
    written, and all of it at once: a run that breaks leaves the site as it was.

    Examples:

      verify fleet apps.txt -o results.jsonl --reports reports

      verify publish reports -o site --title "Our apps" --base-url https://audits.example.org/

    Exit codes: 0 all reports are on the site, 3 some cannot be shown, which the index names; 2
    usage.
    """
    from verifier.report.site.pages import Site  # noqa: PLC0415 - help needs none of it
    from verifier.watch.publish.site import publish  # noqa: PLC0415

    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", hint="name one with reports in it")
    if next(walked_files(folder), None) is None:
        # A folder that was not mounted, or not filled, would take every page off the site.
        raise UsageError(f"{folder}: there is no file in it", hint="name one with reports in it")
    base = plain_url(base_url, "--base-url").rstrip("/") + "/" if base_url else ""
    site = Site(title=title, published_at=at, base=base)

    def render(wanted: "tuple[Page, ...]") -> "Iterator[Rendered]":
        return _rendered(wanted, workers)

    done = publish(folder, output, site, render)
    _say(done, output)
    raise typer.Exit(EXIT_NOT_SHOWN if done.not_shown else 0)


def _rendered(wanted: "tuple[Page, ...]", workers: int | None) -> "Iterator[Rendered]":
    """Pages, in other processes where there are many."""
    from verifier.watch.processes import Pool, Work, processors  # noqa: PLC0415 - as above
    from verifier.watch.publish.pages import lost_page, render_page  # noqa: PLC0415

    count = workers or processors()
    if len(wanted) < _FEW or count == 1:
        yield from (render_page(None, page) for page in wanted)
        return
    work = Work(run=render_page, context=None, lost=lost_page, prepare=prepare_process)
    pool = Pool(work, workers=count, seconds=_SECONDS, monotonic=monotonic)
    yield from pool.run(iter(wanted))


def _say(done: "Published", output: Path) -> None:
    for item in done.not_shown[:_MOST_SAID]:
        warn(f"not shown: {item.name}: {item.why}")
    if len(done.not_shown) > _MOST_SAID:
        warn(f"and {len(done.not_shown) - _MOST_SAID} more that are not shown: the index names all")
    text = (
        f"{output}: {done.reports} reports of {done.apps} apps, {len(done.not_shown)} not shown; "
        f"{done.written} files written, {done.removed} removed\n"
    )
    from verifier.report.escape import visible  # noqa: PLC0415

    write_stdout((visible(text.rstrip()) + "\n").encode("utf-8", "backslashreplace"))
