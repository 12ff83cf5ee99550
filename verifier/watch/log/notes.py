"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint), with Ed25519.

ORIGIN LF SIZE LF BASE64(ROOT) LF        the checkpoint: a note's text
LF
EM-DASH SP NAME SP BASE64(KEY-ID || SIGNATURE) LF        each signature

key id          the first 4 bytes of SHA-256(NAME || LF || 0x01 || PUBLIC-KEY)
verifier key    NAME+HEX(key id)+BASE64(0x01 || PUBLIC-KEY)
"""

import base64
import hashlib
import re
from typing import Final

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Struct

from verifier.errors import EvidenceError, UsageError
from verifier.evidence import codec
from verifier.patterns import pattern

MAX_CHECKPOINT_BYTES: Final = 1 << 16
_ED25519: Final = b"\x01"
_KEY_ID: Final = 4
_HASH: Final = 32
_SIGNATURE: Final = 64
_HEAD: Final = "\u2014 "
_NAME: Final = pattern(r"[^\s+\u0000-\u001f\u007f-\u009f]{1,200}")
_NUMBER: Final = pattern(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HOW: Final = "make one with: openssl genpkey -algorithm ed25519 -out log.key"


class KeyMismatch(EvidenceError):
    """A checkpoint that the named key did not sign."""


class VerifierKey(Struct, frozen=True):
    """Who signs a log: the name that stands in its signatures, and the public key, 32 bytes."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:_KEY_ID]

    @property
    def _typed(self) -> bytes:
        return _ED25519 + self.public_key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed).decode()}"


class Checkpoint(Struct, frozen=True):
    """What a log's key signed: its origin, how many entries it has, and the root over them, 32
    bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class SigningKey:
    """The private half: signs checkpoints under a name. Raises UsageError for another name than a
    note may have."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!a} is no name of a log", hint="such as example.org/watch, without spaces"
            )
        self._key = key
        self.verifier = VerifierKey(name, key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """The signed checkpoint."""
        text = checkpoint.text
        signature = self.verifier.key_id + self._key.sign(text.encode())
        line = f"{_HEAD}{self.verifier.name} {base64.b64encode(signature).decode()}\n"
        return f"{text}\n{line}".encode()


def new_key() -> bytes:
    """A new private key: PKCS 8 in PEM, as openssl makes them."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def read_private_key(pem: bytes, what: str) -> Ed25519PrivateKey:
    """A private key in PEM. Raises UsageError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError) as error:
        # OpenSSL derives the public key as it reads; where there is none, the error is internal.
        raise UsageError(
            f"{what} is no private key in PEM without passphrase", hint=_HOW
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{what} is no Ed25519 key", hint=_HOW)
    return key


def default_name(key: Ed25519PrivateKey) -> str:
    """The name of a log whose owner gives it none: it is as unique as its key."""
    digest = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
    return f"dstack-audit/watch/{digest[:16]}"


def parse_verifier_key(text: str) -> VerifierKey:
    """A verifier key as text. Raises UsageError."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        typed = codec.parse_base64(encoded, "key")
    except EvidenceError:
        typed = b""
    key = VerifierKey(name, typed[1:])
    whole = typed[:1] == _ED25519 and len(typed) == 1 + _HASH
    if not (whole and _NAME.fullmatch(name) and key.key_id.hex() == key_id):
        raise UsageError(
            f"{text[:80]!a} is no verifier key of a log",
            hint="NAME+HASH+KEY, as it stands in the log's file log.vkey",
        )
    return key


def open_checkpoint(raw: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint that the key signed. Signatures by other keys beside it, such as witnesses',
    are passed over. Raises EvidenceError for what is no checkpoint, and KeyMismatch."""
    checkpoint, signatures = _read(raw)
    signed = checkpoint.text.encode()
    own = [raw for name, raw in signatures if name == key.name and raw[:_KEY_ID] == key.key_id]
    if not own:
        raise KeyMismatch(
            f"the checkpoint of {checkpoint.origin} is not signed by {key}",
            hint="name the key that the log's owner gave you; another log has another key",
        )
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    for signature in own:
        try:
            public.verify(signature[_KEY_ID:], signed)
        except InvalidSignature as error:
            raise KeyMismatch(
                "the checkpoint's signature does not verify: it, or what it signs, was changed"
            ) from error
    if checkpoint.origin != key.name:
        raise KeyMismatch(f"the checkpoint is of the log {checkpoint.origin}, not of {key.name}")
    return checkpoint


def _read(raw: bytes) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """A note's checkpoint, and its signatures: name, and key id with signature. Raises
    EvidenceError."""
    if len(raw) > MAX_CHECKPOINT_BYTES:
        raise EvidenceError("the checkpoint is too large")
    text, separator, rest = codec.parse_utf8(raw, "the checkpoint").rpartition("\n\n")
    lines = text.split("\n")
    if not separator or not rest.endswith("\n") or len(lines) != 3 or not all(lines):  # noqa: PLR2004
        raise EvidenceError("it is no checkpoint: three lines, an empty one, and signatures")
    origin, size, root = lines
    if not _NUMBER.fullmatch(size):
        raise EvidenceError("the checkpoint's size is not a number")
    digest = codec.parse_base64(root, "the checkpoint's root")
    if len(digest) != _HASH:
        raise EvidenceError("the checkpoint's root is not 32 bytes")
    signatures = []
    for line in rest[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_HEAD).partition(" ")
        if not line.startswith(_HEAD) or not _NAME.fullmatch(name):
            raise EvidenceError("a signature of the checkpoint is not written as one")
        signature = codec.parse_base64(encoded, "a signature of the checkpoint")
        if len(signature) < _KEY_ID + 1:
            raise EvidenceError("a signature of the checkpoint is too short")
        signatures.append((name, signature))
    return Checkpoint(origin, int(size), digest), signatures
