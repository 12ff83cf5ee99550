"""What contract state and logs have to be, so that a permission rests on them."""

from types import SimpleNamespace
from typing import cast

import pytest

from tests.worlds.audited import Audited, audit
from verifier.chain.view import ChainView, DisagreementError
from verifier.checks.authorization import contract
from verifier.checks.authorization.contract import MAX_BLOCK_AGE, _app_logs
from verifier.checks.case import Case
from verifier.evidence.chain.contracts import Log
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import parse_time
from verifier.model.result import SkipKind, Status


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.mark.parametrize(
    ("age", "young"),
    [(MAX_BLOCK_AGE, True), (MAX_BLOCK_AGE + 1, False)],
)
def test_a_block_counts_for_an_hour(honest: Audited, age: int, *, young: bool) -> None:
    block = cast("dict[str, str]", honest.claims()["block"].value)
    mined = parse_time(block["time"])
    assert mined is not None
    (found,) = honest.again(at=mined + age).check("authorization.allowed")
    assert MAX_BLOCK_AGE == 3600
    assert found.status is (Status.PASS if young else Status.SKIP)
    assert young or found.skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(
    ("sources", "pieced", "alone"),
    [(("a", "b"), False, False), (("a", "b"), True, True), (("a",), False, True)],
)
def test_logs_that_no_two_operators_give_whole_are_of_one(
    monkeypatch: pytest.MonkeyPatch,
    sources: tuple[str, ...],
    *,
    pieced: bool,
    alone: bool,
) -> None:
    log = cast("Log", object())
    agreed = SimpleNamespace(
        contradicted=(), sources=sources, pieced=pieced, logs=(SimpleNamespace(log=log),)
    )
    monkeypatch.setattr(contract, "app_logs", lambda _case: agreed)
    view = SimpleNamespace(single_source=False, operators_of=len)
    assert _app_logs(cast("Case", None), cast("ChainView", view)) == (log,)
    assert view.single_source is alone


def test_logs_that_endpoints_contradict_count_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    agreed = SimpleNamespace(contradicted=("they differ",), sources=("a", "b"))
    monkeypatch.setattr(contract, "app_logs", lambda _case: agreed)
    with pytest.raises(DisagreementError, match="they differ"):
        _app_logs(cast("Case", None), cast("ChainView", SimpleNamespace()))
    monkeypatch.setattr(contract, "app_logs", lambda _case: None)
    assert _app_logs(cast("Case", None), cast("ChainView", SimpleNamespace())) is None
