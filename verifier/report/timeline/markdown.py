"""A timeline as GitHub Flavored Markdown, for publishing: everything in full.

Every string goes through `escape.markdown` (prose) or `escape.markdown_code` (values); what stands
outside of those two is fixed text of this module, numbers, and links to explorers. The diagram's
labels are fixed text and hex digits.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from verifier.model.timeline import Governance, Timeline
from verifier.report import pending
from verifier.report.escape import markdown, markdown_code
from verifier.report.timeline import sentences, witnessed
from verifier.report.timeline.gantt import gantt
from verifier.report.timeline.overview import (
    Row,
    allowed_now,
    as_of,
    authority,
    authority_details,
    concerns,
    coverage_words,
    standing,
    stands_out,
    who_can_change,
    windows,
)
from verifier.report.timeline.sentences import Group, Narrator
from verifier.report.words import TIMELINE_WORDS, explained

_ALARM: Final = "**"


def render_markdown(timeline: Timeline) -> str:
    """The timeline as a Markdown document with a newline at the end."""
    sections = (
        _header(timeline),
        _overview(timeline),
        gantt(timeline),
        _events(timeline),
        _ahead(timeline),
        _windows(timeline),
        _owners(timeline),
        _witness(timeline),
        _coverage(timeline),
        _notes(timeline),
        _words(),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def _witness(timeline: Timeline) -> Iterator[str]:
    if timeline.witness is not None:
        yield from ("## What an auditor saw", "")
        yield from witnessed.markdown_section(timeline.witness)


def _words() -> Iterator[str]:
    yield from ("## Words", "")
    yield from _table(("word", "means"), explained(TIMELINE_WORDS))


def _header(timeline: Timeline) -> Iterator[str]:
    yield "# Timeline: who could run what, and who could change it"
    for row in standing(timeline):
        kind = "CAUTION" if row.alarm else "NOTE"
        yield from ("", f"> [!{kind}]", f"> **{row.label}:** {markdown(row.text)}")
    yield ""
    rows = (
        ("App id", markdown_code(timeline.app_id)),
        ("App", f"{markdown_code(timeline.app)} on chain {timeline.chain_id}"),
        ("KMS", markdown_code(timeline.kms)),
        ("As of", markdown(as_of(timeline))),
        ("Block hash", markdown_code(timeline.as_of.hash)),
    )
    yield from _table(("", ""), rows)


def _overview(timeline: Timeline) -> Iterator[str]:
    hedge = "" if timeline.complete else ", as far as the events are here"
    when = "is allowed now" if timeline.on is None else "was allowed then"
    yield f"**What {when}**{hedge}"
    yield from _list(allowed_now(timeline))
    yield from ("", "**Who can change it, and how fast**")
    yield from _list(who_can_change(timeline))
    found = concerns(timeline)
    yield from ("", f"**What stands out**: {stands_out(timeline)}")
    if found:
        yield ""
    yield from (f"- {markdown(text)}" for text in found)


def _list(rows: Iterable[Row]) -> Iterator[str]:
    yield ""
    for row in rows:
        mark = _ALARM if row.alarm and row.label else ""
        label = f"{mark}{row.label}{mark}: " if row.label else ""
        yield f"{'' if row.label else '  '}- {label}{markdown(row.text)}"


def _events(timeline: Timeline) -> Iterator[str]:
    yield "## Events"
    yield ""
    groups = Narrator(timeline).groups()
    if not groups:
        yield "No event was found."
        return
    yield "Oldest first, times in UTC; the events of one transaction stand together."
    yield ""
    narrator = Narrator(timeline)
    rows = [row for group in groups for row in _group(timeline, narrator, group)]
    yield from _table(("Time", "Block", "Contract", "What happened", "Transaction"), rows)


def _group(timeline: Timeline, narrator: Narrator, group: Group) -> Iterator[tuple[str, ...]]:
    first = group.first
    moment = markdown(sentences.when(first.time)) if first.time is not None else "not known"
    final = " **not final**" if first.provisional else ""
    by = f" sent by {markdown_code(first.sender)}" if first.sender else ""
    where = (moment, f"{first.place.block}{final}")
    sent = f"{_transaction(timeline, first.transaction)}{by}"
    for event in group.events:
        yield (*where, sentences.contract(event), markdown(narrator.sentence(event)), sent)
        where, sent = ("", ""), ""
    if group.creates_app:
        for text in narrator.silent():
            yield ("", "", "app", f"**silently:** {markdown(text)}", "")


def _transaction(timeline: Timeline, transaction: str) -> str:
    link = sentences.transaction_link(timeline, transaction)
    return f"[{markdown_code(transaction)}]({link})" if link else markdown_code(transaction)


def _ahead(timeline: Timeline) -> Iterator[str]:
    said = pending.about_to_change(timeline.pending, timeline.outlook)
    if said:
        yield from (f"## {pending.TITLE}", "")
    yield from (f"- {markdown(text)}" for text in said)


def _windows(timeline: Timeline) -> Iterator[str]:
    found = windows(timeline)
    if not found:
        return
    yield from ("## Windows of exposure", "")
    rows = (
        (
            markdown(sentences.period_words(item.since, item.until, timeline.on)),
            item.kind.value,
            markdown_code(item.subject) if item.subject else "",
            markdown(item.words),
        )
        for item in found
    )
    yield from _table(("When", "What", "About", "In words"), rows)


def _owners(timeline: Timeline) -> Iterator[str]:
    if not timeline.governance:
        return
    yield from ("## In control over time", "")
    rows = (
        (
            sentences.ROLES[item.role],
            markdown(sentences.period_words(item.since_time, item.until_time, timeline.on)),
            markdown(authority(item)),
            markdown("; ".join(_behind(item))),
        )
        for item in timeline.governance
    )
    yield from _table(("Contract", "When", "Who", "Behind it"), rows)


def _behind(period: Governance) -> Iterator[str]:
    yield from authority_details(period)
    yield from period.remarks


def _coverage(timeline: Timeline) -> Iterator[str]:
    yield from ("## How this is known", "")
    if not timeline.coverage:
        yield "Nothing says how these events were found."
        return
    rows = []
    for item in timeline.coverage:
        state = "complete" if item.complete else "**NOT COMPLETE**"
        said = (
            (f"{row.label}: {row.text}" if row.label else row.text) for row in coverage_words(item)
        )
        cells = (sentences.ROLES[item.role], markdown_code(item.address), state)
        rows.append((*cells, markdown("; ".join(said))))
    yield from _table(("Contract", "Address", "", "How"), rows)


def _notes(timeline: Timeline) -> Iterator[str]:
    if timeline.notes:
        yield from ("## Notes", "")
    yield from (f"- {markdown(note)}" for note in timeline.notes)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
