"""Ethereum words: keccak256, addresses, public keys, signatures."""

from functools import lru_cache
from typing import Final

from verifier.errors import EvidenceError

SIGNATURE_SIZE: Final = 65
COMPRESSED_KEY_SIZE: Final = 33
_SECP256K1_HALF_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


def keccak256(message: bytes) -> bytes:
    """The original Keccak-256 that Ethereum uses (not SHA3-256)."""
    from Crypto.Hash import keccak  # noqa: PLC0415 - costs an import that few audits need

    return keccak.new(digest_bits=256, data=message).digest()


@lru_cache(maxsize=1 << 12)
def checksum_address(address: bytes) -> str:
    """EIP-55 spelling of a 20-byte address."""
    digits = address.hex()
    digest = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit  # noqa: PLR2004 - EIP-55
        for digit, mark in zip(digits, digest, strict=False)
    )


def key_address(public_key: bytes) -> str:
    """EIP-55 address of a compressed secp256k1 key. Raises EvidenceError."""
    from eth_keys.datatypes import PublicKey  # noqa: PLC0415 - only where a key is
    from eth_utils.exceptions import ValidationError  # noqa: PLC0415

    try:
        return PublicKey.from_compressed_bytes(public_key).to_checksum_address()
    except (ValidationError, ValueError) as error:
        raise EvidenceError(f"not a compressed secp256k1 key: {public_key.hex()}") from error


def public_keys(secret: bytes, what: str) -> tuple[bytes, ...]:
    """The public keys of 32 secret bytes: as a secp256k1 key (compressed), and as an Ed25519 one.
    Raises EvidenceError."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    from eth_keys.datatypes import PrivateKey  # noqa: PLC0415 - only where a key is
    from eth_utils.exceptions import ValidationError  # noqa: PLC0415

    try:
        secp256k1 = PrivateKey(secret).public_key.to_compressed_bytes()
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    except (ValidationError, ValueError) as error:
        raise EvidenceError(f"{what}: these bytes are no private key") from error
    return secp256k1, edwards.public_key().public_bytes_raw()


def signed_message_digest(message: bytes) -> bytes:
    """What an account signs of a message (EIP-191, version 0x45)."""
    prefix = f"\x19Ethereum Signed Message:\n{len(message)}"
    return keccak256(prefix.encode("ascii") + message)


def recover_key(digest: bytes, signature: bytes, what: str) -> bytes:
    """The compressed secp256k1 key (33 bytes) that signed a 32-byte digest.

    `signature` is r || s || v with v of 0/1 or 27/28. A high s is refused: its twin is the same
    statement under other bytes. Raises EvidenceError.
    """
    from eth_keys.datatypes import Signature  # noqa: PLC0415 - only where a signature is
    from eth_keys.exceptions import BadSignature  # noqa: PLC0415
    from eth_utils.exceptions import ValidationError  # noqa: PLC0415

    if len(signature) != SIGNATURE_SIZE:
        raise EvidenceError(f"{what}: expected {SIGNATURE_SIZE} bytes, found {len(signature)}")
    v = signature[64] - 27 if signature[64] >= 27 else signature[64]  # noqa: PLR2004
    if v not in (0, 1):
        raise EvidenceError(f"{what}: recovery id {signature[64]} is none of 0, 1, 27, 28")
    if int.from_bytes(signature[32:64], "big") > _SECP256K1_HALF_N:
        raise EvidenceError(f"{what}: s is in the upper half of the order")
    try:
        recovered = Signature(signature[:64] + bytes([v])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError, ValueError) as error:
        raise EvidenceError(f"{what}: no key recovers from this signature") from error
    return recovered.to_compressed_bytes()
