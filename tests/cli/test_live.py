"""A live audit over real HTTP, and the same audit offline on what it saved."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.command import Run
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import World, build
from verifier.model.identifiers import format_time

PLACES = {
    "/pcs/": "https://pcs.lab.invalid/",
    "/a/": "https://rpc-a.lab.invalid/",
    "/b/": "https://rpc-b.lab.invalid/",
}


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as a collection opens."""

    request_queue_size = 128


def logical_url(host: str, path: str) -> str:
    """The world's own URL for one served on localhost."""
    label, _, local = host.partition(".localhost")
    if local:
        return f"https://{label}.gw.lab.invalid{path}"
    prefix = next(prefix for prefix in PLACES if path.startswith(prefix))
    return PLACES[prefix] + path.removeprefix(prefix)


@contextmanager
def on_localhost(world: World, *, silent: tuple[str, ...] = ()) -> Iterator[int]:
    """Serve a world under names of localhost, except paths that begin with one of `silent`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.path.startswith(silent):
                answer = Response(status=503, headers={}, body=b"out of order")
            else:
                url = logical_url(self.headers["Host"], self.path)
                answer = world.respond(self.command, url, dict(self.headers), body)
            self._send(answer.status, answer.headers, answer.body)

        def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve  # noqa: N815 - http.server's own names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


NO_REGISTRY = ("--policy", "no-registry.toml")
POLICY = """
extends = "baseline"
name = "no-registry"
[checks]
"provenance.images" = "not-asked"
"key_management.attestation" = "not-asked"
"""
"""Registries are asked over https alone, and a KMS proves itself by TLS, also on this machine."""


def options(world: World, port: int, root: Path) -> list[str]:
    reference = world.reference().replace(
        b"https://kms.gw.lab.invalid", f"http://kms.localhost:{port}".encode()
    )
    root.write_bytes(reference)
    root.with_name(NO_REGISTRY[1]).write_text(POLICY)
    return [
        world.app_id,
        "--gateway",
        f"http://localhost:{port}",
        "--rpc-url",
        f"http://localhost:{port}/a/",
        "--rpc-url",
        f"http://127.0.0.1:{port}/b/",
        "--pccs-url",
        f"http://localhost:{port}/pcs",
        "--unsafe-root",
        str(root),
        *NO_REGISTRY,
        "--format",
        "json",
    ]


@pytest.fixture
def world() -> World:
    return build(Knobs(now=int(time.time())))  # noqa: TID251 - the command reads the clock too


def test_live_and_offline_audits_are_the_same_bytes(run: Run, world: World, tmp_path: Path) -> None:
    root, saved = tmp_path / "reference.json", tmp_path / "saved"
    with on_localhost(world) as port:
        live = run(*options(world, port, root), "--save", saved)
    assert live.err == ""
    report = json.loads(live.out)
    assert (live.code, report["verdict"]) == (0, "affirming")
    offline = run(
        world.app_id,
        *("--bundle", saved, "--trust-bundle", f"sha256:{report['bundle_digest']}"),
        *("--at", report["evaluated_at"], "--unsafe-root", root, "--format", "json"),
        *NO_REGISTRY,
    )
    assert offline.out == live.out
    assert offline.code == 0


def test_a_bundle_without_voucher_is_not_affirming(run: Run, world: World, tmp_path: Path) -> None:
    root, saved = tmp_path / "reference.json", tmp_path / "saved"
    with on_localhost(world) as port:
        run(*options(world, port, root), "--save", saved)
    offline = run(
        *(world.app_id, "--bundle", saved, "--unsafe-root", root, "--format", "json"),
        *("--at", format_time(world.now)),
    )
    report = json.loads(offline.out)
    assert (offline.code, report["verdict"]) == (3, "none")
    assert not any(claim["basis"] == "chain" for claim in report["claims"])


@pytest.mark.parametrize("silent", [("/a/", "/b/"), ("/pcs/",), ("/prpc/", "/")])
def test_a_silent_source_is_never_a_pass(
    run: Run, world: World, tmp_path: Path, silent: tuple[str, ...]
) -> None:
    with on_localhost(world, silent=silent) as port:
        ran = run(*options(world, port, tmp_path / "reference.json"))
    report = json.loads(ran.out)
    assert ran.code == 3
    assert any("HTTP 503" in source["error"] for source in report["sources"])
    assert "Traceback" not in ran.err


def test_one_operator_alone_is_a_warning(run: Run, world: World, tmp_path: Path) -> None:
    with on_localhost(world, silent=("/b/",)) as port:
        ran = run(*options(world, port, tmp_path / "reference.json"))
    assert ran.code == 5
    assert "one operator only" in ran.out
