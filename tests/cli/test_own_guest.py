"""A guest that answers by itself, on this machine or through a forwarded port: no gateway, no KMS,
no cloud."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.command import Run
from verifier.cli.target import parse_target
from verifier.errors import UsageError
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build

PCS = "/pcs/"


@contextmanager
def forwarded(world: World) -> Iterator[int]:
    """The guest of a world, and the collateral for it, at a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = f"https://{world.app_id}-8090.gw.lab.invalid{self.path}"
            if self.path.startswith(PCS):
                url = f"https://pcs.lab.invalid/{self.path.removeprefix(PCS)}"
            answer = world.respond("GET", url)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_guest_without_gateway_or_kms(run: Run, tmp_path: Path) -> None:
    world = build(Knobs(now=int(time.time()), key_provider="none"))  # noqa: TID251 - as it reads it
    reference = tmp_path / "reference.json"
    reference.write_bytes(world.reference())
    with forwarded(world) as port:
        ran = run(
            *(f"http://localhost:{port}/", "--expect-app-id", world.app_id, "--format", "json"),
            *("--unsafe-root", reference, "--pccs-url", f"http://localhost:{port}/pcs"),
            *("--rpc-url", f"http://localhost:{port}/", "--policy", "genuine", "--no-cache"),
        )
    report = json.loads(ran.out)
    assert (ran.code, report["verdict"]) == (5, "warning")
    assert report["requested_app_id"] == world.app_id
    assert report["subject"] == f"localhost:{port}/{world.instance_ids[0]}"
    asked = {item["source"].partition("://")[2].partition("/")[0] for item in report["sources"]}
    assert asked <= {f"localhost:{port}", "registry.lab.invalid"}


@pytest.mark.parametrize(
    ("text", "guest"),
    [
        ("http://localhost:8090", "http://localhost:8090"),
        ("http://127.0.0.1:18090/", "http://127.0.0.1:18090"),
        ("http://[::1]:8090/", "http://[::1]:8090"),
        ("https://guest.example.org:8090/", "https://guest.example.org:8090"),
    ],
)
def test_the_address_of_one_guest(text: str, guest: str) -> None:
    target = parse_target(text)
    assert (target.guest, target.alone, target.app_id, target.endpoint) == (guest, True, None, None)


def test_the_address_behind_a_gateway_names_its_app() -> None:
    target = parse_target(f"http://{'ab' * 20}-8090.localhost:8443/")
    assert (target.app_id, target.alone) == ("ab" * 20, False)


def test_an_address_without_scheme_is_told_apart() -> None:
    with pytest.raises(UsageError) as error:
        parse_target("localhost:8090")
    assert "http://localhost:8090" in error.value.hint
