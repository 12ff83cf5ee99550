"""Identifiers and how they are written."""

import re
from datetime import UTC, datetime
from typing import NewType

AppId = NewType("AppId", str)
"""A dstack app id: 20 bytes as 40 lower-case hex digits, no 0x."""

_APP_ID = re.compile(r"(?:0x)?([0-9a-fA-F]{40})", re.ASCII)


def parse_app_id(text: str) -> AppId | None:
    """The app id that `text` spells (40 hex digits, any case, `0x` allowed), or None."""
    match = _APP_ID.fullmatch(text)
    return AppId(match[1].lower()) if match else None


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
