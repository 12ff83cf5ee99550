"""Container images of our own making, and a registry to serve them."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMIT = "5a" * 20
SOURCE = "https://github.com/example/app"
LABELS = {
    "org.opencontainers.image.source": SOURCE,
    "org.opencontainers.image.revision": COMMIT,
}
OCI = "application/vnd.oci.image"
NO_PLATFORM = {"os": "unknown", "architecture": "unknown"}


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def descriptor(raw: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(raw), "size": len(raw), **more}


@dataclass(frozen=True)
class Image:
    """A small image, and beside it in the index what BuildKit adds: a manifest for no platform."""

    layer: bytes
    config: bytes
    manifest: bytes
    beside: bytes
    index: bytes

    @property
    def blobs(self) -> dict[str, bytes]:
        """Every document and layer by digest."""
        parts = (self.layer, self.config, self.manifest, self.beside, self.index)
        return {digest(raw): raw for raw in parts}


def make_image(labels: dict[str, str] | None = None, architecture: str = "amd64") -> Image:
    layer = tar({"hello": b"hello\n"})
    config = encode(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": LABELS if labels is None else labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(config, f"{OCI}.config.v1+json"),
        "layers": [descriptor(layer, f"{OCI}.layer.v1.tar")],
    }
    manifest, beside = encode(document), encode({**document, "annotations": {"a": "b"}})
    index = encode(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.index.v1+json",
            "manifests": [
                descriptor(beside, f"{OCI}.manifest.v1+json", platform=NO_PLATFORM),
                descriptor(
                    manifest,
                    f"{OCI}.manifest.v1+json",
                    platform={"os": "linux", "architecture": architecture},
                ),
            ],
        }
    )
    return Image(layer, config, manifest, beside, index)


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def layout(image: Image, top: bytes | None = None) -> dict[str, bytes]:
    """The members of an OCI layout whose index names the image's own index."""
    named = image.index if top is None else top
    kind = "manifest" if b'"layers"' in named else "index"
    note = {"annotations": {"org.opencontainers.image.ref.name": "app:1"}}
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": encode(
            {
                "schemaVersion": 2,
                "manifests": [descriptor(named, f"{OCI}.{kind}.v1+json", **note)],
            }
        ),
        **{f"blobs/sha256/{name[7:]}": raw for name, raw in image.blobs.items()},
    }


def docker_archive(image: Image) -> dict[str, bytes]:
    return {
        "manifest.json": encode(
            [{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]
        ),
        "config.json": image.config,
        "layer.tar": image.layer,
    }


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(tar(members))
    return path
