"""Badges: green for what holds alone, of one day, and never the word of anybody else."""

import json
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from msgspec.structs import replace

from verifier.model.report import Report
from verifier.model.result import Anchor, Basis, Verdict
from verifier.report.audit.badge import badge_of, render_shields, render_svg

HOSTILE = "<script>alert(1)</script>&\"'\x00\x1b\u202e\n]]>"
DAY = "2026-04-24"
MANIFEST = "manifest 242a6272"


def image(report: Report) -> Element:
    return fromstring(render_svg(report))  # noqa: S314 - written by the renderer under test


def document(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_shields(report))
    return found


def test_both_forms_say_verdict_and_day(any_report: Report) -> None:
    shields, svg = document(any_report), image(any_report)
    assert shields["schemaVersion"] == 1
    assert shields["cacheSeconds"] >= 300
    assert any_report.verdict.value in shields["message"]
    assert DAY in shields["message"]
    assert svg.get("aria-label") == f"{shields['label']}: {shields['message']}"
    assert [item.text for item in svg.iter("{http://www.w3.org/2000/svg}text")] == [
        shields["label"],
        shields["message"],
    ]


def test_only_what_holds_is_green(any_report: Report) -> None:
    shields = document(any_report)
    holds = any_report.verdict is Verdict.AFFIRMING and any_report.anchor is None
    assert (shields["color"] == "brightgreen") is holds
    assert shields["isError"] is not holds
    assert ("not accepted" in shields["message"]) is not any_report.accepted


@pytest.mark.parametrize("anchor", list(Anchor))
def test_another_anchor_than_the_real_one_is_said_and_grey(
    reports: dict[str, Report], anchor: Anchor
) -> None:
    report = replace(reports["affirming"], anchor=anchor, root_note="NOT REAL")
    shields = document(report)
    assert shields["message"].startswith(f"{anchor.value.upper()}: ")
    assert shields["color"] == "lightgrey"
    assert shields["isError"] is True
    assert "NOT REAL" in "".join(image(report).itertext())


def test_an_affirming_verdict_that_was_not_accepted_is_grey(reports: dict[str, Report]) -> None:
    assert badge_of(replace(reports["affirming"], accepted=False)).color == "lightgrey"


@pytest.mark.parametrize(
    ("collected", "day"),
    [(None, DAY), (1_777_000_001, DAY), (1_700_000_000, "2023-11-14"), (0, "1970-01-01")],
)
def test_the_day_is_never_later_than_the_evidence(
    reports: dict[str, Report], collected: int | None, day: str
) -> None:
    report = replace(reports["affirming"], collected_until=collected)
    assert f" · {day} · " in document(report)["message"]


def test_the_manifest_is_named_where_every_attester_is_proven_to_run_it(
    reports: dict[str, Report],
) -> None:
    report = reports["affirming"]
    assert MANIFEST in document(report)["message"]
    assert "manifest" not in document(reports["none"])["message"]
    (subject,) = report.subjects
    changes: tuple[dict[str, Any], ...] = (
        {"value": "ff" * 32},
        {"basis": Basis.ASSERTED},
        {"value": None},
    )
    for change in changes:
        claims = tuple(
            replace(claim, **change) if claim.name == "compose_hash" else claim
            for claim in subject.claims
        )
        two = replace(report, subjects=(subject, replace(subject, claims=claims)))
        assert "manifest" not in document(two)["message"], change
    assert MANIFEST in document(replace(report, subjects=(subject, subject)))["message"]


def test_hostile_text_is_text(
    reports: dict[str, Report], rewritten: Callable[[Report, Callable[[str], str]], Report]
) -> None:
    for report in reports.values():
        hostile = rewritten(report, lambda old: HOSTILE + old)
        text = render_svg(hostile)
        names = {item.tag.partition("}")[2] for item in fromstring(text).iter()}  # noqa: S314
        assert names == {"svg", "title", "rect", "g", "text"}
        assert not set("\x00\x1b\u202e") & set(text + render_shields(hostile))
        assert len(document(hostile)["message"]) < 100


def test_a_badge_of_somebodys_json_is_an_unverified_copy(reports: dict[str, Report]) -> None:
    report = reports["affirming"]
    for verdict in Verdict:
        told = badge_of(replace(report, verdict=verdict, shown_at=report.evaluated_at))
        assert told.message.startswith(f"unverified copy: {verdict.value}")
        assert (told.color, told.certain) == ("lightgrey", False)
    late = badge_of(replace(report, shown_at=report.evaluated_at + 400 * 86_400))
    assert late.message.startswith("unverified copy: outdated: affirming")
