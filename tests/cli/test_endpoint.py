"""`verify endpoint`: real TLS on loopback, with the certificates of a simulated world."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli.command import Run
from tests.cli.test_live import on_localhost
from tests.collect.loopback import Script, Server, answer, send
from verifier.lab import cert, keys
from verifier.lab.endpoint import GATEWAY_KEY, gateway_certificate
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build

CLOSE = send(b"")


@contextmanager
def tls(
    pem: bytes, key: ec.EllipticCurvePrivateKey, folder: Path, script: Script = CLOSE
) -> Iterator[int]:
    """A TLS server with this chain; its port."""
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(pem)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    server = Server([script], tls=context)
    try:
        yield server.port
    finally:
        server.close()


@pytest.fixture(scope="module")
def world() -> World:
    return build(Knobs(now=int(time.time())))  # noqa: TID251 - the command reads the clock too


def sources(world: World, port: int, root: Path) -> list[str]:
    root.write_bytes(
        world.reference().replace(
            b"https://kms.gw.lab.invalid", f"http://kms.localhost:{port}".encode()
        )
    )
    return [
        *("--gateway", f"http://localhost:{port}", "--pccs-url", f"http://localhost:{port}/pcs"),
        *("--rpc-url", f"http://localhost:{port}/a/", "--rpc-url", f"http://127.0.0.1:{port}/b/"),
        *("--unsafe-root", str(root), "--no-cache"),
    ]


def test_a_connection_that_the_guest_ends(run: Run, world: World, tmp_path: Path) -> None:
    guest, saved = world.guest, tmp_path / "saved"
    key = cert.leaf_key(guest.cert_options)
    with on_localhost(world) as port, tls(guest.app_cert.encode(), key, tmp_path) as served:
        address = f"{world.app_id}-443s.localhost:{served}"
        given = sources(world, port, tmp_path / "reference.json")
        live = run("endpoint", f"https://{address}/login", *given, "--save", saved)
    assert live.out.startswith("YES: the connection to")
    assert (live.code, live.err) == (0, "")
    assert "openssl s_client" in live.out
    root = given[given.index("--unsafe-root") : -1]
    untrusted = run("endpoint", address, "--bundle", saved, *root)
    assert untrusted.out.startswith("NOT KNOWN")
    assert untrusted.code == 3
    kept = run("endpoint", address, "--bundle", saved, *root, "--format", "json")
    digest = json.loads(kept.out)["bundle_digest"]
    offline = run("endpoint", address, "--bundle", saved, "--trust-bundle", digest, *root)
    assert offline.out.startswith("YES: ")
    assert offline.code == 0


@pytest.mark.parametrize("shown", ["", "/.dstack/"], ids=["keys", "nothing"])
def test_a_connection_that_a_gateway_ends(
    run: Run, world: World, tmp_path: Path, shown: str
) -> None:
    key, silent = keys.p256(GATEWAY_KEY), (shown,) if shown else ()
    with (
        on_localhost(world, silent=silent) as port,
        tls(gateway_certificate(world.now), key, tmp_path) as served,
    ):
        given = sources(world, port, tmp_path / "reference.json")
        ran = run("endpoint", f"{world.app_id}-443.localhost:{served}", *given)
    assert ran.out.startswith("NOT KNOWN: " if shown else "AT THE GATEWAY: ")
    assert ran.code == (3 if shown else 5)
    assert "-443s.localhost" in ran.out


def test_a_challenge_in_the_session_of_the_endpoint(run: Run, world: World, tmp_path: Path) -> None:
    guest, challenge = world.guest, bytes(range(32))
    key = cert.leaf_key(guest.cert_options)
    quoted = answer("200 OK", json.dumps(guest.get_quote(challenge.ljust(64, b"\0"))).encode())
    with (
        on_localhost(world) as port,
        tls(guest.app_cert.encode(), key, tmp_path, quoted) as served,
    ):
        address = f"{world.app_id}-443s.localhost:{served}"
        url = f"https://{address}/attestation?nonce={{challenge}}"
        given = sources(world, port, tmp_path / "reference.json")
        ran = run(
            *("endpoint", address, *given, "--challenge", challenge.hex()),
            *("--challenge-url", url, "--format", "json"),
        )
    checks = {item["id"]: item for item in json.loads(ran.out)["checks"]}
    assert "TLS session" in checks["application.identity"]["summary"]
    assert "TLS session" in checks["endpoint.tls"]["summary"]
    assert checks["hardware.freshness"]["status"] == "pass"
    assert ran.code == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://app.example.org", "is not HOST:PORT"),
        ("app.example.org:0", "is not HOST:PORT"),
        ("app.example.org:99999", "is not HOST:PORT"),
        ("app.example.org:443 --app-id 12", "is not an app id"),
        ("app.example.org:443 --endpoint other:443", "are the same"),
        ("app.example.org:443 --challenge-url https://a.org/{challenge}", "needs --challenge"),
        (f"app.example.org:443 --challenge {'00' * 32} --challenge-url https://a.org/", "has no"),
    ],
)
def test_what_is_no_address(run: Run, address: str, words: str) -> None:
    ran = run("endpoint", *address.split())
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


def test_nobody_answers(run: Run, world: World, tmp_path: Path) -> None:
    with on_localhost(world) as port:
        given = sources(world, port, tmp_path / "reference.json")
        ran = run("endpoint", f"{world.app_id}-443s.localhost:1", *given)
    assert ran.code == 3
    assert "nobody was met" in ran.out
    assert "Traceback" not in ran.err
