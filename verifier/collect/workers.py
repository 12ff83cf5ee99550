"""Threads that may be left behind.

A thread that waits for a server cannot be ended from outside. So those that wait here are daemons:
neither an interruption nor the end of the program has to wait for them.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

_NAME: Final = "collect"
_LINGER: Final = 0.2
"""Seconds for which a thread without work waits for more before it ends."""


class Workers:
    """Runs functions side by side, at most so many at once, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ready = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:  # noqa: ANN401
        """Run a function with these arguments; the future holds its result or exception."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - for whoever waits for the result
                future.set_exception(error)

        with self._ready:
            self._waiting.append(run)
            if len(self._waiting) <= self._idle:
                self._ready.notify()
                return future
            if self._threads >= self._most:
                return future
            self._threads += 1
        threading.Thread(target=self._work, name=_NAME, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            with self._ready:
                if not self._waiting:
                    self._idle += 1
                    self._ready.wait_for(lambda: self._waiting, _LINGER)
                    self._idle -= 1
                if not self._waiting:
                    self._threads -= 1
                    return
                run = self._waiting.popleft()
            run()
