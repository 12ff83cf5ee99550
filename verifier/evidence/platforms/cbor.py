"""The part of CBOR that measurement documents use: maps with text keys, lists, text, bytes and
numbers.

Definite lengths in their shortest form alone, no key twice; bytes read as lower-case hex, so that
a document reads like JSON. Source: RFC 8949, 4.2.1.
"""

from typing import Final

from verifier.errors import EvidenceError
from verifier.model.result import JsonValue

MAX_CBOR_BYTES: Final = 1 << 16
_MAX_DEPTH: Final = 8
_NUMBER, _BYTES, _TEXT, _LIST, _MAP = 0, 2, 3, 4, 5
_INLINE: Final = 24
_LONGEST: Final = 27


def parse_cbor(raw: bytes, what: str) -> JsonValue:
    """The one value of a document. Raises EvidenceError."""
    if len(raw) > MAX_CBOR_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes of CBOR, more than {MAX_CBOR_BYTES}")
    reader = _Reader(raw, what)
    value = reader.value(_MAX_DEPTH)
    if reader.at != len(raw):
        raise EvidenceError(f"{what}: {len(raw) - reader.at} bytes after the CBOR document")
    return value


class _Reader:
    def __init__(self, raw: bytes, what: str) -> None:
        self._raw, self._what, self.at = raw, what, 0

    def value(self, depth: int) -> JsonValue:
        kind, argument = self._head()
        if kind == _NUMBER:
            return argument
        if kind == _BYTES:
            return self._take(argument).hex()
        if kind == _TEXT:
            return self._text(argument)
        if kind not in (_LIST, _MAP) or not depth or argument > len(self._raw):
            raise EvidenceError(f"{self._what}: CBOR of a kind that no measurement has")
        if kind == _LIST:
            return [self.value(depth - 1) for _ in range(argument)]
        found: dict[str, JsonValue] = {}
        for _ in range(argument):
            key = self.value(0)
            if not isinstance(key, str) or key in found:
                raise EvidenceError(
                    f"{self._what}: a CBOR key that is no text, or stands there twice"
                )
            found[key] = self.value(depth - 1)
        return found

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        kind, small = first >> 5, first & 31
        if small < _INLINE:
            return kind, small
        if small > _LONGEST:
            raise EvidenceError(f"{self._what}: CBOR of indefinite length")
        size = 1 << (small - _INLINE)
        argument = int.from_bytes(self._take(size), "big")
        if argument < (_INLINE if size == 1 else 1 << 4 * size):
            raise EvidenceError(f"{self._what}: a CBOR length that is not in its shortest form")
        return kind, argument

    def _take(self, count: int) -> bytes:
        if count > len(self._raw) - self.at:
            raise EvidenceError(f"{self._what}: CBOR is cut off at byte {len(self._raw)}")
        self.at += count
        return self._raw[self.at - count : self.at]

    def _text(self, count: int) -> str:
        try:
            return self._take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise EvidenceError(f"{self._what}: CBOR text that is not UTF-8") from error
