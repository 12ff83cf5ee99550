"""Identifiers and how they are written."""

import re
from datetime import UTC, datetime
from typing import Final, NewType

from verifier.patterns import pattern

AppId = NewType("AppId", str)
"""A dstack app id: 20 bytes as 40 lower-case hex digits, no 0x."""

LATEST_TIME: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last time that RFC 3339 can write, in Unix seconds."""

_APP_ID = pattern(r"(?:0x)?([0-9a-fA-F]{40})", re.ASCII)
KEY_HOLDER: Final = "kms/"
"""What the name of a KMS's TD begins with, among attesters: evidence under it is about who gives
the app its keys, and not about the app. The rest of the name says where it answered."""

_KEY_HOLDER = pattern(
    r"([1-9][0-9]{0,9}):(0x[0-9a-fA-F]{40})|(0x[0-9a-fA-F]{40})|(30(?:[0-9a-fA-F]{2}){40,600})",
    re.ASCII,
)


def parse_app_id(text: str) -> AppId | None:
    """The app id that `text` spells (40 hex digits, any case, `0x` allowed), or None."""
    match = _APP_ID.fullmatch(text)
    return AppId(match[1].lower()) if match else None


def parse_key_holder(text: str) -> str | None:
    """The KMS that `text` names, or None: `CHAIN:0x…` by its contract, `0x…` (40 digits) by the
    address of its root key, or other hex by its CA key (DER SubjectPublicKeyInfo). Lower case."""
    match = _KEY_HOLDER.fullmatch(text)
    if match is None:
        return None
    chain, contract, root, ca_key = match.groups()
    if chain:
        return f"{int(chain)}:{contract.lower()}"
    return (root or ca_key).lower()


def format_time(seconds: int) -> str:
    """Unix seconds as RFC 3339 in UTC, such as `2026-03-23T21:17:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> int | None:
    """Unix seconds for an RFC 3339 date or date-time (a bare one is UTC), or None."""
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
