"""Answers of NVIDIA's Remote Attestation Service (NRAS), and the keys that sign them.

    [["JWT", overall], {"GPU-0": token, …}]     POST /v3/attest/gpu
    {"keys": [{kty, crv, kid, x5c}]}            GET /.well-known/jwks.json, of the same day

All tokens are ES384 JWTs. The overall token names the sha256 of each detached token's text in
`submods`; a mapping, or a list of pairs. A token that is validly signed may well say that the
attestation failed: `x-nvidia-overall-att-result` is false then, and the detached tokens hold
`x-nvidia-error-details` alone.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.certificates import parse_der_chain
from verifier.evidence.gpu.payload import MAX_GPUS
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

OVERALL: Final = "x-nvidia-overall-att-result"
ERROR: Final = "x-nvidia-error-details"
_ALGORITHM: Final = "ES384"
_SIGNATURE_BYTES: Final = 96
_MAX_TOKEN: Final = 1 << 16
_MAX_KEYS: Final = 256
_PARTS: Final = 3


class Token(Struct, frozen=True, kw_only=True):
    """One JWT, read and not verified.

    text       the token
    key_id     the key that it says signed it
    claims     its claims
    issued     when it was issued, Unix seconds
    expires    when it ends, Unix seconds
    signed     what the signature is over
    signature  r || s, 96 bytes
    """

    text: str
    key_id: str
    claims: Mapping[str, JsonValue]
    issued: int
    expires: int
    signed: bytes
    signature: bytes

    @property
    def nonce(self) -> bytes:
        """The nonce that the token is about, b"" where it names none."""
        text = self.claims.get("eat_nonce")
        try:
            return codec.parse_hex(text, "eat_nonce", length=32)
        except EvidenceError:
            return b""


class NrasAnswer(Struct, frozen=True, kw_only=True):
    """An answer about all GPUs of one request; `digests` are those (sha256) that the overall token
    names, by GPU, `detached` the tokens themselves."""

    overall: Token
    digests: Mapping[str, bytes]
    detached: Mapping[str, Token]


class NrasKeys(Struct, frozen=True):
    """The chain of each signing key, leaf first, by key id."""

    chains: "Mapping[str, tuple[Certificate, ...]]"


def is_answer(value: JsonValue) -> bool:
    """Whether a JSON document has the shape of an answer."""
    match value:
        case [["JWT", str()], dict()]:
            return True
    return False


def is_key_set(value: JsonValue) -> bool:
    """Whether a JSON document has the shape of a key set with certificates."""
    match value:
        case {"keys": [{"kid": str(), "x5c": list()}, *_]}:
            return True
    return False


def parse_answer(raw: bytes, what: str) -> NrasAnswer:
    """Parse an answer. No signature is verified. Raises EvidenceError."""
    match codec.parse_json(raw, what):
        case [["JWT", str(text)], dict(detached)] if len(detached) <= MAX_GPUS:
            overall = _token(text, f"{what}: overall token")
        case _:
            raise EvidenceError(f"{what}: not an answer of NVIDIA's attestation service")
    return NrasAnswer(
        overall=overall,
        digests=_digests(overall.claims.get("submods"), f"{what}: submods"),
        detached={
            name: _token(
                codec.as_str(value, f"{what}: {name}"), f"{what}: token of {ascii(name)[:24]}"
            )
            for name, value in detached.items()
        },
    )


def parse_keys(raw: bytes, what: str) -> NrasKeys:
    """Parse a key set. Nothing is verified. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what)
    items = codec.as_list(document.get("keys"), f"{what}.keys")
    if not 0 < len(items) <= _MAX_KEYS:
        raise EvidenceError(f"{what}: {len(items)} keys, not 1 to {_MAX_KEYS}")
    chains: dict[str, tuple[Certificate, ...]] = {}
    for index, value in enumerate(items):
        where = f"{what}.keys[{index}]"
        item = codec.as_object(value, where)
        key_id = codec.as_str(item.get("kid"), f"{where}.kid")
        if key_id in chains:
            raise EvidenceError(f"{what}: two keys of one id")
        listed = codec.as_list(item.get("x5c"), f"{where}.x5c")
        der = [codec.parse_base64(codec.as_str(one, where), where) for one in listed]
        chains[key_id] = parse_der_chain(der, where)
    return NrasKeys(chains)


def _digests(value: JsonValue, what: str) -> Mapping[str, bytes]:
    pairs: list[JsonValue] = []
    if isinstance(value, dict):
        pairs = [[name, item] for name, item in value.items()]
    elif value is not None:
        pairs = codec.as_list(value, what)
    found: dict[str, bytes] = {}
    for pair in pairs:
        match pair:
            case [str(name), ["DIGEST", ["SHA-256", str(digest)]]] if name not in found:
                found[name] = codec.parse_hex(digest, what, length=32)
            case _:
                raise EvidenceError(f"{what}: not digests of tokens, each named once")
    return found


def _token(text: str, what: str) -> Token:
    parts = text.split(".")
    if len(text) > _MAX_TOKEN or len(parts) != _PARTS or not text.isascii():
        raise EvidenceError(f"{what}: not a JSON Web Token")
    header = codec.parse_json_object(codec.parse_base64url(parts[0], what), f"{what}: header")
    claims = codec.parse_json_object(codec.parse_base64url(parts[1], what), f"{what}: claims")
    signature = codec.parse_base64url(parts[2], what)
    if header.get("alg") != _ALGORITHM or len(signature) != _SIGNATURE_BYTES:
        raise EvidenceError(f"{what}: not signed by {_ALGORITHM}")
    return Token(
        text=text,
        key_id=codec.text_field(header, "kid", what),
        claims=claims,
        issued=codec.as_int(claims.get("iat"), f"{what}.iat"),
        expires=codec.as_int(claims.get("exp"), f"{what}.exp"),
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )
