"""The results of a fleet for people: a row for each app that is not accepted, and one sentence."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from verifier.model.identifiers import format_time
from verifier.model.result import VERDICT_ORDER, Verdict
from verifier.report.escape import visible
from verifier.watch.fleet.job import Result

_MOST_ROWS: Final = 60
_NAME: Final = 44
_VERDICT: Final = 15
_MANIFEST: Final = 8


def worst(results: Iterable[Result]) -> Result | None:
    """The result that decides how the whole run ends; None where every app is accepted. An app
    without a report weighs as much as one without a verdict."""
    refused = [item for item in results if not item.accepted]
    return max(refused, key=lambda item: VERDICT_ORDER.index(item.verdict), default=None)


def table(results: Iterable[Result], *, full: bool) -> Iterator[str]:
    """Lines that are safe to print: the worst apps first, accepted ones too where it is `full`."""
    found = sorted(results, key=lambda item: (item.accepted, -VERDICT_ORDER.index(item.verdict)))
    shown = [item for item in found if full or not item.accepted]
    shown = shown if full else shown[:_MOST_ROWS]
    if shown:
        yield f"{'APP':{_NAME}} {'VERDICT':{_VERDICT}} {'MANIFEST':{_MANIFEST}} WHY"
    yield from map(_row, shown)
    more = sum(not item.accepted for item in found) - len(shown)
    if more > 0:
        yield f"and {more} more that are not accepted: -v shows all"
    if shown:
        yield ""
    yield sentence(found)


def sentence(results: Iterable[Result]) -> str:
    """How many apps came to what, in one line."""
    results = tuple(results)
    counts = Counter(item.verdict for item in results if item.cause is None)
    parts = [f"{counts[item]} {item.value}" for item in VERDICT_ORDER if counts[item]]
    parts += [
        f"{count} {cause.value} without a report"
        for cause, count in sorted(Counter(item.cause for item in results if item.cause).items())
    ]
    accepted = sum(item.accepted for item in results)
    anchors = sorted({item.anchor for item in results if item.anchor})
    marks = "".join(f" [{item}]" for item in anchors)
    noun = "app" if len(results) == 1 else "apps"
    return f"{len(results)} {noun}{marks}: {', '.join(parts)}; {accepted} accepted"


def _row(result: Result) -> str:
    name = visible(result.name)
    shown = name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
    verdict = result.verdict.value if result.cause is None else result.cause.value
    mark = f" [{result.anchor}]" if result.anchor else ""
    manifest = (result.manifest or "-")[:_MANIFEST]
    return f"{shown:{_NAME}} {verdict:{_VERDICT}} {manifest:{_MANIFEST}} {_why(result)}{mark}"


def _why(result: Result) -> str:
    if result.error:
        return visible(result.error)
    if result.verdict is Verdict.AFFIRMING and result.accepted:
        return f"as of {format_time(result.evaluated_at or 0)}"
    return f"weakest link: {result.weakest}" if result.weakest else "not accepted by the policy"
