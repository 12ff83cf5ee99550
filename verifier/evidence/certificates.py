"""X.509 certificates of other makers than Intel, with every field read at once.

`cryptography` reads some fields only when they are asked for; a certificate that fails then would
fail in the middle of a check.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from verifier.errors import EvidenceError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_CHAIN: Final = 8
MAX_PEM_BYTES: Final = 1 << 16
_MAX_DER_BYTES: Final = 1 << 13


def parse_pem_chain(pem: bytes, what: str) -> "tuple[Certificate, ...]":
    """The certificates of a PEM chain, in its order. Raises EvidenceError."""
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is

    if len(pem) > MAX_PEM_BYTES or pem.count(b"-----BEGIN") > MAX_CHAIN:
        raise EvidenceError(f"{what}: more than {MAX_CHAIN} certificates, or too large")
    return _read(lambda: x509.load_pem_x509_certificates(pem), what)


def parse_der_chain(items: Iterable[bytes], what: str) -> "tuple[Certificate, ...]":
    """Certificates of one DER document each, in their order. Raises EvidenceError."""
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is

    listed = tuple(items)
    if not 0 < len(listed) <= MAX_CHAIN or any(len(item) > _MAX_DER_BYTES for item in listed):
        raise EvidenceError(f"{what}: not 1 to {MAX_CHAIN} certificates, or too large")
    return _read(lambda: [x509.load_der_x509_certificate(item) for item in listed], what)


def malformed() -> tuple[type[Exception], ...]:
    """What `cryptography` raises for a certificate or a revocation list that is none, some of it
    only when a field is read: a TypeError for a name with a bit string where a text belongs."""
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    return (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )


def spki_digest(certificate: "Certificate") -> str:
    """sha256 (hex) of the DER SubjectPublicKeyInfo of a certificate that was read here."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def _read(load: "Callable[[], list[Certificate]]", what: str) -> "tuple[Certificate, ...]":
    try:
        found = tuple(load())
        _ = [
            (
                item.subject.rfc4514_string(),
                item.issuer.rfc4514_string(),
                item.not_valid_before_utc,
                item.not_valid_after_utc,
                item.signature_algorithm_oid,
                item.public_key(),
                list(item.extensions),
            )
            for item in found
        ]
    except malformed() as error:
        raise EvidenceError(f"{what}: not a certificate chain: {error}") from error
    return found
