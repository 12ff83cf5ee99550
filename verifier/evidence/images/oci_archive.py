"""Image archives: what a rebuilt image is called before any registry has seen it.

    OCI layout        oci-layout, index.json, blobs/sha256/HEX    OCI Image Layout Specification 1.1
    docker-archive    manifest.json, configuration, layers        what `docker save` wrote before 25

An archive is a plain tar that is read in place: nothing is unpacked, no link is followed (old
docker-archives hold some that nothing names), and layers are only hashed. The digest of an image is
that of its manifest, so a docker-archive, which has none, gives the image id (the digest of the
configuration, which fixes the unpacked layers) alone.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.evidence.images import oci
from verifier.evidence.images.oci import ArtifactError, Descriptor, ImageConfig, ImageManifest
from verifier.evidence.images.oci_resolution import Resolution
from verifier.evidence.regular_file import require_regular

MAX_DOCUMENT_BYTES: Final = 4 << 20
MAX_MEMBERS: Final = 100_000
_LAYOUT_VERSION: Final = "1.0.0"
_CHUNK: Final = 1 << 20
_SHA256: Final = "blobs/sha256/"


class ArchivedImage(Struct, frozen=True, kw_only=True):
    """One image of an archive.

    `index` and `manifest` are digests that a reference may pin, empty where the archive has none;
    `inner` are those of indexes inside the index; `config.digest` is the image id. `names` are the
    tags that the archive gives it.
    """

    index: str
    manifest: str
    config: ImageConfig
    names: tuple[str, ...]
    inner: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        """Every digest that names this image: indexes, manifest, image id."""
        return tuple(filter(None, (self.index, *self.inner, self.manifest, self.config.digest)))


def read_archive(
    path: Path, passed_over: Callable[[EvidenceError], None] | None = None
) -> tuple[ArchivedImage, ...]:
    """The images of an OCI layout or docker-archive (of an index: linux/amd64), digests checked.

    What is no image, such as a signature beside one, is left out where there is an image besides.
    Raises EvidenceError; one for a single image goes to `passed_over` where that is given, so that
    the others are read.
    """
    with _opened(path) as archive:
        if "index.json" in archive.members:
            return _read_layout(archive, passed_over or _refuse)
        if "manifest.json" in archive.members:
            return _read_docker(archive, passed_over or _refuse)
    raise EvidenceError(
        f"{path}: neither an OCI layout nor a docker-archive",
        hint="write one with `docker buildx build --output type=oci,dest=FILE.tar`",
    )


class _Archive:
    """A plain tar, by member name."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path = path
        self._tar = tar
        self.members = self._list()

    def document(self, name: str) -> bytes:
        """The bytes of a small member."""
        member = self._member(name)
        if member.size > MAX_DOCUMENT_BYTES:
            raise EvidenceError(f"{self.path}: {name!a} has {member.size} bytes, over the limit")
        return b"".join(self._chunks(member))

    def digest(self, name: str) -> str:
        """The digest of a member, however large."""
        hasher = hashlib.sha256()
        for chunk in self._chunks(self._member(name)):
            hasher.update(chunk)
        return f"sha256:{hasher.hexdigest()}"

    def _member(self, name: str) -> tarfile.TarInfo:
        member = self.members.get(name)
        if member is None:
            raise EvidenceError(f"{self.path}: {name!a} is missing from the archive")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise EvidenceError(
                f"{self.path}: {name!a} is a link or not a regular file",
                hint="export the image again, as an OCI layout",
            )
        return member

    def _list(self) -> dict[str, tarfile.TarInfo]:
        found: dict[str, tarfile.TarInfo] = {}
        for count, member in enumerate(self._tar):
            if count >= MAX_MEMBERS:
                raise EvidenceError(f"{self.path}: more than {MAX_MEMBERS} members")
            if member.isdir():
                continue
            name = member.name.removeprefix("./")
            if name in found:
                raise EvidenceError(f"{self.path}: {name!a} stands twice")
            found[name] = member
        return found

    def _chunks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        reader = self._tar.extractfile(member)
        while reader and (chunk := reader.read(_CHUNK)):
            yield chunk


def blob_name(digest: str) -> str:
    """Where an OCI layout keeps the blob with this digest."""
    return _SHA256 + digest.removeprefix("sha256:")


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    try:
        require_regular(path)
        with tarfile.open(path, mode="r:") as tar:
            yield _Archive(path, tar)
    except (tarfile.TarError, RecursionError, EOFError) as error:
        raise EvidenceError(
            f"{path}: not a plain tar: {error}", hint="uncompress it first if it is compressed"
        ) from error
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot read it: {error.strerror or error}", hint="name a readable tar"
        ) from error


def _refuse(error: EvidenceError) -> None:
    raise error


def _read_layout(
    archive: _Archive, passed_over: Callable[[EvidenceError], None]
) -> tuple[ArchivedImage, ...]:
    what = f"{archive.path}: oci-layout"
    layout = codec.parse_json_object(archive.document("oci-layout"), what)
    if layout.get("imageLayoutVersion") != _LAYOUT_VERSION:
        raise EvidenceError(f"{what}: not version {_LAYOUT_VERSION}")
    raw = archive.document("index.json")
    top = oci.parse_manifest(raw, oci.digest_of(raw))
    if isinstance(top, ImageManifest) or not top.manifests:
        raise EvidenceError(f"{archive.path}: index.json names no image")
    names = _reference_names(raw)
    images: list[ArchivedImage] = []
    artifacts: list[EvidenceError] = []
    for item in {item.digest: item for item in top.manifests}.values():
        try:
            images.append(_layout_image(archive, item, names.get(item.digest, ())))
        except ArtifactError as error:
            artifacts.append(error)
        except EvidenceError as error:
            passed_over(error)
    if artifacts and not images:
        passed_over(artifacts[0])
    return tuple(images)


def _layout_image(
    archive: _Archive, descriptor: Descriptor, names: tuple[str, ...]
) -> ArchivedImage:
    def document(digest: str, size: int | None) -> bytes:
        raw = archive.document(blob_name(digest))
        if size not in (len(raw), None):
            raise EvidenceError(f"{archive.path}: {digest} has not the size it is given")
        return raw

    way = Resolution(document, document)
    found, config = way.resolve(descriptor.digest)
    for layer in found.layers:
        actual = archive.digest(blob_name(layer.digest))
        if actual != layer.digest:
            raise EvidenceError(f"{archive.path}: layer {layer.digest} has the digest {actual}")
    index, *inner = way.path[:-1] or [""]
    return ArchivedImage(
        index=index, manifest=found.digest, config=config, names=names, inner=tuple(inner)
    )


def _reference_names(raw: bytes) -> dict[str, tuple[str, ...]]:
    """Tags by digest: the annotation that builders put on each entry of index.json."""
    document = codec.parse_json_object(raw, "index.json")
    found: dict[str, tuple[str, ...]] = {}
    for value in codec.as_list(document.get("manifests"), "index.json: manifests"):
        item = codec.as_object(value, "index.json: manifests")
        notes = codec.as_object(item.get("annotations") or {}, "index.json: annotations")
        name = codec.text_field(notes, "org.opencontainers.image.ref.name", "index.json")
        digest = codec.text_field(item, "digest", "index.json")
        if name:
            found[digest] = (*found.get(digest, ()), name)
    return found


def _read_docker(
    archive: _Archive, passed_over: Callable[[EvidenceError], None]
) -> tuple[ArchivedImage, ...]:
    what = f"{archive.path}: manifest.json"
    items = codec.as_list(codec.parse_json(archive.document("manifest.json"), what), what)
    if not items:
        raise EvidenceError(f"{what}: names no image")
    images = []
    for value in items:
        try:
            images.append(_docker_image(archive, codec.as_object(value, what), what))
        except EvidenceError as error:
            passed_over(error)
    return tuple(images)


def _docker_image(archive: _Archive, item: JsonObject, what: str) -> ArchivedImage:
    raw = archive.document(codec.text_field(item, "Config", what))
    config = oci.parse_config(raw, oci.digest_of(raw))
    layers = codec.as_list(item.get("Layers"), f"{what}: Layers")
    actual = tuple(archive.digest(codec.as_str(name, what)) for name in layers)
    if actual != config.diff_ids:
        raise EvidenceError(f"{archive.path}: the layers are not those of the configuration")
    tags = codec.as_list(item.get("RepoTags") or [], f"{what}: RepoTags")
    names = tuple(codec.as_str(tag, what) for tag in tags)
    return ArchivedImage(index="", manifest="", config=config, names=names)
