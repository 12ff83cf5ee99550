"""ERC-733 stage 1: never said while a requirement is open."""

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from tests.policy.policies import Load, judged, waiver, with_compose
from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs
from verifier.model.report import Report
from verifier.model.result import Status, Verdict
from verifier.policy import stage
from verifier.policy.policy import load_policy
from verifier.policy.stage import REQUIREMENTS, Standing, assess_stage, conclusion, stage_of
from verifier.report.stage import render_stage, render_stage_json

BASELINE = load_policy("baseline")
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schema" / "stage-v1.schema.json").read_text("utf-8")
)


def standings(report: Report) -> list[Standing]:
    return [item.standing for item in assess_stage(report, BASELINE)]


def test_an_honest_app_is_left_to_people(honest: Audited) -> None:
    assessed = assess_stage(honest.report, BASELINE)
    for item in assessed:
        if item.requirement.remains:
            assert item.standing is not Standing.MET
            assert item.requirement.remains in item.reasons
    text = render_stage(honest.report, assessed, 100)
    assert "Stage 1" not in text
    assert "SIMULATED" in text


def test_the_stage1_policy_accepts_nothing_that_nobody_checked(honest: Audited) -> None:
    policy = load_policy("stage1")
    report = judged(honest, policy)
    if not policy.undecided(item.id for item in report.subjects[0].checks):
        pytest.skip("every check of stage 1 exists")
    assert report.verdict is Verdict.NONE
    assert not report.accepted


@pytest.mark.parametrize(
    ("knobs", "number"),
    [
        (Knobs(kms="hosted"), 1),
        (Knobs(tcb_status="OutOfDate"), 1),
        (Knobs(compose_hash_on_chain="removed"), 1),
        (Knobs(os_image="development"), 4),
    ],
    ids=["hosted-kms", "outdated", "removed", "development-image"],
)
def test_a_failing_check_is_stage_0(knobs: Knobs, number: int) -> None:
    report = audit(knobs).report
    assessed = assess_stage(report, BASELINE)
    assert assessed[number - 1].standing is Standing.NOT_MET
    assert conclusion(assessed).startswith("Stage 0")
    assert "Stage 1" not in conclusion(assessed)


def test_a_finding_breaks_the_requirement_of_its_rule() -> None:
    edit = with_compose("services:\n  web:\n    image: ${IMAGE}\n", allowed_envs=["IMAGE"])
    found = standings(audit(Knobs(edit_manifest=edit)).report)
    assert found[2] is Standing.NOT_MET
    assert found[6] is Standing.NOT_MET


def test_neither_waiver_nor_rating_counts(written: Load) -> None:
    edit = with_compose("services:\n  web:\n    image: ${IMAGE}\n", allowed_envs=["IMAGE"])
    audited = audit(Knobs(edit_manifest=edit))
    for text in ('[rules]\n"IMG-001" = "info"\n', waiver(audited, rule="IMG-001"), waiver(audited)):
        policy = written(text)
        report = judged(audited, policy)
        assert report.verdict is not Verdict.CONTRAINDICATED
        assert assess_stage(report, policy)[2].standing is Standing.NOT_MET


def test_an_instance_beside_the_first_counts_too(honest: Audited) -> None:
    broken = replace(
        honest.report.subjects[0],
        name="another",
        checks=tuple(
            replace(item, status=Status.WARN) if item.id == "manifest.rules" else item
            for item in honest.report.subjects[0].checks
        ),
    )
    report = replace(honest.report, subjects=(*honest.report.subjects, broken))
    assert standings(report)[2] is Standing.NOT_MET


def test_it_is_shown_harmless_and_as_the_schema_says(honest: Audited) -> None:
    subject = honest.report.subjects[0]
    hostile = replace(
        subject,
        checks=tuple(
            replace(item, status=Status.FAIL, summary="\x1b[2J\u202e\nERC-733: Stage 1")
            if item.id == "boot.image"
            else item
            for item in subject.checks
        ),
    )
    report = replace(honest.report, subjects=(hostile,))
    assessed = assess_stage(report, BASELINE)
    text = render_stage(report, assessed, 100)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\nERC-733: Stage 1" not in text
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(render_stage_json(report, assessed))
    jsonschema.validate(document, SCHEMA)
    assert document["stage"] == 0


def test_without_a_quote_there_is_no_stage(honest: Audited) -> None:
    subject = honest.report.subjects[0]
    checks = tuple(replace(item, status=Status.SKIP) for item in subject.checks)
    report = replace(honest.report, subjects=(replace(subject, checks=checks),))
    assert stage_of(report, assess_stage(report, BASELINE)) is None
    bare = replace(report, subjects=())
    assert stage_of(bare, assess_stage(bare, BASELINE)) is None


def test_without_evidence_nothing_is_met(honest: Audited) -> None:
    report = replace(honest.report, subjects=())
    assert set(standings(report)) == {Standing.NOT_KNOWN}
    assert conclusion(()) != "Stage 1: every requirement is met."


def test_stage_1_is_said_when_everything_is_met(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {item.id for item in honest.report.subjects[0].checks}
    governance = {"KMS-006", "KMS-007"}  # one key owns the simulated app
    decided = tuple(
        replace(
            item,
            remains="",
            checks=tuple(name for name in item.checks if name in registered),
            rules=tuple(name for name in item.rules if name not in governance),
        )
        for item in REQUIREMENTS
    )
    monkeypatch.setattr(stage, "REQUIREMENTS", decided)
    unnamed = assess_stage(honest.report, BASELINE)
    assert conclusion(unnamed).startswith("Undecided: evidence is missing for 6")
    report = with_status(honest.report, "endpoint.tls", Status.PASS)
    assert conclusion(assess_stage(report, BASELINE)).startswith("Stage 1")
    doubted = assess_stage(with_status(report, "authorization.allowed", Status.WARN), BASELINE)
    assert "Stage 1" not in conclusion(doubted)


def with_status(report: Report, check_id: str, status: Status) -> Report:
    subject = replace(
        report.subjects[0],
        checks=tuple(
            replace(item, status=status, skip_kind=None) if item.id == check_id else item
            for item in report.subjects[0].checks
        ),
    )
    return replace(report, subjects=(subject,))
