"""RA-TLS certificate chains: the quote that travels in a certificate.

Extensions are 1.3.6.1.4.1.62397.1.N, and each extension value holds one more DER OCTET STRING
around its content (Dstack-TEE/dstack ra-tls/src/oids.rs, ra-tls/src/cert.rs):

    1 TD quote   2 event log   3 app id (20 bytes)   4 usage (ASCII)   8 versioned attestation
"""

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.certificates import malformed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

OID_PREFIX: Final = "1.3.6.1.4.1.62397.1."
EXT_QUOTE: Final = 1
EXT_EVENT_LOG: Final = 2
EXT_APP_ID: Final = 3
EXT_USAGE: Final = 4
EXT_ATTESTATION: Final = 8
KMS_USAGE: Final = b"kms:rpc"
"""The use of the certificate that a KMS shows at its own address."""
MAX_CHAIN: Final = 8
MAX_PEM_BYTES: Final = 1 << 20


class RaTlsChain(Struct, frozen=True):
    """A PEM chain, leaf first. `extensions` are those of each certificate, by number N."""

    certificates: tuple["Certificate", ...]
    extensions: tuple[dict[int, bytes], ...]

    @property
    def leaf(self) -> dict[int, bytes]:
        """Extensions of the leaf."""
        return self.extensions[0]


def parse_chain(pem: str, what: str) -> RaTlsChain:
    """Parse a PEM chain. Nothing about it is verified. Raises EvidenceError."""
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is

    if len(pem) > MAX_PEM_BYTES:
        raise EvidenceError(f"{what}: {len(pem)} characters are no certificate chain")
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode("ascii"))
        extensions = tuple(_extensions(item, what) for item in certificates)
        for item in certificates:
            _read_lazy_fields(item)
    except malformed() as error:
        raise EvidenceError(f"{what}: not a PEM certificate chain: {error}") from error
    if len(certificates) > MAX_CHAIN:
        raise EvidenceError(f"{what}: {len(certificates)} certificates, more than {MAX_CHAIN}")
    return RaTlsChain(tuple(certificates), extensions)


def _read_lazy_fields(certificate: "Certificate") -> tuple[object, ...]:
    """The fields that are parsed only when they are read: better here than inside a check.

    Raises EvidenceError, and what `malformed` lists.
    """
    return (
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.signature_hash_algorithm,
        spki(certificate),
    )


def fingerprint(certificate: "Certificate") -> str:
    """The sha256 (hex) of a certificate's DER."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def to_pem(der: bytes) -> bytes:
    """A DER certificate as PEM (RFC 7468)."""
    text = base64.b64encode(der).decode("ascii")
    lines = (text[start : start + 64] for start in range(0, len(text), 64))
    body = "".join(f"{line}\n" for line in lines)
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode("ascii")


def spki(certificate: "Certificate") -> bytes:
    """DER SubjectPublicKeyInfo of a certificate. Raises EvidenceError for an unknown key type."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    try:
        key = certificate.public_key()
    except malformed() as error:
        raise EvidenceError(f"certificate with an unreadable public key: {error}") from error
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def leaf_report_data(leaf_spki: bytes) -> bytes:
    """Report data that binds a leaf key: sha512("ratls-cert:" || DER SubjectPublicKeyInfo).

    Source: Dstack-TEE/dstack ra-tls/src/attestation.rs, QuoteContentType::RaTlsCert.
    """
    return hashlib.sha512(b"ratls-cert:" + leaf_spki).digest()


def _extensions(certificate: "Certificate", what: str) -> dict[int, bytes]:
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is

    found: dict[int, bytes] = {}
    for extension in certificate.extensions:
        oid = extension.oid.dotted_string
        number = oid.removeprefix(OID_PREFIX) if oid.startswith(OID_PREFIX) else ""
        if number.isdecimal() and isinstance(extension.value, x509.UnrecognizedExtension):
            found[int(number)] = _octet_string(extension.value.value, f"{what}: extension {oid}")
    return found


def _octet_string(der: bytes, what: str) -> bytes:
    """Content of the one OCTET STRING that fills `der`, its length in DER (X.690 8.7, 10.1)."""
    if len(der) < 2 or der[0] != 0x04:  # noqa: PLR2004 - tag of OCTET STRING
        raise EvidenceError(f"{what}: not a DER OCTET STRING")
    start, length = 2, der[1]
    if length >= 0x80:  # noqa: PLR2004 - long form
        count = length & 0x7F
        start, length = 2 + count, int.from_bytes(der[2 : 2 + count], "big")
        if not count or length < max(0x80, 1 << 8 * (count - 1)):
            raise EvidenceError(f"{what}: the length of the OCTET STRING is not DER")
    if start + length != len(der):
        raise EvidenceError(f"{what}: the OCTET STRING does not fill the extension")
    return der[start:]
