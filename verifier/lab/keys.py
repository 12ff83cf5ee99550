"""Keys and bytes that follow from a label, and deterministic signatures with them.

A label's secret is `sha512(label) mod (order - 1) + 1`. Anybody can compute it: these keys sign
simulated evidence and nothing else.
"""

import hashlib
from functools import cache
from typing import Final

from coincurve import PrivateKey
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from eth_hash.auto import keccak

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
_K256_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def labelled(label: str, length: int) -> bytes:
    """`length` bytes that follow from `label` (SHAKE-256)."""
    return hashlib.shake_256(f"dstack-audit lab: {label}".encode()).digest(length)


@cache
def p256(label: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a label."""
    return ec.derive_private_key(_secret(label, _P256_ORDER), ec.SECP256R1())


@cache
def p384(label: str) -> ec.EllipticCurvePrivateKey:
    """The P-384 key of a label."""
    return ec.derive_private_key(_secret(label, _P384_ORDER), ec.SECP384R1())


@cache
def k256(label: str) -> PrivateKey:
    """The secp256k1 key of a label."""
    return PrivateKey(_secret(label, _K256_ORDER).to_bytes(32, "big"))


def sign_p256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Raw `r || s` (64 bytes, big endian) of ECDSA P-256 over SHA-256, RFC 6979 nonces."""
    der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign_p384(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Raw `r || s` (96 bytes, big endian) of ECDSA P-384 over SHA-384, RFC 6979 nonces."""
    der = key.sign(message, ec.ECDSA(hashes.SHA384(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def sign_k256(key: PrivateKey, message: bytes) -> bytes:
    """`r || s || v` (65 bytes, v 0 or 1) over keccak256 of the message, RFC 6979 nonces, low s."""
    return key.sign_recoverable(keccak(message), hasher=None)


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public point `x || y` (64 bytes, big endian)."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def spki(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def k256_public(key: PrivateKey) -> bytes:
    """The compressed public key (SEC 1, 33 bytes)."""
    return key.public_key.format(compressed=True)


def ed25519_public(label: str) -> bytes:
    """The Ed25519 public key (32 bytes) of a label."""
    return Ed25519PrivateKey.from_private_bytes(labelled(label, 32)).public_key().public_bytes_raw()


def k256_address(key: PrivateKey) -> bytes:
    """The Ethereum address (20 bytes): the end of keccak256 over the point."""
    return keccak(key.public_key.format(compressed=False)[1:])[12:]


def _secret(label: str, order: int) -> int:
    return int.from_bytes(hashlib.sha512(label.encode()).digest(), "big") % (order - 1) + 1
