"""Handshakes with servers that users connect to: what is recorded, and what servers may not do."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding

from tests.collect.loopback import ADDRESS, Server, answer, send
from verifier.collect.budget import Budget, Share
from verifier.collect.http import HttpClient
from verifier.collect.limits import Limits
from verifier.collect.network import System
from verifier.errors import Cause, CollectError, LimitError, NetworkError
from verifier.evidence.subject import parse_peer

LIMITS = Limits(share=Share.GUESTS, max_bytes=1 << 18, deadline_seconds=5)
QUICK = Limits(share=Share.GUESTS, max_bytes=1 << 18, deadline_seconds=0.4)
Serve = Callable[..., Server]


def client(*allow_hosts: str, address: str = ADDRESS) -> HttpClient:
    system = System(resolve=lambda _: [address])
    return HttpClient(clock=lambda: 0, allow_hosts=allow_hosts, system=system)


def failure(
    port: int, limits: Limits = LIMITS, *, host: str = "app.example", address: str = ADDRESS
) -> CollectError:
    allowed = (host,) if address == ADDRESS else ()
    with client(*allowed, address=address) as asked, pytest.raises(CollectError) as caught:
        asked.handshake(host, port, limits=limits)
    assert caught.value.message.startswith(f"tls://{host}:{port}: ")
    return caught.value


def test_the_chain_is_recorded_as_it_was_sent(serve: Serve) -> None:
    middle = trustme.CA().create_child_ca()
    issued = middle.issue_cert("app.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    seen: list[str | None] = []
    context.sni_callback = lambda _, name, __: seen.append(name)
    server = serve(send(b""), tls=context)
    with client("app.example") as asked:
        response = asked.handshake("app.example", server.port, limits=LIMITS)
    sent = [blob.bytes() for blob in issued.cert_chain_pems]
    chain = parse_peer(response.body, "chain")
    encoded = [item.public_bytes(Encoding.PEM) for item in chain.certificates]
    assert b"".join(encoded).split() == b"".join(sent).split()
    assert len(encoded) > 1
    assert seen == ["app.example"]
    assert response.header("tls-version") == "TLSv1.3"
    assert response.url == f"tls://app.example:{server.port}"


def test_no_trust_is_needed_and_none_is_given(serve: Serve) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.example").configure_cert(context)
    server = serve(send(b""), tls=context)
    with client("app.example") as asked:
        assert asked.handshake("app.example", server.port, limits=LIMITS).body


def test_a_server_without_tls(serve: Serve) -> None:
    error = failure(serve(answer("200 OK")).port)
    assert (type(error), error.cause) == (NetworkError, Cause.NO_TLS)


def test_a_silent_server_meets_the_deadline() -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        started = time.monotonic()
        error = failure(listener.getsockname()[1], QUICK)
    assert type(error) is LimitError
    assert time.monotonic() - started < 2


def test_a_server_that_drips_meets_the_deadline() -> None:
    def drip() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(bytes.fromhex("160303ffff"))
                for _ in range(100):
                    connection.sendall(b"\x16")
                    time.sleep(0.05)

    with socket.create_server((ADDRESS, 0)) as listener:
        threading.Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        assert isinstance(failure(listener.getsockname()[1], QUICK), CollectError)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1"])
def test_an_address_that_nobody_named_is_not_connected_to(address: str) -> None:
    with client(address=address) as asked, pytest.raises(LimitError) as caught:
        asked.handshake("app.example", 443, limits=LIMITS)
    assert caught.value.cause is Cause.NOT_PUBLIC


def test_nothing_listens() -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
    assert failure(port).cause is Cause.UNREACHABLE


def test_a_spent_budget_asks_nobody() -> None:
    budget = Budget(0.0)
    system = System(resolve=lambda _: pytest.fail("asked"))
    asked = HttpClient(clock=lambda: 0, system=system, budget=budget)
    with asked, pytest.raises(LimitError):
        asked.handshake("app.example", 443, limits=LIMITS)
