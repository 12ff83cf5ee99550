"""What is asked about an address that users connect to, and of whom."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from verifier.collect import requests
from verifier.collect.guests import Guests
from verifier.collect.requests import Request
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.certificate_log import (
    certificate_url,
    read_search,
    search_url,
    searched,
)
from verifier.evidence.domain import questions
from verifier.evidence.endpoint import HTTPS_PORT, Ending, Endpoint
from verifier.evidence.guest.sightings import numbered


def endpoint_requests(
    endpoint: Endpoint, gateways: Iterable[str], guests: Guests, *, known: bool
) -> Iterator[Request]:
    """Handshakes, its name in the DNS, and what whoever ends the connection shows of itself.

    `gateways` are those that were named, `guests` those that are asked; `known` says whether they
    had time to answer.
    """
    route = endpoint.route
    if route or known:
        for number in guests.at_endpoint.numbers():
            url = numbered(endpoint.source, number)
            yield Request(kind=Kind.TLS_PEER, url=url, label=endpoint.source, fresh=True)
    for name, kind in questions(endpoint):
        yield from requests.dns_requests(name, kind)
    if route is not None and route.ending is Ending.GATEWAY:
        yield from requests.gateway_requests(_gateway(endpoint, route.base, gateways))
    elif guests.plain:
        yield from requests.ingress_requests(endpoint)


def search_requests(
    endpoint: Endpoint, searches: Iterable[str], bundle: Bundle, at: int
) -> Iterator[Request]:
    """What searches of certificate logs are asked: for whom certificates were logged, and the
    certificates that they list and that are in force at a time."""
    if not endpoint.is_name or endpoint.ending is Ending.GUEST:
        return
    for base in searches:
        for name in searched(endpoint.host):
            yield Request(kind=Kind.CT_SEARCH, url=search_url(base, name))
        for row in read_search(bundle, base, endpoint, at).listed:
            yield Request(kind=Kind.CT_CERTIFICATE, url=certificate_url(base, row.number))


def _gateway(endpoint: Endpoint, base: str, gateways: Iterable[str]) -> str:
    """The URL of the gateway that serves a base domain: as it was named, else the endpoint's own
    port."""
    named = next((url for url in gateways if urlsplit(url).hostname == base), None)
    port = "" if endpoint.port == HTTPS_PORT else f":{endpoint.port}"
    return named or f"https://{base}{port}"
