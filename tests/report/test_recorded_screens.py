"""First screens of real evidence: short, in their columns, and true."""

import pytest
from msgspec.structs import replace

from tests.evidence.recorded import audit, needs_recorded
from verifier.model.report import Report, Source
from verifier.model.result import Requirement, Status
from verifier.policy.policy import load_policy
from verifier.policy.stage import Standing, assess_stage, conclusion
from verifier.report.audit import sentences
from verifier.report.audit.terminal import render_terminal

pytestmark = needs_recorded

APP = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"
INFO = "info/info_dstack-nvidia-0.5.5.json"
COLLATERAL = "collateral/tdx_90C06F000000_2026-08-20_ev20.json"
MPC_APP = "173dc346593e76b8d3f19c0f275ff96f233bd40d"
MPC = tuple(
    f"near-mpc/2026-03-23_d84519915/{name}.json"
    for name in ("quote", "tcb_info", "app_compose", "collateral")
)
FIRST_SCREEN = 30


@pytest.fixture(scope="module")
def nvidia() -> Report:
    """An app whose contract state nobody read."""
    return audit("2026-08-21T00:00:00Z", APP, INFO, COLLATERAL)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("verbose", [0, 1])
def test_nothing_leaves_its_column(nvidia: Report, width: int, verbose: int) -> None:
    lines = render_terminal(nvidia, color=False, width=width, verbose=verbose).splitlines()
    assert all(len(line) <= width for line in lines)
    if not verbose:
        assert len(lines) <= FIRST_SCREEN


def test_what_is_not_there_is_not_said_to_be_unvouched(nvidia: Report) -> None:
    for verbose in (0, 1):
        screen = render_terminal(nvidia, color=False, width=100, verbose=verbose)
        assert "the evidence holds no contract state" in screen
        assert "--trust-bundle" not in screen
        assert "somebody else" not in screen


def test_expired_collateral_is_no_accusation() -> None:
    report = audit("2026-11-29T00:00:00Z", APP, INFO, COLLATERAL)
    screen = render_terminal(report, color=False, width=80)
    assert screen.startswith("NONE: ")
    assert "2026-08-20T22:21:30Z" in screen
    assert "2026-09-19T21:42:47Z" in screen
    assert "--at" in screen


def test_only_what_is_asked_for_is_counted() -> None:
    report = audit("2026-03-23T21:17:00Z", MPC_APP, *MPC, policy="genuine")
    asked = [
        check
        for check in report.subjects[0].checks
        if check.status is Status.FAIL and check.requirement is not Requirement.NOT_ASKED
    ]
    assert f"The evidence contradicts {len(asked)} check" in sentences.verdict_sentence(report)


def test_missing_evidence_is_no_unmet_requirement() -> None:
    report = audit("2026-11-29T00:00:00Z", APP, INFO, COLLATERAL)
    assessed = assess_stage(report, load_policy("stage1"))
    assert {item.standing for item in assessed} == {Standing.NOT_KNOWN}
    assert conclusion(assessed).startswith("Undecided: evidence is missing for 1, 2")


def test_sources_that_gave_nothing_are_one_line(nvidia: Report) -> None:
    silent = tuple(
        Source(
            kind="info",
            subject="",
            source=f"https://{APP}-8090.gateway{number}.example/prpc/Info",
            blob=None,
            error=f"https://{APP}-8090.gateway{number}.example/prpc/Info: the host name "
            f"{APP}-8090.gateway{number}.example does not resolve",
        )
        for number in range(24)
    )
    said = sentences.silent_sources(replace(nvidia, sources=silent))
    assert said == "24 of 24 gave nothing: the host name does not resolve (24 times)"
