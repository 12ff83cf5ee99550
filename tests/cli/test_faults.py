"""The table of sources that fail: every row in it keeps the rules, the page shows it, and rows can
be run."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("resource")

from benchmarks.fault_sources import Row, rows
from benchmarks.faults import (
    PAGE,
    ROWS,
    Result,
    Runner,
    Stage,
    breaches,
    broken,
    page,
    ran,
    read,
    written,
)

LEAST = 200
RESULTS = read(ROWS.read_text(encoding="utf-8"))
CHOSEN = "guest | answers {}"


def test_every_row_keeps_the_rules() -> None:
    assert len(RESULTS) >= LEAST
    assert RESULTS.keys() <= {row.key for row in rows()}
    assert breaches(RESULTS) == []


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, RESULTS) == text
    assert read(written(RESULTS)) == RESULTS


@pytest.fixture(scope="module")
def row() -> Row:
    return next(item for item in rows() if item.key == CHOSEN)


def test_a_row_is_run(row: Row, tmp_path: Path) -> None:
    runner = Runner()
    try:
        found = ran(row, Stage(row.source.ruled), runner, tmp_path)
    finally:
        runner.close()
    assert broken(row, found, "none") == ""
    assert (found.verdict, found.code, found.named, found.advised) == ("none", 3, True, True)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"seconds": 999.0}, "longer than it was given"),
        ({"mebibytes": 999.0}, "too much memory"),
        ({"verdict": "crash", "code": 1}, "gives no report"),
        ({"verdict": "contraindicated", "code": 4}, "accuses the app"),
        ({"code": 0}, "exit code"),
        ({"verdict": "warning", "code": 5}, "worth more"),
        ({"named": False}, "which source failed"),
        ({"advised": False}, "what to do"),
    ],
)
def test_a_row_that_breaks_a_rule_is_found(row: Row, change: dict[str, object], rule: str) -> None:
    right = Result(
        verdict="none", code=3, seconds=1, mebibytes=80, named=True, advised=True, said="x"
    )
    assert broken(row, right, "none") == ""
    assert rule in broken(row, replace(right, **change), "none")  # type: ignore[arg-type]
