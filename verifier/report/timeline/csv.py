"""The events of a timeline as CSV (RFC 4180): one row each, everything in full.

Text passes `escape.csv_cell`; numbers are bare. Times are RFC 3339 in UTC, `notice` is in seconds,
`arguments` JSON. An empty cell is a value that is not known.
"""

import json
from collections.abc import Iterator
from typing import Final

from verifier.model.identifiers import LATEST_TIME, format_time
from verifier.model.timeline import Timeline, TimelineEvent
from verifier.report.audit.json import encodable
from verifier.report.escape import csv_cell
from verifier.report.timeline.sentences import ROLES, Narrator, is_digest

COLUMNS: Final = (
    "block",
    "time",
    "tx",
    "log_index",
    "contract",
    "role",
    "name",
    "arguments",
    "sender",
    "finalized",
    "notice",
    "words",
)


def render_csv(timeline: Timeline) -> str:
    """The events as CSV with a header; rows end with CR LF."""
    narrator = Narrator(timeline)
    rows = [",".join(COLUMNS)]
    rows.extend(",".join(_cells(event, narrator)) for event in timeline.events)
    return "".join(f"{row}\r\n" for row in rows)


def _arguments(event: TimelineEvent) -> str:
    """The arguments as the timeline's JSON has them."""
    args = encodable(dict(event.args))
    return json.dumps(args, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _cells(event: TimelineEvent, narrator: Narrator) -> Iterator[str]:
    known = event.time is not None and 0 <= event.time <= LATEST_TIME
    change = narrator.change(event)
    yield str(event.place.block)
    yield csv_cell(format_time(event.time)) if known and event.time is not None else ""
    # 0x keeps a spreadsheet from reading digits around an e as a number.
    yield csv_cell(f"{'0x' * is_digest(event.transaction)}{event.transaction}")
    yield str(event.place.log_index)
    yield csv_cell(event.address)
    yield csv_cell(ROLES[event.role])
    yield csv_cell(event.name)
    yield csv_cell(_arguments(event))
    yield csv_cell(event.sender) if event.sender else ""
    yield "false" if event.provisional else "true"
    yield str(change.notice) if change else ""
    yield csv_cell(narrator.sentence(event))
