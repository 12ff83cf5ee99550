"""Which certificates were logged for a name, as a search of Certificate Transparency logs says it.

The shape is that of crt.sh, with times in UTC and serial numbers in hex:

    URL/?q=NAME&exclude=expired&deduplicate=Y&output=json
        [{id, issuer_name, name_value (names, a line each), serial_number, not_before, not_after}]
    URL/?d=ID
        the certificate or precertificate, PEM

Nobody signs an answer: what a search leaves out, nobody sees.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.certificates import parse_pem_chain
from verifier.evidence.endpoint import Endpoint
from verifier.evidence.td.ra_tls import spki
from verifier.model.identifiers import parse_time

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_LISTED: Final = 10_000
MAX_CERTIFICATES: Final = 32
"""Certificates of one name that are looked at; more of them at once are no usual thing."""


class Logged(Struct, frozen=True, kw_only=True):
    """One logged certificate, as a search lists it.

    number      what the search calls it
    issuer      the name of its CA
    serial      its serial number
    names       the DNS names that it is for, in lower case
    not_before  when it begins, Unix seconds
    not_after   when it ends, Unix seconds
    """

    number: int
    issuer: str
    serial: int
    names: frozenset[str]
    not_before: int
    not_after: int

    def holds_for(self, host: str, at: int) -> bool:
        """Whether it is for a host at a time (Unix seconds)."""
        return self.not_before <= at <= self.not_after and bool(self.names & set(searched(host)))


def searched(host: str) -> tuple[str, ...]:
    """The names by which a certificate may be for a host: itself, and the wildcard above it."""
    return host, f"*.{host.partition('.')[2]}"


def search_url(base: str, name: str) -> str:
    """Where a search at an address tells what was logged for a name."""
    asked = {"q": name, "exclude": "expired", "deduplicate": "Y", "output": "json"}
    return f"{base.rstrip('/')}/?{urlencode(asked)}"


def certificate_url(base: str, number: int) -> str:
    """Where it shows a certificate."""
    return f"{base.rstrip('/')}/?{urlencode({'d': number})}"


def parse_search(raw: bytes, what: str) -> tuple[Logged, ...]:
    """The certificates that a search lists, each once, the latest first. Raises EvidenceError."""
    listed = codec.as_list(codec.parse_json(raw, what), what)
    if len(listed) > MAX_LISTED:
        raise EvidenceError(f"{what}: {len(listed)} certificates, more than {MAX_LISTED}")
    found: dict[tuple[str, int], Logged] = {}
    for index, value in enumerate(listed):
        item = _logged(codec.as_object(value, f"{what}[{index}]"), f"{what}[{index}]")
        # A certificate and its precertificate are two entries of one serial number.
        key = item.issuer, item.serial
        found[key] = min(found.get(key, item), item, key=lambda each: each.number)
    return tuple(sorted(found.values(), key=lambda item: (-item.not_before, item.number)))


def _logged(item: codec.JsonObject, what: str) -> Logged:
    times = [parse_time(codec.text_field(item, name, what)) for name in ("not_before", "not_after")]
    begin, end = times
    if begin is None or end is None:
        raise EvidenceError(f"{what}: not_before and not_after are no times")
    serial = codec.text_field(item, "serial_number", what)
    if not (serial.isascii() and serial.isalnum() and len(serial) <= 64):  # noqa: PLR2004 - RFC 5280: 20 bytes
        raise EvidenceError(f"{what}.serial_number: {serial[:24]!a} is no number in hex")
    try:
        number = int(serial, 16)
    except ValueError as error:
        raise EvidenceError(f"{what}.serial_number: {serial[:24]!a} is not hex") from error
    return Logged(
        number=codec.as_int(item.get("id"), f"{what}.id"),
        issuer=codec.text_field(item, "issuer_name", what),
        serial=number,
        names=frozenset(codec.text_field(item, "name_value", what).lower().split("\n")),
        not_before=begin,
        not_after=end,
    )


def parse_logged(raw: bytes, what: str) -> "tuple[int, bytes]":
    """Serial number and key (DER SubjectPublicKeyInfo) of a logged certificate. Raises
    EvidenceError."""
    leaf: Certificate = parse_pem_chain(raw, what)[0]
    return leaf.serial_number, spki(leaf)


class Search(Struct, frozen=True):
    """What a search at one address told of an endpoint: the certificates in force, and why there is
    more that it did not tell; "" where it told all."""

    base: str
    listed: tuple[Logged, ...]
    problem: str


def read_search(bundle: Bundle, base: str, endpoint: Endpoint, at: int) -> Search:
    """What a search told of an endpoint, about certificates that are in force at a time. One that
    was asked twice, and told otherwise or nothing once, did not tell all: what it listed at any
    time counts."""
    found: dict[tuple[str, int], Logged] = {}
    problem = ""
    for name in searched(endpoint.host):
        url, answers = search_url(base, name), set[frozenset[Logged]]()
        for artifact in _told(bundle, Kind.CT_SEARCH, url):
            try:
                rows = bundle.read(artifact, parse_search, f"certificates logged for {name}")
            except EvidenceError as error:
                problem = problem or artifact.error or error.message
                continue
            answers.add(frozenset(row for row in rows if row.holds_for(endpoint.host, at)))
        if len(answers) > 1:
            problem = problem or f"it answers twice for {name}, and not the same"
        elif not answers:
            problem = problem or "it was not asked"
        for row in frozenset[Logged]().union(*answers):
            key = row.issuer, row.serial
            found[key] = min(found.get(key, row), row, key=_order)
    listed = sorted(found.values(), key=lambda item: (-item.not_before, item.number))
    if len(listed) > MAX_CERTIFICATES:
        problem = problem or f"it lists {len(listed)}, and {MAX_CERTIFICATES} were looked at"
    return Search(base, tuple(listed[:MAX_CERTIFICATES]), problem)


def _told(bundle: Bundle, kind: Kind, url: str) -> list[Artifact]:
    """What was recorded of one address, answers and failures, in an order of their own."""
    found = [item for item in bundle.artifacts if item.kind is kind and item.source == url]
    return sorted(found, key=lambda item: (item.error, item.sha256 or ""))


def _order(row: Logged) -> tuple[int, int, int, list[str]]:
    return row.number, row.not_before, row.not_after, sorted(row.names)


def shown_keys(bundle: Bundle, base: str, listed: Iterable[Logged]) -> Mapping[Logged, bytes]:
    """The keys of listed certificates, as far as the search showed them: each certificate under the
    number, and with the serial number, that it was listed by. Where it shows two certificates by
    one number, it shows none."""
    found: dict[Logged, bytes] = {}
    for row in listed:
        shown = set[tuple[int, bytes]]()
        for artifact in _told(bundle, Kind.CT_CERTIFICATE, certificate_url(base, row.number)):
            with suppress(EvidenceError):
                what = f"logged certificate {row.number}"
                shown.add(bundle.read(artifact, parse_logged, what))
        keys = {key for serial, key in shown if serial == row.serial}
        if len(shown) == len(keys) == 1:
            found[row] = keys.pop()
    return found
