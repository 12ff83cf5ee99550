"""The short syntax of a published port.

    [[IP:][PUBLISHED[-PUBLISHED]]:]TARGET[-TARGET][/PROTOCOL]

Source: go-connections nat.ParsePortSpec, compose-go types.ParsePortConfig (v2.9.1).
"""

import ipaddress
import re
from typing import Final

from msgspec import Struct

from verifier.manifest.remembered import remembered
from verifier.patterns import pattern

_RANGE: Final = pattern(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_HIGHEST: Final = 65_535
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})


class Port(Struct, frozen=True, gc=False):
    """A published port, or a row of them. `text` says where it stands, and as what.

    host_ip    the address of the guest that it listens on, "" for all
    published  the guest's ports, empty for one that Docker chooses
    targets    the container's ports
    protocol   `tcp`, `udp` or `sctp`
    """

    host_ip: str
    published: range
    targets: range
    protocol: str

    @property
    def public(self) -> bool:
        """Whether the gateway can reach it: not where it is a loopback address."""
        return not self.host_ip or not _is_loopback(self.host_ip)

    @property
    def pairs(self) -> tuple[tuple[str, int], ...]:
        """Each published port as text ("" for any) with its target, as Compose lists them.

        Several ports for one target are a choice, written as `FIRST-LAST`.
        """
        if len(self.targets) == 1:
            return ((span(self.published), self.targets[0]),)
        if not self.published:
            return tuple(("", target) for target in self.targets)
        return tuple((str(p), t) for p, t in zip(self.published, self.targets, strict=False))


@remembered
def _is_loopback(host_ip: str) -> bool:
    try:
        address = ipaddress.ip_address(host_ip.strip("[]"))
    except ValueError:
        return host_ip == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def span(numbers: range) -> str:
    """A row of numbers as `FIRST-LAST`, one as itself, none as ""."""
    if not numbers:
        return ""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def within(numbers: frozenset[int], row: range) -> set[int]:
    """Those of a few numbers that are in a row, which may be long."""
    return {number for number in numbers if number in row}


@remembered
def parse_port(text: str) -> Port | None:
    """The ports that a text of the short syntax publishes; None where Compose refuses it."""
    rest, _, target = text.rpartition(":")
    host_ip, _, published = rest.rpartition(":")
    numbers, slash, protocol = target.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    targets, of_host = parse_range(numbers), parse_range(published)
    if targets is None or (published and of_host is None) or protocol not in _PROTOCOLS:
        return None
    if of_host is not None and len(targets) > 1 and len(of_host) != len(targets):
        return None
    if host_ip and not is_address(host_ip):
        return None
    return Port(host_ip.strip("[]"), of_host or range(0), targets, protocol)


def parse_range(text: str) -> range | None:
    """The numbers of `FIRST-LAST` or of one; None for anything else."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if first <= last <= _HIGHEST else None


def is_address(text: str) -> bool:
    """Whether Compose takes a text for an IP address; brackets are for version 6."""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        return False
    return address.version == 6 or not bracketed  # noqa: PLR2004 - the version of the protocol
