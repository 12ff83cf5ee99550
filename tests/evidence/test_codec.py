"""The strict reader: one reading of every byte string, or none."""

import base64
import contextlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue

REFUSED_JSON = {
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key, nested": b'[{"x":{"a":1,"\\u0061":2}}]',
    "NaN": b"[NaN]",
    "infinity": b"-Infinity",
    "out of range": b"1e999",
    "raw surrogate": b'"\xed\xa0\x80"',
    "escaped surrogate": b'"\\ud800"',
    "escaped surrogate in a key": b'{"\\udfff":1}',
    "reversed surrogates": b'"\\ude00\\ud83d"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "65 arrays": b"[" * 65 + b"]" * 65,
    "65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "100,000 arrays": b"[" * 100_000,
    "5,000 digits": b"1" * 5000,
    "control character": b'"\n"',
    "trailing comma": b"[1,]",
    "two documents": b"1 2",
    "leading zero": b"01",
    "plus": b"+1",
    "single quotes": b"{'a':1}",
    "comment": b"1 // one",
    "empty": b"",
}
REFUSED_HEX = [
    *("abc", "0x", "0xab", "0XAB", " ab", "ab\n", "a b", "g0", "+a", "-1", "a_b_", "\u0661\u0662"),
    *("\uff41\uff42", 5, None, True, b"ab", ["ab"]),
]
REFUSED_BASE64 = ["QQ", "QQ===", "QR==", "QUJ=", "Q Q=", "QQ==\n", "Q-__", "\u0661A==", "QQ==QQ=="]


@pytest.mark.parametrize("case", REFUSED_JSON)
def test_refused_json(case: str) -> None:
    with pytest.raises(EvidenceError, match=r"^my evidence: "):
        codec.parse_json(REFUSED_JSON[case], "my evidence")


def test_the_limits_themselves_are_accepted() -> None:
    assert codec.parse_json(b"[" * 64 + b"]" * 64, "x")
    assert codec.parse_json(b"[" * 64 + b"1" + b"]" * 64, "x")
    assert codec.parse_json(b"[" + b"[],{}," * 500 + b"1]", "x")
    assert codec.parse_json(b"9" * 4300, "x")
    assert codec.parse_json(b'"\\ud83d\\ude00"', "x") == "\U0001f600"


def test_text_with_raw_surrogates_is_refused() -> None:
    with pytest.raises(EvidenceError, match="surrogate"):
        codec.parse_json('"\ud800"', "x")


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [], {}])
def test_only_an_integer_is_an_integer(value: JsonValue) -> None:
    with pytest.raises(EvidenceError, match="expected an integer"):
        codec.as_int(value, "x")


@pytest.mark.parametrize("value", REFUSED_HEX)
def test_refused_hex(value: object) -> None:
    if value == "0x":
        assert codec.parse_hex(value, "x", allow_0x=True) == b""
    with pytest.raises(EvidenceError):
        codec.parse_hex(value, "x")


def test_hex_options() -> None:
    assert codec.parse_hex("aBcD", "x") == b"\xab\xcd"
    assert codec.parse_hex("0xab", "x", allow_0x=True, length=1) == b"\xab"
    for bad in ({"lower": True}, {"length": 3}):
        with pytest.raises(EvidenceError):
            codec.parse_hex("aBcD", "x", **bad)
    with pytest.raises(EvidenceError):
        codec.parse_hex("0x0xab", "x", allow_0x=True)


@pytest.mark.parametrize("text", REFUSED_BASE64)
def test_refused_base64(text: str) -> None:
    with pytest.raises(EvidenceError):
        codec.parse_base64(text, "x")


@given(st.binary(max_size=64))
def test_base64_has_one_spelling(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert codec.parse_base64(text, "x") == raw


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_strict_reads_as_it_was_written(value: JsonValue) -> None:
    assert codec.parse_json(json.dumps(value).encode(), "x") == value
    assert codec.parse_json(json.dumps(value, ensure_ascii=False).encode(), "x") == value


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,\\u0dF81eE.-tn ', max_size=60))
def test_anything_else_is_an_evidence_error(raw: bytes | str) -> None:
    with contextlib.suppress(EvidenceError):
        codec.parse_json(raw, "x")


@pytest.mark.parametrize("opening", ["[", '{"a":', '["]",'])
def test_nesting_is_refused_where_a_library_raised_the_limit_of_recursion(opening: str) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        with pytest.raises(EvidenceError, match="deeper"):
            codec.parse_json(opening * 100_000, "evidence")
        assert codec.parse_json(json.dumps(["[" * 1000, [1]] * 40), "evidence")
    finally:
        sys.setrecursionlimit(limit)
