"""The files of an OS image, from a directory or a tarball, each held against the list that the
image's hash is of.

    sha256sum.txt    lines `HEX  NAME`; os_image_hash is the sha256 of this file (meta-dstack
                     mkimage.sh; digest.txt repeats it)
    metadata.json    names the firmware (bios), kernel and initrd, and has the command line

Nothing is unpacked and no link is followed. Files that the list does not name are not looked at:
the root file system is one, which the command line names by its hash.
"""

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import JsonObject, parse_json_object, parse_utf8
from verifier.evidence.regular_file import read_regular, require_regular
from verifier.patterns import pattern

CHECKSUMS: Final = "sha256sum.txt"
DIGEST: Final = "digest.txt"
METADATA: Final = "metadata.json"
_LINE: Final = pattern(r"([0-9a-f]{64}) [ *]([A-Za-z0-9][A-Za-z0-9._-]{0,127})", re.ASCII)
_MAX_DOCUMENT: Final = 1 << 20
_MAX_FILE: Final = 1 << 30
_MAX_KEPT: Final = 2 << 30
_MAX_UNPACKED: Final = 16 << 30
_MAX_MEMBERS: Final = 10_000
_MAX_DEPTH: Final = 2


class ImageFiles(Struct, frozen=True, kw_only=True):
    """The listed files of an image. `files` are their bytes, `digests` their sha256 (hex) as the
    list has them, and `sha384` those of the same bytes."""

    os_image_hash: str
    metadata: JsonObject
    files: Mapping[str, bytes]
    digests: Mapping[str, str]
    sha384: Mapping[str, bytes]


def read_image(path: Path) -> ImageFiles:
    """The files of an image in a directory, or in a tar that may be compressed by gzip.

    Raises EvidenceError: for a file that is missing or that is not what the list says, for a list
    that names one file twice, and for archives with links, foreign names or too much in them.
    """
    if path.is_dir():
        listed, found = _from_directory(path)
    else:
        listed, found = _from_archive(path)
    return _held_against(path, listed, found)


def parse_checksums(raw: bytes, what: str) -> dict[str, str]:
    """sha256 (hex) by file name, of a checksum list. Raises EvidenceError."""
    found: dict[str, str] = {}
    for line in parse_utf8(raw, what).splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise EvidenceError(f"{what}: {line[:80]!a} is not a digest and a plain file name")
        digest, name = match.groups()
        if name in found:
            raise EvidenceError(f"{what}: {name} stands twice", hint="one of the digests is wrong")
        found[name] = digest
    if not found:
        raise EvidenceError(f"{what}: lists no file")
    return found


def _held_against(path: Path, listed: bytes, found: Mapping[str, bytes]) -> ImageFiles:
    digests = parse_checksums(listed, f"{path}: {CHECKSUMS}")
    missing = sorted(digests.keys() - found.keys())
    if missing:
        raise EvidenceError(
            f"{path}: {missing[0]}, which {CHECKSUMS} lists, is missing",
            hint="give the whole release, as it was published",
        )
    files = {name: found[name] for name in digests}
    # Hashing lets other threads run: both digests of the large files are taken side by side.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where files are

    with ThreadPoolExecutor(max_workers=2) as pool:
        both = pool.map(_sha384, files.values()), pool.map(_sha256, files.values())
        sha384 = dict(zip(files, both[0], strict=True))
        sha256 = dict(zip(files, both[1], strict=True))
    for name, digest in digests.items():
        if sha256[name] != digest:
            raise EvidenceError(
                f"{path}: {name} has the digest {sha256[name][:16]}…, {CHECKSUMS} says "
                f"{digest[:16]}…",
                hint="the file is damaged, or it is not that of this release",
            )
    os_image_hash = hashlib.sha256(listed).hexdigest()
    stated = found.get(DIGEST, b"").decode("ascii", "replace").strip()
    if stated and stated != os_image_hash:
        raise EvidenceError(f"{path}: {DIGEST} says {stated[:64]!a}, the list has {os_image_hash}")
    if METADATA not in files:
        raise EvidenceError(f"{path}: {CHECKSUMS} does not list {METADATA}")
    return ImageFiles(
        os_image_hash=os_image_hash,
        metadata=parse_json_object(files[METADATA], f"{path}: {METADATA}"),
        files=files,
        digests=digests,
        sha384=sha384,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha384(content: bytes) -> bytes:
    return hashlib.sha384(content).digest()


def _from_directory(path: Path) -> tuple[bytes, dict[str, bytes]]:
    listed = _read(path / CHECKSUMS, _MAX_DOCUMENT)
    names = [*parse_checksums(listed, f"{path}: {CHECKSUMS}")]
    names += [DIGEST] if (path / DIGEST).is_file() else []
    return listed, {name: _read(path / name, _MAX_FILE) for name in names}


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.is_symlink() or not path.is_file():
            raise EvidenceError(
                f"{path}: missing, or not a regular file",
                hint="give the folder of a release of dstack's OS images",
            )
        raw = read_regular(path, limit)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot read it: {error.strerror or error}") from error
    if len(raw) > limit:
        raise EvidenceError(f"{path}: larger than {limit} bytes: no image has such a file")
    return raw


def _from_archive(path: Path) -> tuple[bytes, dict[str, bytes]]:
    found: dict[str, bytes] = {}
    try:
        with _opened(path) as archive:
            for name, content in _members(path, archive):
                if name in found:
                    raise EvidenceError(f"{path}: {name} stands twice in the archive")
                found[name] = content
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise EvidenceError(f"{path}: not a readable tar of an image: {error}") from error
    if CHECKSUMS not in found:
        raise EvidenceError(
            f"{path}: no {CHECKSUMS} in it", hint="give a release of dstack's OS images"
        )
    return found[CHECKSUMS], found


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """The regular files of an archive that is read once, by their last name; what is too large to
    be measured is passed over."""
    kept = unpacked = 0
    folders: set[str] = set()
    for count, member in enumerate(archive):
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        unpacked += member.size
        if count >= _MAX_MEMBERS or unpacked > _MAX_UNPACKED:
            raise EvidenceError(f"{path}: too many members, or too large when unpacked")
        if ".." in parts or member.name.startswith("/") or len(parts) > _MAX_DEPTH:
            raise EvidenceError(f"{path}: {member.name[:80]!a} is no name of a file of an image")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise EvidenceError(f"{path}: {member.name[:80]!a} is a link or no regular file")
        folders.add("/".join(parts[:-1]))
        if len(folders) > 1:
            raise EvidenceError(f"{path}: its files stand in several folders")
        if member.size > _MAX_FILE or parts[-1].endswith(".verity"):
            continue
        kept += member.size
        reader = archive.extractfile(member)
        if kept > _MAX_KEPT or reader is None:
            raise EvidenceError(f"{path}: its files have more than {_MAX_KEPT} bytes")
        yield parts[-1], reader.read()


class _Member(tarfile.TarInfo):
    """A member whose own headers are bounded: tarfile reads them whole, however large they are."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("sparse files are in no image")
        if self.type not in tarfile.REGULAR_TYPES and self.size > _MAX_DOCUMENT:
            raise tarfile.ReadError("a header of a megabyte is in no image")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    require_regular(path)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
            yield archive
