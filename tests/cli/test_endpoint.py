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
from verifier.cli.question import challenge_url
from verifier.cli.target import parse_serving_address, parse_target
from verifier.errors import UsageError
from verifier.evidence.bundle import load
from verifier.lab import cert, keys
from verifier.lab.endpoint import GATEWAY_KEY, gateway_certificate
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build

APP = "0123456789abcdef0123456789abcdef01234567"
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
    digest = load(saved).digest
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
    "address", ["http://app.example.org", "app.example.org:0", "app.example.org:99999", "a b"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        parse_serving_address(address)


@pytest.mark.parametrize(
    ("url", "challenge", "words"),
    [
        ("https://a.org/{challenge}", "", "needs --challenge"),
        ("https://a.org/", "00" * 32, "has no"),
        ("ftp://a.org/{challenge}", "00" * 32, "is not a URL"),
    ],
)
def test_where_no_challenge_can_be_asked(url: str, challenge: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        challenge_url(url, challenge)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (f"https://{APP}-3000.gw.example.org/x", f"{APP}-3000.gw.example.org:443"),
        (f"{APP}-443s.gw.example.org", f"{APP}-443s.gw.example.org:443"),
        (f"https://{APP}-8090.gw.example.org/", None),
        ("app.example.org", "app.example.org:443"),
        ("https://app.example.org:8443/x", "app.example.org:8443"),
        (APP, None),
    ],
)
def test_a_target_that_is_an_address_is_asked_about(text: str, endpoint: str | None) -> None:
    found = parse_target(text).endpoint
    assert (str(found) if found is not None else None) == endpoint


def test_the_address_is_said_once(run: Run) -> None:
    ran = run("endpoint", "app.example.org:443", "--endpoint", "other.example.org:443")
    assert (ran.code, ran.out) == (2, "")
    assert "are the same" in ran.err
