"""Debian's docker-registry on loopback, with a token service of our own for it.

Tokens are JSON Web Tokens as in the CNCF Distribution "Token Authentication Implementation": ES256,
signed by a certificate that stands in the header (x5c) and in the registry's `rootcertbundle`.
"""

import base64
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.evidence.images.images import OCI, Image, descriptor, digest, encode

BINARY = Path("/usr/bin/docker-registry")
SERVICE = "registry of the tests"
REALM = "https://auth.test/token"
_CONFIG = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth:
  token: {{realm: "{realm}", service: "{service}", issuer: tests, rootcertbundle: {folder}/ca.pem}}
"""


class Tokens:
    """A token service: its key, and the certificate that the registry trusts."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The self-signed certificate of the key."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
        now = datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 - the registry has a clock
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, repository: str, *actions: str) -> str:
        """A token for these actions on a repository."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())  # noqa: TID251 - the registry has a clock
        access = [{"type": "repository", "name": repository, "actions": list(actions)}]
        claims: dict[str, Any] = {"iss": "tests", "sub": "", "aud": SERVICE, "access": access}
        claims |= {"nbf": now - 60, "iat": now - 60, "exp": now + 600, "jti": "1"}
        text = f"{_base64url(json.dumps(head).encode())}.{_base64url(json.dumps(claims).encode())}"
        signature = self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{text}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@dataclass(frozen=True)
class Registry:
    """A registry that runs."""

    port: int
    tokens: Tokens

    def push(self, repository: str, image: Image) -> None:
        """Push an image, as a client with permission does; what an index names comes before it."""
        with self._client(repository) as client:
            for raw in (image.layer, image.config):
                _push_blob(client, raw)
            for raw in (image.manifest, image.beside):
                _push_manifest(client, digest(raw), raw, "manifest")
            _push_manifest(client, digest(image.index), image.index, "index")

    def attach(self, repository: str, target: bytes, bundle: bytes) -> None:
        """Push a Sigstore bundle beside an index or manifest, under the referrers tag."""
        kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
        manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "artifactType": kind,
                "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
                "layers": [descriptor(bundle, kind)],
                "subject": descriptor(target, f"{OCI}.index.v1+json"),
            }
        )
        entry = descriptor(manifest, f"{OCI}.manifest.v1+json", artifactType=kind)
        listing = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry]}
        with self._client(repository) as client:
            for raw in (b"{}", bundle):
                _push_blob(client, raw)
            _push_manifest(client, digest(manifest), manifest, "manifest")
            _push_manifest(client, digest(target).replace(":", "-"), encode(listing), "index")

    def _client(self, repository: str) -> httpx.Client:
        token = self.tokens.issue(repository, "pull", "push")
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/v2/{repository}",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )


def _push_blob(client: httpx.Client, raw: bytes) -> None:
    started = client.post("/blobs/uploads/")
    assert started.status_code == 202, started.text
    place = started.headers["location"]
    done = client.put(f"{place}{'&' if '?' in place else '?'}digest={digest(raw)}", content=raw)
    assert done.status_code == 201, done.text


def _push_manifest(client: httpx.Client, name: str, raw: bytes, kind: str) -> None:
    headers = {"Content-Type": f"{OCI}.{kind}.v1+json"}
    done = client.put(f"/manifests/{name}", content=raw, headers=headers)
    assert done.status_code == 201, done.text


@contextlib.contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """A registry with empty storage, stopped at the end."""
    tokens = Tokens()
    pem = tokens.certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = _CONFIG.format(folder=folder, port=port, realm=REALM, service=SERVICE)
    (folder / "config.yml").write_text(config)
    with (folder / "log").open("wb") as log:
        command = [str(BINARY), "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port)
        yield Registry(port, tokens)
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError("docker-registry does not answer")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
