"""A timeline for a terminal: what is allowed, by whom and what is wrong; then what happened.

Text reaches Rich only as `Text`, never as markup, and only through `escape.visible`. Hashes and
addresses are shortened in sentences to starts that no other one in the timeline shares.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from rich.text import Text

from verifier.model.chain import Role
from verifier.model.timeline import Exposure, Timeline
from verifier.patterns import pattern
from verifier.report import pending
from verifier.report.page import Page
from verifier.report.timeline import sentences, witnessed
from verifier.report.timeline.json import render_json
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

_LABEL: Final = 14  # column of the values, as in the audit's report
_TIME: Final = 24  # two spaces, a time in RFC 3339, two spaces
_WINDOW: Final = 6
_LISTED: Final = 3  # manifests on a page that is not shown in full
_IDENTIFIER: Final = pattern(
    r"(?<![0-9A-Za-z])(?P<prefix>0x)?(?P<digits>[0-9A-Fa-f]{40,})(?![0-9A-Za-z])", re.ASCII
)
_SALT: Final = "CallSalt"  # tells two equal calls apart: nothing to read
_SHORTEST: Final = 8
_KMS_ROLES: Final = frozenset({Role.KMS, Role.KMS_OWNER})


def render_terminal(timeline: Timeline, *, color: bool, width: int, verbose: int = 0) -> str:
    """The timeline as text for a terminal of `width` cells.

    Without `color` there is no escape byte in it, whatever the environment says. `verbose` adds
    transactions, arguments and every event of the KMS, and shortens nothing.
    """
    page = Page(width, full=verbose > 0)
    shorten = _Shortener(timeline, full=page.full)
    narrator = Narrator(timeline)
    _header(page, timeline, shorten)
    _events(page, timeline, narrator, shorten)
    _ahead(page, timeline, shorten)
    _windows(page, timeline, shorten)
    _owners(page, timeline, shorten)
    _witness(page, timeline, shorten)
    _coverage(page, timeline, shorten)
    _notes(page, timeline)
    _words(page)
    return page.render(color=color)


class _Shortener:
    """Shortens every hash, key and address of one timeline to a start that is its own."""

    def __init__(self, timeline: Timeline, *, full: bool) -> None:
        self._lengths: dict[str, int] = {}
        if full:
            return
        found = _IDENTIFIER.finditer(render_json(timeline).decode())
        digits = sorted({match["digits"].lower() for match in found})
        self._lengths = dict.fromkeys(digits, _SHORTEST)
        for one, other in pairwise(digits):
            pairs = enumerate(zip(one, other, strict=False))
            differing = (place for place, (left, right) in pairs if left != right)
            needed = next(differing, min(len(one), len(other))) + 1
            for item in (one, other):
                self._lengths[item] = max(self._lengths[item], needed)

    def __call__(self, text: str) -> str:
        return _IDENTIFIER.sub(self._short, text)

    def _short(self, match: re.Match[str]) -> str:
        digits = match["digits"]
        length = self._lengths.get(digits.lower(), len(digits))
        if length >= len(digits):
            return match[0]
        return f"{match['prefix'] or ''}{digits[:length]}…"


def _header(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    for row in standing(timeline):
        style = "bold red" if row.alarm else "bold green"
        title = Text(f"{row.label}: ", style)
        page.entry(title, title.cell_len, shorten(row.text))
    page.blank()
    if timeline.app_id != timeline.app.lower().removeprefix("0x"):
        page.value("App id", timeline.app_id)
    page.value("App", f"{timeline.app} on chain {timeline.chain_id}")
    page.value("KMS", timeline.kms)
    page.value("As of", as_of(timeline))
    found = concerns(timeline)
    if found:
        page.value("Worst", shorten(found[0]))
    page.blank()
    hedge = "" if timeline.complete else ", as far as the events are here"
    heading = "ALLOWED NOW" if timeline.on is None else "ALLOWED THEN"
    page.entry(_title(heading), _LABEL, f"what the contracts let start{hedge}")
    _rows(page, allowed_now(timeline))
    page.entry(_title("IN CONTROL"), _LABEL, "who can change what is allowed, and how fast")
    _rows(page, who_can_change(timeline))
    title = Text("STANDS OUT", "bold red" if found else "bold green")
    page.entry(title, _LABEL, stands_out(timeline))
    for text in found:
        page.entry(Text("            - "), _LABEL, shorten(text))


def _witness(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    if timeline.witness is None:
        return
    page.heading("SEEN BY AN AUDITOR")
    page.entry(Text("  "), 2, witnessed.standing(timeline.witness))
    for text in witnessed.rows(timeline.witness):
        page.entry(Text("  - "), _LABEL, shorten(text))


def _words(page: Page) -> None:
    page.heading("WORDS")
    for word, meaning in explained(TIMELINE_WORDS):
        page.entry(Text(f"  {word}"), _LABEL, meaning)


def _rows(page: Page, rows: Iterable[Row]) -> None:
    unlabelled, hidden = 0, 0
    for row in rows:
        unlabelled = unlabelled + 1 if not row.label and not row.alarm else 0
        if unlabelled > _LISTED and not page.full:
            hidden += 1
            continue
        hidden = _say_hidden(page, hidden)
        label = Text(f"  {row.label}".rstrip(), "yellow" if row.alarm else "")
        page.entry(label, _LABEL, row.text)
    _say_hidden(page, hidden)


def _say_hidden(page: Page, hidden: int) -> int:
    if hidden:
        page.entry(Text(), _LABEL, f"and {hidden} more: -v, or --format json")
    return 0


def _events(page: Page, timeline: Timeline, narrator: Narrator, shorten: _Shortener) -> None:
    page.heading("Events", "oldest first, times in UTC")
    if not timeline.events:
        page.entry(Text(), 4, "No event was found.")
    groups = narrator.groups()
    hidden = 0 if page.full else _before_the_app(groups)
    if hidden:
        text = f"{sentences.count(hidden, 'transaction')} of the KMS before this app: -v shows them"
        page.entry(Text(), 4, text)
    for group in groups[hidden:]:
        _group(page, timeline, narrator, group, shorten)


def _before_the_app(groups: tuple[Group, ...]) -> int:
    """How many transactions at the start are about the KMS alone, where the app has any."""
    for number, group in enumerate(groups):
        if any(event.role not in _KMS_ROLES for event in group.events):
            return number
    return 0


def _group(
    page: Page, timeline: Timeline, narrator: Narrator, group: Group, shorten: _Shortener
) -> None:
    first = group.first
    style = "yellow" if first.provisional else ""
    moment = sentences.when(first.time) if first.time is not None else "time not known"
    by = f", sent by {first.sender}" if first.sender else ""
    mark = "NOT FINAL: " if first.provisional else ""
    created = ", created the app" if group.creates_app else ""
    about = shorten(f"{mark}block {first.place.block}{created}{by}")
    page.entry(Text(f"  {moment}", style), _TIME, about)
    for event in group.events:
        if event.name == _SALT and len(group.events) > 1 and not page.full:
            continue
        lead = Text(f"    {sentences.contract(event)}", "dim")
        page.entry(lead, _LABEL, shorten(narrator.sentence(event)))
        if page.full:
            where = f"log {event.place.log_index}" if event.place.log_index >= 0 else "no log"
            page.entry(Text(), _LABEL, f"{where}: {sentences.arguments(event)}")
    if group.creates_app:
        for text in narrator.silent():
            page.entry(Text("    silently", "yellow"), _LABEL, text)
    if page.full:
        link = sentences.transaction_link(timeline, first.transaction)
        page.unwrapped(f"              {link or f'transaction {first.transaction}'}")


def _ahead(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    said = pending.about_to_change(timeline.pending, timeline.outlook)
    if said:
        page.heading(pending.TITLE, "what was announced and not made yet")
    for text in said:
        page.entry(Text("  - "), 4, shorten(text))


def _windows(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    found = windows(timeline)
    if not found:
        return
    page.heading("Windows of exposure", "from when to when")
    for item in found:
        page.entry(Text("    "), 4, sentences.period_words(item.since, item.until, timeline.on))
        page.entry(Text("    "), _WINDOW, shorten(_window(item)))


def _window(item: Exposure) -> str:
    return f"{item.kind.value}: {item.words}"


def _owners(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    past = any(item.until is not None for item in timeline.governance)
    if not timeline.governance or not (past or page.full):
        return
    page.heading("In control over time")
    for item in timeline.governance:
        span = sentences.period_words(item.since_time, item.until_time, timeline.on)
        page.entry(Text(f"    {sentences.ROLES[item.role]}", "dim"), _LABEL, span)
        page.entry(Text(), _LABEL, shorten(authority(item)))
        for text in authority_details(item) if page.full else ():
            page.entry(Text(), _LABEL, text)


def _coverage(page: Page, timeline: Timeline, shorten: _Shortener) -> None:
    page.heading("How this is known", "who gave the logs")
    for item in timeline.coverage:
        state = "complete" if item.complete else "NOT COMPLETE"
        style = "green" if item.complete else "bold red"
        lead = Text(f"    {sentences.ROLES[item.role]}", style)
        page.entry(lead, _LABEL, f"{state}: {item.address}")
        for row in coverage_words(item):
            said = f"{row.label}: {row.text}" if row.label else row.text
            page.entry(Text(), _LABEL, shorten(said))
    if not timeline.coverage:
        page.entry(Text(), 4, "Nothing says how these events were found.")


def _notes(page: Page, timeline: Timeline) -> None:
    if timeline.notes:
        page.heading("Notes")
    for note in timeline.notes:
        page.entry(Text("  - "), 4, note)


def _title(text: str) -> Text:
    return Text(text, "bold")
