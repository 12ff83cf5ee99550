"""The quick reader of logs says what the strict one says, or nothing."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.canonical_logs import read_canonical_logs

LOG: Final[dict[str, Any]] = {
    "address": "0x" + "ab" * 20,
    "topics": ["0x" + "01" * 32, "0x" + "02" * 32],
    "data": "0x" + "0c" * 40,
    "blockNumber": "0x1f",
    "blockHash": "0x" + "03" * 32,
    "blockTimestamp": "0x6553f100",
    "transactionHash": "0x" + "04" * 32,
    "transactionIndex": "0x0",
    "logIndex": "0x2",
    "removed": False,
}
ODD: Final[tuple[Any, ...]] = (
    *(None, "", "0x", "0x0", "0x00", "0X1", "0x1 ", " 0x1", "0x" + "AB" * 20, "ab" * 20, 0, 31),
    *("0x" + "ab" * 20 + " 0x", "0x1 0x2", "0x" + "f" * 17, "0x" + "3" * 64, "0x\n", [], True),
    *(["0x" + "05" * 32] * 5, ["0x" + "05" * 31], ["0x" + "05" * 32 + " 0x" + "06" * 32]),
)
VALUES: Final = [*ODD, *LOG.values()]


def strictly(value: Any) -> Any:
    try:
        return contracts.decode_timed_logs(value, "logs")
    except EvidenceError:
        return None


def test_a_log_as_nodes_spell_it_is_read() -> None:
    (found,) = read_canonical_logs([LOG]) or ()
    assert (found.log, found.time) == contracts.decode_timed_logs([LOG], "logs")[0]
    assert found.block_hash == "03" * 32


@pytest.mark.parametrize("name", LOG)
def test_a_field_of_another_spelling_is_left_to_the_strict_reader(name: str) -> None:
    for odd in ODD:
        entry = {**LOG, name: odd}
        found = read_canonical_logs([entry])
        if found is not None:
            assert strictly([entry]) == tuple((item.log, item.time) for item in found)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*LOG]), st.sampled_from([*ODD, *LOG.values()]), max_size=3
        ),
        max_size=3,
    )
)
def test_no_answer_is_read_otherwise(changes: list[dict[str, Any]]) -> None:
    entries: list[Any] = [
        {**LOG, "logIndex": hex(place), **change} for place, change in enumerate(changes)
    ]
    found = read_canonical_logs(entries)
    if found is not None:
        assert strictly(entries) == tuple((item.log, item.time) for item in found)


def test_logs_out_of_order_are_left_to_the_strict_reader() -> None:
    assert read_canonical_logs([LOG, LOG]) is None
    assert read_canonical_logs([LOG, {**LOG, "blockNumber": "0x1e"}]) is None
