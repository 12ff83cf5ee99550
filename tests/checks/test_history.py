"""Which history of the contracts is whole, and what of one is in doubt."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.report.timelines import CALM, event
from verifier.checks.authorization import history as module
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, failed, tried
from verifier.model.chain import Role
from verifier.model.result import SkipKind, Status
from verifier.model.timeline import UNKNOWN, Beginning, Timeline

APP, KMS = CALM.coverage


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Any:
    def judged(timeline: Timeline, *once: str) -> Outcome:
        monkeypatch.setattr(module, "_told", lambda *_: timeline)
        monkeypatch.setattr(module, "history_of", lambda _case: SimpleNamespace())
        monkeypatch.setattr(module, "unknown_upgrades", lambda *_: [*once])
        monkeypatch.setattr(module, "_accused", lambda _found, texts, _: failed(texts[0]))
        monkeypatch.setattr(module, "_scans", lambda _case: ())
        return tried(lambda: module.history.run(cast("Case", None)))

    return judged


def covered(*, app: dict[str, Any] | None = None, kms: dict[str, Any] | None = None) -> Timeline:
    """A calm history, but for how its logs are known."""
    return replace(CALM, coverage=(replace(APP, **(app or {})), replace(KMS, **(kms or {}))))


REFUSED = (("base.drpc.org", "refused as too old"),)


@pytest.mark.parametrize("contract", ["app", "kms"])
@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, Status.PASS, "8 app logs and 4 KMS logs"),
        ({"partial": REFUSED}, Status.PASS, "explain all 15 values"),
        ({"sources": (), "partial": REFUSED}, Status.SKIP, "base.drpc.org: refused as too old"),
        ({"sources": ()}, Status.SKIP, "nobody was asked"),
        ({"unproven": ("owner() is not known",)}, Status.SKIP, "owner() is not known"),
        ({"disputed": ("a and b differ",)}, Status.ERROR, "a and b differ"),
        ({"problems": ("no event says so",)}, Status.FAIL, "no event says so"),
    ],
    ids=["whole", "partly", "refused", "not asked", "unproven", "disputed", "contradicted"],
)
def test_the_logs_of_both_contracts_are_whole(
    judge: Any, contract: str, changes: dict[str, Any], status: Status, words: str
) -> None:
    found = judge(covered(**{contract: changes}))
    assert (found.status, words in found.summary) == (status, True)
    assert (found.skip_kind is SkipKind.MISSING_EVIDENCE) is (status is Status.SKIP)


def test_what_is_false_counts_before_what_is_in_dispute_or_missing(judge: Any) -> None:
    bad = {"problems": ("false",), "disputed": ("disputed",), "sources": ()}
    assert judge(covered(kms=bad), "unknown code").status is Status.FAIL
    assert judge(covered(kms={**bad, "problems": ()}), "unknown code").status is Status.ERROR
    alone = judge(covered(kms={"sources": ()}), "unknown code")
    assert (alone.status, alone.summary) == (Status.FAIL, "unknown code")


def test_of_several_contradictions_three_are_said(judge: Any) -> None:
    four = ("first", "second", "third", "fourth")
    for name in ("problems", "disputed"):
        assert judge(covered(app={name: four})).summary.endswith("first; second; third")


def beginning(kind: Beginning) -> dict[str, Any]:
    return {"origin": replace(APP.origin, kind=kind)}


def state(**changes: Any) -> Timeline:
    return replace(CALM, app_state=replace(CALM.app_state, **changes))


STRANGE = event("unknown", 40_400_000, 1)
UNDATED = replace(event("ComposeHashAdded", 40_400_000, 1), time=None)


def with_event(given: Any, **changes: Any) -> Timeline:
    return replace(CALM, events=(*CALM.events, replace(given, **changes)))


@pytest.mark.parametrize(
    ("timeline", "doubt"),
    [
        (replace(CALM, single_source=True), "from one operator only"),
        (covered(app=beginning(Beginning.ASSUMED)), "; assumed: asked from block"),
        (covered(kms=beginning(Beginning.ASSUMED)), "KMS: assumed: asked from block"),
        (covered(app=beginning(Beginning.CREATED)), "is not known to have created the app"),
        (covered(app=beginning(Beginning.BY_CONSTRUCTOR)), ""),
        (covered(kms=beginning(Beginning.CREATED)), ""),
        (state(continuous=False), "the app ran unknown code"),
        (replace(CALM, kms_state=replace(CALM.kms_state, continuous=False)), "the KMS ran unknown"),
        (state(any_device=UNKNOWN), "whether any device may run it"),
        (state(upgrades_disabled=UNKNOWN), "whether its code can be replaced"),
        (state(require_tcb_up_to_date=UNKNOWN), "whether the TCB must be current"),
        (with_event(STRANGE), "events that no known contract has"),
        (with_event(STRANGE, name="undecodable"), "events that no known contract has"),
        (with_event(STRANGE, role=Role.KMS), "events that no known contract has"),
        (with_event(STRANGE, role=Role.APP_OWNER), ""),
        (with_event(STRANGE, provisional=True), ""),
        (with_event(UNDATED), "some events have no time"),
        (with_event(UNDATED, role=Role.KMS), "some events have no time"),
        (with_event(UNDATED, role=Role.KMS_OWNER), ""),
        (with_event(UNDATED, provisional=True), ""),
    ],
    ids=range(20),
)
def test_what_a_whole_history_leaves_open(judge: Any, timeline: Timeline, doubt: str) -> None:
    found = judge(timeline)
    assert found.status is (Status.WARN if doubt else Status.PASS)
    assert doubt in found.summary
    # What is only assumed to be the app's creation is not known to be by the factory, either.
    assert found.summary.count(";") == bool(doubt) + doubt.startswith("; assumed")
