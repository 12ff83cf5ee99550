"""What each check does with absence: the page is what the worlds give, and nothing lacking passes
without a reason."""

from tests.worlds.absence import CELLS, COLUMNS, PAGE, PASSES, WORLDS, cell, render
from verifier.checks.catalogue import CHECKS


def test_every_check_has_its_worlds_or_the_rule_why_there_is_none() -> None:
    assert list(CELLS) == [spec.id for spec in CHECKS]
    named = {text for row in CELLS.values() for text in row if not text.startswith("n/a: ")}
    assert named == set(WORLDS)


def test_the_page_is_what_the_worlds_give_and_nothing_lacking_passes_without_a_reason() -> None:
    """One test, since it audits every world."""
    passing = {
        (check_id, column)
        for check_id in CELLS
        for column in COLUMNS
        if cell(check_id, column)[0] in ("pass", "not-applicable")
    }
    assert passing - PASSES.keys() == set(), "what is lacking lifts no doubt"
    assert PASSES.keys() - passing == set(), "take out what passes no more"
    assert PAGE.read_text(encoding="utf-8") == render(), "run `python -m tests.worlds.absence`"
