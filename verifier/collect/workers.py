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


class Workers:
    """Runs functions side by side, at most so many at once, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = 0

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:  # noqa: ANN401
        """Have a function run with these arguments; its result or exception is the future's."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - for whoever waits for the result
                future.set_exception(error)

        with self._lock:
            self._waiting.append(run)
            if self._busy >= self._most:
                return future
            self._busy += 1
        threading.Thread(target=self._work, name=_NAME, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                run = self._waiting.popleft()
            run()
