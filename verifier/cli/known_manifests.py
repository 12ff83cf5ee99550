"""`--manifests DIR`: manifests that the user knows, and what earlier audits saw running."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError, UsageError, VerifierError
from verifier.evidence.regular_file import read_regular

if TYPE_CHECKING:
    from verifier.model.timeline import Sighting
    from verifier.reference.values import ReferenceValues

MAX_FILES: Final = 1000
_MAX_BYTES: Final = 4 << 20


class KnownManifests(Struct, frozen=True):
    """Manifest hash (hex) → its text, the name under which it is known, and the tool that writes
    such a manifest; and when which hash was attested. A hash that was only seen is not known:
    nobody can read what it stands for."""

    names: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    sightings: "tuple[Sighting, ...]" = ()


def read_known(folder: Path | None, reference: "ReferenceValues") -> KnownManifests:
    """Every file of a folder is a manifest as it was deployed, byte for byte, or a bundle of an
    earlier audit (a tar, or a directory).

    A bundle adds the manifests in it, and a sighting of each that a quote in it proves, at the time
    that the bundle itself names. Raises UsageError.
    """
    if folder is None:
        return KnownManifests()
    names: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    sightings: list[Sighting] = []
    for path in _entries(folder):
        if path.is_file() and path.suffix != ".tar":
            found = [_read(path)]
        else:
            found, seen = _from_bundle(path, reference)
            sightings.extend(seen)
        for raw in found:
            digest = hashlib.sha256(raw).hexdigest()
            label = _deploy_path(raw)
            paths.setdefault(digest, label)
            names.setdefault(digest, f"{path.name} ({label})" if label else path.name)
            texts.setdefault(digest, raw)
    return KnownManifests(names, texts, paths, tuple(sightings))


def _deploy_path(raw: bytes) -> str:
    """The tool that writes such bytes, "" where none is known."""
    from verifier.evidence.compose.app_compose import parse_app_compose  # noqa: PLC0415
    from verifier.manifest.deployment import path_label  # noqa: PLC0415

    try:
        return path_label(parse_app_compose(raw))
    except EvidenceError:
        return ""


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"--manifests {folder}: {error.strerror or error}",
            hint="name a directory of manifests, or of bundles of earlier audits",
        ) from error
    if len(found) > MAX_FILES:
        raise UsageError(f"--manifests {folder}: more than {MAX_FILES} files")
    return [path for path in found if not path.name.startswith(".")]


def _read(path: Path) -> bytes:
    try:
        raw = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise UsageError(f"--manifests: {path}: {error.strerror or error}") from error
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"--manifests: {path} is larger than {_MAX_BYTES} bytes")
    return raw


def _from_bundle(
    path: Path, reference: "ReferenceValues"
) -> "tuple[list[bytes], tuple[Sighting, ...]]":
    from verifier.api import measured_manifests  # noqa: PLC0415
    from verifier.evidence import bundle as bundles  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    try:
        bundle = bundles.load(path)
    except EvidenceError as error:
        raise UsageError(f"--manifests: {error.message}", hint=error.hint) from error
    texts: list[bytes] = []
    for name in bundle.subjects:
        with suppress(VerifierError):
            texts.extend(item.value for item in read_subject(bundle, name).manifests)
    return texts, measured_manifests(bundle, reference)
