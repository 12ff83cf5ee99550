"""What no chain has, whoever says it, makes a history contradicted."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from tests.timeline.events import BOB, HASH, born
from verifier.model.chain import Role
from verifier.model.timeline import TimelineEvent
from verifier.timeline.completeness import _impossible
from verifier.timeline.history import History


def problems(events: list[TimelineEvent]) -> list[str]:
    streams = [SimpleNamespace(events=[item]) for item in events]
    history = SimpleNamespace(streams=lambda: streams)
    return list(_impossible(cast("History", history)))


def events() -> list[TimelineEvent]:
    found = born()
    found.app("ComposeHashAdded", composeHash=HASH)
    return found.events


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda last: replace(last, address=BOB, role=Role.KMS), "two contracts"),
        (
            lambda last: replace(last, place=replace(last.place, log_index=9), block_hash="00"),
            "two",
        ),
        (
            lambda last: replace(last, place=replace(last.place, block=999), block_hash="", time=1),
            "before that of an earlier block",
        ),
    ],
    ids=["one place", "two hashes", "back in time"],
)
def test_what_no_chain_has(change: Callable[[TimelineEvent], TimelineEvent], expected: str) -> None:
    honest = events()
    assert problems(honest) == []
    (problem,) = problems([*honest, change(honest[-1])])
    assert expected in problem


def test_a_contract_that_owns_itself_has_its_logs_once() -> None:
    honest = events()
    assert problems([*honest, replace(honest[-1], role=Role.APP_OWNER)]) == []
