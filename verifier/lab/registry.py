"""The images of a simulated world, the registry that serves them, and GitHub's account of who
built them.

    https://registry.lab.invalid/v2/<repository>/{manifests,blobs}/<digest>
    https://api.github.com/repos/<owner>/<name>/attestations/<digest>

OCI Image Format and Distribution Specifications 1.1; GitHub REST API, "List attestations".
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.response import NOT_FOUND, Response, answer, answer_json
from verifier.lab.sigstore import COMMIT, REPOSITORY, Sigstore, provenance

REGISTRY_URL: Final = "https://registry.lab.invalid"
GITHUB_URL: Final = "https://api.github.com"
_OCI: Final = "application/vnd.oci.image"


class Image(Struct, frozen=True, dict=True):
    """One image, by default for linux/amd64, that its registry serves.

    repository    where it is
    tag           a tag that its reference has, too; "" for none
    source        what its labels name as its source
    revision      the commit that they name
    architecture  what it is made for
    beside        the architecture of another image, with which it stands in an index, which
                  references pin then; "" for none
    """

    repository: str
    tag: str = ""
    source: str = REPOSITORY
    revision: str = COMMIT
    architecture: str = "amd64"
    beside: str = ""

    @cached_property
    def config(self) -> bytes:
        """Its configuration (JSON)."""
        labels: JsonObject = {
            "org.opencontainers.image.source": self.source,
            "org.opencontainers.image.revision": self.revision,
        }
        layer = keys.labelled(f"unpacked layer of {self.repository}", 32).hex()
        return _encode(
            {
                "architecture": self.architecture,
                "os": "linux",
                "config": {"Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            }
        )

    @cached_property
    def manifest(self) -> bytes:
        """Its manifest (JSON)."""
        layer = keys.labelled(f"layer of {self.repository}", 32).hex()
        return _encode(
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.manifest.v1+json",
                "config": {
                    "mediaType": f"{_OCI}.config.v1+json",
                    "digest": digest_of(self.config),
                    "size": len(self.config),
                },
                "layers": [
                    {
                        "mediaType": f"{_OCI}.layer.v1.tar+gzip",
                        "digest": f"sha256:{layer}",
                        "size": 1 << 20,
                    }
                ],
            }
        )

    @cached_property
    def index(self) -> bytes:
        """The index of both architectures (JSON)."""
        other = replace(self, architecture=self.beside, beside="")
        return _encode(
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.index.v1+json",
                "manifests": [
                    {
                        "mediaType": f"{_OCI}.manifest.v1+json",
                        "digest": digest_of(item.manifest),
                        "size": len(item.manifest),
                        "platform": {"os": "linux", "architecture": item.architecture},
                    }
                    for item in (self, other)
                ],
            }
        )

    @property
    def digest(self) -> str:
        """What a reference pins: `sha256:` and 64 hex digits."""
        return digest_of(self.index if self.beside else self.manifest)

    @property
    def hex_digest(self) -> str:
        """The digest of its manifest as statements spell it: 64 hex digits."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def reference(self) -> str:
        """The image by digest, as a compose file names it."""
        tag = f":{self.tag}" if self.tag else ""
        return f"registry.lab.invalid/{self.repository}{tag}@{self.digest}"


WEB: Final = Image("lab/web-nginx")
"""The image that the world's app runs."""

KMS_IMAGES: Final = {name: Image(f"dstack-{name}") for name in ("kms", "auth-api", "node")}
"""The images that the guest of a KMS runs, by service."""

Attest = Callable[[Sigstore, Image], list[JsonObject]]
"""The Sigstore bundles that somebody makes about an image."""


def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
    """A workflow of the image's source signs that it built it."""
    return [sigstore.sign(provenance(image.hex_digest))]


class Registry(Struct, frozen=True):
    """The registry and GitHub, about the app's image, and those of its KMS, which are attested."""

    image: Image
    sigstore: Sigstore
    attest: Attest = attest

    def images(self, path: str) -> Response:
        """The registry's answer. It has no referrers API, and nothing stands beside an image."""
        documents: dict[str, bytes] = {}
        for image in (self.image, *KMS_IMAGES.values()):
            prefix = f"/v2/{image.repository}"
            documents[f"{prefix}/manifests/{digest_of(image.manifest)}"] = image.manifest
            if image.beside:
                documents[f"{prefix}/manifests/{image.digest}"] = image.index
            documents[f"{prefix}/blobs/{digest_of(image.config)}"] = image.config
        if path not in documents:
            return NOT_FOUND
        kind = "manifest" if "/manifests/" in path else "config"
        return answer(200, f"{_OCI}.{kind}.v1+json", documents[path])

    def attestations(self, path: str) -> Response:
        """GitHub's answer."""
        for image in (self.image, *KMS_IMAGES.values()):
            owner_and_name = image.source.removeprefix("https://github.com/")
            if path == f"/repos/{owner_and_name}/attestations/sha256:{image.hex_digest}":
                made = self.attest if image is self.image else attest
                bundles = made(self.sigstore, image)
                return answer_json(200, {"attestations": [{"bundle": item} for item in bundles]})
        return answer_json(404, {"message": "Not Found", "status": "404"})


def digest_of(raw: bytes) -> str:
    """The digest that names these bytes."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _encode(document: JsonObject) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
