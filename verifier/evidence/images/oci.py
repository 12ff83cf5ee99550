"""Container images: references, indexes, manifests and configurations.

    [REGISTRY/]REPOSITORY[:TAG][@sha256:HEX]      github.com/distribution/reference, with Docker's
                                                  defaults: docker.io, and library/ for one name
    digest → index → manifest → configuration     OCI Image Format Specification 1.1; Docker Image
                                                  Manifest Version 2, Schema 2

A digest is the sha256 of the document's bytes, and each document names the next one by digest: with
a digest, no registry has to be trusted. A tag is only a name that its owner can move. A document
that reads both as an index and as a manifest (CVE-2021-41190) is refused, since its digest would
name two images.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.model.result import JsonValue
from verifier.patterns import pattern

PLATFORM: Final = ("linux", "amd64")
"""The operating system and architecture of every TDX guest."""
INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIG_TYPES: Final = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    # Docker before 1.10 wrote this one, and none is as good.
    "application/octet-stream",
    "",
)
"""Media types of what an image is configured by; any other makes a manifest that of an artifact."""
ARTIFACT_TYPE: Final = "application/vnd.oci.artifact.manifest.v1+json"
"""The manifest of an artifact in release candidates of OCI 1.1; signatures of that time have it."""
SOURCE_LABEL: Final = "org.opencontainers.image.source"
REVISION_LABEL: Final = "org.opencontainers.image.revision"
DOCKER_HUB: Final = "docker.io"
MAX_SIZE: Final = 1 << 53

_PARTS: Final = 3
"""Operating system, architecture and variant."""
_SCHEMA_VERSION: Final = 2
_MAX_NAME: Final = 255
_MAX_ENTRIES: Final = 1000
_DOCKER_ALIASES: Final = ("docker.io", "index.docker.io")
_DOCKER_API: Final = "registry-1.docker.io"
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY: Final = pattern(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_REPOSITORY: Final = pattern(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII
)
_TAG: Final = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST: Final = pattern(r"sha256:[0-9a-f]{64}", re.ASCII)
_ANY_DIGEST: Final = pattern(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{1,256}", re.ASCII)
_IMAGE_ID: Final = pattern(r"[0-9a-f]{64}", re.ASCII)


class ArtifactError(EvidenceError):
    """What a digest names is well-formed, and is a signature, a chart or the like: no image."""


class ImageReference(Struct, frozen=True, kw_only=True):
    """A parsed image reference.

    `registry` is a host, lower case, with its port if one is given; `repository` the full path,
    with `library/` where Docker implies it. `tag` and `digest` (`sha256:` and 64 hex digits) are
    empty when the reference has none.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def api(self) -> str:
        """Base URL of the repository in the registry's HTTP API (OCI Distribution 1.1)."""
        host = _DOCKER_API if self.registry == DOCKER_HUB else self.registry
        return f"https://{host}/v2/{self.repository}"

    def manifest_url(self, digest: str) -> str:
        """Where the registry serves an index or manifest."""
        return f"{self.api}/manifests/{digest}"

    def referrers_urls(self, digest: str, artifact_type: str) -> tuple[str, str]:
        """Where the registry lists what was attached to a manifest: its referrers API, else a tag.

        OCI Distribution 1.1, "Listing Referrers" and "Referrers Tag Schema".
        """
        query = urlencode({"artifactType": artifact_type})
        tag = digest.replace(":", "-")
        return f"{self.api}/referrers/{digest}?{query}", self.manifest_url(tag)

    def blob_url(self, digest: str) -> str:
        """Where the registry serves a configuration or layer."""
        return f"{self.api}/blobs/{digest}"


class Descriptor(Struct, frozen=True, kw_only=True):
    """How one document names another: by media type, digest and size in bytes.

    An index may add `platform` (os, architecture, variant), and for what is no image the
    `artifact_type`. A digest of another algorithm than sha256 is kept as it is written; nothing
    can be looked up by it.
    """

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    platform: tuple[str, str, str] | None = None


class ImageIndex(Struct, frozen=True, kw_only=True):
    """An OCI index or Docker manifest list: one image for several platforms."""

    digest: str
    manifests: tuple[Descriptor, ...]


class ImageManifest(Struct, frozen=True, kw_only=True):
    """An image manifest: the configuration and the layers of one platform.

    An artifact (a signature, a chart) has such a manifest too: see `artifact`.
    """

    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""

    @property
    def artifact(self) -> str:
        """What it is a manifest of, where that is no image; else the empty string.

        An image may have an artifact type beside a configuration of images.
        """
        media_type = self.config.media_type
        return "" if media_type in CONFIG_TYPES else self.artifact_type or media_type


class ImageConfig(Struct, frozen=True, kw_only=True):
    """What matters of an image configuration. `diff_ids` are digests of the unpacked layers.

    Labels are fixed by the digest; what they say is only the builder's word.
    """

    digest: str
    platform: tuple[str, str]
    diff_ids: tuple[str, ...]
    labels: Mapping[str, str] = {}

    @property
    def source(self) -> str:
        """The source repository that the image claims, or the empty string."""
        return self.labels.get(SOURCE_LABEL, "")

    @property
    def revision(self) -> str:
        """The source revision that the image claims, or the empty string."""
        return self.labels.get(REVISION_LABEL, "")


def parse_reference(text: str) -> ImageReference:
    """An image reference as Docker reads it. Raises EvidenceError."""
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _malformed(text, "the digest is not sha256: and 64 lower-case hex digits")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _malformed(text, "the tag is malformed")
    name = head + slash + last
    if _IMAGE_ID.fullmatch(name) or name == "sha256":
        raise _malformed(text, "this is a local image id, which no registry serves")
    first, slash, rest = name.partition("/")
    named = bool(slash) and (not {".", ":"}.isdisjoint(first) or first in ("localhost", "[::1]"))
    named = named or (bool(slash) and first != first.lower())
    registry, repository = (first.lower(), rest) if named else (DOCKER_HUB, name)
    if registry in _DOCKER_ALIASES:
        registry = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    if not _REGISTRY.fullmatch(registry):
        raise _malformed(text, "the registry's name is malformed")
    if not _REPOSITORY.fullmatch(repository):
        raise _malformed(text, "the repository's name is malformed")
    if len(registry) + 1 + len(repository) > _MAX_NAME:
        raise _malformed(text, f"the name is longer than {_MAX_NAME} characters")
    return ImageReference(registry=registry, repository=repository, tag=tag, digest=digest)


def is_digest(text: str) -> bool:
    """Whether this is `sha256:` and 64 lower-case hex digits."""
    return bool(_DIGEST.fullmatch(text))


def digest_of(raw: bytes) -> str:
    """The digest that names these bytes."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def parse_manifest(raw: bytes, digest: str) -> ImageIndex | ImageManifest:
    """The index or manifest that a digest names. Raises EvidenceError."""
    what = f"image manifest {digest}"
    document = _document(raw, digest, what)
    media_type = codec.text_field(document, "mediaType", what)
    if media_type == ARTIFACT_TYPE:
        raise ArtifactError(f"{what}: the manifest of an artifact, which is no image")
    version = codec.as_int(document.get("schemaVersion"), f"{what}: schemaVersion")
    if version != _SCHEMA_VERSION:
        raise EvidenceError(
            f"{what}: schema version {version}, not {_SCHEMA_VERSION}",
            hint="publish the image again with a current tool",
        )
    indexed = "manifests" in document
    if indexed == ("config" in document or "layers" in document):
        raise EvidenceError(f"{what}: not clearly an index or a manifest")
    if media_type and media_type not in (INDEX_TYPES if indexed else MANIFEST_TYPES):
        raise EvidenceError(f"{what}: media type {media_type!a} does not fit its fields")
    if indexed:
        return ImageIndex(digest=digest, manifests=_descriptors(document, "manifests", what))
    return ImageManifest(
        digest=digest,
        config=_descriptor(document.get("config"), f"{what}.config"),
        layers=_descriptors(document, "layers", what),
        artifact_type=codec.text_field(document, "artifactType", what),
    )


def normal_platform(system: str, architecture: str, variant: str = "") -> tuple[str, str, str]:
    """A platform in the spelling that Docker compares (containerd platforms, `Normalize`): lower
    case, one name for amd64, no variant for its base, and Linux where an architecture stands alone.
    """
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    if architecture in {"x86_64", "x86-64", "amd64"}:
        architecture = "amd64"
        variant = "" if variant == "v1" else variant
    return system or ("linux" if architecture else ""), architecture, variant


def is_of_guests(platform: str) -> bool:
    """Whether a text names the platform that Docker chooses in every guest, by its name or by part
    of it (containerd platforms, `Parse`); "" does."""
    parts = platform.strip().lower().split("/")
    if parts in ([""], ["linux"]):
        return True
    named = ["linux", *parts] if len(parts) == 1 else parts
    return len(named) <= _PARTS and normal_platform(*named) == (*PLATFORM, "")


def parse_config(raw: bytes, digest: str) -> ImageConfig:
    """The image configuration that a digest names. Raises EvidenceError."""
    what = f"image configuration {digest}"
    document = _document(raw, digest, what)
    rootfs = codec.as_object(document.get("rootfs"), f"{what}.rootfs")
    diff_ids = codec.as_list(rootfs.get("diff_ids"), f"{what}.rootfs.diff_ids")
    return ImageConfig(
        digest=digest,
        platform=normal_platform(
            codec.text_field(document, "os", what),
            codec.text_field(document, "architecture", what),
        )[:2],
        diff_ids=tuple(_digest(item, f"{what}.rootfs.diff_ids") for item in diff_ids),
        labels=_labels(document, what),
    )


def _document(raw: bytes, digest: str, what: str) -> JsonObject:
    actual = digest_of(raw)
    if actual != digest:
        raise EvidenceError(
            f"{what}: the bytes served for it have the digest {actual}",
            hint="the registry, or whoever recorded its answer, served another document",
        )
    return codec.parse_json_object(raw, what)


def _descriptors(document: JsonObject, key: str, what: str) -> tuple[Descriptor, ...]:
    items = codec.as_list(document.get(key), f"{what}.{key}")
    if len(items) > _MAX_ENTRIES:
        raise EvidenceError(f"{what}.{key}: {len(items)} entries, over the limit")
    return tuple(_descriptor(item, f"{what}.{key}[{index}]") for index, item in enumerate(items))


def _descriptor(value: JsonValue, what: str) -> Descriptor:
    item = codec.as_object(value, what)
    size = codec.as_int(item.get("size"), f"{what}.size")
    if not 0 <= size <= MAX_SIZE:
        raise EvidenceError(f"{what}.size: {size} is out of range")
    platform = None
    if item.get("platform") is not None:
        given = codec.as_object(item["platform"], f"{what}.platform")
        platform = normal_platform(
            codec.text_field(given, "os", what),
            codec.text_field(given, "architecture", what),
            codec.text_field(given, "variant", what),
        )
    return Descriptor(
        media_type=codec.text_field(item, "mediaType", what),
        digest=_digest(item.get("digest"), f"{what}.digest"),
        size=size,
        artifact_type=codec.text_field(item, "artifactType", what),
        platform=platform,
    )


def _digest(value: JsonValue, what: str) -> str:
    text = codec.as_str(value, what)
    sha256 = text.startswith("sha256:")
    if not (_DIGEST if sha256 else _ANY_DIGEST).fullmatch(text):
        raise EvidenceError(f"{what}: not sha256: and 64 lower-case hex digits")
    return text


def _labels(document: JsonObject, what: str) -> dict[str, str]:
    config = document.get("config")
    labels = codec.as_object(config, f"{what}.config").get("Labels") if config else None
    if labels is None:
        return {}
    found = codec.as_object(labels, f"{what}.config.Labels")
    return {key: codec.as_str(value, f"{what}: label {key!a}") for key, value in found.items()}


def _malformed(text: str, why: str) -> EvidenceError:
    shown = text if len(text) <= _MAX_NAME else text[:_MAX_NAME] + "…"
    return EvidenceError(
        f"image reference {shown!a}: {why}", hint="write REGISTRY/REPOSITORY@sha256:DIGEST"
    )
