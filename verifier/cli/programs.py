"""Other programs, run within bounds: of time, of memory, of what they write."""

import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

MAX_OUTPUT_BYTES: Final = 64 << 10


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
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    with tempfile.TemporaryFile() as stdout:
        try:
            started = subprocess.Popen(  # noqa: S603 - the user named it
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=bounded,  # noqa: PLW1509 - no thread runs here
            )
        except OSError as error:
            return Ran(output="", problem=f"{command[0]}: {error.strerror or error}")
        try:
            code = started.wait(seconds)
            problem = _ended(code) if code else ""
        except subprocess.TimeoutExpired:
            problem = f"no answer within {seconds:g} s"
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        stdout.seek(0)
        return Ran(output=stdout.read(MAX_OUTPUT_BYTES).decode(errors="replace"), problem=problem)


def _ended(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    return f"ended by {signal.Signals(-code).name}"
