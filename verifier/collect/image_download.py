"""Downloading a release of dstack's OS images, in pieces, so that it can be taken up again.

dstack serves each image under its hash: `mr_HASH.tar.gz` (Dstack-TEE/dstack dstack-cli-core
src/config.rs). What arrives counts for nothing until its files are held against that hash, which
is for the caller.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from verifier.collect.budget import PARTS, Share
from verifier.collect.http import HttpClient, Response
from verifier.collect.limits import Limits
from verifier.errors import CollectError, LimitError, NetworkError
from verifier.patterns import pattern

PUBLISHED: Final = "https://download.dstack.org/os-images"
MAX_BYTES: Final = PARTS[Share.RELEASE].max_bytes
_PIECE: Final = 8 << 20
_LIMITS: Final = Limits(share=Share.RELEASE, max_bytes=_PIECE, deadline_seconds=120.0)
_RANGE: Final = pattern(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)
_PARTIAL: Final = 206

Progress = Callable[[int, int], None]
"""Told of the bytes that are there, and of all."""


def image_url(os_image_hash: str, base: str = PUBLISHED) -> str:
    """Where an image stands."""
    return f"{base}/mr_{os_image_hash}.tar.gz"


def default_folder() -> Path:
    """Where this user's images stand."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where one is downloaded

    return user_cache_path("dstack-audit", appauthor=False) / "images"


def download(client: HttpClient, url: str, path: Path, progress: Progress) -> None:
    """Download a file to a path; what an earlier attempt left in `path` with `.part` is kept.

    Raises NetworkError and LimitError, CollectError where the disk does not take it.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            _fill(client, url, stream.tell(), stream.write, progress)
        part.replace(path)
    except OSError as error:
        raise CollectError(
            f"{part}: cannot write it: {error.strerror or error}",
            hint="name another folder with XDG_CACHE_HOME",
        ) from error
    except LimitError:
        part.unlink(missing_ok=True)
        raise


def _fill(
    client: HttpClient,
    url: str,
    received: int,
    write: Callable[[bytes], int],
    progress: Progress,
) -> None:
    total = 0
    while not total or received < total:
        piece = f"bytes={received}-{received + _PIECE - 1}"
        response = client.get(url, limits=_LIMITS, headers={"Range": piece})
        stated = _total_of(response, url, received)
        if total and stated != total:
            raise LimitError(f"{url}: its size changed while it was downloaded", hint="try again")
        total = stated
        write(response.body)
        received += len(response.body)
        progress(received, total)


def _total_of(response: Response, url: str, received: int) -> int:
    """The size of the whole file, by an answer that holds the piece that was asked for."""
    match = _RANGE.fullmatch(response.header("content-range"))
    if response.status != _PARTIAL or match is None:
        raise NetworkError(
            f"{url}: the server does not serve parts of files",
            hint="download the release yourself, and give its path",
        )
    first, last, total = (int(text) for text in match.groups())
    if (first, last) != (received, received + len(response.body) - 1) or last >= total:
        raise LimitError(f"{url}: another part than was asked for", hint="try again")
    if total > MAX_BYTES:
        raise LimitError(f"{url}: {total} bytes are no image of dstack", hint="check the address")
    return total
