"""What both ends of a TLS 1.3 session alone can compute of it: its exporter (RFC 8446, 7.5).

Python's `ssl` exports no keying material, but logs the secret that it follows from (NSS key log,
`EXPORTER_SECRET`). The log of one session is a file that only this user can read, and is gone when
the session is known.
"""

import hashlib
import ssl
import tempfile
from types import TracebackType
from typing import IO, Final, Self

CHANNEL_BINDING: Final = b"EXPORTER-Channel-Binding"
"""The label of the exporter that names a session (RFC 9266); its context is empty."""

_BYTES: Final = 32
_SECRET: Final = b"EXPORTER_SECRET"
_PARTS: Final = 3


class KeyLog:
    """The log of the one session that its context makes."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="tls-")  # noqa: SIM115 - closed below

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def context(self) -> ssl.SSLContext:
        """A context that logs; whose certificate the server shows, checks judge."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.keylog_filename = self._file.name
        return context

    @property
    def exporter(self) -> bytes:
        """The exporter of the session, b"" where there was none, or not one of TLS 1.3."""
        with open(self._file.name, "rb") as log:  # noqa: PTH123 - the file is this object's own
            lines = [line.split() for line in log if line.startswith(_SECRET)]
        if len(lines) != 1 or len(lines[0]) != _PARTS:
            return b""
        return exporter(bytes.fromhex(lines[0][2].decode("ascii")), CHANNEL_BINDING)


def exporter(secret: bytes, label: bytes) -> bytes:
    """32 bytes of keying material from a session's exporter secret, with an empty context."""
    hash_name = "sha384" if len(secret) == hashlib.sha384().digest_size else "sha256"
    empty = hashlib.new(hash_name, b"").digest()
    derived = _expand(secret, label, empty, len(secret), hash_name)
    return _expand(derived, b"exporter", empty, _BYTES, hash_name)


def _expand(secret: bytes, label: bytes, context: bytes, size: int, hash_name: str) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1)."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - few ask for an exporter
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415

    named = b"tls13 " + label
    fields = (size.to_bytes(2, "big"), bytes([len(named)]), named, bytes([len(context)]), context)
    algorithm = hashes.SHA384() if hash_name == "sha384" else hashes.SHA256()
    return HKDFExpand(algorithm, size, b"".join(fields)).derive(secret)
