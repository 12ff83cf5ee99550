"""A target: one reader of hostile input, and what may come of an input.

A reader gives a value or refuses with an error of its own. Any other exception is a crash, and so
is more than a second of processor time or more than 512 MB of memory for one input.
"""

import resource
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError

MAX_SECONDS: Final = 1.0
MAX_BYTES: Final = 512 << 20
CORPUS: Final = Path(__file__).parent / "corpus"
REGRESSIONS: Final = Path(__file__).parent / "regressions"
LONGEST: Final = 1 << 17
"""Bytes of the longest input that is tried."""

READ: Final = "read"
REFUSED: Final = "refused"

_KIB: Final = 1024

Reader = Callable[[bytes], object]


def nothing() -> Iterable[bytes]:
    """No seeds."""
    return ()


class Target(Struct, frozen=True, kw_only=True):
    """One target.

    name     its name, and that of its folder of inputs
    parse    reads an input
    records  functions of the auditor: what the first argument of each is during audits of simulated
             worlds is a seed, text as UTF-8, and a value as JSON
    given    further seeds
    refuses  the errors that refuse an input
    tokens   what the format is written with
    """

    name: str
    parse: Reader
    records: tuple[Callable[..., object], ...] = ()
    given: Callable[[], Iterable[bytes]] = nothing
    refuses: tuple[type[Exception], ...] = (EvidenceError,)
    tokens: tuple[bytes, ...] = ()


def each(*readers: Reader) -> Reader:
    """A reader that gives an input to several, and refuses it where all of them do."""

    def read(raw: bytes) -> object:
        refusal = EvidenceError("no reader")
        found: list[object] = []
        for reader in readers:
            try:
                found.append(reader(raw))
            except EvidenceError as error:
                refusal = error
        if not found:
            raise refusal
        return found

    return read


def text(raw: bytes) -> str:
    """The input as text, whatever its bytes are."""
    return raw.decode("utf-8", "replace")


def judge(target: Target, raw: bytes) -> str:
    """What comes of an input: `read`, `refused`, or what is wrong, by its place in the code."""
    before, started = _peak(), time.process_time()
    outcome = READ
    try:
        target.parse(raw)
    except target.refuses:
        outcome = REFUSED
    except Exception as error:  # noqa: BLE001 - what is looked for
        return _place(error)
    spent, grown = time.process_time() - started, _peak() - before
    if spent > MAX_SECONDS:
        return f"more than {MAX_SECONDS:g} s"
    return f"more than {MAX_BYTES >> 20} MB" if grown > MAX_BYTES else outcome


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def _place(error: Exception) -> str:
    """An exception and where it was raised: the innermost place in the auditor, else at all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [item for item in frames if "/verifier/" in item.filename] or frames
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


def inputs(folder: Path, name: str) -> list[bytes]:
    """The inputs that are kept of a target."""
    kept = folder / name
    files = sorted(kept.iterdir()) if kept.is_dir() else []
    return [path.read_bytes() for path in files]
