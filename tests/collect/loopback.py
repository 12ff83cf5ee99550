"""A loopback server that follows a script, and scripts that misbehave on purpose."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

ADDRESS = "127.0.0.1"
TLS_HANDSHAKE = b"\x16"


@dataclass
class Server:
    """A server that follows one script per connection; the last one is repeated.

    `requests` holds the head and body of each request, `sent` the bytes that `flood` got rid of.
    """

    scripts: list["Script"]
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((ADDRESS, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://{ADDRESS}:{self.port}/x"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end every script that waits."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self.tls is not None:
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
            self.requests.append(read_request(connection))
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            script(self, connection)


Script = Callable[[Server, socket.socket], None]
"""What a server does with a connection once it has read the request; then it closes."""


def read_request(connection: socket.socket) -> bytes:
    """One HTTP request, or the first bytes of a TLS handshake. Raises OSError."""
    received = b""
    while b"\r\n\r\n" not in received and not received.startswith(TLS_HANDSHAKE):
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionResetError
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def send(raw: bytes) -> Script:
    """Send these bytes."""
    return lambda _, connection: connection.sendall(raw)


def answer(status: str, body: bytes = b"", *headers: str) -> Script:
    """Send one complete response."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return send("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def hang(raw: bytes = b"") -> Script:
    """Send these bytes, then nothing until the test is over."""

    def script(server: Server, connection: socket.socket) -> None:
        connection.sendall(raw)
        server.stopped.wait(10)

    return script


def drip(raw: bytes) -> Script:
    """Send these bytes, then one more every 20 ms for five seconds."""

    def script(server: Server, connection: socket.socket) -> None:
        connection.sendall(raw)
        for _ in range(250):
            if not server.stopped.wait(0.02):
                connection.sendall(b"x")

    return script


def flood(server: Server, connection: socket.socket) -> None:
    """Send 200 MB in a chunked answer, as fast as they are taken."""
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while server.sent < 200 << 20:
        connection.sendall(chunk)
        server.sent += len(chunk)
