"""The deployment checklist for people and for machines (schema `dstack-audit/checklist/v1`)."""

import json
import textwrap
from collections.abc import Iterator
from typing import Final

from verifier.policy.checklist import Decided, Standing, conclusion
from verifier.report.escape import visible, without_surrogates

SCHEMA: Final = "dstack-audit/checklist/v1"
_MARKS: Final = {Standing.MET: "x", Standing.NOT_MET: "!", Standing.NOT_KNOWN: " "}


def render_checklist(names: tuple[str, ...], decided: tuple[Decided, ...], width: int) -> str:
    """The checklist as text, without an escape byte."""
    lines = _lines(names, decided, max(width, 40))
    return "\n".join(lines) + "\n"


def _lines(names: tuple[str, ...], decided: tuple[Decided, ...], width: int) -> Iterator[str]:
    yield from textwrap.wrap(f"Deployment checklist for {visible(', '.join(names))}", width)
    counts = {item: sum(found.standing is item for found in decided) for item in Standing}
    yield ", ".join(f"{count} {item.value}" for item, count in counts.items())
    phase = ""
    for item in decided:
        if item.point.phase != phase:
            phase = item.point.phase
            yield from ("", phase)
        yield f"[{_MARKS[item.standing]}] {item.point.title}: {item.standing.value}"
        lead = " " * 6
        yield from textwrap.wrap(
            visible(item.reason),
            width,
            initial_indent=lead,
            subsequent_indent=lead,
            break_on_hyphens=False,
        )


def render_checklist_json(names: tuple[str, ...], decided: tuple[Decided, ...]) -> str:
    """The checklist as one JSON document, in ASCII."""
    document = {
        "schema": SCHEMA,
        "given": list(names),
        "conclusion": conclusion(decided).value,
        "points": [
            {
                "phase": item.point.phase,
                "title": item.point.title,
                "standing": item.standing.value,
                "reason": item.reason,
            }
            for item in decided
        ],
    }
    return without_surrogates(json.dumps(document, indent=2)) + "\n"
