"""The bundle: every response as it was received, and a manifest that says where it came from.

A bundle is a directory, or a plain tar of the same names:

    manifest.json       RFC 8785 JSON: {"schema": …, "artifacts": [{kind, trust, subject, source,
                        collected_at, sha256, size, status, media_type, headers, request, error,
                        cause, peer, exporter}]}
    blobs/<sha256>      the raw bytes of each artifact, once

The digest of a bundle is the sha256 of its manifest's bytes. Artifacts are sorted, so that the same
evidence gives the same digest in whatever order it arrived.

Trust is fixed per kind. *Self-authenticating* evidence (quotes, collateral, certificates, key
signatures) proves itself. *Witnessed* evidence (pages, API text, JSON-RPC answers) proves something
only to the one who fetched it, and to those who trust that one.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct, field

from verifier.errors import Cause, EvidenceError
from verifier.evidence import bundle_files, bundle_manifest
from verifier.evidence.artifact import Artifact, Kind, Trust, trust_of
from verifier.evidence.bundle_files import MANIFEST_NAME
from verifier.evidence.readings import Readings
from verifier.model.identifiers import KEY_HOLDER

T = TypeVar("T")

MAX_SUBJECTS: Final = 256

__all__ = [
    "Artifact",
    "Bundle",
    "BundleBuilder",
    "Kind",
    "Trust",
    "files_of",
    "from_files",
    "load",
    "read_files",
    "save",
    "to_tar",
    "trust_of",
]


class Bundle(Struct, frozen=True, dict=True):
    """Artifacts in canonical order, and the bytes they name by sha256."""

    artifacts: tuple[Artifact, ...]
    blobs: Mapping[str, bytes]
    readings: Readings = field(default_factory=Readings)

    @cached_property
    def manifest(self) -> bytes:
        """The canonical manifest (see `bundle_manifest`)."""
        return bundle_manifest.write(self.artifacts)

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical manifest, lower-case hex."""
        return hashlib.sha256(self.manifest).hexdigest()

    def of(self, kind: Kind, subject: str | None = None) -> list[Artifact]:
        """The received artifacts of a kind, in canonical order; `subject` None takes every one."""
        received = self._received.get(kind, [])
        return [item for item in received if subject is None or item.subject == subject]

    @cached_property
    def _received(self) -> dict[Kind, list[Artifact]]:
        found: dict[Kind, list[Artifact]] = {}
        for item in self.artifacts:
            if item.sha256 is not None:
                found.setdefault(item.kind, []).append(item)
        return found

    @cached_property
    def collected_until(self) -> int:
        """When the last artifact was collected (Unix seconds); 0 without any."""
        return max((item.collected_at for item in self.artifacts), default=0)

    def blob(self, artifact: Artifact) -> bytes:
        """The raw bytes of a received artifact."""
        if artifact.sha256 is None:
            raise EvidenceError(f"{artifact.source}: nothing was received: {artifact.error}")
        return self.blobs[artifact.sha256]

    def read(self, artifact: Artifact, parse: Callable[[bytes, str], T], what: str) -> T:
        """What `parse` makes of a received artifact (see `Readings`). Raises EvidenceError."""
        return self.readings.read(artifact.sha256 or "", self.blob(artifact), parse, what)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of the attesters that gave evidence, sorted; the empty name when none did."""
        return tuple(name for name in self._named if not name.startswith(KEY_HOLDER)) or ("",)

    @property
    def key_holders(self) -> tuple[str, ...]:
        """The names of the TDs of KMSs that gave evidence, sorted."""
        return tuple(name for name in self._named if name.startswith(KEY_HOLDER))

    @property
    def _named(self) -> list[str]:
        return sorted({item.subject for item in self.artifacts if item.subject and item.sha256})


class BundleBuilder:
    """Collects artifacts, after those of a bundle; `build` puts them in canonical order. Safe to
    share between threads: each addition is one append or one dictionary store."""

    def __init__(self, bundle: Bundle | None = None) -> None:
        self._artifacts: list[Artifact] = list(bundle.artifacts) if bundle else []
        self._blobs: dict[str, bytes] = dict(bundle.blobs) if bundle else {}
        self._readings = bundle.readings if bundle else Readings()

    def add(  # noqa: PLR0913 - the fields of one artifact
        self,
        kind: Kind,
        raw: bytes,
        *,
        source: str,
        collected_at: int,
        subject: str = "",
        status: int | None = None,
        media_type: str = "",
        headers: Mapping[str, str] | None = None,
        request: str = "",
        peer: str = "",
        exporter: str = "",
    ) -> Artifact:
        """Record received bytes."""
        digest = hashlib.sha256(raw).hexdigest()
        artifact = Artifact(
            kind=kind,
            source=source,
            collected_at=collected_at,
            subject=subject,
            sha256=digest,
            size=len(raw),
            status=status,
            media_type=media_type,
            headers=tuple(sorted((headers or {}).items())),
            request=request,
            peer=peer,
            exporter=exporter,
        )
        self._blobs[digest] = raw
        self._artifacts.append(artifact)
        return artifact

    def add_failure(  # noqa: PLR0913 - the fields of one artifact
        self,
        kind: Kind,
        *,
        source: str,
        collected_at: int,
        error: str,
        cause: Cause = Cause.OTHER,
        subject: str = "",
        status: int | None = None,
        request: str = "",
    ) -> Artifact:
        """Record that a source gave nothing, and why."""
        artifact = Artifact(
            kind=kind,
            source=source,
            collected_at=collected_at,
            subject=subject,
            status=status,
            request=request,
            error=error,
            cause=cause,
        )
        self._artifacts.append(artifact)
        return artifact

    def discard(self, kind: Kind, source: str, request: str) -> None:
        """Take back every artifact of a kind that one source gave to a request, or did not give."""
        for item in list(self._artifacts):
            if (item.kind, item.source, item.request) == (kind, source, request):
                self._artifacts.remove(item)

    def build(self) -> Bundle:
        """The bundle of everything recorded so far; exact repetitions count once."""
        artifacts = tuple(sorted(set(self._artifacts), key=bundle_manifest.order))
        used = {item.sha256 for item in artifacts}
        blobs = {digest: raw for digest, raw in list(self._blobs.items()) if digest in used}
        return Bundle(artifacts, blobs, self._readings)


def save(bundle: Bundle, path: Path) -> None:
    """Write the bundle: as a tar if the name ends in `.tar`, else as a new or empty directory.

    There is all of it or nothing. Raises EvidenceError, also for a bundle that `load` would refuse:
    before anything is written.
    """
    files = files_of(bundle)
    total = 0
    for name, raw in files.items():
        total += bundle_files.check_size(name, len(raw), total, path)
    _check_subjects(bundle, path)
    bundle_manifest.read(bundle.manifest, str(path))
    bundle_files.write(files, path, f".{bundle.digest[:16]}.part")


def to_tar(bundle: Bundle) -> bytes:
    """The bundle as a plain sorted tar with zero times: the same bundle gives the same bytes."""
    return bundle_files.to_tar(files_of(bundle))


def files_of(bundle: Bundle) -> dict[str, bytes]:
    """The files of a bundle by name, as `save` writes them."""
    used = sorted({item.sha256 for item in bundle.artifacts if item.sha256 is not None})
    blobs = {f"blobs/{digest}": bundle.blobs[digest] for digest in used}
    return {MANIFEST_NAME: bundle.manifest} | blobs


def _check_subjects(bundle: Bundle, path: Path) -> None:
    if (count := len(bundle.subjects) + len(bundle.key_holders)) > MAX_SUBJECTS:
        raise EvidenceError(f"{path}: {count} attesters, more than {MAX_SUBJECTS}")


def load(path: Path) -> Bundle:
    """Read a bundle from a directory or a plain tar.

    Raises EvidenceError for a wrong digest, a missing, extra or duplicate blob, a link, a name
    outside the bundle, or a manifest that is not in canonical form.
    """
    try:
        return from_files(read_files(path), path)
    except EvidenceError as error:
        if error.hint:
            raise
        raise EvidenceError(
            error.message, hint="copy the whole bundle again, or collect it again"
        ) from error


def read_files(path: Path) -> dict[str, bytes]:
    """The files of a bundle by name, not yet held against each other. Raises EvidenceError."""
    try:
        return bundle_files.read(path)
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot read the bundle: {error.strerror or error}",
            hint="name a directory or tar that `--save` or `verify import` wrote",
        ) from error


def from_files(files: Mapping[str, bytes], path: Path) -> Bundle:
    """The bundle of these files, which errors say are at `path`. Raises EvidenceError."""
    if MANIFEST_NAME not in files:
        raise EvidenceError(
            f"{path}: no {MANIFEST_NAME}: this is not a bundle",
            hint="`verify import FILE… -o BUNDLE` makes a bundle from evidence files",
        )
    manifest = files[MANIFEST_NAME]
    blobs = {name: raw for name, raw in files.items() if name != MANIFEST_NAME}
    artifacts = bundle_manifest.read(manifest, str(path))
    bundle = Bundle(artifacts, _check_blobs(artifacts, blobs, str(path)))
    _check_subjects(bundle, path)
    return bundle


def _check_blobs(
    artifacts: Iterable[Artifact], files: Mapping[str, bytes], where: str
) -> dict[str, bytes]:
    blobs: dict[str, bytes] = {}
    for item in artifacts:
        if item.sha256 is None:
            continue
        raw = files.get(f"blobs/{item.sha256}")
        if raw is None:
            raise EvidenceError(f"{where}: blob {item.sha256} of {item.source} is missing")
        if len(raw) != item.size or hashlib.sha256(raw).hexdigest() != item.sha256:
            raise EvidenceError(f"{where}: blob {item.sha256} does not have the bytes it names")
        blobs[item.sha256] = raw
    extra = sorted(set(files) - {f"blobs/{digest}" for digest in blobs})
    if extra:
        raise EvidenceError(f"{where}: {extra[0]!r} is not named by the manifest")
    return blobs
