"""The files of a bundle, by name: in a directory, or in a plain tar of the same names.

Both are read under the limits under which they are written.
"""

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.regular_file import read_regular, require_regular
from verifier.patterns import pattern

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 8 << 20
MAX_BLOB_BYTES: Final = 32 << 20
MAX_BUNDLE_BYTES: Final = 256 << 20
_OCTAL: Final = pattern(rb"[0-7]{11}")
_SMALL: Final = 16 << 20
"""Bytes of a tar that is read as a whole."""
_PLAIN: Final = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_SUM: Final = sum(_PLAIN[:124]) + sum(_PLAIN[135:148]) + sum(b" " * 8) + sum(_PLAIN[156:])
"""The sum of the bytes of a header without name and size; its own field counts as spaces."""


def write(files: Mapping[str, bytes], path: Path, part: str) -> None:
    """Write files as a tar if the name ends in `.tar`, else as a new or empty directory.

    They are written under the name `part` beside it and renamed, so that there is all of it or
    nothing. Raises EvidenceError.
    """
    written = path.with_name(part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not _is_empty_directory(path)):
            raise EvidenceError(
                f"{path}: it exists already, and is not empty",
                hint="name a new directory or tar for the bundle",
            )
        _remove(written)
        if path.suffix == ".tar":
            written.write_bytes(to_tar(files))
        else:
            _write_directory(files, written)
        written.rename(path)
    except OSError as error:
        with suppress(OSError):
            _remove(written)
        raise EvidenceError(
            f"{path}: cannot write the bundle: {error.strerror or error}"
        ) from error


def read(path: Path) -> dict[str, bytes]:
    """The files of a bundle. Raises EvidenceError for what is no bundle, and OSError."""
    if path.is_dir():
        return _read_directory(path)
    require_regular(path)
    size = path.stat().st_size
    if size > 2 * MAX_BUNDLE_BYTES:
        raise EvidenceError(f"{path}: larger than a bundle may be")
    return (read_own_tar(path) if size <= _SMALL else {}) or read_tar(path)


def to_tar(members: Mapping[str, bytes]) -> bytes:
    """A plain sorted tar with zero times: the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            archive.addfile(member, io.BytesIO(members[name]))
    return out.getvalue()


def check_size(name: str, size: int, total: int, path: Path) -> int:
    """The size of a file beside others of so many bytes. Raises EvidenceError over a limit."""
    limit = MAX_MANIFEST_BYTES if name == MANIFEST_NAME else MAX_BLOB_BYTES
    if not 0 <= size <= limit or total + size > MAX_BUNDLE_BYTES:
        raise EvidenceError(f"{path}: {name!r} has {size} bytes, over the limit")
    return size


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write_directory(files: Mapping[str, bytes], path: Path) -> None:
    (path / "blobs").mkdir(parents=True)
    for name, raw in files.items():
        (path / name).write_bytes(raw)


def _remove(path: Path) -> None:
    """Remove what an earlier attempt left there, if anything."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_directory(path: Path) -> dict[str, bytes]:
    if path.is_symlink():
        raise EvidenceError(f"{path}: a link to a folder", hint="name the bundle itself")
    files: dict[str, bytes] = {}
    total = 0
    if not (path / MANIFEST_NAME).exists():
        return files
    for folder, prefix in ((path, ""), (path / "blobs", "blobs/")):
        if not folder.is_dir() or folder.is_symlink():
            continue
        for entry in sorted(os.scandir(folder), key=lambda item: item.name):
            if not prefix and entry.name == "blobs" and entry.is_dir(follow_symlinks=False):
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise EvidenceError(f"{path}: {entry.name!r} is a link or not a regular file")
            size = check_size(prefix + entry.name, entry.stat().st_size, total, path)
            total += size
            files[prefix + entry.name] = read_regular(Path(entry.path), size)
    return files


def read_own_tar(path: Path) -> dict[str, bytes]:
    """The files of a tar whose members stand as `to_tar` writes them; none of any other, for which
    `tarfile` is the reader. It takes a tenth of the audit of many small files."""
    raw, files = read_regular(path, _SMALL), dict[str, bytes]()
    last, place, total = b"", 0, 0
    while (header := raw[place : place + tarfile.BLOCKSIZE]).strip(b"\0"):
        name, digits = header[:100].rstrip(b"\0"), header[124:135]
        size = int(digits, 8) if _OCTAL.fullmatch(digits) else -1
        place += tarfile.BLOCKSIZE
        content = raw[place : place + max(size, 0)]
        if not (name.isascii() and last < name and len(content) == size):
            return {}
        if header != _header(name, digits):
            return {}
        files[name.decode()] = content
        total += check_size(name.decode(), size, total, path)
        last, place = name, place + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return files


def _header(name: bytes, size: bytes) -> bytes:
    """The header of a regular file in `to_tar`, of its name and of the digits of its size."""
    checksum = b"%06o\0 " % (_SUM + sum(name) + sum(size))
    return (
        name.ljust(100, b"\0") + _PLAIN[100:124] + size + _PLAIN[135:148] + checksum + _PLAIN[156:]
    )


def read_tar(path: Path) -> dict[str, bytes]:
    """The files of a plain tar, whoever wrote it. Raises EvidenceError."""
    files: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(path, mode="r:") as archive:
            for member in archive:
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise EvidenceError(f"{path}: {member.name!r} is not a regular file")
                if member.name in files:
                    raise EvidenceError(f"{path}: {member.name!r} stands twice")
                total += check_size(member.name, member.size, total, path)
                reader = archive.extractfile(member)
                files[member.name] = reader.read() if reader else b""
    except (tarfile.TarError, RecursionError) as error:
        raise EvidenceError(
            f"{path}: not a bundle: neither a directory nor a plain tar",
            hint="`verify import FILE… -o BUNDLE` makes a bundle from evidence files",
        ) from error
    return files
