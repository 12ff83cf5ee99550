"""Who answers: the guests of an app, under which names, and at which addresses they are asked."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from verifier.collect import requests
from verifier.collect.instances import MAX_INSTANCES, claimed_instance, instance_in_certificate
from verifier.collect.requests import Request
from verifier.evidence.bundle import Kind
from verifier.evidence.endpoint import HTTPS_PORT, Ending, Endpoint

MAX_NAMES: Final = 128
"""How many names guests may give themselves; whoever gives more is known by its address."""
MAX_CALLS: Final = 128
"""How often one address is asked who else answers there."""
HANDSHAKES: Final = 3
"""How many are made with an endpoint before anybody was met there."""
_QUIET: Final = 4
_AT_ONCE: Final = 16


class RollCall:
    """Who answers at an address that leads to any instance, asked until nobody new is met; `first`
    is how often before anybody is.

    With k instances met, another one that is led to as often as these is missed by 4 (k + 1)
    requests in fewer than one of 50 cases. One that hides is met by no number of requests.
    """

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._met: set[str] = set()
        self._sent = self._waiting = self._quiet = 0

    def record(self, instance: str, *, called: bool) -> None:
        """Take an answer by what tells instances apart in it, "" for nothing; `called` where it is
        that to one of the numbers that were handed out."""
        self._waiting -= called
        new = bool(instance) and instance not in self._met
        self._met.update({instance} - {""})
        self._quiet = 0 if new else self._quiet + called

    def numbers(self) -> range:
        """The numbers of the requests to send now."""
        wanted = self._first - self._sent
        if self._met:
            wanted = _QUIET * (len(self._met) + 1) - self._quiet - self._waiting
        first = self._sent
        self._sent += max(min(wanted, _AT_ONCE - self._waiting, MAX_CALLS - self._sent), 0)
        self._waiting += self._sent - first
        return range(first + 1, self._sent + 1)


class Guests:
    """The guests that are asked, and the name under which each is known in the evidence:
    `<gateway host>/<instance id>`, as it claims. A claim only decides what is asked next.

    `urls` are the addresses of guest agents to begin with; with `alone`, nobody else is looked for.
    """

    def __init__(self, urls: Iterable[str], *, alone: bool) -> None:
        self.names: dict[str, str] = {}
        self.at_endpoint = RollCall(HANDSHAKES)
        self.plain = False  # whether an endpoint showed a certificate without a quote
        self._urls = dict.fromkeys(urls)
        self._calls: dict[str, RollCall] = {}
        self._alone = alone
        self._claims: dict[tuple[Kind, bytes], str] = {}

    def __bool__(self) -> bool:
        """Whether any guest is asked."""
        return bool(self._urls)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The URLs of the gateways that they are behind, or their own."""
        return tuple(requests.gateway_of(url)[1] for url in self._urls)

    def behind(self, identifier: str, gateways: Iterable[str]) -> None:
        """Ask for an app or an instance at each of these gateways, too."""
        for gateway in gateways:
            self._urls.setdefault(requests.guest_url(identifier, gateway))

    def requests(self) -> Iterator[Request]:
        """What is asked of them: of each, what it is; of an address that leads to several, who else
        is there."""
        for url in self._urls:
            yield from requests.guest_requests(url)
        for base, call in self._calls.items():
            for number in call.numbers():
                yield requests.roll_call(base, number)

    def count(self, request: Request, body: bytes) -> None:
        """Take an answer to Info or to a handshake, b"" for none, as to whom an address led."""
        if request.kind is Kind.TLS_PEER:
            # What a certificate says is read later; another instance has another one.
            shown = hashlib.sha256(body).hexdigest() if body else ""
            self.at_endpoint.record(shown, called=request.fresh)
            return
        base = requests.base_of(request.url)
        if request.kind is not Kind.INFO or request.subject or self._alone:
            return
        instance = self._claimed(request.kind, body)
        if requests.gateway_of(base)[0] not in ("", instance):
            self._calls.setdefault(base, RollCall()).record(instance, called=request.fresh)

    def _claimed(self, kind: Kind, body: bytes) -> str:
        """The instance that an answer claims; one that says the same again is read once."""
        key = kind, hashlib.sha256(body).digest()
        if key not in self._claims:
            self._claims[key] = claimed_instance(kind, body)
        return self._claims[key]

    def at(self, request: Request) -> str:
        """The name of a guest that did not say who it is."""
        label, gateway = requests.gateway_of(requests.base_of(request.url))
        return f"{urlsplit(gateway).netloc}/{label}".rstrip("/")

    def answered(self, request: Request, body: bytes) -> str:
        """The name of the guest that gave an answer; an instance is asked at its own address."""
        label, gateway = requests.gateway_of(requests.base_of(request.url))
        # What the page of a known instance says of itself, a check holds against what it measures.
        known = request.kind is Kind.PAGE and label in self.names
        instance = label if known else self._claimed(request.kind, body)
        if len(self.names) >= MAX_NAMES and instance not in self.names:
            return self.at(request)
        if label and instance and instance != label and len(self._urls) < MAX_INSTANCES:
            self.behind(instance, [gateway])
        name = f"{urlsplit(gateway).netloc}/{instance or label}".rstrip("/")
        self.names.setdefault(instance or label, name)
        return name

    def met(self, endpoint: Endpoint, body: bytes) -> str:
        """The name of the guest that was met at an address that users connect to, as the log in its
        certificate says, or as the address is called; "" where nobody can tell."""
        route = endpoint.route
        instance = instance_in_certificate(body)
        self.plain = not instance
        routed = route.identifier if route and route.ending is Ending.GUEST else ""
        name = instance or (routed if routed in self.names else "")
        if name in self.names or not name or len(self.names) >= MAX_NAMES:
            return self.names.get(name, "")
        port = "" if endpoint.port == HTTPS_PORT else f":{endpoint.port}"
        host = f"{route.base if route else endpoint.host}{port}"
        if route and len(self._urls) < MAX_INSTANCES:
            self.behind(name, [f"https://{host}"])
        return f"{host}/{name}"
