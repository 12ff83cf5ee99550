"""What contract state and logs have to be, so that a permission rests on them."""

from types import SimpleNamespace
from typing import cast

import pytest

from tests.worlds.audited import Audited, audit
from verifier.chain.view import DisagreementError
from verifier.checks.authorization.contract import MAX_BLOCK_AGE
from verifier.checks.authorization.history import _accused
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import parse_time
from verifier.model.result import SkipKind, Status
from verifier.timeline.history import History


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
    ("changes", "accused"),
    [
        ({}, True),
        ({"pieced": True}, False),
        ({"cached": 1}, False),
        ({"sources": ("a",)}, False),
        ({"single_source": True}, False),
    ],
)
def test_logs_accuse_where_two_operators_gave_them_whole(
    changes: dict[str, object], *, accused: bool
) -> None:
    told = {"sources": ("a", "b"), "pieced": False, "cached": 0, "single_source": False, **changes}
    view = SimpleNamespace(single_source=told["single_source"], operators_of=len)
    found = SimpleNamespace(reader=view, app_stream=SimpleNamespace(agreed=SimpleNamespace(**told)))
    if accused:
        assert _accused(cast("History", found), ["said"], ()).status is Status.FAIL
    else:
        with pytest.raises(DisagreementError, match="one operator alone says"):
            _accused(cast("History", found), ["said"], ())
