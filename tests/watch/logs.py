"""Logs for tests."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.watch.log.notes import SigningKey
from verifier.watch.log.writer import writing

KEY: Final = SigningKey("example.org/watch", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER_KEY: Final = SigningKey("example.org/watch", Ed25519PrivateKey.from_private_bytes(b"1" * 32))


def entry(number: int) -> bytes:
    """An entry that is told from all others."""
    return b'{"n":%d}' % number


def write(folder: Path, *counts: int, key: SigningKey = KEY, first: int = 0) -> None:
    """Append so many entries, one batch after another."""
    with writing(folder, key) as log:
        for count in counts:
            log.append([entry(log.size + number + first) for number in range(count)])
