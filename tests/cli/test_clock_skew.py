"""An auditor whose clock is wrong: what is not valid at that time does not count."""

import pytest

from verifier.api import Audit, Question, Sources, collect_evidence
from verifier.cli.question import simulated_reference
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Status, Verdict
from verifier.policy.policy import load_policy

HOUR, DAY, YEARS = 3_600, 86_400, 10 * 365 * 86_400


@pytest.fixture(scope="module")
def world() -> World:
    return build()


def audited(world: World, skew: int) -> Report:
    """What an auditor reports whose clock is so many seconds fast."""
    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now + skew,
        trusted=True,
    )
    sources = Sources(responder=world.respond, handshakes=world.handshake, cloud=False)
    bundle = collect_evidence(question, sources, lambda: world.now + skew)
    audit = Audit(target=world.app_id, question=question, bundle=bundle)
    return audit.report(load_policy("baseline"))


@pytest.mark.parametrize("skew", [-YEARS, -DAY, -HOUR, HOUR, DAY, YEARS])
def test_a_wrong_clock_affirms_nothing_and_accuses_nobody(world: World, skew: int) -> None:
    report = audited(world, skew)
    assert report.verdict in (Verdict.NONE, Verdict.WARNING)
    weak = [x for x in report.subjects[0].checks if x.status in (Status.SKIP, Status.ERROR)]
    assert any(item.remediation for item in weak) or report.verdict is Verdict.WARNING


@pytest.mark.parametrize("skew", [0, 120])
def test_a_clock_that_is_two_minutes_fast_is_right(world: World, skew: int) -> None:
    assert audited(world, skew).verdict is Verdict.AFFIRMING


@pytest.mark.parametrize("skew", [-YEARS, YEARS])
def test_collateral_that_is_not_valid_then_does_not_count(world: World, skew: int) -> None:
    checks = {item.id: item for item in audited(world, skew).subjects[0].checks}
    assert checks["hardware.quote"].status is not Status.PASS
    assert checks["hardware.quote"].summary
