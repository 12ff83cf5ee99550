"""The HTTP client's way to a server: addresses, name resolution, TLS, routes."""

import contextlib
import ipaddress
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
import trustme

from tests.collect.loopback import ADDRESS, Server, answer
from verifier.collect.budget import Share
from verifier.collect.http import HttpClient
from verifier.collect.limits import Limits
from verifier.collect.network import System, is_public, matching_host
from verifier.errors import CollectError, LimitError, NetworkError

LIMITS = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=5)
QUICK = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=0.4)
UNVERIFIED = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=5, verify_tls=False)
Serve = Callable[..., Server]


class World:
    """A certificate authority, a resolver with scripted answers, and a client that uses both."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.resolved: list[str] = []
        self.answers: list[Sequence[str]] = [[ADDRESS]]

    def server_tls(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """TLS of a server whose certificate the client trusts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        past = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
        self.authority.issue_cert(*names, not_after=past).configure_cert(context)
        return context

    def client(self, *allow_hosts: str) -> HttpClient:
        """A client in this network."""
        system = System(sleep=lambda _: None, resolve=self._resolve, trust=self._trust)
        return HttpClient(clock=lambda: 0, allow_hosts=allow_hosts, system=system)

    def _resolve(self, host: str) -> Sequence[str]:
        self.resolved.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _trust(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def world() -> World:
    return World()


def failure(client: HttpClient, url: str, limits: Limits = LIMITS) -> CollectError:
    """The error of a GET, which names the URL and what to do next."""
    with client, pytest.raises(CollectError) as caught:
        client.get(url, limits=limits)
    assert caught.value.message.startswith(f"{url}: ")
    assert caught.value.hint
    return caught.value


def https(server: Server, host: str = "app.example") -> str:
    return f"https://{host}:{server.port}/"


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254"),  # noqa: S104
        *("172.31.0.1", "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:db8::1"),
        *("2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1"),
        *("ff02::1", "fe80::1%lo"),
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["x"]],
)
def test_name_with_a_private_address_is_refused(world: World, found: list[str]) -> None:
    world.answers = [found]
    error = failure(world.client(), "https://app.example/")
    assert type(error) is LimitError
    assert f"app.example is at {found[-1]}" in error.message


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "http://localhost/", "http://[::1]/", "https://10.0.0.1/"]
)
def test_private_literal_is_refused(world: World, url: str) -> None:
    assert type(failure(world.client(), url)) is LimitError
    assert world.resolved == []


@pytest.mark.parametrize("named", [ADDRESS, "app.example", "APP.example", ".example"])
def test_named_private_address_is_used(world: World, serve: Serve, named: str) -> None:
    server = serve(answer("200 OK", b"x"), tls=world.server_tls("app.example"))
    with world.client(named) as client:
        assert client.get(https(server), limits=LIMITS).body == b"x"
    assert world.resolved == ["app.example"]


@pytest.mark.parametrize("named", ["other.example", ".app.example", "example", "10.0.0.1"])
def test_naming_another_host_allows_nothing(world: World, named: str) -> None:
    assert type(failure(world.client(named), "https://app.example/")) is LimitError


def test_named_host_cannot_mean_a_metadata_service(world: World) -> None:
    world.answers = [["169.254.169.254"]]
    assert type(failure(world.client("app.example"), "https://app.example/")) is LimitError


def test_rebinding_gains_nothing(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x"), tls=world.server_tls("app.example"))
    world.answers = [[ADDRESS], ["10.0.0.1"]]
    with world.client(ADDRESS) as client:
        assert client.get(https(server), limits=LIMITS).body == b"x"
        assert world.resolved == ["app.example"]  # asked once: what is checked is connected to
        assert type(failure(client, https(server))) is LimitError
    assert len(server.requests) == 1


def test_localhost_is_not_resolved(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x"))
    with world.client("localhost", ".localhost") as client:
        for host in ("localhost", "LOCALHOST", "app.gateway.localhost"):
            assert client.get(f"http://{host}:{server.port}/", limits=LIMITS).body == b"x"
    assert world.resolved == []


def test_next_address_is_tried(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x"), tls=world.server_tls("app.example"))
    world.answers = [["::1", ADDRESS]]
    with world.client("app.example") as client:
        assert client.get(https(server), limits=LIMITS).body == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_silent_address_leaves_time_for_the_next(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x"), tls=world.server_tls("app.example"))
    world.answers = [["127.0.0.2", ADDRESS]]
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.2", server.port), backlog=0))
        for _ in range(2):  # fills the queue; then Linux drops what arrives
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(full.getsockname())
        client = stack.enter_context(world.client("app.example"))
        started = time.monotonic()
        assert client.get(https(server), limits=QUICK).body == b"x"
        assert time.monotonic() - started > 0.1


@pytest.mark.parametrize(
    ("problem", "attempts"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), 1),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), 3),
        (UnicodeError("label too long"), 1),
    ],
)
def test_name_that_does_not_resolve(problem: Exception, attempts: int) -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        raise problem

    system = System(sleep=lambda _: None, resolve=resolve)
    error = failure(HttpClient(clock=lambda: 0, system=system), "https://app.example/")
    assert type(error) is NetworkError
    assert "app.example" in error.message
    assert len(asked) == attempts


def test_slow_resolver_meets_the_deadline() -> None:
    def resolve(_: str) -> list[str]:
        time.sleep(3)
        return []

    started = time.monotonic()
    client = HttpClient(clock=lambda: 0, system=System(resolve=resolve))
    assert type(failure(client, "https://app.example/", QUICK)) is LimitError
    assert time.monotonic() - started < 2


def test_silent_tls_server_meets_the_deadline(world: World) -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        url = f"https://{ADDRESS}:{listener.getsockname()[1]}/"
        assert type(failure(world.client(ADDRESS), url, QUICK)) is LimitError


def test_unknown_authority_is_refused(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK"), tls=World().server_tls("app.example"))
    error = failure(world.client(ADDRESS), https(server))
    assert type(error) is NetworkError
    assert "certificate is not trusted" in error.message
    assert server.requests == []


def test_certificate_of_another_host_is_refused(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK"), tls=world.server_tls("other.example"))
    assert "not trusted" in failure(world.client(ADDRESS), https(server)).message


def test_expired_certificate_is_refused(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK"), tls=world.server_tls("app.example", expired=True))
    assert "expired" in failure(world.client(ADDRESS), https(server)).message


def test_unverified_source_shows_its_certificate(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x"), tls=World().server_tls("kms.example"))
    seen: list[str | None] = []
    assert server.tls
    server.tls.sni_callback = lambda _, name, __: seen.append(name)
    with world.client(ADDRESS) as client:
        response = client.get(https(server, "kms.example"), limits=UNVERIFIED)
        assert response.peer_certificate == _served_certificate(server)
        assert "not trusted" in failure(client, https(server, "kms.example")).message
    assert seen[0] == "kms.example"


def _served_certificate(server: Server) -> bytes:
    pem = ssl.get_server_certificate((ADDRESS, server.port))
    return ssl.PEM_cert_to_DER_cert(pem)


def test_plain_http_on_a_tls_port(world: World, serve: Serve) -> None:
    server = serve(answer("200 OK"))
    assert type(failure(world.client(ADDRESS), https(server))) is NetworkError


@pytest.mark.parametrize("route", ["app.example", ".example", "App.Example"])
def test_route_keeps_the_logical_url(serve: Serve, route: str) -> None:
    server = serve(answer("200 OK", b"x"))
    routes = {route: (ADDRESS, server.port), ".other": (ADDRESS, 1)}
    with HttpClient(clock=lambda: 0, routes=routes) as client:
        response = client.get("https://app.example/page?x=1", limits=LIMITS)
    assert (response.url, response.body) == ("https://app.example/page?x=1", b"x")
    assert server.requests[0].startswith(b"GET /page?x=1 HTTP/1.1\r\n")
    assert b"host: app.example\r\n" in server.requests[0].lower()


def test_routes_open_no_other_door(serve: Serve) -> None:
    server = serve(answer("200 OK"))
    with HttpClient(clock=lambda: 0, routes={"app.example": (ADDRESS, server.port)}) as client:
        assert type(failure(client, server.url)) is LimitError


def test_route_must_stay_on_this_machine() -> None:
    with pytest.raises(CollectError, match="not a loopback address"):
        HttpClient(clock=lambda: 0, routes={"app.example": ("10.0.0.1", 80)})


def test_closest_pattern_wins() -> None:
    patterns = [".example", ".app.example", "x.app.example"]
    assert matching_host("x.app.example", patterns) == "x.app.example"
    assert matching_host("y.app.example", patterns) == ".app.example"
    assert matching_host("example", patterns) is None
