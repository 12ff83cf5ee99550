"""What goes with a release: a table, a checklist and a summary that say what the checks said."""

import re
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.report.conftest import CHECKS, REPORTS, changed, report, subject
from verifier.model.report import Report, Source
from verifier.model.result import Anchor, Finding, SkipKind, Status, Verdict
from verifier.report.audit.badge import badge_of
from verifier.report.audit.html import render_html
from verifier.report.audit.markdown import MAX_BYTES, render_markdown
from verifier.report.audit.publication import TWEET, checklist, links, render_summary, tweet
from verifier.report.audit.sentences import outdated

DAY: Final = 86_400
LONG: Final = "a" * 9_000 + " | <b> `x` " * 100


def test_a_message_fits_and_says_what_it_is(any_report: Report) -> None:
    said = tweet(any_report)
    assert said.startswith(any_report.verdict.value.upper())
    assert len(said) <= TWEET
    assert said.endswith(f"verify {any_report.requested_app_id or 'APP_ID'}")
    assert ("NOT accepted" in said) == (not any_report.accepted)
    assert render_summary(any_report).splitlines()[0] == said


def test_the_longest_message_fits() -> None:
    long = replace(
        REPORTS["contraindicated"],
        anchor=Anchor.UNSAFE_ROOT,
        policy_name="a policy whose name is longer than a message may be" * 9,
    )
    assert tweet(long).endswith(f"verify {long.requested_app_id}")


def test_what_does_not_hold_is_never_told_as_verified() -> None:
    for status, kind in (
        (Status.FAIL, None),
        (Status.ERROR, None),
        (Status.SKIP, SkipKind.MISSING_EVIDENCE),
        (Status.SKIP, SkipKind.BLOCKED),
        (Status.SKIP, SkipKind.NOT_APPLICABLE),
    ):
        for check in CHECKS:
            given = changed(CHECKS, check.id, status=status, skip_kind=kind)
            there = subject(Verdict.NONE, given)
            told = {item.claim: item.verified for item in links(there)}
            good = {item.claim: item.verified for item in links(subject(Verdict.NONE, CHECKS))}
            differs = [claim for claim in told if told[claim] != good[claim]]
            assert all(
                told[claim] in {"CONTRADICTED", "not verified", "does not apply"}
                for claim in differs
            )
            before = checklist(REPORTS["affirming"], subject(Verdict.NONE, CHECKS))
            points = checklist(REPORTS["affirming"], there)
            assert sum(item.done is True for item in points) <= sum(
                item.done is True for item in before
            )


def test_every_form_marks_another_anchor() -> None:
    given = REPORTS["unsafe-root"]
    assert "UNSAFE ROOT" in tweet(given)
    table = [item.found for item in links(given.subjects[0]) if item.digests]
    assert table
    assert all(text.endswith("[unsafe root]") for text in table)


def huge() -> Report:
    """A report whose every text somebody made as long as he could."""
    checks = tuple(replace(item, summary=LONG, reason=LONG, actual=LONG) for item in CHECKS)
    finding = Finding(
        rule="IMG-001",
        severity="high",
        title="Image is not pinned by digest",
        service="web",
        location=REPORTS["warning"].findings[0].location,
        message=LONG,
        fix="",
        conditional=False,
    )
    source = Source(kind="json-rpc", subject="", source=LONG, blob=None, error=LONG)
    guests = [subject(Verdict.AFFIRMING, checks, name=f"instance-{number}") for number in range(8)]
    return report(*guests, findings=(finding,) * 90, sources=(source,) * 90)


def test_markdown_is_never_longer_than_an_issue_takes() -> None:
    whole = huge()
    for given in (whole, replace(whole, subjects=whole.subjects[:1])):
        text = render_markdown(given)
        assert len(text.encode()) <= MAX_BYTES
        assert "Shortened to fit 60 kB" in text
        assert all(f"`{check.id}`" in text for check in CHECKS)
        assert text.count("```") % 2 == 0
        assert text.count("<details>") == text.count("</details>")
    assert "Shortened" not in render_markdown(REPORTS["warning"])
    hostile = replace(whole, requested_app_id=LONG * 9, root_note=LONG)
    assert len(render_markdown(hostile).encode()) <= MAX_BYTES


def test_source_rows_are_counted_in_markdown_and_listed_in_html() -> None:
    given = REPORTS["affirming"]
    text = render_markdown(given)
    assert "| json-rpc | 1 | 1 | timeout |" in text
    assert "https://rpc.example/" not in text
    assert "https://rpc.example/" in render_html(given)


def test_tables_and_checklist_are_in_both_documents() -> None:
    given = REPORTS["contraindicated"]
    for text in (render_markdown(given), render_html(given)):
        for said in ("How it was verified", "CONTRADICTED", "Release checklist", "by hand"):
            assert said in text or said == "by hand"
    assert re.search(
        r"^- \[ \] The release's manifest is what runs: FAIL", render_markdown(given), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("values", "late"),
    [
        ({"shown_at": None, "max_age_days": 0}, False),
        ({"shown_at": 31 * DAY, "max_age_days": 30}, True),
        ({"shown_at": 30 * DAY, "max_age_days": 30}, False),
        ({"shown_at": 8 * DAY, "max_age_days": None}, True),
        ({"shown_at": 7 * DAY, "max_age_days": None}, False),
        ({"shown_at": 31 * DAY, "max_age_days": 30, "collected_until": -DAY}, True),
        ({"shown_at": 0, "max_age_days": 0, "collected_until": -2 * DAY}, True),
    ],
)
def test_what_is_shown_too_late_is_grey(values: dict[str, Any], *, late: bool) -> None:
    good = REPORTS["affirming"]
    moved = {
        name: value + good.evaluated_at if name != "max_age_days" and value is not None else value
        for name, value in values.items()
    }
    given = replace(good, **moved)
    assert bool(outdated(given)) is late
    badge = badge_of(given)
    copied = given.shown_at is not None
    grey = late or copied
    assert (badge.color, badge.certain) == (("lightgrey", False) if grey else ("brightgreen", True))
    assert ("outdated" in badge.message) is late
    assert ("unverified copy" in badge.message) is copied
