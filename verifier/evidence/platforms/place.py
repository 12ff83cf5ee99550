"""Statements about where a machine stands, as Proof of Cloud's trust servers sign them.

    {"machineId", "label", "jwt"}       the answer of POST /get_jwt, or the JWT alone
    header   {alg: RS256 or EdDSA, kid}
    claims   {quote_hash, machine_id, label, timestamp[, iat, exp]}

`quote_hash` is the sha256 of the quote that was asked about, `machine_id` the beginning of the
sha256 of the machine's PPID, `timestamp` when it was signed (Unix seconds); all hashes are hex
(proofofcloud/trust-server@e9b4393 src/services.js and README.md). Whoever signs saw the machine:
the CPU says which machine it is, and nothing of where it stands.
"""

from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.identifiers import LATEST_TIME

RSA: Final = "RS256"
ED25519: Final = "EdDSA"
MIN_MACHINE_BYTES: Final = 16
"""Bytes of a machine's id without which it could be another machine's as well."""

_ANSWER: Final = frozenset({"machineId", "jwt"})
_START: Final = "eyJ"
_PARTS: Final = 3
_MAX_TOKEN: Final = 1 << 14
_MAX_LABEL: Final = 256


class PlaceStatement(Struct, frozen=True, kw_only=True):
    """One statement, read and not verified.

    algorithm   `RS256` or `EdDSA`
    quote_hash  sha256 of the quote that it was made for, 32 bytes
    machine_id  the beginning of sha256 of the machine's PPID, 16 to 32 bytes
    label       what the signers call the machine and its place
    stated      when it was signed, Unix seconds
    expires     when it ends, Unix seconds; None where it does not say
    signed      what the signature is over
    signature   the signature, as the algorithm has it
    """

    algorithm: str
    quote_hash: bytes
    machine_id: bytes
    label: str
    stated: int
    expires: int | None
    signed: bytes
    signature: bytes

    def is_about(self, device_id: bytes, quote_hash: bytes) -> bool:
        """Whether it is about this machine: by its id (sha256 of its PPID), or because the signers
        were shown this very quote, in which they read the id themselves."""
        return device_id.startswith(self.machine_id) or quote_hash == self.quote_hash


def is_answer(document: codec.JsonObject) -> bool:
    """Whether a JSON document has the shape of a trust server's answer."""
    return document.keys() >= _ANSWER and isinstance(document["jwt"], str)


def is_token(text: str) -> bool:
    """Whether a text has the shape of a JSON Web Token."""
    return text.startswith(_START) and text.strip().count(".") == _PARTS - 1


def parse_place(raw: bytes, what: str) -> PlaceStatement:
    """Parse a statement. Nothing is verified. Raises EvidenceError."""
    text = codec.parse_utf8(raw, what).strip()
    if not is_token(text):
        document = codec.parse_json_object(raw, what)
        text = codec.text_field(document, "jwt", what)
    parts = text.split(".")
    if len(text) > _MAX_TOKEN or len(parts) != _PARTS or not text.isascii():
        raise EvidenceError(f"{what}: not a JSON Web Token")
    header = codec.parse_json_object(codec.parse_base64url(parts[0], what), f"{what}: header")
    claims = codec.parse_json_object(codec.parse_base64url(parts[1], what), f"{what}: claims")
    algorithm, label = header.get("alg"), codec.text_field(claims, "label", what)
    if algorithm not in (RSA, ED25519):
        raise EvidenceError(f"{what}: not signed by {RSA} or {ED25519}")
    if len(label) > _MAX_LABEL:
        raise EvidenceError(f"{what}: a label of {len(label)} letters")
    machine_id = codec.parse_hex(claims.get("machine_id"), f"{what}: machine_id")
    if not MIN_MACHINE_BYTES <= len(machine_id) <= 2 * MIN_MACHINE_BYTES:
        raise EvidenceError(f"{what}: machine_id has {len(machine_id)} bytes, not 16 to 32")
    ends = claims.get("exp")
    times = [codec.as_int(claims.get("timestamp"), f"{what}: timestamp")]
    times += [codec.as_int(ends, f"{what}: exp")] if ends is not None else []
    if not all(0 <= time <= LATEST_TIME for time in times):
        raise EvidenceError(f"{what}: a time that no calendar has")
    return PlaceStatement(
        algorithm=str(algorithm),
        quote_hash=codec.parse_hex(claims.get("quote_hash"), f"{what}: quote_hash", length=32),
        machine_id=machine_id,
        label=label,
        stated=times[0],
        expires=times[1] if len(times) > 1 else None,
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=codec.parse_base64url(parts[2], what),
    )
