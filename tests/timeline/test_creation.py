"""The search for an app's creation, round by round, over as many blocks as Base has."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from hypothesis import example, given
from hypothesis import strategies as st

from verifier.chain.view import ChainView
from verifier.evidence.chain.constructor import decode_creation
from verifier.evidence.chain.contracts import Call
from verifier.timeline.creation import find_creation

T = TypeVar("T")
FIRST, LAST = 32_830_000, 65_830_000
MOST_ROUNDS = 8
TRANSACTION: dict[str, Any] = {
    "hash": "0x" + "22" * 32,
    "from": "0x970e8128ab834e8eac17ab8e3812f010678cf791",
    "nonce": "0x2",
    "to": None,
    "blockHash": "0x" + "33" * 32,
    "input": "0x60",
}
APP = decode_creation({**TRANSACTION, "blockNumber": "0x1"}, "it").address


class Node:
    """A node that answers what it was asked before: one round of a collection after another."""

    number = LAST

    def __init__(self, created: int) -> None:
        self._created = created
        self.asked: set[str] = set()

    def find(self, call: Call, decode: Callable[[Any, str], T], **_: bool) -> T | None:
        """What `ChainView.find` gives."""
        return next(iter(self.each(call, decode)), None)

    def each(self, call: Call, decode: Callable[[Any, str], T]) -> tuple[T, ...]:
        """What `ChainView.each` gives."""
        method, params = call
        transaction = {**TRANSACTION, "blockNumber": hex(self._created)}
        if method == "eth_getTransactionByHash":
            answer: Any = transaction
        elif method == "eth_call":
            answer = f"0x{120:064x}"
        elif method == "eth_getCode":
            answer = "0x60" if int(str(params[1]), 16) >= self._created else "0x"
        else:
            here = int(str(params[0]), 16) == self._created
            answer = {"transactions": [transaction] if here else []}
        always = params[-1] == hex(LAST)
        return (decode(answer, "it"),) if always or str(call) in self.asked else ()


@given(st.integers(FIRST, LAST))
@example(FIRST)
@example(LAST)
def test_a_creation_is_found_within_the_rounds_of_a_collection(created: int) -> None:
    node, rounds = Node(created), 0
    while True:
        found = find_creation(cast("ChainView", node), APP, FIRST, ())
        fresh = {str(call) for call in found.calls} - node.asked
        if not fresh:
            break
        node.asked |= fresh
        rounds += 1
    assert found.creation is not None
    assert (found.creation.block, found.creation.address) == (created, APP)
    assert rounds <= MOST_ROUNDS
