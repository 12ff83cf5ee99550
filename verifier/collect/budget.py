"""What a whole collection may cost: one span of time and one number of bytes, for all sources.

Each kind of source has a share of both, so that none of them can use up what the others need. A
share of the time ends at a moment of the collection, whatever happened before; a share of the bytes
is counted over all sources of its kind, and for each of them alone where several are independent
witnesses (`Part.by_origin`).
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.errors import Cause, LimitError

_MIB: Final = 1 << 20
_LEAST_RESERVE: Final = 1 / 6
_RESERVE_SECONDS: Final = 60.0


class Share(StrEnum):
    """Kinds of sources, by what they are called in messages."""

    GUESTS = "guests"
    ENDORSEMENTS = "collateral and KMS"
    IMAGES = "container registries"
    LOGS = "logs"
    STATE = "contract state"
    RELEASE = "a release of the OS"


class Part(Struct, frozen=True, kw_only=True):
    """A share: until which part of the time it is asked, and how many bytes it may send."""

    until: float
    max_bytes: int
    by_origin: int = 0


PARTS: Final[Mapping[Share, Part]] = {
    # Everything else follows from what guests say.
    Share.GUESTS: Part(until=1 / 3, max_bytes=24 * _MIB),
    Share.ENDORSEMENTS: Part(until=1 / 2, max_bytes=16 * _MIB),
    # Registries are asked beside the chain.
    Share.IMAGES: Part(until=2 / 3, max_bytes=16 * _MIB),
    # What the logs name is read after them (see `Budget.ends`).
    Share.LOGS: Part(until=1.0, max_bytes=40 * _MIB, by_origin=16 * _MIB),
    Share.STATE: Part(until=1.0, max_bytes=32 * _MIB, by_origin=12 * _MIB),
    # No evidence, and in no collection: a command of its own downloads it.
    Share.RELEASE: Part(until=1.0, max_bytes=4 << 30),
}
"""The shares; of bytes, 128 MiB together in a collection."""


class SpentError(LimitError):
    """Nothing more is asked of a source: its share of the time or of the bytes is used up."""


class Budget:
    """What a collection may cost, and what it has cost so far. Safe to use from several threads.

    The time begins with the first look at the clock. `monotonic` is in seconds.
    """

    def __init__(
        self, seconds: float = math.inf, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._monotonic = monotonic
        self._start = monotonic()
        self._lock = threading.Lock()
        self._received: dict[tuple[Share, str], int] = {}
        self._stopped = False

    def stop(self) -> None:
        """Let nothing more be asked: nobody waits for the answers."""
        self._stopped = True

    def ends(self, share: Share) -> float:
        """The moment, by the monotonic clock, at which a share of the time is over."""
        if self._stopped:
            return -math.inf
        seconds = self.seconds * PARTS[share].until
        if share is Share.LOGS and self.seconds < math.inf:
            seconds -= min(self.seconds * _LEAST_RESERVE, _RESERVE_SECONDS)
        return self._start + seconds

    def left(self, share: Share) -> float:
        """The seconds that are left to a share, 0 when it is over."""
        return max(self.ends(share) - self._monotonic(), 0.0)

    def check(self, share: Share) -> None:
        """Raise SpentError when nothing more may be asked of sources of this kind."""
        if self._stopped:
            raise SpentError("not asked: the collection was interrupted")
        if self._monotonic() >= self.ends(share):
            raise SpentError(
                f"not asked: the time for {share} is over, of {self.seconds:g} seconds in all",
                hint="allow more with --timeout, or try again when the servers are faster",
                cause=Cause.TOO_SLOW,
            )

    def take(self, share: Share, origin: str, count: int) -> None:
        """Count bytes that an origin sent. Raises SpentError when they are too many."""
        part = PARTS[share]
        with self._lock:
            for key in {(share, origin), (share, "")}:
                self._received[key] = self._received.get(key, 0) + count
            own, of_all = self._received[share, origin], self._received[share, ""]
        if of_all > part.max_bytes or (part.by_origin and own > part.by_origin):
            raise SpentError(
                f"more bytes than all evidence about {share} may have",
                hint="no honest source sends so much: check the address, or use another source",
                cause=Cause.TOO_LARGE,
            )
