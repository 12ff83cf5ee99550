"""Which instances of an app answered, and how often, at an address that leads to any of them.

A gateway leads each connection to `<app id>-8090.<base>` to an instance of its choice. Info is
asked there again and again, each time over a connection of its own; each request is recorded under
its number. What that shows is who was met, never that there is nobody else.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.evidence.bundle import Bundle, Kind

_MARK: Final = "#"
_INFO: Final = ("/prpc/Info", "/prpc/Worker.Info")


class Sightings(Struct, frozen=True, kw_only=True):
    """How an app's instances were looked for. The collector says so; nothing here is proven.

    requests  how often the app was asked at addresses of the app, which lead to any instance
    answered  how many of these requests were answered
    met       the attester's name → how many of the answers were its own
    """

    requests: int
    answered: int
    met: Mapping[str, int]


def numbered(url: str, number: int) -> str:
    """What the answer to a request is recorded under that is one of several to the same address."""
    return f"{url}{_MARK}{number}"


def sightings(bundle: Bundle, app_id: str) -> Sightings | None:
    """How the instances of an app (hex) were looked for, None where nobody asked at its address."""
    asked = [
        item
        for item in bundle.artifacts
        if item.kind is Kind.INFO and _leads_to_any(item.source, app_id)
    ]
    if not asked:
        return None
    met = Counter(item.subject for item in asked if item.sha256 is not None)
    return Sightings(requests=len(asked), answered=met.total(), met=dict(sorted(met.items())))


def _leads_to_any(source: str, app_id: str) -> bool:
    try:
        parts = urlsplit(source)
    except ValueError:
        return False
    return parts.netloc.partition("-")[0].lower() == app_id and parts.path in _INFO
