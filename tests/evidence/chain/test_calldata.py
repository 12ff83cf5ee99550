"""Calldata is read as eth_abi encodes it, never otherwise; calls are found inside calls."""

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from tests.timeline.events import ALICE, APP, SAFE, TIMELOCK
from verifier.evidence.chain.calldata import (
    DECLARATIONS,
    MAX_CALLS,
    MAX_DEPTH,
    MULTI_SEND,
    SELECTORS,
    InnerCall,
    decode_call,
    inner_calls,
)

MULTI_SENDER = min(MULTI_SEND)
HASH = b"\x22" * 32
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bool": st.booleans(),
    "bytes32": st.binary(min_size=32, max_size=32),
    "uint8": st.integers(0, 255),
    "uint256": st.integers(0, 2**256 - 1),
    "bytes": st.binary(max_size=70),
    "string": st.text(max_size=20),
}


def kinds_of(declaration: str) -> list[str]:
    inner = declaration.partition("(")[2].removesuffix(")")
    parts = inner.replace("(bytes,bytes,bytes,bytes)", "(bytes;bytes;bytes;bytes)").split(", ")
    return [part.rpartition(" ")[0].strip().replace(";", ",") for part in parts if part]


def values_of(kind: str) -> st.SearchStrategy[Any]:
    if kind.startswith("("):
        return st.tuples(*map(values_of, kind.strip("()").split(",")))
    if kind.endswith("[]"):
        return st.lists(values_of(kind.removesuffix("[]")), max_size=3)
    return VALUES[kind]


def call(name: str, *values: Any) -> bytes:
    declaration = next(item for item in DECLARATIONS if item.startswith(f"{name}("))
    return bytes.fromhex(SELECTORS[name]) + encode(kinds_of(declaration), values)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value > 2**53:
        return str(value)
    return value.lower() if isinstance(value, str) and value.startswith("0x") else value


@given(st.data())
def test_every_function_is_read_as_it_was_encoded(data: st.DataObject) -> None:
    declaration = data.draw(st.sampled_from(DECLARATIONS))
    kinds = kinds_of(declaration)
    values = [data.draw(values_of(kind)) for kind in kinds]
    name = declaration.partition("(")[0]
    raw = call(name, *values)
    found = decode_call(raw)
    assert found is not None
    assert found.name == name
    said = [plain(item) for item in found.args.values()]
    assert [_lower(item) for item in said] == [_lower(plain(item)) for item in values]
    assert decode_call(raw + b"\0") is None
    assert decode_call(raw[:-1]) is None or not kinds


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(item) for item in value]
    return value.lower() if isinstance(value, str) and value.startswith("0x") else value


@given(st.sampled_from(sorted(SELECTORS.values())), st.binary(max_size=400))
def test_no_calldata_is_too_hostile(selector: str, rest: bytes) -> None:
    for item in inner_calls(APP, bytes.fromhex(selector) + rest, lends=bool(rest[:1])):
        assert item.target


def packed(*calls: tuple[int, str, bytes]) -> bytes:
    return b"".join(
        bytes([operation]) + bytes.fromhex(to[2:]) + bytes(32) + len(raw).to_bytes(32, "big") + raw
        for operation, to, raw in calls
    )


def execution(to: str, raw: bytes, operation: int = 0) -> bytes:
    return call("execTransaction", to, 0, raw, operation, 0, 0, 0, ALICE, ALICE, b"")


def said(found: tuple[InnerCall, ...]) -> list[tuple[str, str, bool]]:
    return [(item.call.name if item.call else "", item.target, item.opaque) for item in found]


ADD = call("addComposeHash", HASH)
REMOVE = call("removeComposeHash", HASH)


def test_calls_inside_a_safe_a_batch_and_a_multi_send_are_found() -> None:
    both = call("multiSend", packed((0, APP, ADD), (0, TIMELOCK, call("updateDelay", 5))))
    nested = call(
        "scheduleBatch",
        [SAFE, APP],
        [0, 0],
        [execution(MULTI_SENDER, both, 1), REMOVE],
        bytes(32),
        bytes(32),
        1,
    )
    found = inner_calls(TIMELOCK, nested)
    assert said(found) == [
        ("addComposeHash", APP, False),
        ("updateDelay", TIMELOCK, False),
        ("removeComposeHash", APP, False),
    ]
    assert found[0].within == ("scheduleBatch", "execTransaction", "multiSend")


@pytest.mark.parametrize(
    ("to", "raw"),
    [
        (ALICE, ADD),
        (MULTI_SENDER, ADD),
        (MULTI_SENDER, call("multiSend", b"\0" * 5)),
        (MULTI_SENDER, call("multiSend", packed((2, APP, ADD)))),
        (ALICE, call("multiSend", packed((0, APP, REMOVE)))),
    ],
    ids=["lent to anybody", "no multiSend", "cut off", "no operation", "another MultiSend"],
)
def test_code_that_runs_in_the_name_of_the_caller_may_do_anything(to: str, raw: bytes) -> None:
    (found,) = inner_calls(to, raw, lends=True)
    assert (found.call, found.opaque) == (None, True)


def test_what_a_multi_send_lends_is_opaque_alone() -> None:
    raw = call("multiSend", packed((0, APP, ADD), (1, ALICE, b"\1\2\3\4")))
    assert said(inner_calls(MULTI_SENDER, raw, lends=True)) == [
        ("addComposeHash", APP, False),
        ("", ALICE, True),
    ]
    # A MultiSend that is called makes its calls in its own name, or none.
    assert said(inner_calls(MULTI_SENDER, raw)) == [("", MULTI_SENDER, False)]


def test_the_work_is_bounded() -> None:
    raw = ADD
    for _ in range(MAX_DEPTH + 1):
        raw = execution(SAFE, raw)
    (found,) = inner_calls(SAFE, raw)
    assert (found.call, found.target, len(found.within)) == (None, SAFE, MAX_DEPTH)
    many = call("multiSend", packed(*[(0, APP, REMOVE)] * (MAX_CALLS + 5)))
    listed = inner_calls(MULTI_SENDER, many, lends=True)
    assert len(listed) == MAX_CALLS + 1
    assert (listed[-1].call, listed[-1].opaque) == (None, True)
