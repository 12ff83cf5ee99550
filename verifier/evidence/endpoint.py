"""Where users connect to: its address, which route leads there, and who answered.

A gateway routes by the server name of the TLS handshake (Dstack-TEE/dstack gateway/src/proxy.rs):

    <id>[-<port>].<base>     the gateway ends TLS, and speaks to the guest behind it
    <id>[-<port>]g.<base>    the gateway ends TLS, HTTP/2 to the guest
    <id>[-<port>]s.<base>    passed through: the guest ends TLS
    any other name           passed through to the app that the name's TXT record tells

`id` is an app id or an instance id (40 hex digits); the base has no such label below it.

A handshake is recorded as the certificates that the server sent, PEM, its leaf first, under the
source `tls://HOST:PORT`. The handshake proved, to the one who made it, that the server holds the
leaf's key.
"""

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import whole_number
from verifier.patterns import pattern

SCHEME: Final = "tls://"
HTTPS_PORT: Final = 443
METADATA_PORT: Final = 8090
"""The guest agent's: its pages are about the app, and not what the app serves."""

_ROUTED: Final = pattern(r"([0-9a-f]{40})(?:-([0-9]{1,5}))?([sg]?)", re.ASCII)
_HOST: Final = pattern(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII,
)
_IPV6: Final = pattern(r"\[[0-9a-f:.]{2,45}\]", re.ASCII)
_MAX_PORT: Final = 65535


class Ending(StrEnum):
    """Who ends the TLS connections of an address, as the gateway routes its name."""

    GUEST = "guest"
    GATEWAY = "gateway"


class Route(Struct, frozen=True):
    """What a name below a gateway's base domain says: the id and the base, both in lower case."""

    identifier: str
    base: str
    ending: Ending


class Endpoint(Struct, frozen=True):
    """An address that users connect to by TLS; the host in lower case."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def source(self) -> str:
        """What a handshake with it is recorded under."""
        return f"{SCHEME}{self}"

    @property
    def is_name(self) -> bool:
        """Whether the host is a name of the public DNS, and no address."""
        top = self.host.rpartition(".")[2]
        return "." in self.host and not top.isdigit() and top not in ("localhost", "")

    @property
    def route(self) -> Route | None:
        """The route that its name spells out; None for a name of the app's own."""
        label, _, base = self.host.partition(".")
        match = _ROUTED.fullmatch(label)
        if match is None or not base:
            return None
        ending = Ending.GUEST if match[3] == "s" else Ending.GATEWAY
        return Route(match[1], base, ending)

    @property
    def ending(self) -> Ending | None:
        """Who ends its connections as its name spells out; None for a name of the app's own."""
        return self.route.ending if self.route is not None else None


def parse_endpoint(text: str) -> Endpoint | None:
    """HOST, HOST:PORT or an https URL (its path and query are left out), None for anything else."""
    rest = text.strip().lower()
    scheme, separator, address = rest.partition("://")
    if separator and scheme not in ("https", "tls"):
        return None
    address = (address if separator else rest).partition("/")[0].partition("?")[0]
    host, colon, digits = address.rpartition(":")
    if not colon or host.count("[") != host.count("]"):
        host, digits = address, str(HTTPS_PORT)
    host = host.removesuffix(".")
    number = whole_number(digits)
    if number is None or not 0 < number <= _MAX_PORT:
        return None
    if _HOST.fullmatch(host) is None and _IPV6.fullmatch(host) is None:
        return None
    return Endpoint(host, number)


def endpoint_of(source: str) -> Endpoint:
    """The address that a recorded handshake was made with. Raises EvidenceError."""
    found = parse_endpoint(source) if source.startswith(SCHEME) else None
    if found is None or found.source != source:
        raise EvidenceError(f"{source!a}: a handshake with no address")
    return found
