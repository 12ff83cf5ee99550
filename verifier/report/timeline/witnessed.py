"""What a witness log says of an app, in each form: a section of its timeline, or, for an app
without a public log, all that there is."""

from collections.abc import Iterator
from typing import Final

import rfc8785

from verifier.model.identifiers import format_time
from verifier.model.result import Basis, JsonValue
from verifier.model.witness import Unanswered, Witnessed, WitnessHistory
from verifier.report.audit.json import encodable
from verifier.report.escape import csv_cell, markdown, visible

SCHEMA: Final = "dstack-audit/witness-history/v1"
COLUMNS: Final = (
    "first",
    "last",
    "compose_hash",
    "instance",
    "release",
    "looks",
    "first_entry",
    "last_entry",
    "basis",
)


def standing(history: WitnessHistory) -> str:
    """What such a history is worth, in a sentence or two."""
    whose = (
        "by the log whose key you named"
        if history.basis is Basis.WITNESS
        else "by a log whose key nobody named: it is only said"
    )
    return (
        f"Seen by an auditor's own earlier audits, {whose}: {history.size} entries give the root "
        f"that its key signed. What ran between two looks is not known."
    )


def rows(history: WitnessHistory) -> Iterator[str]:
    """What was seen, one sentence each, by time."""
    if not history.periods and not history.unanswered:
        yield "No entry is about this app."
    yield from (text for _, text in told(history))


def told(history: WitnessHistory) -> list[tuple[dict[str, JsonValue], str]]:
    """What was seen, as JSON and in a sentence each, by time."""
    found = [(item.first, _period(item), _period_json(item)) for item in history.periods]
    found += [(item.first, _silence(item), _silence_json(item)) for item in history.unanswered]
    return [(seen, text) for _, text, seen in sorted(found, key=lambda item: item[:2])]


def render_text(history: WitnessHistory, reason: str) -> str:
    """The history alone, for people; `reason` says why there is no public one."""
    lines = [f"App id {history.app_id}", visible(reason), standing(history)]
    lines += [f"  {visible(text)}" for text in rows(history)]
    return "\n".join([*lines, f"Log {visible(history.log)}"]) + "\n"


def render_markdown(history: WitnessHistory, reason: str) -> str:
    """The same as GitHub Flavored Markdown."""
    lines = [
        "# What an auditor saw",
        "",
        f"App id `{history.app_id}`. {markdown(reason)}",
        "",
        *markdown_section(history),
    ]
    return "\n".join(lines) + "\n"


def markdown_section(history: WitnessHistory) -> Iterator[str]:
    """The section of a timeline as Markdown, without a heading."""
    yield markdown(standing(history))
    yield ""
    yield from (f"- {markdown(text)}" for text in rows(history))
    yield ""
    yield f"Log: {markdown(history.log)}"


def render_json(history: WitnessHistory, reason: str) -> bytes:
    """The same as canonical JSON with a newline at the end."""
    document = {"schema": SCHEMA, "reason": reason, **member(history)}
    return rfc8785.dumps(encodable(document)) + b"\n"


def member(history: WitnessHistory) -> dict[str, JsonValue]:
    """The history as a member of a JSON document."""
    return {
        "app_id": history.app_id,
        "log": history.log,
        "size": history.size,
        "root": history.root,
        "basis": history.basis.value,
        "periods": [*map(_period_json, history.periods)],
        "unanswered": [*map(_silence_json, history.unanswered)],
    }


def _period_json(item: Witnessed) -> dict[str, JsonValue]:
    return {
        "compose_hash": item.compose_hash,
        "instance": item.instance,
        "release": item.release,
        "first": format_time(item.first),
        "last": format_time(item.last),
        "looks": item.looks,
        "first_entry": item.entries[0],
        "last_entry": item.entries[1],
    }


def _silence_json(item: Unanswered) -> dict[str, JsonValue]:
    return {"first": format_time(item.first), "last": format_time(item.last), "looks": item.looks}


def render_csv(history: WitnessHistory) -> str:
    """The periods as CSV with a header; rows end with CR LF."""
    lines = [",".join(COLUMNS)]
    for item in history.periods:
        cells = (
            csv_cell(format_time(item.first)),
            csv_cell(format_time(item.last)),
            csv_cell(f"0x{item.compose_hash}"),
            csv_cell(f"0x{item.instance}") if item.instance else "",
            csv_cell(item.release),
            str(item.looks),
            str(item.entries[0]),
            str(item.entries[1]),
            csv_cell(history.basis.value),
        )
        lines.append(",".join(cells))
    return "".join(f"{line}\r\n" for line in lines)


def _period(item: Witnessed) -> str:
    system = f", on {item.release}" if item.release else ""
    instance = f", instance {item.instance}" if item.instance else ""
    return (
        f"{_span(item.first, item.last)}: manifest {item.compose_hash}{system}{instance} "
        f"({_looks(item.looks)})"
    )


def _silence(item: Unanswered) -> str:
    return f"{_span(item.first, item.last)}: no guest answered ({_looks(item.looks)})"


def _span(first: int, last: int) -> str:
    one = format_time(first)
    return one if first == last else f"{one} to {format_time(last)}"


def _looks(count: int) -> str:
    return "one look" if count == 1 else f"{count} looks"
