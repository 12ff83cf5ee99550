"""ECDSA over P-256 and SHA-256, the one algorithm of Intel's attestation."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from verifier.checks.second_opinion.refusal import RefusedError, need

SIZE: Final = 64
"""Bytes of a raw signature (r and s), and of a raw key (x and y)."""


def point(raw: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a raw point, x and y, big endian. Raises ValueError for one off the curve."""
    need(len(raw) == SIZE, "a key that is no point of P-256")
    x, y = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def need_signature(key: object, signature: bytes, message: bytes, what: str) -> None:
    """Raises RefusedError unless the key signed the message; the signature is r and s, raw."""
    need(isinstance(key, ec.EllipticCurvePublicKey), f"{what}: the signer has no ECDSA key")
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - for the type checker
    need(isinstance(key.curve, ec.SECP256R1), f"{what}: the signer's key is not of P-256")
    need(len(signature) == SIZE, f"{what}: a signature of {len(signature)} bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise RefusedError(f"{what}: the signature does not hold") from error
