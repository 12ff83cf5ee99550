"""The exporter of a TLS session, held against OpenSSL's own, and against the other end's."""

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
import trustme

from verifier.collect.exporter import CHANNEL_BINDING, KeyLog, exporter
from verifier.collect.http import HttpClient
from verifier.collect.limits import LIMITS
from verifier.evidence.bundle import Kind

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    issued.private_key_pem.write_to_path(key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    return chain, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"])
def test_openssl_exports_the_same(certificate: tuple[Path, Path], suite: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chain, key = certificate
    label = CHANNEL_BINDING.decode()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1"]
    command += ["-cert", str(chain), "-key", str(key), "-ciphersuites", suite]
    command += ["-keymatexport", label, "-keymatexportlen", "32"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        assert server.stdout is not None
        while not server.stdout.readline().startswith(b"ACCEPT"):
            pass
        with KeyLog() as log:
            plain = socket.create_connection(("127.0.0.1", port), 5)
            with log.context.wrap_socket(plain, server_hostname="localhost") as tls:
                own = log.exporter
                tls.sendall(b"x\n")
        assert server.stdin is not None
        server.stdin.close()
        said = server.stdout.read().decode("ascii", "replace")
    assert f"Keying material: {own.hex().upper()}" in said
    assert len(own) == 32


def served(certificate: tuple[Path, Path], log: Path, version: ssl.TLSVersion) -> tuple[str, bytes]:
    """What the client notes of a session, and the key log of the server's end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.maximum_version = version
    context.keylog_filename = str(log)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) as tls:
                asked = b""
                # What is left unread at the end would reset the connection under the answer.
                while not asked.endswith(b"{}"):
                    asked += tls.recv(4096)
                tls.sendall(ANSWER)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with HttpClient(clock=lambda: 0, allow_hosts=("127.0.0.1",)) as client:
            response = client.request(
                "POST",
                f"https://127.0.0.1:{port}/tdx_quote",
                limits=LIMITS[Kind.GET_QUOTE],
                body=b"{}",
                session=True,
            )
        thread.join(5)
    assert response.peer_certificate is not None
    return response.exporter.hex(), log.read_bytes()


def test_both_ends_compute_the_same(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    noted, log = served(certificate, tmp_path / "log", ssl.TLSVersion.TLSv1_3)
    (line,) = (item for item in log.splitlines() if item.startswith(b"EXPORTER_SECRET"))
    secret = bytes.fromhex(line.split()[2].decode())
    assert noted == exporter(secret, CHANNEL_BINDING).hex()
    assert noted != exporter(secret, b"EXPORTER-Other").hex()


def test_an_older_session_has_none(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    noted, _ = served(certificate, tmp_path / "log", ssl.TLSVersion.TLSv1_2)
    assert noted == ""
