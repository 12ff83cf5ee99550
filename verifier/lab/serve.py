"""A simulated world on loopback, over real HTTP.

One server on 127.0.0.1 answers for every host of the world; it rebuilds the logical https URL from
the Host header. A client sends its requests to the address that `Served.routes` gives for a host.
The KMS has an address of its own, with TLS, since the certificate that it shows is evidence.
"""

import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.lab.registry import GITHUB_URL, REGISTRY_URL
from verifier.lab.response import Response
from verifier.lab.world import (
    CLOUD_URL,
    DOMAIN,
    GATEWAY_BASE,
    KMS_URL,
    PCS_URL,
    RESOLVERS,
    RPC_URLS,
    SAFE_URL,
)

_BUFFER_BYTES: Final = 1 << 16
_MAX_REQUEST_BYTES: Final = 1 << 20

Respond = Callable[[str, str, Mapping[str, str], bytes], Response]


class Served(Struct, frozen=True):
    """Where the world is served: an exact host, or a suffix that starts with a dot, → address. With
    `https://` before it, a host is served over TLS."""

    routes: Mapping[str, tuple[str, int]]


@contextmanager
def serve(respond: Respond, *, delay: float = 0.0) -> Iterator[Served]:
    """Serve `respond` (a world's) until the block ends. `delay` seconds pass before each answer."""

    class Handler(_Handler):
        answer = staticmethod(respond)
        delay_seconds = delay

    services = (PCS_URL, CLOUD_URL, SAFE_URL, REGISTRY_URL, GITHUB_URL, *RPC_URLS.values())
    hosts = [
        *(urlsplit(url).hostname or "" for url in services),
        f".{GATEWAY_BASE}",
        DOMAIN,
        *RESOLVERS,
    ]
    with (
        _serving(_Server(("127.0.0.1", 0), Handler)) as plain,
        _serving(_TlsServer(("127.0.0.1", 0), Handler)) as with_tls,
    ):
        yield Served({**dict.fromkeys(hosts, plain), KMS_URL: with_tls})


@contextmanager
def _serving(server: ThreadingHTTPServer) -> Iterator[tuple[str, int]]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Takes as many connections at once as a collection opens."""

    daemon_threads = True
    request_queue_size = 128


class _TlsServer(_Server):
    """Shows the certificate with which the world's KMS answers, as the first connection asks."""

    @cached_property
    def _context(self) -> ssl.SSLContext:
        answer: Response = self.RequestHandlerClass.answer(  # type: ignore[attr-defined]
            "GET", f"{KMS_URL}/prpc/KMS.GetMeta", {}, b""
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            pem = ssl.DER_cert_to_PEM_cert(answer.peer_certificate or b"").encode()
            file.write(answer.peer_key + pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - base's
        """Answer in a TLS session; the handshake is made in the thread of the connection."""
        # Whoever connects may not speak TLS, or leave.
        with suppress(OSError), self._context.wrap_socket(request, server_side=True) as session:
            super().finish_request(session, client_address)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with persistent connections; one buffered write per answer, without Nagle."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _BUFFER_BYTES
    answer: Respond
    delay_seconds = 0.0

    def do_GET(self) -> None:
        """Answer a GET."""
        self._respond()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._respond()

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _respond(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_REQUEST_BYTES)
        body = self.rfile.read(length)
        host = self.headers.get("Host", "").partition(":")[0]
        response = self.answer(self.command, f"https://{host}{self.path}", dict(self.headers), body)
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)
