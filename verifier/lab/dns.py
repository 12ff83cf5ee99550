"""A resolver's answers over HTTPS (RFC 8484), encoded by hand (RFC 1035, 4; RFC 8659, 4.1)."""

import base64
import struct
from collections.abc import Sequence
from typing import Final

from verifier.lab.response import Response, answer

CNAME, TXT, CAA = 5, 16, 257
_TYPES: Final = {CNAME: "CNAME", TXT: "TXT", CAA: "CAA"}
_ANSWER: Final = 0x8180  # a response, recursion desired and available
_NAME_ERROR: Final = 3
_MEDIA_TYPE: Final = "application/dns-message"

Record = tuple[str, str, bytes]
"""Owner, type and data of one record."""


def name_data(name: str) -> bytes:
    """A name without compression."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def text_data(text: str) -> bytes:
    """The data of a TXT record of one string."""
    raw = text.encode("utf-8")
    return bytes([len(raw)]) + raw


def caa_data(tag: str, value: str) -> bytes:
    """The data of a CAA record."""
    name = tag.encode("ascii")
    return bytes([0, len(name)]) + name + value.encode("ascii")


def asked(query: str) -> tuple[bytes, str, str]:
    """The question section of a query (base64url), its name, and the type that it asks for."""
    raw = base64.urlsafe_b64decode(query + "=" * (-len(query) % 4))
    place, labels = 12, []
    while raw[place]:
        labels.append(raw[place + 1 : place + 1 + raw[place]].decode("ascii"))
        place += 1 + raw[place]
    (number,) = struct.unpack_from(">H", raw, place + 1)
    return raw[12 : place + 5], ".".join(labels), _TYPES.get(number, "")


def respond(question: bytes, records: Sequence[Record] | None) -> Response:
    """The answer with these records; None for a name that does not exist."""
    numbers = {name: number for number, name in _TYPES.items()}
    code = _NAME_ERROR if records is None else 0
    head = struct.pack(">HHHHHH", 0, _ANSWER | code, 1, len(records or ()), 0, 0)
    body = b"".join(
        name_data(owner) + struct.pack(">HHIH", numbers[kind], 1, 300, len(data)) + data
        for owner, kind, data in records or ()
    )
    return answer(200, _MEDIA_TYPE, head + question + body)
