"""A platform that is out of date: since when, and what a policy's days of grace make of it."""

import pytest

from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs
from verifier.model.result import CheckResult, Status, Verdict

GRACE = "[tcb]\ngrace_days = {}\n"


@pytest.fixture(scope="module")
def stale() -> Audited:
    return audit(Knobs(tcb_status="OutOfDate"))


def tcb(audited: Audited) -> CheckResult:
    (found,) = audited.check("hardware.tcb")
    return found


def test_an_out_of_date_platform_is_named_with_the_date_of_its_level(stale: Audited) -> None:
    assert tcb(stale).status is Status.FAIL
    assert "TCB status OutOfDate (level of 20" in tcb(stale).summary
    assert stale.report.verdict is Verdict.CONTRAINDICATED


def test_days_of_grace_make_it_a_warning_that_stays_visible(stale: Audited) -> None:
    graced = stale.under(GRACE.format(4000))
    assert tcb(graced).status is Status.WARN
    assert "OutOfDate (level of 20" in tcb(graced).summary
    assert "4000 days of grace" in tcb(graced).summary
    assert (graced.report.verdict, graced.report.accepted) == (Verdict.WARNING, False)


def test_grace_that_is_over_is_none(stale: Audited) -> None:
    assert tcb(stale.under(GRACE.format(1))).status is Status.FAIL


@pytest.mark.parametrize("status", ["Revoked", "ConfigurationNeeded", "SWHardeningNeeded"])
def test_grace_is_for_what_is_out_of_date_alone(status: str) -> None:
    assert tcb(audit(Knobs(tcb_status=status)).under(GRACE.format(4000))).status is Status.FAIL


def test_grace_changes_nothing_for_an_honest_platform() -> None:
    honest = audit(Knobs())
    assert tcb(honest.under(GRACE.format(4000))) == tcb(honest)
