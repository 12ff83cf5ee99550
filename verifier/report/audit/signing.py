"""Statements signed by a key of their author: a DSSE envelope in a Sigstore bundle (v0.3).

sigstore signs by identities alone; for a key, a bundle is put together of its models, and the
envelope is signed and verified by its DSSE code. There is no entry in a transparency log, so that a
bundle proves who signed and not when.
"""

import base64
import hashlib
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from verifier.errors import EvidenceError, PolicyError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_HOW: Final = "make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"


class SignatureError(EvidenceError):
    """A signature that does not verify."""


def sign_statement(statement: bytes, key_pem: bytes) -> bytes:
    """A statement's bytes in a Sigstore bundle, signed by a private key (PEM, P-256, unencrypted).

    JSON with a newline at the end. Raises PolicyError for another key, EvidenceError for what is no
    in-toto statement.
    """
    from sigstore import dsse, errors  # noqa: PLC0415 - only to sign
    from sigstore_models.bundle import v1  # noqa: PLC0415
    from sigstore_models.common.v1 import PublicKeyIdentifier  # noqa: PLC0415

    key = _private_key(key_pem)
    try:
        envelope = dsse._sign(key, dsse.Statement(statement))  # noqa: SLF001 - it has no public name
    except errors.Error as error:
        raise EvidenceError(
            "it is no in-toto statement", hint="make one with `--format statement`"
        ) from error
    bundle = v1.Bundle(
        media_type=_MEDIA_TYPE,
        verification_material=v1.VerificationMaterial(
            public_key=PublicKeyIdentifier(hint=_hint(key.public_key())), tlog_entries=[]
        ),
        dsse_envelope=envelope._inner,  # noqa: SLF001
    )
    return bundle.to_json().encode("utf-8") + b"\n"


def signed_statement(raw: bytes, key_pem: bytes) -> bytes:
    """The statement that a Sigstore bundle holds, once its signature verifies by a public key (PEM,
    P-256).

    Raises PolicyError for another kind of key, EvidenceError for what is no such bundle, and
    SignatureError for a signature that is not this key's.
    """
    from sigstore import dsse, errors  # noqa: PLC0415 - only to verify
    from sigstore_models.bundle import v1  # noqa: PLC0415

    key = _public_key(key_pem)
    try:
        found: Any = v1.Bundle.from_json(raw).dsse_envelope
    except ValueError as error:
        raise EvidenceError(
            "it is no Sigstore bundle", hint="name the file that `verify sign` wrote"
        ) from error
    if found is None or found.payload_type != PAYLOAD_TYPE:
        raise EvidenceError("the bundle holds no in-toto statement")
    try:
        payload = dsse._verify(key, dsse.Envelope(found))  # noqa: SLF001 - it has no public name
    except errors.Error as error:
        raise SignatureError(
            "the signature is not this key's, or what was signed has been changed",
            hint="take the key from who signed, never from where the file came",
        ) from error
    return bytes(payload)


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise PolicyError("the key is encrypted", hint="give it without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyError("it is no private key in PEM", hint=_HOW) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise PolicyError("it is no P-256 key", hint=_HOW)
    return key


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    hint = "openssl ec -in key.pem -pubout -out key.pub"
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyError("it is no public key in PEM", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise PolicyError("it is no P-256 key", hint=hint)
    return key


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """The key's name in a bundle: the sha256 of its SPKI, base64. Nothing follows from it."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")
