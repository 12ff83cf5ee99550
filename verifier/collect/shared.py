"""What collections that run side by side share: turns at each server, and collateral.

A fleet asks the same few servers for thousands of apps. Each server answers at most so many
questions of all collections at once, and the collateral of a platform is asked for once in a while.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.collect.http import Response
from verifier.errors import Cause, CollectError, LimitError
from verifier.evidence.bundle import Kind

COLLATERAL: Final = frozenset(
    {Kind.PCS_TCB_INFO, Kind.PCS_QE_IDENTITY, Kind.PCS_PCK_CRL, Kind.PCS_ROOT_CA_CRL}
)
"""Kinds whose answers are the same for every app on a platform, and prove themselves."""
MAX_AGE_SECONDS: Final = 3600
"""How long an answer is given again."""


class _Slot(Struct):
    """An answer that is shared, and the lock under which it is asked for."""

    lock: threading.Lock
    answer: Response | None = None


class Shared:
    """What collections share. Safe to use from several threads; `per_host` questions at once."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Semaphore] = {}
        self._slots: dict[str, _Slot] = {}

    @contextmanager
    def turn(self, host: str, seconds: float) -> Iterator[None]:
        """Wait for a turn at a server, and hold it. Raises LimitError where none came in time."""
        with self._lock:
            turns = self._turns.setdefault(host, threading.Semaphore(self._per_host))
        if not turns.acquire(timeout=max(seconds, 0.0)):
            raise LimitError(
                "not asked: other apps of this run ask this server",
                hint="collect fewer apps at once, or allow more time with --timeout",
                cause=Cause.TOO_SLOW,
            )
        try:
            yield
        finally:
            turns.release()

    def collateral(
        self, url: str, clock: Callable[[], int], ask: Callable[[], Response | CollectError]
    ) -> Response | CollectError:
        """The answer of a collateral service, with the time at which it came. Failures are not
        shared: the next collection asks again."""
        with self._lock:
            slot = self._slots.setdefault(url, _Slot(threading.Lock()))
        with slot.lock:
            kept = slot.answer
            if kept is not None and clock() - (kept.received_at or 0) <= MAX_AGE_SECONDS:
                return kept
            answer = ask()
            if isinstance(answer, Response) and answer.status in range(200, 300):
                slot.answer = answer = replace(answer, received_at=clock())
            return answer
