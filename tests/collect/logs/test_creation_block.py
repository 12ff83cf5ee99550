"""Finding the block that created a contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.collect.creation import creation_block
from verifier.errors import EvidenceError, NetworkError

OLD = 900


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 2000))
def test_it_is_the_first_block_with_code(first: int, width: int, created: int) -> None:
    last = first + width
    asked: list[int] = []

    def code_at(number: int) -> bytes:
        asked.append(number)
        return b"\x60" if number >= created else b""

    found = creation_block(code_at, first, last)
    assert found == (created if first < created <= last else first)
    assert len(asked) <= 2 + width.bit_length() + 1


@pytest.mark.parametrize("error", [NetworkError("no archive"), EvidenceError("pruned")])
def test_an_endpoint_that_does_not_tell_costs_nothing_but_time(error: Exception) -> None:
    def code_at(number: int) -> bytes:
        if number < OLD:
            raise error
        return b"\x60"

    assert creation_block(code_at, 0, 1000) == 0
