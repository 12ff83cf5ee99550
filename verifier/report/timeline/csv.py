"""The events of a timeline as CSV (RFC 4180): one row each, everything in full.

Text passes `escape.csv_cell`; numbers are bare. Times are RFC 3339 in UTC, `notice` is in seconds,
`arguments` JSON. An empty cell is a value that is not known.

What a witness log saw stands below the events, in rows of the name `witness`: `time` is the first
look, `arguments` what was seen, or that no guest answered.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from verifier.model.identifiers import LATEST_TIME, format_time
from verifier.model.result import JsonValue
from verifier.model.timeline import Timeline, TimelineEvent
from verifier.model.witness import WitnessHistory
from verifier.report.audit.json import encodable
from verifier.report.escape import csv_cell
from verifier.report.timeline import witnessed
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
WITNESS: Final = "witness"


def render_csv(timeline: Timeline) -> str:
    """The events as CSV with a header; rows end with CR LF."""
    narrator = Narrator(timeline)
    rows = [",".join(COLUMNS)]
    rows.extend(",".join(_cells(event, narrator)) for event in timeline.events)
    if timeline.witness is not None:
        rows.extend(",".join(row) for row in _witnessed(timeline.witness))
    return "".join(f"{row}\r\n" for row in rows)


def _arguments(args: Mapping[str, JsonValue]) -> str:
    """The arguments as the timeline's JSON has them."""
    made = encodable(dict(args))
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _witnessed(history: WitnessHistory) -> Iterator[list[str]]:
    """A row for each period, by time. None of it is an event of a contract."""
    for seen, words in witnessed.told(history):
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "time": csv_cell(str(seen["first"])),
            "role": csv_cell("witness log"),
            "name": csv_cell(WITNESS),
            "arguments": csv_cell(_arguments({**seen, "basis": history.basis.value})),
            "words": csv_cell(words),
        }
        yield list(row.values())


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
    yield csv_cell(_arguments(dict(event.args)))
    yield csv_cell(event.sender) if event.sender else ""
    yield "false" if event.provisional else "true"
    yield str(change.notice) if change else ""
    yield csv_cell(narrator.sentence(event))
