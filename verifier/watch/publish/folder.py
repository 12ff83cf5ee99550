"""The reports of a folder, as they are found there: nothing is believed, and nothing dropped."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from verifier.errors import UsageError
from verifier.evidence.bundle_files import MANIFEST_NAME
from verifier.evidence.regular_file import read_regular
from verifier.manifest.secret_text import masked
from verifier.report.site.pages import NotShown

MAX_REPORT_BYTES: Final = 32 << 20
_MAX_DEPTH: Final = 16
_BUNDLE: Final = (
    "it is a bundle, which names its own app: audit it as the evidence of the app that you mean, "
    "with `verify fleet LIST --reports DIR`"
)


class Found(Struct, frozen=True):
    """A file that may be a report: where it is, its name in the folder, and the sha256 (hex) of its
    bytes."""

    path: Path
    name: str
    digest: str


def find_reports(folder: Path) -> tuple[tuple[Found, ...], tuple[NotShown, ...]]:
    """Every JSON file below a folder, each content once, in order of their digests; and what is not
    read. Raises UsageError where the folder cannot be read."""
    found: dict[str, Found] = {}
    not_shown: list[NotShown] = []
    try:
        for path in _walk(folder, 0):
            name = masked(str(path.relative_to(folder)))
            if path.suffix != ".json" and (path.is_file() or path.is_dir()):
                not_shown.append(NotShown(name, _BUNDLE))
                continue
            try:
                raw = read_limited(path)
            except OSError as error:
                not_shown.append(NotShown(name, f"cannot read it: {error.strerror or error}"))
                continue
            if len(raw) > MAX_REPORT_BYTES:
                why = f"larger than {MAX_REPORT_BYTES} bytes: no report is"
                not_shown.append(NotShown(name, why))
                continue
            digest = hashlib.sha256(raw).hexdigest()
            found.setdefault(digest, Found(path, name, digest))
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot read it: {error.strerror or error}", hint="name a folder of reports"
        ) from error
    return tuple(found[key] for key in sorted(found)), tuple(sorted(not_shown))


def read_limited(path: Path) -> bytes:
    """The bytes of a file, at most one more than a report may have. Raises OSError, also for what
    is no regular file."""
    return read_regular(path, MAX_REPORT_BYTES)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Files that may be reports, and bundles, in order. Hidden names are left out, and no link to a
    directory is followed."""
    if (folder / MANIFEST_NAME).is_file() and (folder / "blobs").is_dir():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink() and depth < _MAX_DEPTH:
                yield from _walk(path, depth + 1)
        elif path.suffix in {".json", ".tar"}:
            yield path
