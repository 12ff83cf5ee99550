"""From the digest that a reference pins to the image that a guest runs.

    pinned digest → index → … → manifest for linux/amd64 → configuration

An index may name another index (OCI Image Format 1.1, "Image Index"), an entry may say nothing of
its platform, and signatures and other artifacts may stand between the images. Docker and containerd
take the entries of the platform first, then those without a platform, of which the configuration
says what they are made for (containerd core/images/image.go, `Manifest`). They take the first of
several; here that is refused, since the digest would not tell which of them was looked at.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.images import oci
from verifier.evidence.images.oci import (
    ArtifactError,
    Descriptor,
    ImageConfig,
    ImageIndex,
    ImageManifest,
)

MAX_DEPTH: Final = 8
MAX_DOCUMENTS: Final = 32
_VARIANTS: Final = ("", "v4", "v3", "v2")
"""Variants of amd64: its base, then the best one. Every CPU that has TDX runs them all."""
_EMPTY: Final = oci.digest_of(b"{}")
"""OCI Image Manifest 1.1, "Guidance for an Empty Descriptor"."""

Fetch = Callable[[str, int | None], bytes]
"""The bytes of a digest, and the size that the document before gives them, None for the first."""


class Resolution:
    """The way from a digest to its image.

    `manifest` and `config` give the bytes of a digest, and raise whatever keeps them from it; every
    document is checked against its digest and asked for once. `path` holds the digests of indexes
    and manifest that lead to the image, in order, as far as they are known: a signature over one of
    them is a signature over this image. `config_digest` is that of its configuration, "" until
    known.
    """

    def __init__(self, manifest: Fetch, config: Fetch) -> None:
        self.path: list[str] = []
        self.config_digest = ""
        self._manifest = manifest
        self._config = cache(config)
        self._documents: dict[str, ImageIndex | ImageManifest] = {}

    def resolve(self, digest: str) -> tuple[ImageManifest, ImageConfig]:
        """The manifest and the configuration for linux/amd64.

        Raises EvidenceError for documents that are malformed, are no image, or name none or
        several for the platform; and what `manifest` and `config` raise.
        """
        found = self._read(digest, None)
        self.path.append(digest)
        for _ in range(MAX_DEPTH):
            if isinstance(found, ImageManifest):
                return found, self._configuration(found)
            entry = self._chosen(found)
            found = self._read(entry.digest, entry.size)
            self.path.append(entry.digest)
        raise EvidenceError(f"image index {digest}: more than {MAX_DEPTH} indexes in each other")

    def _read(self, digest: str, size: int | None) -> ImageIndex | ImageManifest:
        if not oci.is_digest(digest):
            raise EvidenceError(f"image manifest {digest}: only sha256 digests can be followed")
        if digest not in self._documents:
            if len(self._documents) >= MAX_DOCUMENTS:
                raise EvidenceError(f"image {self.path[0]}: more than {MAX_DOCUMENTS} documents")
            self._documents[digest] = oci.parse_manifest(self._manifest(digest, size), digest)
        return self._documents[digest]

    def _configuration(self, manifest: ImageManifest) -> ImageConfig:
        if manifest.artifact:
            raise ArtifactError(
                f"image manifest {manifest.digest}: it is an artifact of the type "
                f"{manifest.artifact!a}, and no image"
            )
        digest = self.config_digest = manifest.config.digest
        return oci.parse_config(self._config(digest, manifest.config.size), digest)

    def _chosen(self, index: ImageIndex) -> Descriptor:
        """The one entry of an index that linux/amd64 takes. Raises EvidenceError."""
        found = named(index)
        if not found:
            found = [item for item in unnamed(index) if self._fits(item)]
        if len(found) > 1:
            found = [item for item in found if not self._is_empty(item)]
        if len(found) != 1:
            many = "more than one manifest" if found else "no manifest"
            raise EvidenceError(f"image index {index.digest}: {many} for {'/'.join(oci.PLATFORM)}")
        return found[0]

    def _fits(self, entry: Descriptor) -> bool:
        """Whether an entry without a platform leads to an image for linux/amd64."""
        found = self._read(entry.digest, entry.size)
        if isinstance(found, ImageIndex):
            return bool(named(found)) or any(self._fits(item) for item in unnamed(found))
        raw = self._config(found.config.digest, found.config.size)
        try:
            return oci.parse_config(raw, found.config.digest).platform == oci.PLATFORM
        except EvidenceError:
            # containerd looks into whatever configuration there is; one that is none runs nowhere.
            if found.artifact:
                return False
            raise

    def _is_empty(self, entry: Descriptor) -> bool:
        """Whether an entry is an artifact with the empty configuration: nothing can run it."""
        found = self._read(entry.digest, entry.size)
        return isinstance(found, ImageManifest) and found.config.digest == _EMPTY


def named(index: ImageIndex) -> list[Descriptor]:
    """The entries that are said to be for linux/amd64, each digest once: those for its base, or,
    where there are none, for the best variant."""
    for variant in _VARIANTS:
        wanted = (*oci.PLATFORM, variant)
        found = {item.digest: item for item in index.manifests if item.platform == wanted}
        if found:
            return list(found.values())
    return []


def unnamed(index: ImageIndex) -> list[Descriptor]:
    """The entries that say no platform and may be an image or an index of some, each once."""
    known = (*oci.INDEX_TYPES, *oci.MANIFEST_TYPES, "")
    found = {
        item.digest: item
        for item in index.manifests
        if (item.platform is None or not any(item.platform)) and item.media_type in known
    }
    return list(found.values())
