"""A comparison as GitHub Flavored Markdown: everything in full.

Every string passes `escape.markdown` or `escape.markdown_code`, once.
"""

from collections.abc import Iterator, Sequence

from verifier.report.diff import sentences
from verifier.report.diff.told import ToldChange, ToldComparison, ToldDiff, ToldRow
from verifier.report.escape import markdown, markdown_code


def render_markdown(told: ToldDiff) -> str:
    """The comparison as a Markdown document with a new line at its end."""
    lines = [
        "# Manifest comparison",
        "",
        f"**{sentences.headline(told).capitalize()}.**",
        "",
    ]
    for place, document in enumerate(told.documents):
        lines.append(
            f"- **{sentences.label(place)}**: {markdown_code(sentences.source_of(document))}"
        )
    lines.extend(("", "## Side by side", "", *_table(told.table, len(told.documents))))
    for place, comparison in enumerate(told.comparisons):
        lines.extend(("", *_comparison(comparison, place)))
    return "\n".join(lines) + "\n"


def _table(table: Sequence[ToldRow], count: int) -> Iterator[str]:
    names = " | ".join(sentences.label(place) for place in range(count))
    yield f"| | {names} | |"
    yield f"|---|{'---|' * count}---|"
    for row in table:
        cells = " | ".join(
            "(absent)" if value is None else markdown_code(value) for value in row.values
        )
        yield f"| {markdown(row.label)} | {cells} | {sentences.mark(row)} |"


def _comparison(comparison: ToldComparison, place: int) -> Iterator[str]:
    pair = f"{sentences.label(place)} → {sentences.label(place + 1)}"
    yield f"## {pair}: {sentences.tally(comparison.changes)}"
    for text in comparison.conclusions:
        yield from ("", markdown(text))
    for text in comparison.not_evaluable:
        yield from ("", f"**Not evaluable:** {markdown(text)}")
    if comparison.changes:
        yield from ("", "| Severity | Rule | What | Meaning | Before | After |")
        yield "|---|---|---|---|---|---|"
    yield from (_change(change) for change in comparison.changes)


def _change(change: ToldChange) -> str:
    where = sentences.location(change)
    what = markdown_code(sentences.subject(change)) + (f" ({where})" if where else "")
    before, after = (
        "" if value is None else markdown_code(value) for value in (change.before, change.after)
    )
    cells = (change.severity.value, change.rule, what, markdown(sentences.meaning(change)))
    return f"| {' | '.join((*cells, before, after))} |"
