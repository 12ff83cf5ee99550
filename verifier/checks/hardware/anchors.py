"""Certificate chains of other makers than Intel: whether one leads to a key that is pinned."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from verifier.evidence.certificates import spki_digest
from verifier.reference.values import TrustAnchor

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


def chain_failure(
    chain: Sequence[x509.Certificate], anchors: Iterable[TrustAnchor], at: int
) -> str:
    """Why a chain, leaf first, does not lead to one of the anchors at a time (Unix seconds); ""
    when it does. The leaf is no CA and no anchor; whatever stands after the anchor is refused."""
    pinned = tuple(anchors)
    keys = {item.spki for item in pinned}
    if not chain or _is_ca(chain[0]):
        return "its first certificate is a CA's"
    for place, certificate in enumerate(chain):
        if place and spki_digest(certificate) in keys:
            return "" if place == len(chain) - 1 else "certificates stand after the root"
        issuer = chain[place + 1] if place + 1 < len(chain) else _anchor_of(certificate, pinned)
        failure = _link_failure(certificate, issuer, at)
        if failure:
            return f"certificate {place + 1} {failure}"
    return ""


def _link_failure(certificate: x509.Certificate, issuer: x509.Certificate | None, at: int) -> str:
    """What is wrong with a certificate under its issuer at a time, "" when nothing is."""
    moment = datetime.fromtimestamp(at, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        return "is not in force at this time"
    if issuer is None:
        return "does not lead to a root that the reference values name"
    if not _is_ca(issuer):
        return "is issued by one that is no CA's"
    return "" if _issued(certificate, issuer) else "is not signed by the next one"


def signature_holds(key: "CertificatePublicKeyTypes", signature: bytes, message: bytes) -> bool:
    """Whether r || s (96 bytes, big endian) is an ECDSA signature by a P-384 key over SHA-384."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        return False
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def _anchor_of(
    certificate: x509.Certificate, anchors: tuple[TrustAnchor, ...]
) -> x509.Certificate | None:
    """The anchor that is named as the issuer, where the chain ends below it."""
    for item in anchors:
        if item.certificate:
            root = x509.load_der_x509_certificate(item.der)
            if root.subject == certificate.issuer:
                return root
    return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def forget() -> None:
    """Forget which signatures between certificates were verified, so that benchmarks measure
    them."""
    _issued.cache_clear()


@lru_cache(maxsize=1024)
def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer signed the certificate. GPUs of one machine share most of their chains."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
