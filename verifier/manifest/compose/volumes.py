"""The short syntax of a service's volume.

    [SOURCE:]TARGET[:OPTION[,OPTION]…]

A source that is a path is a bind, any other is the name of a volume. Source: compose-go
format/volume.go (v2.9.1), with its quirk that `v:/a` is one path, as on Windows.
"""

import posixpath
from typing import Final

from msgspec import Struct

from verifier.manifest.compose.paths import is_path
from verifier.manifest.remembered import remembered

_SHORTEST: Final = 3  # characters; anything shorter is a target
_MOST_PARTS: Final = 3


class ShortVolume(Struct, frozen=True, gc=False):
    """A parsed volume. `source` is as written, "" for an anonymous volume; so is `written_target`,
    of which `target` is the normal form."""

    source: str
    written_target: str
    bind: bool
    read_only: bool

    @property
    def target(self) -> str:
        """Where the container has it."""
        return clean_target(self.written_target)


@remembered
def parse_volume(text: str) -> ShortVolume | None:
    """The volume that a text of the short syntax names; None where Compose refuses it."""
    if not text:
        return None
    if len(text) < _SHORTEST:
        return ShortVolume("", text, bind=False, read_only=False)
    parts = _parts(text)
    if len(parts) > _MOST_PARTS or "" in parts:
        return None
    if len(parts) == 1:
        return ShortVolume("", parts[0], bind=False, read_only=False)
    options = parts[2].split(",") if len(parts) == _MOST_PARTS else []
    modes = [option for option in options if option in {"ro", "rw"}]
    source = parts[0]
    drive = len(source) > 1 and source[1] == ":" and source[0].isalpha()
    bind = is_path(source) or drive
    return ShortVolume(source, parts[1], bind, read_only=modes[-1:] == ["ro"])


def _parts(text: str) -> list[str]:
    """The parts between colons; a single letter before one is a drive, and goes on."""
    parts: list[str] = []
    for part in text.split(":"):
        if parts and len(parts[-1]) == 1 and parts[-1].isalpha():
            parts[-1] += f":{part}"
        else:
            parts.append(part)
    return parts


def clean_target(path: str) -> str:
    """A path in a container without `.`, `..`, doubled and trailing slashes."""
    if not path:
        return ""
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal
