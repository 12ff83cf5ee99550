"""HTTP answers of a simulated world."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue


class Response(Struct, frozen=True, kw_only=True):
    """One HTTP answer.

    status            the HTTP status
    headers           by name, as they were sent
    body              the bytes
    peer_certificate  that of the TLS session that it comes in (DER), where the world says which;
                      None where it does not
    peer_key          the private key of that certificate (PEM); b"" where there is none
    exporter          the exporter of that session, 32 bytes; b"" for none
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    peer_certificate: bytes | None = None
    peer_key: bytes = b""
    exporter: bytes = b""


def answer(
    status: int, media_type: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of a media type."""
    typed = {"Content-Type": media_type, **(headers or {})}
    return Response(status=status, headers=typed, body=body)


def answer_json(
    status: int, document: JsonValue, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in compact JSON."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return answer(status, "application/json", body, headers)


def arguments_of(query: str, body: bytes) -> dict[str, str]:
    """What a request asks about: its query, and the texts of a JSON object in its body."""
    arguments = dict(parse_qsl(query, keep_blank_values=True))
    if body:
        with suppress(EvidenceError):
            document = codec.parse_json_object(body, "request")
            arguments |= {key: value for key, value in document.items() if isinstance(value, str)}
    return arguments


NOT_FOUND: Final = answer(404, "text/plain", b"")
