"""JSON-RPC 2.0 exchanges with Ethereum nodes, as recorded in a bundle.

Ids are constant and parameters are spelled canonically, so that the same question is the same
bytes. A revert, another error, a null and a missing answer are different things, and none is an
empty list: a revert is what the contract answers, the others are no answer.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.model.result import EvidenceRef, JsonValue

REQUEST_ID: Final = 1

_REVERTED_CODE: Final = 3
"""Execution error: go-ethereum internal/ethapi/errors.go, and the execution-apis specification.
Other nodes have other codes, and the word in the message."""

T = TypeVar("T")


class Reverted(EvidenceError):
    """A node says that the contract refused the call."""


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Answer(Struct, frozen=True):
    """The result of one call at one endpoint, and where it stands in the bundle."""

    value: JsonValue
    evidence: EvidenceRef


def encode_request(method: str, params: list[JsonValue]) -> str:
    """The body of a request, canonically."""
    request = {"id": REQUEST_ID, "jsonrpc": "2.0", "method": method, "params": params}
    return _ENCODER.encode(request).decode("ascii")


def parse_answer(raw: bytes, what: str) -> JsonValue:
    """The result of a response.

    Raises Reverted for a call that the contract refused, EvidenceError for another error object, a
    null or another id.
    """
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    error = document.get("error")
    if error is not None:
        told = error if isinstance(error, dict) else {"message": error}
        message = told.get("message")
        problem = f"{what}: the node answered with an error: {message!r}"
        if told.get("code") == _REVERTED_CODE or "revert" in str(message).lower():
            raise Reverted(problem)
        raise EvidenceError(problem)
    identifier = document.get("id")
    if type(identifier) is not int or identifier != REQUEST_ID or "result" not in document:
        raise EvidenceError(f"{what}: not the response to this request")
    if document["result"] is None:
        raise EvidenceError(f"{what}: the node answered null")
    return document["result"]


class Exchanges:
    """All recorded exchanges of a bundle, by endpoint and request. `collected_until` is when the
    last one was recorded (Unix seconds); 0 without any."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._decoded: dict[tuple[str, object], Any] = {}
        self._once: dict[object, Any] = {}
        self._by_endpoint: dict[str, dict[str, Artifact]] = {}
        self.collected_until = 0
        for artifact in bundle.artifacts:
            if artifact.kind is Kind.JSON_RPC:
                requests = self._by_endpoint.setdefault(artifact.source, {})
                if artifact.request in requests:
                    requests[artifact.request] = _conflict(artifact)
                else:
                    requests[artifact.request] = artifact
                self.collected_until = max(self.collected_until, artifact.collected_at)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that were asked, sorted."""
        return tuple(sorted(self._by_endpoint))

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once for this bundle: several attesters need it."""
        if key not in self._once:
            self._once[key] = compute()
        value: T = self._once[key]
        return value

    def requests(self, endpoint: str) -> Mapping[str, Artifact]:
        """What was asked of one endpoint."""
        return self._by_endpoint.get(endpoint, {})

    def call(self, endpoint: str, method: str, params: list[JsonValue]) -> Answer:
        """The recorded result of a call.

        Raises Reverted when the contract refused it, EvidenceError when it was not asked, not
        answered, or answered with another error.
        """
        return self.answer(endpoint, method, encode_request(method, params))

    def answer(self, endpoint: str, method: str, request: str) -> Answer:
        """What `call` gives, for the body of a request that `encode_request` made."""
        artifact = self._by_endpoint.get(endpoint, {}).get(request)
        what = f"{method} at {endpoint}"
        if artifact is None:
            raise EvidenceError(f"{what}: not in the evidence")
        if artifact.sha256 is None:
            raise EvidenceError(f"{what}: no answer: {artifact.error}")
        return Answer(self._bundle.read(artifact, parse_answer, what), artifact.at("/result"))

    def decoded(self, answer: Answer, decode: Callable[[JsonValue, str], T], what: str) -> T:
        """A decoded answer; what several attesters and checks read is decoded once.

        Raises what `decode` raises.
        """
        key = (answer.evidence.blob, decode)
        if key not in self._decoded:
            self._decoded[key] = decode(answer.value, what)
        value: T = self._decoded[key]
        return value


def _conflict(artifact: Artifact) -> Artifact:
    return Artifact(
        kind=artifact.kind,
        source=artifact.source,
        collected_at=artifact.collected_at,
        request=artifact.request,
        error="the evidence holds two answers to the same request",
    )
