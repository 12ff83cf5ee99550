"""Why sources that were asked gave nothing, in one line for many of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from verifier.errors import Cause
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.model.identifiers import KEY_HOLDER

_UNREACHABLE: Final = (
    "check the app id and that this machine is online, or name the gateway that serves the app "
    "with --gateway"
)
_GUESTS: Final = (Kind.INFO, Kind.PAGE)
_REASONS: Final = 2
"""How many different reasons are said; the others are counted."""


_HINTS: Final[Mapping[Cause, str]] = {
    Cause.NO_ADDRESS: "check the spelling of the host name, and that this machine can resolve "
    "names; the gateway is named with --gateway",
    Cause.UNREACHABLE: "nothing accepts connections there: check the address and the port, and "
    "that this machine is online",
    Cause.UNTRUSTED: "check the host name, this machine's clock, and who intercepts its TLS: the "
    "certificate is not one that browsers trust",
    Cause.NO_TLS: "check the port: the server does not speak TLS there, and plain http is for "
    "localhost alone",
    Cause.TOO_SLOW: "try again when the server is faster, or allow more time with --timeout",
    Cause.TOO_LARGE: "no honest server sends so much: check the address",
    Cause.THROTTLED: "the server was asked too often: wait a few minutes before the next audit",
    Cause.FAILING: "the server or its gateway is failing, or the app is down: try again later",
    Cause.DENIED: "the server asks for permission, which an audit has none of: ask its operator "
    "to open the guest's pages",
    Cause.NOT_FOUND: "check the app id, or name the gateway that serves the app with --gateway",
    Cause.ELSEWHERE: "name the address that it redirects to with --gateway, if you trust it",
    Cause.GARBLED: "what answers there does not speak HTTP as asked: check the address, and what "
    "stands between",
    Cause.NOT_PUBLIC: "the address is not public: if the server is your own, name it with "
    "--gateway",
}


def hint_for(causes: Iterable[Cause], otherwise: str) -> str:
    """What to do about the most frequent cause of failures; `otherwise` where none is known."""
    known = Counter(cause for cause in causes if cause in _HINTS)
    return _HINTS[known.most_common(1)[0][0]] if known else otherwise


def why_unreachable(bundle: Bundle) -> str:
    """That no guest agent which was asked gave evidence: how many sources were asked, and why they
    gave none. "" where one answered, or none was asked."""
    guests = _silent_guests(bundle)
    if not guests:
        return ""
    failures = {item.source: item.error for item in guests}
    one = len(failures) == 1
    which = "the one source" if one else f"none of the {len(failures)} sources"
    reasons = why_unanswered(failures.items())
    return f"{which} asked for the guest's evidence gave {'none' if one else 'any'}: {reasons}"


def unreachable_hint(bundle: Bundle) -> str:
    """What to do where no guest agent answered."""
    return hint_for((item.cause for item in _silent_guests(bundle)), _UNREACHABLE)


def why_absent(bundle: Bundle, instance: str) -> str:
    """Why the evidence holds nothing about an instance (hex id) that was named."""
    asked = [item for item in bundle.artifacts if _asked_of(item, instance)]
    if not asked:
        return "nobody asked at its address"
    others = sorted({item.subject.rpartition("/")[2] for item in asked if item.sha256} - {""})
    if others:
        return f"at its address another answered: {', '.join(others)}"
    return why_unanswered({item.source: item.error for item in asked}.items())


def _asked_of(item: Artifact, instance: str) -> bool:
    """Whether a guest agent was asked at the address of one instance."""
    with suppress(ValueError):
        return item.kind in _GUESTS and urlsplit(item.source).netloc.startswith(f"{instance}-")
    return False


def _silent_guests(bundle: Bundle) -> list[Artifact]:
    """What was asked of guest agents, where none of it was answered."""
    guests = [
        item
        for item in bundle.artifacts
        if item.kind in _GUESTS and not item.subject.startswith(KEY_HOLDER)
    ]
    return guests if all(item.error for item in guests) else []


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
