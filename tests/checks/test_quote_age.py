"""What bounds the age of a quote: an authorization that was there when it was made, by logs that
two operators give alike."""

from types import SimpleNamespace
from typing import Final, cast

import pytest

from tests.timeline.scans import log
from verifier.checks.case import Case
from verifier.checks.hardware import freshness
from verifier.checks.hardware.freshness import _governed_logs, _not_before
from verifier.evidence.chain import contracts

HASH: Final = b"\x11" * 32
NOW: Final = 1_800_000_000
ADDED: Final = bytes.fromhex(contracts.COMPOSE_HASH_ADDED[2:])


def bound(monkeypatch: pytest.MonkeyPatch, *added: tuple[bytes, int]) -> int | None:
    logs = tuple(
        SimpleNamespace(time=time, log=SimpleNamespace(topics=(ADDED,), data=data))
        for data, time in added
    )
    monkeypatch.setattr(freshness, "_governed_logs", lambda _case: logs)
    case = SimpleNamespace(
        answers_challenge=False,
        question=SimpleNamespace(at=NOW),
        identity=SimpleNamespace(compose_hash=HASH),
    )
    return _not_before(cast("Case", case))


def test_the_first_authorization_of_the_measured_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound(monkeypatch, (b"\x22" * 32, NOW - 30), (HASH, NOW - 20), (HASH, NOW - 10)) == (
        NOW - 20
    )
    assert bound(monkeypatch, (HASH, NOW)) == NOW


def test_none_of_another_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound(monkeypatch, (b"\x22" * 32, NOW - 30)) is None


def test_none_from_after_the_time_of_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound(monkeypatch, (HASH, NOW + 1)) is None


@pytest.mark.parametrize(
    ("operators", "pieced", "problems", "once", "counts"),
    [
        (2, False, (), [], True),
        (1, False, (), [], False),
        (2, True, (), [], False),
        (2, False, ("they differ",), [], False),
        (2, False, (), ["unknown code, which may say anything"], False),
    ],
)
def test_logs_count_where_two_operators_give_all_of_them_alike(  # noqa: PLR0913, PLR0917
    monkeypatch: pytest.MonkeyPatch,
    operators: int,
    pieced: bool,  # noqa: FBT001 - a column of the table
    problems: tuple[str, ...],
    once: list[str],
    counts: bool,  # noqa: FBT001
) -> None:
    given = (log(3),)
    agreed = SimpleNamespace(sources=("a", "b"), pieced=pieced, problems=problems, logs=given)
    history = SimpleNamespace(
        app_stream=SimpleNamespace(agreed=agreed),
        reader=SimpleNamespace(operators_of=lambda _sources: operators),
    )
    monkeypatch.setattr(freshness, "vouched", lambda _case: True)
    monkeypatch.setattr(freshness, "holds", lambda _spec, _case: True)
    monkeypatch.setattr(freshness, "history_of", lambda _case: history)
    monkeypatch.setattr(freshness, "unknown_upgrades", lambda _case, _found: once)
    case = cast("Case", SimpleNamespace(chain_plan=object()))
    assert _governed_logs(case) == (given if counts else ())
