"""What simulated trust servers sign about where a machine stands."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from verifier.lab import keys
from verifier.lab.pki import device_ppid
from verifier.lab.world import World

SIGNER: Final = "proof of cloud"
LABEL: Final = "lab rack 1, simulated"
_MACHINE_BYTES: Final = 16


def ppid_of(world: World) -> bytes:
    """The PPID (16 bytes) of the machine of the first instance."""
    return device_ppid(f"{world.knobs.seed} {world.knobs.platform}")


def statement(  # noqa: PLR0913 - what a statement says, each the truth by default
    world: World,
    *,
    signer: str | RSAPrivateKey = SIGNER,
    ppid: bytes = b"",
    quote: bytes = b"",
    age: int = 0,
    label: str = LABEL,
    **claims: object,
) -> bytes:
    """An answer to `POST /get_jwt` about the first instance's machine: signed by the Ed25519 key of
    a label, or by an RSA key, `age` seconds ago."""
    rsa = isinstance(signer, RSAPrivateKey)
    machine = hashlib.sha256(ppid or ppid_of(world)).hexdigest()[: 2 * _MACHINE_BYTES]
    document = {
        "quote_hash": hashlib.sha256(quote or world.guest.cert_attestation.quote).hexdigest(),
        "machine_id": machine,
        "label": label,
        "timestamp": world.now - age,
        **claims,
    }
    header = {"alg": "RS256" if rsa else "EdDSA", "typ": "JWT", "kid": "lab"}
    text = f"{_encoded(header)}.{_encoded(document)}"
    token = f"{text}.{_base64url(_signature(signer, text.encode('ascii')))}"
    return json.dumps({"machineId": machine, "label": label, "jwt": token}).encode()


def public_key(signer: str | RSAPrivateKey = SIGNER) -> str:
    """The key of a signer as a policy names it, hex."""
    if isinstance(signer, str):
        return keys.ed25519_public(signer).hex()
    der = serialization.Encoding.DER
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return signer.public_key().public_bytes(der, form).hex()


def _signature(signer: str | RSAPrivateKey, message: bytes) -> bytes:
    if isinstance(signer, str):
        return Ed25519PrivateKey.from_private_bytes(keys.labelled(signer, 32)).sign(message)
    return signer.sign(message, padding.PKCS1v15(), hashes.SHA256())


def _encoded(document: Mapping[str, object]) -> str:
    return _base64url(json.dumps(document).encode("utf-8"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
