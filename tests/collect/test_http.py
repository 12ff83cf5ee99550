"""The HTTP client against servers that fail, lie, flood, drip and redirect."""

import gzip
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.collect.loopback import (
    ADDRESS,
    Script,
    Server,
    answer,
    drip,
    flood,
    hang,
    read_request,
    send,
)
from verifier.collect.budget import Share
from verifier.collect.http import HttpClient, printable
from verifier.collect.limits import LIMITS, Limits
from verifier.collect.network import System
from verifier.errors import CollectError, LimitError, NetworkError, NotFoundError
from verifier.evidence.bundle import Kind
from verifier.lab.response import Response as Answer

SMALL = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=5)
QUICK = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=0.4)
Serve = Callable[..., Server]


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that the client took."""
    return []


@pytest.fixture
def client(pauses: list[float]) -> Iterator[HttpClient]:
    with HttpClient(
        clock=lambda: 0, allow_hosts={ADDRESS}, system=System(sleep=pauses.append)
    ) as started:
        yield started


def failure(client: HttpClient, url: str, limits: Limits = SMALL) -> CollectError:
    """The error of a GET, which names the URL and what to do next."""
    with pytest.raises(CollectError) as caught:
        client.get(url, limits=limits)
    assert caught.value.message.startswith(f"{url}: ")
    assert caught.value.hint
    return caught.value


def test_get_returns_what_was_received(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("200 OK", b"\x00body", "X-Chain: a", "x-chain: b"))
    response = client.get(server.url, limits=SMALL)
    assert (response.status, response.body, response.url) == (200, b"\x00body", server.url)
    assert response.header("X-CHAIN") == "a"
    assert response.header("x-other") == ""
    assert response.peer_certificate is None
    assert b"accept-encoding: identity\r\n" in server.requests[0].lower()


def test_a_query_is_posted_as_json(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("200 OK", b"{}"))
    assert client.request("POST", server.url, limits=SMALL, body=b'{"id":1}').body == b"{}"
    assert server.requests[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert b"content-type: application/json\r\n" in server.requests[0].lower()
    assert server.requests[0].endswith(b'\r\n\r\n{"id":1}')


def test_404_is_not_found(client: HttpClient, serve: Serve) -> None:
    error = failure(client, serve(answer("404 Not Found", b"no such app")).url)
    assert type(error) is NotFoundError
    assert error.message.endswith("HTTP 404: no such app")


def test_error_page_is_quoted_without_its_controls(client: HttpClient, serve: Serve) -> None:
    page = "<html>\x1b[31m\r\nBad \u202egateway</html>".encode()
    error = failure(client, serve(answer("403 Forbidden", page)).url)
    assert type(error) is NetworkError
    assert error.message.endswith(r"HTTP 403: <html>\x1b[31m Bad \u202egateway</html>")


def test_request_hands_over_an_error_answer(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("400 Bad Request", b'{"error":{"code":35}}'))
    response = client.request("POST", server.url, limits=SMALL, body=b"{}")
    assert (response.status, response.body) == (400, b'{"error":{"code":35}}')


def test_500_is_tried_three_times(client: HttpClient, serve: Serve, pauses: list[float]) -> None:
    server = serve(answer("500 Internal Server Error"))
    assert type(failure(client, server.url)) is NetworkError
    assert len(server.requests) == 3
    assert pauses == [0.5, 1.0]


def test_500_then_success(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("503 Service Unavailable"), answer("200 OK", b"ok"))
    assert client.get(server.url, limits=SMALL).body == b"ok"


def test_a_status_can_be_the_answer(client: HttpClient, serve: Serve, pauses: list[float]) -> None:
    limits = Limits(share=Share.GUESTS, max_bytes=1 << 20, deadline_seconds=5, retry_statuses=False)
    for status in ("429 Too Many Requests", "503 Service Unavailable"):
        server = serve(answer(status, b"refused"))
        response = client.request("POST", server.url, limits=limits, body=b"{}")
        assert (response.status, response.body) == (int(status[:3]), b"refused")
        assert len(server.requests) == 1
    assert pauses == []


@pytest.mark.parametrize(
    ("retry_after", "expected_pauses"),
    [("2", [2.0, 2.0]), ("6", []), ("9" * 5000, []), ("Wed, 21 Oct 2026", [0.5, 1.0])],
)
def test_429_honours_retry_after(
    client: HttpClient,
    serve: Serve,
    pauses: list[float],
    retry_after: str,
    expected_pauses: list[float],
) -> None:
    server = serve(answer("429 Too Many Requests", b"", f"Retry-After: {retry_after}"))
    assert "HTTP 429" in failure(client, server.url).message
    assert pauses == expected_pauses


def test_no_retry_beyond_the_deadline(
    client: HttpClient, serve: Serve, pauses: list[float]
) -> None:
    server = serve(answer("502 Bad Gateway"))
    failure(client, server.url, QUICK)
    assert pauses == []


def test_nobody_listens(client: HttpClient, pauses: list[float]) -> None:
    with socket.create_server((ADDRESS, 0)) as reserved:
        port = reserved.getsockname()[1]
    error = failure(client, f"http://{ADDRESS}:{port}/")
    assert type(error) is NetworkError
    assert "cannot connect" in error.message
    assert len(pauses) == 2


def test_200_mb_stop_at_the_cap(client: HttpClient, serve: Serve) -> None:
    server = serve(flood)
    tracemalloc.start()
    try:
        error = failure(client, server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is LimitError
    assert "larger than 1048576 bytes" in error.message
    assert peak < 6 << 20
    assert server.sent < 32 << 20  # what fits into the socket buffers


def test_announced_size_is_refused_at_once(client: HttpClient, serve: Serve) -> None:
    server = serve(hang(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n"))
    started = time.monotonic()
    assert type(failure(client, server.url)) is LimitError
    assert time.monotonic() - started < 1


def test_body_of_exactly_the_cap(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("200 OK", bytes(1 << 20)))
    assert len(client.get(server.url, limits=SMALL).body) == 1 << 20


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity, br", "deflate"])
def test_compressed_answer_is_refused(client: HttpClient, serve: Serve, encoding: str) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    error = failure(client, serve(answer("200 OK", bomb, f"Content-Encoding: {encoding}")).url)
    assert type(error) is LimitError
    assert "compressed" in error.message


def test_identity_encoding_is_no_encoding(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("200 OK", b"x", "Content-Encoding: identity"))
    assert client.get(server.url, limits=SMALL).body == b"x"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10 + b"HTTP/1.1 100 ",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["body", "header", "informational", "until-close"],
)
def test_slow_drip_meets_the_deadline(client: HttpClient, serve: Serve, head: bytes) -> None:
    server = serve(drip(head))
    started = time.monotonic()
    error = failure(client, server.url, QUICK)
    assert time.monotonic() - started < 2
    assert type(error) is LimitError
    assert "no complete answer within 0.4 seconds" in error.message


def test_silence_meets_the_deadline(client: HttpClient, serve: Serve) -> None:
    server = serve(hang())
    assert type(failure(client, server.url, QUICK)) is LimitError


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example/",
        "http://169.254.169.254/latest/meta-data",
        "//169.254.169.254/",
        "https://127.0.0.1/",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "http://[",
        "http://user@127.0.0.1/",
    ],
)
def test_redirect_elsewhere_is_not_followed(
    client: HttpClient, serve: Serve, location: str
) -> None:
    server = serve(answer("302 Found", b"", f"Location: {location}"))
    error = failure(client, server.url)
    assert isinstance(error, LimitError) or location == "http://["
    assert len(server.requests) == 1


def test_redirect_on_the_same_origin(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("307 Temporary Redirect", b"", "Location: /y?z=1"), answer("200 OK"))
    assert client.get(server.url, limits=SMALL).url == server.url.replace("/x", "/y?z=1")


def test_redirect_loop(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("302 Found", b"", "Location: /x"))
    error = failure(client, server.url)
    assert type(error) is LimitError
    assert "more than 3 redirects" in error.message
    assert len(server.requests) == 4


def test_post_is_not_redirected(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("307 Temporary Redirect", b"", "Location: /y"))
    with pytest.raises(LimitError):
        client.request("POST", server.url, limits=SMALL, body=b"{}")
    assert len(server.requests) == 1


def reset(_: Server, connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "script",
    [
        reset,
        send(b""),
        send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20)),
        send(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 100_000),
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        send(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        send(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        send(b"HTTP/1.1 200 OK\r\nBad\x00Name: x\r\n\r\n"),
        send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ],
    ids=[
        *("reset", "empty", "garbage", "huge-header", "many-headers", "truncated"),
        *("truncated-chunks", "bad-chunk", "gzip-transfer", "two-lengths", "negative-length"),
        *("long-length", "bad-header", "upgrade"),
    ],
)
def test_broken_http_is_a_network_error(client: HttpClient, serve: Serve, script: Script) -> None:
    assert type(failure(client, serve(script).url)) is NetworkError


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "not an https URL"),
        ("ftp://127.0.0.1/", "not an https URL"),
        ("http://app.example/", "not an https URL"),
        ("http://10.0.0.1/", "not an https URL"),
        ("https:///x", "not an https URL"),
        ("https://user:secret@app.example/", "holds a user name"),
        ("https://127.0.0.1:99999/", "not a URL"),
        ("https://127.0.0.1:0/", "not a URL"),
        ("https://app.example/\x00", "not a URL"),
        (f"https://app.example/{'a' * 70_000}", "not a URL"),
        ("https://.example/", "does not resolve"),
        (f"https://{'a' * 300}/", "does not resolve"),
    ],
)
def test_unusable_url(client: HttpClient, url: str, reason: str) -> None:
    with pytest.raises(CollectError, match=reason) as caught:
        client.get(url, limits=SMALL)
    assert caught.value.hint
    assert "secret" not in caught.value.message


def test_cookies_are_not_kept(client: HttpClient, serve: Serve) -> None:
    server = serve(answer("200 OK", b"", "Set-Cookie: id=1; Path=/"))
    client.get(server.url, limits=SMALL)
    client.get(server.url, limits=SMALL)
    assert b"cookie" not in server.requests[1].lower()


def test_environment_is_not_consulted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with HttpClient(clock=lambda: 0, allow_hosts={ADDRESS}) as fresh:
        assert fresh.get(serve(answer("200 OK", b"x")).url, limits=SMALL).body == b"x"


KEPT_ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_connections_are_reused(client: HttpClient, serve: Serve) -> None:
    def twice(server: Server, connection: socket.socket) -> None:
        connection.sendall(KEPT_ALIVE)
        server.requests.append(read_request(connection))
        connection.sendall(KEPT_ALIVE)

    server = serve(twice, answer("500 Internal Server Error"))
    for _ in range(2):
        assert client.get(server.url, limits=SMALL).body == b"ok"
    assert len(server.requests) == 2


@pytest.mark.parametrize("end", [reset, send(b"")], ids=["reset", "close"])
def test_idle_connection_that_the_server_closes_is_replaced(
    client: HttpClient, serve: Serve, end: Script
) -> None:
    def once(server: Server, connection: socket.socket) -> None:
        connection.sendall(KEPT_ALIVE)
        read_request(connection)
        end(server, connection)

    server = serve(once, answer("200 OK", b"new"))
    assert client.get(server.url, limits=SMALL).body == b"ok"
    assert client.get(server.url, limits=SMALL).body == b"new"


def test_many_threads(client: HttpClient, serve: Serve) -> None:
    servers = [serve(send(KEPT_ALIVE)), serve(answer("200 OK", b"ok"))]
    urls = [servers[index % 2].url for index in range(64)]
    with ThreadPoolExecutor(16) as threads:
        bodies = list(threads.map(lambda url: client.get(url, limits=SMALL).body, urls))
    assert bodies == [b"ok"] * 64


def test_world_in_memory_meets_the_same_limits() -> None:
    asked: list[tuple[str, str, str, bytes]] = []

    def world(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        asked.append((method, url, headers["host"], body))
        answers = {
            "/ok": Answer(status=200, body=b"ok", headers={"X-A": "b"}),
            "/big": Answer(status=200, body=bytes(2 << 20), headers={}),
            "/gzip": Answer(status=200, body=b"", headers={"Content-Encoding": "gzip"}),
            "/away": Answer(status=302, body=b"", headers={"Location": "https://x.test/"}),
        }
        missing = Answer(status=404, body=b"", headers={})
        return answers.get(url.removeprefix("https://app.test"), missing)

    with HttpClient(clock=lambda: 7, responder=world) as client:
        response = client.request("POST", "https://app.test/ok", limits=SMALL, body=b"{}")
        assert (response.body, response.header("x-a")) == (b"ok", "b")
        assert asked == [("POST", "https://app.test/ok", "app.test", b"{}")]
        for path in ("/big", "/gzip", "/away"):
            assert type(failure(client, f"https://app.test{path}")) is LimitError
        assert type(failure(client, "https://app.test/none")) is NotFoundError
        assert client.clock() == 7


HANDED_OVER = {
    *(Kind.GPU_EVIDENCE, Kind.GPU_RIM, Kind.GPU_VERDICT, Kind.GPU_VERDICT_KEYS),
    *(Kind.PLATFORM_ATTESTATION, Kind.PLATFORM_CERT, Kind.PLACE),
}
"""Nobody is asked for these: they come in files."""
ANSWERED_BY_GUESTS = {Kind.GET_QUOTE, Kind.INGRESS_QUOTE, Kind.INGRESS_FILE}


def test_every_kind_has_limits_and_only_judged_certificates_may_be_unverified() -> None:
    assert set(LIMITS) == set(Kind) - HANDED_OVER
    unverified = {kind for kind, limits in LIMITS.items() if not limits.verify_tls}
    assert unverified == {Kind.KMS_TLS, Kind.KMS_META, Kind.KMS_ENV_KEY, *ANSWERED_BY_GUESTS}


def test_printable_cuts_and_escapes() -> None:
    assert printable("a\tb\n c\u200b\x7f") == r"a b c\u200b\x7f"
    assert printable("é" * 400) == "é" * 300 + "…"
