"""An earlier report read back from its JSON: the same again, and never better than it was."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.report.conftest import REPORTS as BY_HAND
from verifier.errors import EvidenceError
from verifier.model.report import Report
from verifier.model.result import Anchor, CheckResult, Status
from verifier.policy.policy import FLOOR
from verifier.report.audit import sentences
from verifier.report.audit.badge import render_shields
from verifier.report.audit.earlier import read_report
from verifier.report.audit.html import render_html
from verifier.report.audit.json import render_json
from verifier.report.audit.markdown import render_markdown
from verifier.report.audit.publication import render_summary
from verifier.report.audit.sentences import verdict_line

Change = Callable[[dict[str, Any]], object]


def whole(report: Report) -> Report:
    """The report with what every audit checks."""

    def filled(checks: tuple[CheckResult, ...]) -> tuple[CheckResult, ...]:
        known = {item.id for item in checks}
        more = (name for name in FLOOR if checks and name not in known)
        return (
            *checks,
            *(CheckResult(id=n, title=n, status=Status.PASS, summary="holds") for n in more),
        )

    subjects = tuple(replace(item, checks=filled(item.checks)) for item in report.subjects)
    return replace(report, subjects=subjects)


REPORTS = {name: whole(report) for name, report in BY_HAND.items()}


@pytest.fixture(params=sorted(REPORTS))
def any_report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[request.param]


def changed(name: str, change: Change) -> bytes:
    document = json.loads(render_json(REPORTS[name]))
    change(document)
    return json.dumps(document).encode()


def test_gives_the_same_report_again(any_report: Report) -> None:
    raw = render_json(any_report)
    again = read_report(raw)
    assert render_json(again) == raw
    assert verdict_line(again) == verdict_line(any_report)
    assert render_shields(again) == render_shields(any_report)


FORGED: dict[str, tuple[str, Change, str]] = {
    "verdict": ("contraindicated", lambda d: d.update(verdict="affirming"), "contradicts itself"),
    "warning made affirming": ("warning", lambda d: d.update(verdict="affirming"), "contradicts"),
    "accepted": ("contraindicated", lambda d: d.update(accepted=True), "contradicts itself"),
    "nothing checked": (
        "no-subjects",
        lambda d: d.update(verdict="affirming", accepted=True),
        "contradicts itself",
    ),
    "a worse guest beside it": (
        "two-subjects",
        lambda d: d.update(
            {key: d["other_subjects"][1][key] for key in ("verdict", "checks", "claims")}
        ),
        "contradicts itself",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_refuses_a_verdict_better_than_its_checks(case: str) -> None:
    name, change, said = FORGED[case]
    with pytest.raises(EvidenceError, match=said):
        read_report(changed(name, change))


MALFORMED: dict[str, tuple[Change, str]] = {
    "newer schema": (
        lambda d: d.update(schema="dstack-audit/report/v2"),
        "schema dstack-audit/report/v2, and this version reads dstack-audit/report/v1",
    ),
    "a timeline": (lambda d: d.update(schema="dstack-audit/timeline/v1"), "JSON of a timeline"),
    "another program's": (lambda d: d.update(schema="sarif"), "no report of an audit"),
    "no schema": (lambda d: d.pop("schema"), "no report of an audit"),
    "status": (lambda d: d["checks"][0].update(status="passed"), "status 'passed' is not one of"),
    "time": (lambda d: d.update(evaluated_at="soon"), "evaluated_at 'soon' is no time"),
    "digest": (lambda d: d.update(bundle_digest="AB"), "bundle_digest 'AB' is no sha256"),
    "accepted": (lambda d: d.update(accepted=1), "accepted is not true or false"),
    "trust": (lambda d: d.update(bundle_trust="yes"), "bundle_trust 'yes' is not"),
    "app id": (lambda d: d.update(requested_app_id="0X12"), "is no app id"),
    "checks": (lambda d: d.update(checks={}), "checks: expected a JSON array"),
    "check": (lambda d: d["checks"].append(1), "checks: expected a JSON object"),
    "policy": (lambda d: d.pop("policy"), "policy: expected a JSON object"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_refuses_what_is_no_such_report(case: str) -> None:
    change, said = MALFORMED[case]
    with pytest.raises(EvidenceError) as refused:
        read_report(changed("warning", change))
    assert said in refused.value.message


@pytest.mark.parametrize("name", ["affirming", "warning"])
@pytest.mark.parametrize("check_id", FLOOR)
def test_refuses_a_good_verdict_without_what_every_policy_requires(
    name: str, check_id: str
) -> None:
    def left_out(document: dict[str, Any]) -> None:
        document["checks"] = [item for item in document["checks"] if item["id"] != check_id]

    with pytest.raises(EvidenceError, match=f"{check_id} did not pass"):
        read_report(changed(name, left_out))


def test_what_is_shown_from_a_file_says_that_nothing_was_verified() -> None:
    new = REPORTS["affirming"]
    old = replace(new, shown_at=new.evaluated_at)
    said = sentences.retold(old)
    assert "nothing in it was verified again" in said
    for render in (render_html, render_markdown, render_summary):
        assert said[:40] in render(old)
        assert said[:40] not in render(new)


@pytest.mark.parametrize("lost", [{"anchor": None}, {"root_note": ""}])
def test_a_simulated_result_stays_one_where_a_field_is_left_out(lost: dict[str, Any]) -> None:
    raw = changed("unsafe-root", lambda d: d.update(lost))
    assert read_report(raw).anchor is Anchor.UNSAFE_ROOT


def test_reads_reports_of_versions_without_anchor_and_time_of_collection() -> None:
    def older(document: dict[str, Any]) -> None:
        del document["anchor"], document["collected_until"]

    assert read_report(changed("unsafe-root", older)).anchor is Anchor.UNSAFE_ROOT
    assert read_report(changed("affirming", older)).anchor is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_is_one_error_or_no_better_verdict(data: st.DataObject) -> None:
    document = json.loads(render_json(REPORTS["two-subjects"]))
    place: Any = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    others: list[Any] = [None, "", "x", "affirming", "pass", 0, -1, [], {}, True]
    place[key] = data.draw(st.sampled_from(others))
    try:
        report = read_report(json.dumps(document).encode())
    except EvidenceError:
        return
    assert not report.accepted
    render_json(report)
