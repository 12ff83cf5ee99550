"""TLS certificates of simulated servers that no quote stands in: as a public CA issues them."""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from verifier.lab import keys
from verifier.lab.pki import DAY, moment, pem_chain, serial

GATEWAY_NAME: Final = "*.gw.lab.invalid"
GATEWAY_KEY: Final = "gateway key"
"""The label of the key that the gateway's certificate is for."""

OLDER_GATEWAY_KEY: Final = "older gateway key"
"""The label of the key that it had before, whose certificate is still in force."""


def web_certificate(name: str, now: int, key: str = "") -> bytes:
    """The chain (PEM) of a public CA for a DNS name; `key` labels its key, by default the name."""
    ca_key = keys.p256("public CA")
    leaf_key = keys.p256(key or f"web {name}")
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab Public CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca)
        .public_key(leaf_key.public_key())
        .serial_number(serial(f"web {name} {key}"))
        .not_valid_before(moment(now - 30 * DAY))
        .not_valid_after(moment(now + 60 * DAY))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(ca_key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    root = (
        x509.CertificateBuilder()
        .subject_name(ca)
        .issuer_name(ca)
        .public_key(ca_key.public_key())
        .serial_number(serial("public CA"))
        .not_valid_before(moment(now - 3650 * DAY))
        .not_valid_after(moment(now + 3650 * DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return b"".join(pem_chain([item]) for item in (leaf, root))


def gateway_certificate(now: int) -> bytes:
    """The gateway's own, for every name below its base."""
    return web_certificate(GATEWAY_NAME, now, GATEWAY_KEY)
