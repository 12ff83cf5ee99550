"""The header of the block at which contracts are read."""

import pytest

from tests.timeline.nodes import Ask, view_of
from verifier.errors import EvidenceError
from verifier.model.result import JsonValue

NUMBER = 100
TIME = 1_800_000_000


def telling(number: int) -> Ask:
    header: JsonValue = {"number": hex(number), "hash": "0x" + "ab" * 32, "timestamp": hex(TIME)}
    return lambda _call: header


def test_hash_and_time_are_those_of_the_block_that_was_asked_for() -> None:
    view = view_of(NUMBER, telling(NUMBER), telling(NUMBER))
    assert view.header.value == ("ab" * 32, TIME)


@pytest.mark.parametrize("number", [NUMBER - 1, NUMBER + 1])
def test_those_of_another_block_are_not(number: int) -> None:
    view = view_of(NUMBER, telling(number), telling(number))
    with pytest.raises(EvidenceError, match=f"block {number} instead of {NUMBER}"):
        _ = view.header
