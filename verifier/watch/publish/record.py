"""What a run remembers beside the reports: which state of the site is its own.

A site may be a copy that somebody edited, with the state in it. What says what the pages show are
the reports; so what tells the writer's own state from another's stands in their folder. Where it
cannot be written there, every run writes the whole site.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from verifier.evidence.regular_file import read_regular

_MAX_BYTES: Final = 1 << 12


class Record:
    """The digests of the states that were written for one site, the last two."""

    def __init__(self, reports: Path, output: Path) -> None:
        named = hashlib.sha256(str(output.resolve()).encode("utf-8", "surrogateescape"))
        self._place = reports / f".dstack-audit-{named.hexdigest()[:16]}"
        self._known: tuple[str, ...] = ()
        with suppress(OSError, UnicodeDecodeError):
            self._known = tuple(read_regular(self._place, _MAX_BYTES).decode("ascii").split())

    def knows(self, state: bytes) -> bool:
        """Whether a run wrote this state."""
        return hashlib.sha256(state).hexdigest() in self._known

    def add(self, state: bytes) -> None:
        """Remember a state before it takes its place: until then the one before it counts."""
        lines = (*self._known[-1:], hashlib.sha256(state).hexdigest())
        part = self._place.with_suffix(".part")
        with suppress(OSError):
            part.unlink(missing_ok=True)
            with part.open("x", encoding="ascii") as stream:  # not through somebody's link
                stream.write("\n".join(dict.fromkeys(lines)) + "\n")
            part.replace(self._place)
