"""The one strict reader for hex, base64 and JSON, and for the TOML that users write.

Two readers that disagree about the same bytes are how a forged document passes one tool and means
something else in another. So: ASCII hex of even length, canonical base64, JSON without duplicate
keys, NaN, infinities, lone surrogates, integers over 4,300 digits or nesting over 64.
"""

import base64
import binascii
import json
import math
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from verifier.errors import EvidenceError, UsageError
from verifier.model.result import JsonValue
from verifier.patterns import pattern

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 250_000
"""Brackets, braces and commas in a document, a bound of its values: of evidence about one guest,
none has a tenth of it. Megabytes of `[],` are hundreds of megabytes once they are read."""
MAX_LISTED: Final = 1_000_000
"""The same for documents that list answers or logs, bundles' artifacts, or a vendor's guests."""
_SAFE_RECURSION: Final = 20_000
_NESTING: Final = pattern(r'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)
_MAX_EXCERPT: Final = 40
JsonObject = dict[str, JsonValue]


def parse_hex(
    text: object,
    what: str,
    *,
    length: int | None = None,
    allow_0x: bool = False,
    lower: bool = False,
) -> bytes:
    """Bytes of an even-length ASCII hex string.

    `length` is the required number of bytes; `lower` refuses upper-case digits, for formats whose
    only writer never makes them. `what` names the evidence in the error. Raises EvidenceError.
    """
    if not isinstance(text, str):
        raise EvidenceError(f"{what}: expected a hex string, found {_type_name(text)}")
    digits = text[2:] if allow_0x and text.startswith("0x") else text
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    # Spelled again, since `fromhex` passes over white space.
    if raw.hex() != (digits if lower else digits.lower()):
        raise EvidenceError(f"{what}: not a hex string of whole bytes: {_excerpt(text)}")
    if length is not None and len(raw) != length:
        raise EvidenceError(f"{what}: expected {length} bytes, found {len(raw)}")
    return raw


def parse_base64(text: str, what: str) -> bytes:
    """Bytes of a canonical padded base64 string. Raises EvidenceError."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError(f"{what}: not base64: {_excerpt(text)}") from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise EvidenceError(f"{what}: not canonical base64: {_excerpt(text)}")
    return raw


def parse_base64url(text: str, what: str) -> bytes:
    """Bytes of a canonical base64url string without padding, as in JSON Web Tokens (RFC 7515).
    Raises EvidenceError."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError(f"{what}: not base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != text:
        raise EvidenceError(f"{what}: not canonical base64url")
    return raw


def parse_utf8(raw: bytes, what: str) -> str:
    """Strict UTF-8, without a byte order mark. Raises EvidenceError."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise EvidenceError(f"{what}: starts with a byte order mark")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvidenceError(f"{what}: not UTF-8 at byte {error.start}") from error


def parse_json(raw: bytes | str, what: str, most: int = MAX_VALUES) -> JsonValue:
    """Strict JSON (see the module's text) of at most about so many values. Raises EvidenceError."""
    text = parse_utf8(raw, what) if isinstance(raw, bytes) else raw
    opened = text.count("[") + text.count("{")
    if opened + text.count(",") > most:
        raise EvidenceError(f"{what}: JSON of more than {most:,} values, which no evidence has")
    nests = opened > MAX_DEPTH
    if nests and sys.getrecursionlimit() > _SAFE_RECURSION:
        _refuse_deep_text(text, what)
    try:
        value: JsonValue = _DECODER.decode(text)
    except RecursionError as error:
        raise EvidenceError(f"{what}: JSON nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise EvidenceError(f"{what}: not JSON: {error}") from error
    if nests:
        _refuse_depth(value, what)
    if "\\u" in text or not text.isascii():
        _refuse_surrogates(value, what)
    return value


def parse_json_object(raw: bytes | str, what: str, most: int = MAX_VALUES) -> JsonObject:
    """Strict JSON whose top level is an object. Raises EvidenceError."""
    return as_object(parse_json(raw, what, most), what)


def parse_toml(raw: bytes, what: str) -> dict[str, Any]:
    """A policy, or another file of settings. Raises UsageError: also for nesting and for numbers
    that the reader of the standard library fails at."""
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what}: not TOML: {error}") from error


def as_object(value: JsonValue, what: str) -> JsonObject:
    """`value` if it is an object. Raises EvidenceError."""
    if not isinstance(value, dict):
        raise EvidenceError(f"{what}: expected a JSON object, found {_type_name(value)}")
    return value


def as_list(value: JsonValue, what: str) -> list[JsonValue]:
    """`value` if it is an array. Raises EvidenceError."""
    if not isinstance(value, list):
        raise EvidenceError(f"{what}: expected a JSON array, found {_type_name(value)}")
    return value


def as_str(value: JsonValue, what: str) -> str:
    """`value` if it is a string. Raises EvidenceError."""
    if not isinstance(value, str):
        raise EvidenceError(f"{what}: expected a string, found {_type_name(value)}")
    return value


def as_int(value: JsonValue, what: str) -> int:
    """`value` if it is an integer; a boolean or a float is not one. Raises EvidenceError."""
    if type(value) is not int:
        raise EvidenceError(f"{what}: expected an integer, found {_type_name(value)}")
    return value


def whole_number(value: JsonValue) -> int | None:
    """A number of an event or a service, of which large ones are decimal text; else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:  # noqa: PLR2004 - 2^256 in decimal
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text_field(document: Mapping[str, JsonValue], key: str, what: str) -> str:
    """A string field; absent or null reads as the empty string. Raises EvidenceError."""
    value = document.get(key)
    return "" if value is None else as_str(value, f"{what}.{key}")


def octets(items: list[JsonValue]) -> bytes | None:
    """Bytes that a JSON array of integers spells, or None when it spells none."""
    found = [item for item in items if type(item) is int and 0 <= item <= 0xFF]  # noqa: PLR2004
    return bytes(found) if items and len(found) == len(items) else None


def nested_json(value: JsonValue | bytes, what: str) -> JsonValue:
    """A JSON document that may be given as itself or as text inside a string.

    dstack sends `tcb_info`, `event_log` and `vm_config` as strings; providers that relay its
    answers often parse them first. Raises EvidenceError.
    """
    return parse_json(value, what) if isinstance(value, (str, bytes)) else value


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        duplicate = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"duplicate key {_excerpt(duplicate)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {_excerpt(text)}")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite_float
)


def _refuse_deep_text(text: str, what: str) -> None:
    """The reader of the standard library recurses: where another library has raised the limit of
    recursion, nesting has to be refused before it overflows the stack."""
    depth = 0
    for match in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise EvidenceError(f"{what}: JSON nested deeper than {MAX_DEPTH}")


def _refuse_depth(value: JsonValue, what: str) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        level = deeper
    if any(isinstance(item, dict | list) for item in level):
        raise EvidenceError(f"{what}: JSON nested deeper than {MAX_DEPTH}")


def _refuse_surrogates(value: JsonValue, what: str) -> None:
    stack: list[JsonValue] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise EvidenceError(f"{what}: lone surrogate in a JSON string") from error


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _excerpt(text: str) -> str:
    return ascii(text if len(text) <= _MAX_EXCERPT else text[:_MAX_EXCERPT] + "…")
