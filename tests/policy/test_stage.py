"""ERC-733 stage 1: never said while a requirement is open."""

from dataclasses import replace

import pytest

from tests.attacks.audited import Audited, audit
from tests.policy.policies import Load, judged, waiver, with_compose
from verifier.lab.knobs import Knobs
from verifier.model.result import Report, Status, Verdict
from verifier.policy import stage
from verifier.policy.policy import load_policy
from verifier.policy.stage import REQUIREMENTS, Standing, assess_stage, conclusion, render_stage

BASELINE = load_policy("baseline")


def standings(report: Report) -> list[Standing]:
    return [item.standing for item in assess_stage(report, BASELINE)]


def test_an_honest_app_is_left_to_people(honest: Audited) -> None:
    assessed = assess_stage(honest.report, BASELINE)
    for item in assessed:
        if item.requirement.remains:
            assert item.standing is not Standing.MET
            assert item.requirement.remains in item.reasons
    text = render_stage(honest.report, BASELINE)
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


def test_without_evidence_nothing_is_met(honest: Audited) -> None:
    report = replace(honest.report, subjects=())
    assert set(standings(report)) == {Standing.NOT_MET}
    assert conclusion(()) != "Stage 1: every requirement is met."


def test_stage_1_is_said_when_everything_is_met(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {item.id for item in honest.report.subjects[0].checks}
    decided = tuple(
        replace(item, remains="", checks=tuple(c for c in item.checks if c in registered))
        for item in REQUIREMENTS
    )
    monkeypatch.setattr(stage, "REQUIREMENTS", decided)
    assessed = assess_stage(honest.report, BASELINE)
    assert conclusion(assessed).startswith("Stage 1")
    warned = replace(
        honest.report.subjects[0],
        checks=tuple(
            replace(item, status=Status.WARN) if item.id == "authorization.allowed" else item
            for item in honest.report.subjects[0].checks
        ),
    )
    doubted = assess_stage(replace(honest.report, subjects=(warned,)), BASELINE)
    assert "Stage 1" not in conclusion(doubted)
