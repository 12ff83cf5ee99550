"""Times on the command line: the present, read here alone, and those that a user writes."""

import time
from typing import Final

from verifier.errors import UsageError
from verifier.model.identifiers import LATEST_TIME, parse_time

_WEEK: Final = 604_800


def now() -> int:
    """The present, in Unix seconds."""
    return int(time.time())  # noqa: TID251 - the one clock, handed down from here


def pause(seconds: float) -> None:
    """Wait; nothing is waited for where the time is over."""
    time.sleep(max(seconds, 0.0))


def monotonic() -> float:
    """Seconds since some moment: for how long something took."""
    return time.monotonic()


def span(text: str) -> float:
    """A number of seconds, up to a week."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= _WEEK:
        raise UsageError(
            f"--timeout {text!a} is not a number of seconds from 1 to {_WEEK}", hint="such as 180"
        )
    return seconds


def moment(text: str, what: str = "--at") -> int:
    """Unix seconds of an RFC 3339 time."""
    seconds = parse_time(text)
    if seconds is None or not 0 <= seconds <= LATEST_TIME:
        raise UsageError(
            f"{what} {text!a} is not a time", hint="write it as 2026-03-23 or 2026-03-23T21:17:00Z"
        )
    return seconds
