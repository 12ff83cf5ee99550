"""Connections to one origin, each of them for one request at a time.

httpcore's own pool looks through all its connections at every request and every answer: where an
endpoint is asked dozens of things side by side, that costs more than the requests do.
"""

import threading
from collections.abc import Callable

import httpcore


class Connections:
    """Takes the connection that was used last, or else makes one. How many there are at once is up
    to who asks. Safe to use from several threads."""

    def __init__(self, make: Callable[[], httpcore.HTTPConnection]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[httpcore.HTTPConnection] = []
        self._busy: set[httpcore.HTTPConnection] = set()

    def take(self) -> httpcore.HTTPConnection:
        """A connection that nobody else uses until it is given back."""
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not connection.has_expired():
                    break
                connection.close()
            else:
                connection = self._make()
            self._busy.add(connection)
            return connection

    def give(self, connection: httpcore.HTTPConnection) -> None:
        """Take a connection back, once its answer was read or it failed; a second time is none."""
        with self._lock:
            if connection not in self._busy:
                return
            self._busy.remove(connection)
            if connection.is_available():
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close every connection, also those that are in use."""
        with self._lock:
            for connection in (*self._idle, *self._busy):
                connection.close()
            self._idle.clear()
            self._busy.clear()
