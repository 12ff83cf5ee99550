"""Reports for sites: that of the demo, with other values."""

import json
from pathlib import Path
from typing import Any, Final

import rfc8785

DEMO: Final = json.loads((Path(__file__).parents[2] / "reports" / "demo.json").read_bytes())
APP: Final = str(DEMO["requested_app_id"])
OTHER: Final = "ab" * 20
NOW: Final = 1_781_956_800
"""Five days after the demo's report (Unix seconds)."""


def report(facts: dict[str, Any] | None = None, **values: Any) -> bytes:
    """A report's JSON with other members, and other values of claims."""
    claims = [
        {**claim, "value": (facts or {}).get(claim["name"], claim["value"])}
        for claim in DEMO["claims"]
    ]
    return rfc8785.dumps({**DEMO, "claims": claims, **values}) + b"\n"


def fill(folder: Path) -> Path:
    """Three reports of two apps: one of them changed its manifest and its firmware's status."""
    folder.mkdir()
    (folder / "first.json").write_bytes(report())
    later = report(
        {"compose_hash": "cd" * 32, "tcb_status": "OutOfDate"}, evaluated_at="2026-06-16T12:00:00Z"
    )
    (folder / "later.json").write_bytes(later)
    (folder / "deep").mkdir()
    other = report(requested_app_id=OTHER, target="https://other.example")
    (folder / "deep" / "other.json").write_bytes(other)
    return folder
