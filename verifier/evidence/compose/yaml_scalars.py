"""What a YAML scalar without quotes means to Docker Compose, and how Compose then writes it.

Compose decodes with go-yaml v3, which is neither YAML 1.1 nor the core schema of 1.2: `22:22`, `on`
and `yes` are strings, `1_000` is a thousand, `0777` is octal, `2024-01-01` is a time. Where a text
is wanted, it takes the Go form of the value: `1.0` becomes `1`, `0777` becomes `511`. Source:
go-yaml v3 resolve.go (`resolve`, `parseTimestamp`), Go's `strconv` and `fmt` (`%v`).
"""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from verifier.patterns import pattern

_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), ("null", "")),
    **dict.fromkeys(("true", "True", "TRUE"), ("bool", "true")),
    **dict.fromkeys(("false", "False", "FALSE"), ("bool", "false")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), ("float", "NaN")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), ("float", "+Inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), ("float", "-Inf")),
}
_INT: Final = pattern(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))", re.ASCII
)
_BASES: Final = (16, 2, 8, 10)
_FLOAT: Final = pattern(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TIME: Final = pattern(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
_NUMERIC: Final = frozenset("0123456789+-.")
_TEXT_BEGINS: Final = frozenset("abcdeghijklmopqrsuvwxyzABCDEGHIJKLMOPQRSUVWXYZ/$_@%")
_LONGEST_NUMBER: Final = 400  # characters; Go holds 64 bits, and Python's int() costs the square
_INT64: Final = range(-(1 << 63), 1 << 64)  # int64, and uint64 for what is above it
_PLAIN_POWERS: Final = range(-4, 6)  # of ten; other floats are written with an exponent


def is_text(text: str) -> bool:
    """Whether a plain scalar is a text by its first character; false where more has to be seen."""
    return text[:1] in _TEXT_BEGINS


def resolve(text: str) -> tuple[str, str]:
    """What a plain scalar is and what Compose writes for it.

    The first is `str`, `null`, `bool`, `int`, `float` or `time`; the second is "" for null.
    """
    return ("str", text) if len(text) > _LONGEST_NUMBER else _resolve(text)


@lru_cache(maxsize=4096)
def _resolve(text: str) -> tuple[str, str]:
    word = _WORDS.get(text)
    if word is not None:
        return word
    if text[0] not in _NUMERIC:
        return "str", text
    if _is_time(text):
        return "time", text
    plain = text.replace("_", "")
    match = _INT.fullmatch(plain)
    if match:
        digits, base = next((d, b) for d, b in zip(match.groups()[1:], _BASES, strict=True) if d)
        value = int(match[1] + digits, base)
        if value in _INT64:
            return "int", str(value)
    if _FLOAT.fullmatch(plain) and math.isfinite(float(plain)):
        return "float", _go_float(float(plain))
    return "str", text


def _is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None or bool(match[8]) != (match[4] in {"T", "t"}):
        return False
    year, month, day, hour, minute, second = (int(match[n] or 0) for n in (1, 2, 3, 5, 6, 7))
    try:
        datetime(year or 1, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return True


def _go_float(value: float) -> str:
    """Go's `%v` of a finite float64: the shortest digits that give it back."""
    number = Decimal(repr(value)).normalize()
    if not number:
        return "-0" if number.is_signed() else "0"
    sign, digits, _ = number.as_tuple()
    power = number.adjusted()
    if power in _PLAIN_POWERS:
        return f"{number:f}"
    first, *rest = map(str, digits)
    mantissa = first + (f".{''.join(rest)}" if rest else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"
