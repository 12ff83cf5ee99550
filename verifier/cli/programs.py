"""Other programs, run within bounds: of time, of memory, of what they write."""

import itertools
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

MAX_OUTPUT_BYTES: Final = 64 << 10
_MARK: Final = "STARTED_BY_VERIFY"
_NUMBERS: Final = itertools.count()
_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)
_ROUNDS: Final = 100
"""How often it is looked for what left its session: it may start others until it is ended."""


class Ran(Struct, frozen=True, kw_only=True):
    """What became of a program.

    output   what it wrote to stdout, up to `MAX_OUTPUT_BYTES`; bytes that are no UTF-8 are replaced
    problem  why it gave no answer: its time was up, it did not exit with 0, it could not be started
             at all; "" where it exited with 0
    """

    output: str
    problem: str


def run(command: Sequence[str], *, seconds: float, memory_bytes: int) -> Ran:
    """Run a program without a shell and without stdin, in a session of its own: whatever it started
    ends with it."""

    def bounded() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _limit(resource.RLIMIT_AS, memory_bytes)
        _limit(resource.RLIMIT_FSIZE, MAX_OUTPUT_BYTES)
        _limit(resource.RLIMIT_CORE, 0)

    mark = f"{os.getpid()}-{next(_NUMBERS)}"
    started: subprocess.Popen[bytes] | None = None
    with tempfile.TemporaryFile() as stdout:
        # An interruption waits until there is something that has to be ended.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
        try:
            try:
                started = subprocess.Popen(  # noqa: S603 - the user named it
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, _MARK: mark},
                    start_new_session=True,
                    preexec_fn=bounded,  # noqa: PLW1509 - no thread runs here
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            code = started.wait(seconds)
            problem = _ended(code) if code else ""
        except subprocess.TimeoutExpired:
            problem = f"no answer within {seconds:g} s"
        except OSError as error:
            problem = f"{command[0]}: {error.strerror or error}"
        finally:
            if started is not None:
                _end(started, mark)
        stdout.seek(0)
        return Ran(output=stdout.read(MAX_OUTPUT_BYTES).decode(errors="replace"), problem=problem)


def _ended(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"ended by signal {-code}"


def _limit(what: int, most: int) -> None:
    """A limit, or whoever called has a lower one, which nobody may raise."""
    _, highest = resource.getrlimit(what)
    held = most if highest == resource.RLIM_INFINITY else min(most, highest)
    resource.setrlimit(what, (held, held))


def _end(started: subprocess.Popen[bytes], mark: str) -> None:
    """End a program with all that it started: what is in its session, and where there is a /proc
    also what has left that, by the environment that it was given."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    for _ in range(_ROUNDS):
        left = list(_left_behind(f"{_MARK}={mark}".encode()))
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not left:
            break


def _left_behind(mark: bytes) -> Iterator[int]:
    """The processes that have this in their environment."""
    for place in Path("/proc").glob("[1-9]*/environ"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if mark in place.read_bytes().split(b"\0"):
                yield int(place.parent.name)
