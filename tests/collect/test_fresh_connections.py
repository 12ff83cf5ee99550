"""Each question about who else answers comes over a connection of its own."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from verifier.collect.http import HttpClient
from verifier.collect.limits import LIMITS
from verifier.evidence.bundle import Kind


def test_a_load_balancer_leads_each_fresh_connection_anew() -> None:
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.number = next(numbers)

        def do_GET(self) -> None:
            body = str(self.number).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url, limits = f"http://127.0.0.1:{server.server_address[1]}/", LIMITS[Kind.INFO]
    try:
        with HttpClient(clock=lambda: 0, allow_hosts=("127.0.0.1",)) as client:
            kept = {client.request("GET", url, limits=limits).body for _ in range(3)}
            fresh = [client.request("GET", url, limits=limits, fresh=True).body for _ in range(3)]
            after = client.request("GET", url, limits=limits).body
    finally:
        server.shutdown()
        server.server_close()
    assert len(kept) == 1
    assert len({*fresh, *kept}) == 4
    assert {after} == kept
