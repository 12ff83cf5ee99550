"""`--manifests DIR`: manifests that the user knows, and what earlier audits saw running."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verifier.errors import EvidenceError, PolicyError, VerifierError

if TYPE_CHECKING:
    from verifier.evidence.bundle import Bundle
    from verifier.reference.values import ReferenceValues
    from verifier.timeline.model import Sighting

MAX_FILES: Final = 1000
_MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class KnownManifests:
    """Manifest hash (hex) → the name under which it is known, and when which hash was attested."""

    names: dict[str, str] = field(default_factory=dict)
    sightings: "tuple[Sighting, ...]" = ()


def read_known(folder: Path | None, reference: "ReferenceValues") -> KnownManifests:
    """Every file of a folder is a manifest as it was deployed, byte for byte, or a bundle of an
    earlier audit (a tar, or a directory).

    A bundle adds the manifests in it, and a sighting of each that a quote in it proves, at the time
    that the bundle itself names. Raises PolicyError.
    """
    if folder is None:
        return KnownManifests()
    names: dict[str, str] = {}
    sightings: list[Sighting] = []
    for path in _entries(folder):
        if path.is_dir() or path.suffix == ".tar":
            for digest, sighting in _from_bundle(path, reference):
                names.setdefault(digest, path.name)
                sightings.extend(sighting)
        else:
            names.setdefault(_digest(path), path.name)
    return KnownManifests(names, tuple(sightings))


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise PolicyError(
            f"--manifests {folder}: {error.strerror or error}",
            hint="name a directory of manifests, or of bundles of earlier audits",
        ) from error
    if len(found) > MAX_FILES:
        raise PolicyError(f"--manifests {folder}: more than {MAX_FILES} files")
    return [path for path in found if not path.name.startswith(".")]


def _digest(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PolicyError(f"--manifests: {path} is larger than {_MAX_BYTES} bytes")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PolicyError(f"--manifests: {path}: {error.strerror or error}") from error


def _from_bundle(
    path: Path, reference: "ReferenceValues"
) -> Iterator[tuple[str, "tuple[Sighting, ...]"]]:
    from verifier.audit import measured_manifests  # noqa: PLC0415
    from verifier.evidence import bundle as bundles  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    try:
        bundle: Bundle = bundles.load(path)
    except EvidenceError as error:
        raise PolicyError(f"--manifests: {error.message}", hint=error.hint) from error
    for name in bundle.subjects:
        try:
            for item in read_subject(bundle, name).manifests:
                yield hashlib.sha256(item.value).hexdigest(), ()
        except VerifierError:
            continue
    for sighting in measured_manifests(bundle, reference):
        yield sighting.compose_hash, (sighting,)
