"""Servers that fail, one way each: before a connection, in TLS, in headers, in the body, in sense.

A world is served on loopback by TLS under certificates that a browser would trust, but for what a
fault changes; guests' own addresses and the KMS show the certificates that are evidence.
"""

import functools
import gzip
import itertools
import os
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from verifier.lab import cert, keys
from verifier.lab.endpoint import GATEWAY_KEY, gateway_certificate
from verifier.lab.response import Response
from verifier.lab.world import DOMAIN, KMS_URL, World

LOOPBACK: Final = "127.0.0.1"
_MIB: Final = 1 << 20
_MOST_WAITED: Final = 120
_RESET: Final = struct.pack("ii", 1, 0)

Respond = Callable[[str, str, bytes], Response]
"""What an honest server answers: (method, URL, body)."""

Serve = Callable[["Handler", Callable[[], Response]], None]
"""What a server does with a request, given how to answer it honestly."""

Greet = Callable[[socket.socket, threading.Event], None]
"""What a server does with a connection in place of TLS."""


class Handler(BaseHTTPRequestHandler):
    """One request at a server that behaves as a fault says."""

    protocol_version = "HTTP/1.1"
    respond: Respond
    behave: Any
    over: threading.Event

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        url = f"https://{self.host}{self.path}"
        honest = functools.partial(self.respond, self.command, url, body)
        with suppress(OSError, ValueError):
            self.behave(honest)

    do_GET = do_POST = _serve  # noqa: N815 - http.server's own names

    @property
    def host(self) -> str:
        """The host that was asked for."""
        return str(self.headers["Host"]).partition(":")[0]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def give(self, response: Response, length: int | None = None) -> None:
        """Send an answer, which may lie about its length."""
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body) if length is None else length))
        self.end_headers()
        self.wfile.write(response.body)

    def reset(self) -> None:
        """End the connection as a crash does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        os.close(self.connection.detach())
        self.close_connection = True

    def drip(self, raw: bytes) -> None:
        """Send a byte every quarter of a minute."""
        for at in range(len(raw)):
            self.wfile.write(raw[at : at + 1])
            if self.over.wait(15):
                return


class Server(ThreadingHTTPServer):
    """Takes as many connections as a collection opens, and says nothing of those that break."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    contexts: "Callable[[], ssl.SSLContext]"
    greet: Greet | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - base's
        """Answer in a TLS session, or in place of one."""
        handler: Any = self.RequestHandlerClass
        with suppress(OSError):
            if self.greet is not None:
                self.greet(request, handler.over)
                return
            with self.contexts().wrap_socket(request, server_side=True) as session:
                super().finish_request(session, client_address)

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


# In place of a connection or of TLS.


def mute(_: socket.socket, over: threading.Event) -> None:
    """Never say a word."""
    over.wait(_MOST_WAITED)


def slam(connection: socket.socket, _: threading.Event) -> None:
    """Reset at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    os.close(connection.detach())


def plain(connection: socket.socket, _: threading.Event) -> None:
    """Answer without TLS."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


# In headers.


def honest(handler: Handler, respond: Callable[[], Response]) -> None:
    """Answer as the world does."""
    handler.give(respond())


def late(handler: Handler, respond: Callable[[], Response]) -> None:
    """Answer after half a second."""
    if not handler.over.wait(0.5):
        handler.give(respond())


def silent(handler: Handler, _: Callable[[], Response]) -> None:
    """Never answer."""
    handler.over.wait(_MOST_WAITED)


def resets(handler: Handler, _: Callable[[], Response]) -> None:
    """Reset before an answer."""
    handler.reset()


def resets_in_headers(handler: Handler, _: Callable[[], Response]) -> None:
    """Reset within the headers."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
    handler.reset()


def drips_headers(handler: Handler, _: Callable[[], Response]) -> None:
    """Send the headers byte by byte."""
    handler.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 100)


def endless_headers(handler: Handler, _: Callable[[], Response]) -> None:
    """Never end the headers."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.over.is_set():
        handler.wfile.write(b"X-Filler: " + b"x" * 4000 + b"\r\n")


def no_http(handler: Handler, _: Callable[[], Response]) -> None:
    """Answer something that is not HTTP."""
    handler.wfile.write(b"220 mail.example ESMTP ready\r\n" * 4)
    handler.close_connection = True


# In the body.


def silent_body(handler: Handler, respond: Callable[[], Response]) -> None:
    """Send headers, and no body."""
    response = respond()
    handler.give(replace(response, body=b""), length=max(len(response.body), 1))
    handler.over.wait(_MOST_WAITED)


def drips(handler: Handler, respond: Callable[[], Response]) -> None:
    """Send the body byte by byte."""
    response = respond()
    handler.give(replace(response, body=b""), length=len(response.body))
    handler.drip(response.body)


def resets_in_body(handler: Handler, respond: Callable[[], Response]) -> None:
    """Reset in the middle of the body."""
    response = respond()
    half = response.body[: len(response.body) // 2]
    handler.give(replace(response, body=half), length=len(response.body) + 1)
    handler.reset()


def cut(handler: Handler, respond: Callable[[], Response]) -> None:
    """Break off in the middle of the body."""
    response = respond()
    half = response.body[: len(response.body) // 2]
    handler.give(replace(response, body=half), length=len(response.body) + 1)
    handler.close_connection = True


def short(handler: Handler, respond: Callable[[], Response]) -> None:
    """Say that the body is half as long as it is."""
    response = respond()
    handler.give(response, length=len(response.body) // 2)
    handler.close_connection = True


def endless(handler: Handler, _: Callable[[], Response]) -> None:
    """Never end the body."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.over.is_set():
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


# In sense.


def says(status: int, body: bytes = b"", **headers: str) -> Serve:
    """Always answer the same."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.give(Response(status=status, headers=named, body=body))


def changed(change: Callable[[bytes], bytes], **headers: str) -> Serve:
    """Answer as the world does, with another body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def serve(handler: Handler, respond: Callable[[], Response]) -> None:
        response = respond()
        told = {**response.headers, **named}
        handler.give(replace(response, body=change(response.body), headers=told))

    return serve


def moved(handler: Handler, _: Callable[[], Response]) -> None:
    """Redirect to itself."""
    place = {"Location": f"https://{handler.host}{handler.path}"}
    handler.give(Response(status=301, headers=place, body=b""))


def noise(handler: Handler, _: Callable[[], Response]) -> None:
    """Answer bytes that mean nothing."""
    raw = bytes((at * at * 31 + at * 7 + 5) % 251 for at in range(4096))
    handler.give(Response(status=200, headers={}, body=raw))


PORTAL: Final = b"<html><head><title>Hotel Wi-Fi</title></head><body>Please sign in</body></html>"
JSON: Final = "application/json"
BOMB: Final = gzip.compress(bytes(64 * _MIB), mtime=0)


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    says      what such a source does, in words
    place     where its name leads in place of the server: `refused`, `full`, `unknown`, `later`,
              `never`, `private`; "" to the server
    greet     what happens in place of TLS
    shows     which certificate it shows: `good`, `expired`, `self-signed`, `other name`
    serve     what it does with a request; None for what another world would answer
    harmless  whether it still says what it has to
    """

    says: str
    place: str = ""
    greet: Greet | None = None
    shows: str = "good"
    serve: Serve | None = honest
    harmless: bool = False


FAULTS: Final = (
    Fault("refuses connections", place="refused"),
    Fault("does not take connections", place="full"),
    Fault("has a name that does not resolve", place="unknown"),
    Fault("has a name that resolves later", place="later"),
    Fault("has a name that nobody answers for", place="never"),
    Fault("has a private address", place="private"),
    Fault("resets connections", greet=slam),
    Fault("is silent in TLS", greet=mute),
    Fault("speaks no TLS", greet=plain),
    Fault("has an expired certificate", shows="expired"),
    Fault("has a self-signed certificate", shows="self-signed"),
    Fault("has another name's certificate", shows="other name"),
    Fault("never answers", serve=silent),
    Fault("resets before headers", serve=resets),
    Fault("resets in headers", serve=resets_in_headers),
    Fault("drips headers", serve=drips_headers),
    Fault("never ends its headers", serve=endless_headers),
    Fault("speaks no HTTP", serve=no_http),
    Fault("sends headers, and no body", serve=silent_body),
    Fault("drips the body", serve=drips),
    Fault("resets in the body", serve=resets_in_body),
    Fault("breaks off", serve=cut),
    Fault("says half the length", serve=short),
    Fault("never ends the body", serve=endless),
    Fault("takes 0.5 s for each answer", serve=late, harmless=True),
    Fault("answers 204", serve=says(204)),
    Fault("answers 301 to another host", serve=says(301, Location="https://elsewhere.example/")),
    Fault("answers 301 to itself", serve=moved),
    Fault("answers 401", serve=says(401, b"who are you?")),
    Fault("answers 403", serve=says(403, b"not for you")),
    Fault("answers 404", serve=says(404, b"no such thing")),
    Fault("answers 413", serve=says(413, b"too much")),
    Fault("answers 429", serve=says(429, b"slow down")),
    Fault("answers 429, wait 1 s", serve=says(429, b"slow down", Retry_After="1")),
    Fault("answers 429, wait an hour", serve=says(429, b"slow down", Retry_After="3600")),
    Fault("answers 500", serve=says(500, b"out of order")),
    Fault("answers 503", serve=says(503, b"out of order")),
    Fault("answers nothing", serve=says(200, b"", Content_Type=JSON)),
    Fault("answers {}", serve=says(200, b"{}", Content_Type=JSON)),
    Fault("answers null", serve=says(200, b"null", Content_Type=JSON)),
    Fault("is a captive portal", serve=says(200, PORTAL, Content_Type="text/html")),
    Fault("answers as another app's", serve=None),
    Fault("sends noise", serve=noise),
    Fault("sends UTF-16", serve=changed(lambda raw: raw.decode("latin-1").encode("utf-16"))),
    Fault("sends no UTF-8", serve=changed(lambda raw: raw.replace(b'"', b'"\xff', 2))),
    Fault("compresses", serve=changed(gzip.compress, Content_Encoding="gzip")),
    Fault("sends a bomb of gzip", serve=says(200, BOMB, Content_Encoding="gzip")),
    Fault("sends gzip as it is", serve=says(200, BOMB, Content_Type=JSON)),
    Fault(
        "nests 100,000 deep", serve=says(200, b"[" * 100_000 + b"]" * 100_000, Content_Type=JSON)
    ),
    Fault(
        "sends 4 MB of []", serve=says(200, b"[" + b"[]," * 1_333_333 + b"0]", Content_Type=JSON)
    ),
    Fault(
        "sends a number of 60 KB",
        serve=says(200, b'{"id":' + b"9" * 60_000 + b"}", Content_Type=JSON),
    ),
    Fault("fills up with blanks", serve=changed(lambda raw: raw.ljust(7 * _MIB))),
)


class Certificates:
    """What servers show. `roots` (PEM) is what browsers trust here."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        now, day = datetime.now(UTC), timedelta(days=1)
        ca = trustme.CA()
        self.roots = ca.cert_pem.bytes()
        ended = now - day
        leaves = {
            "good": ca.issue_cert(*hosts),
            "expired": ca.issue_cert(*hosts, not_before=ended - day, not_after=ended),
            "self-signed": trustme.CA().issue_cert(*hosts),
            "other name": ca.issue_cert("elsewhere.example"),
        }
        self._contexts = {name: self._context() for name in leaves}
        for name, leaf in leaves.items():
            leaf.configure_cert(self._contexts[name])
        self._own: dict[str, ssl.SSLContext] = {}

    def of(self, world: World, shows: str) -> Callable[[], ssl.SSLContext]:
        """A context for each connection, which shows the evidence where a name calls for it."""
        if shows != "good":
            return lambda: self._contexts[shows]
        own = self.attested(world)

        def choose(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
            port = (name or "").partition(".")[0].rpartition("-")[2]
            tls.context = own.get(name or "") or own.get(port) or context

        context = self._contexts[shows]
        context.sni_callback = choose
        return lambda: context

    def attested(self, world: World) -> dict[str, ssl.SSLContext]:
        """The certificates that are evidence, by name or by the port in it: of the guest,
        of its gateway, and of the KMS."""
        if not self._own:
            guest, gateway = world.guest, gateway_certificate(world.now)
            kms = world.respond("GET", f"{KMS_URL}/prpc/KMS.GetMeta")
            shown = ssl.DER_cert_to_PEM_cert(kms.peer_certificate or b"").encode()
            own = _pem(cert.leaf_key(guest.cert_options)) + guest.app_cert.encode()
            self._own = {
                **dict.fromkeys(("443s", DOMAIN), self._loaded(own)),
                "443": self._loaded(_pem(keys.p256(GATEWAY_KEY)) + gateway),
                KMS_URL.removeprefix("https://"): self._loaded(kms.peer_key + shown),
            }
        return self._own

    def _loaded(self, pem: bytes) -> ssl.SSLContext:
        context = self._context()
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    @staticmethod
    def _context() -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextmanager
def served(
    respond: Respond, other: Respond, world: World, shown: Certificates, fault: Fault
) -> Iterator[tuple[int | str, int]]:
    """Where a failing server is, and where an honest one: ports, or words for what is no server."""
    over = threading.Event()

    def start(answers: Respond, behave: Serve, greet: Greet | None, shows: str) -> int:
        named = {"respond": staticmethod(answers), "behave": behave, "over": over}
        server = stack.enter_context(Server((LOOPBACK, 0), type("Each", (Handler,), named)))
        server.contexts, server.greet = shown.of(world, shows), greet
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(server.shutdown)
        return int(server.server_address[1])

    with ExitStack() as stack:
        good = start(respond, honest, None, "good")
        bad: int | str = fault.place
        if fault.place == "full":
            bad = stack.enter_context(full())
        elif fault.place == "refused":
            bad = stack.enter_context(refusing())
        elif not fault.place:
            answers = other if fault.serve is None else respond
            bad = start(answers, fault.serve or honest, fault.greet, fault.shows)
        stack.callback(over.set)
        yield bad, good


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections is full: what comes is left unanswered."""
    with ExitStack() as stack:
        listening = stack.enter_context(closing(socket.socket()))
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in itertools.repeat(None, 4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)  # noqa: FBT003 - socket's own
            with suppress(BlockingIOError):
                waiting.connect((LOOPBACK, port))
        yield port


@contextmanager
def refusing() -> Iterator[int]:
    """A port that nobody else gets, and that refuses."""
    with closing(socket.socket()) as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]
