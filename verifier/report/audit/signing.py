"""Results signed by a key of their author: a statement in a DSSE envelope in a Sigstore bundle
(v0.3), the claims of an EAR as a JSON Web Token (compact JWS, ES256).

sigstore signs by identities alone; for a key, a bundle is put together of its models, and the
envelope is signed and verified by its DSSE code. There is no entry in a transparency log, so that a
bundle proves who signed and not when. What sigstore itself signed for an identity is verified too.
"""

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from verifier.errors import EvidenceError, UsageError
from verifier.evidence.codec import parse_json_object

if TYPE_CHECKING:
    from verifier.checks.provenance.sigstore import SignedStatement

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_HOW: Final = "make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"

_FOREIGN: Final = "the signature is not this key's, or what was signed has been changed"
_FROM_AUTHOR: Final = "take the key from who signed, never from where the file came"
_ALGORITHM: Final = "ES256"
_TYPE: Final = "eat+jwt"
_PARTS: Final = 3
_SCALAR: Final = 32


class SignatureError(EvidenceError):
    """A signature that does not verify."""


def sign_statement(statement: bytes, key_pem: bytes) -> bytes:
    """A statement's bytes in a Sigstore bundle, signed by a private key (PEM, P-256, unencrypted).

    JSON with a newline at the end. Raises UsageError for another key, EvidenceError for what is no
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


def sign_claims(claims: bytes, key_pem: bytes) -> bytes:
    """The claims of an EAR (JSON) as a signed token, ASCII with a newline at the end.

    Raises UsageError for another key than a private one (PEM, P-256, unencrypted).
    """
    key = _private_key(key_pem)
    header = rfc8785.dumps({"alg": _ALGORITHM, "kid": _hint(key.public_key()), "typ": _TYPE})
    signed = b".".join(map(_base64url, (header, claims)))
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    signature = r.to_bytes(_SCALAR, "big") + s.to_bytes(_SCALAR, "big")
    return signed + b"." + _base64url(signature) + b"\n"


def signed_claims(token: bytes, key_pem: bytes) -> bytes:
    """The claims that a token holds, once its signature verifies by a public key (PEM, P-256). No
    other algorithm than ES256 is known, whatever the token names.

    Raises UsageError for another kind of key, EvidenceError for what is no such token, and
    SignatureError for a signature that is not this key's.
    """
    key = _public_key(key_pem)
    parts = token.strip().split(b".")
    header, claims, signature = (_from_base64url(part) for part in (*parts, b"", b"", b"")[:3])
    whole = len(parts) == _PARTS and header and claims and len(signature) == 2 * _SCALAR
    if not whole:
        raise EvidenceError("it is no signed token", hint="name the file that `verify sign` wrote")
    if parse_json_object(header, "the token's header").get("alg") != _ALGORITHM:
        raise EvidenceError("the token is not signed by ES256, the one algorithm that is taken")
    r, s = (int.from_bytes(signature[at : at + _SCALAR], "big") for at in (0, _SCALAR))
    try:
        key.verify(encode_dss_signature(r, s), b".".join(parts[:2]), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise SignatureError(_FOREIGN, hint=_FROM_AUTHOR) from error
    return claims


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _from_base64url(text: bytes) -> bytes:
    """The bytes of canonical base64url without padding, b"" for what is none."""
    try:
        raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return b""
    return raw if _base64url(raw) == text else b""


def signed_statement(raw: bytes, key_pem: bytes) -> bytes:
    """The statement that a Sigstore bundle holds, once its signature verifies by a public key (PEM,
    P-256).

    Raises UsageError for another kind of key, EvidenceError for what is no such bundle, and
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
        raise SignatureError(_FOREIGN, hint=_FROM_AUTHOR) from error
    return bytes(payload)


def identified_statement(
    raw: bytes, identity: str, issuer: str, trusted_root: bytes | None = None
) -> tuple[bytes, "SignedStatement"]:
    """The statement that a Sigstore bundle holds, and who signed it, once it verifies for an
    identity ("" for any) that an OIDC issuer vouched for, and stands in the transparency log.

    `trusted_root` (JSON) is that of another Sigstore instance than the public-good one. Raises
    SignatureError.
    """
    from verifier.checks.provenance.sigstore import Identity, verify_statement  # noqa: PLC0415

    demanded = Identity(identity, issuer) if identity else None
    found = verify_statement(raw, demanded, trusted_root)
    if found.failure:
        raise SignatureError(
            f"{identity or 'nobody'} did not sign this: {found.failure}",
            hint="the identity is the certificate's, such as a workflow's URL with its ref",
        )
    return found.payload, found


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise UsageError("--key: it is encrypted", hint="give it without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:
        raise UsageError("--key: it is no private key in PEM", hint=_HOW) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise UsageError("--key: it is no P-256 key", hint=_HOW)
    return key


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    hint = "openssl ec -in key.pem -pubout -out key.pub"
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("--key: it is no public key in PEM", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise UsageError("--key: it is no P-256 key", hint=hint)
    return key


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """The key's name in a bundle: the sha256 of its SPKI, base64. Nothing follows from it."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")
