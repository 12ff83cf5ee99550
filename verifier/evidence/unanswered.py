"""Why sources that were asked gave nothing, in one line for many of them."""

from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from verifier.evidence.bundle import Bundle, Kind

UNREACHABLE_HINT: Final = (
    "check the app id and that this machine is online, or name the gateway that serves the app "
    "with --gateway"
)
"""What to do where no guest agent answered."""
_GUESTS: Final = (Kind.INFO, Kind.PAGE)
_REASONS: Final = 2
"""How many different reasons are said; the others are counted."""


def why_unreachable(bundle: Bundle) -> str:
    """That no guest agent which was asked gave evidence: how many sources were asked, and why they
    gave none. "" where one answered, or none was asked."""
    guests = [item for item in bundle.artifacts if item.kind in _GUESTS]
    if not guests or not all(item.error for item in guests):
        return ""
    failures = {item.source: item.error for item in guests}
    one = len(failures) == 1
    which = "the one source" if one else f"none of the {len(failures)} sources"
    reasons = why_unanswered(failures.items())
    return f"{which} asked for the guest's evidence gave {'none' if one else 'any'}: {reasons}"


def why_unanswered(failures: Iterable[tuple[str, str]]) -> str:
    """The reasons of failures, each a source (URL) and its error, the most frequent first.

    A reason stands without the name of its source, so that equal ones are said once and counted.
    """
    counts = Counter(_reason(source, error) for source, error in failures)
    listed = [
        f"{reason} ({count} times)" if count > 1 else reason
        for reason, count in counts.most_common(_REASONS)
    ]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_REASONS))
    return "; ".join([*listed, *([f"and {rest} other failures"] if rest else [])])


def _reason(source: str, error: str) -> str:
    try:
        host = urlsplit(source).hostname or ""
    except ValueError:
        host = ""
    words = error.removeprefix(source).lstrip(": ")
    if host:
        words = words.replace(host, "")
    return " ".join(words.split())
