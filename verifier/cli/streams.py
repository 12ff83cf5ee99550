"""The streams of the process: what is written, where it goes, and how it ends."""

import errno
import gc
import os
import shutil
import signal
import sys
import textwrap
import warnings
from contextlib import suppress
from typing import Final, TextIO

MAX_WIDTH: Final = 100
_GARBAGE: Final = 300_000
"""New objects after which garbage is looked for. One audit leaves hardly any, and what it imports
is more than the hundreds after which Python would look through all of it again."""
_ERASE: Final = "\r\x1b[K"
"""Back to the start of the line, and nothing on it."""


def terminal_width(most: int = MAX_WIDTH) -> int:
    """How wide a report may be: that of the terminal, up to `most` cells; so many in a pipe."""
    return min(shutil.get_terminal_size().columns, most) if is_terminal(sys.stdout) else most


def flush() -> None:
    """Write what stdout still holds. Raises OSError where nobody takes it."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def leave_stdout() -> None:
    """Let nothing more be written to stdout: what is left would fail again at the end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def end_as_a_pipe() -> None:
    """End as a program does when nobody reads its output any more: by SIGPIPE, where there is
    one."""
    leave_stdout()
    pipe = getattr(signal, "SIGPIPE", None)
    if pipe is not None:
        signal.signal(pipe, signal.SIG_DFL)
        signal.raise_signal(pipe)
    sys.exit(0)


def write_stdout(raw: bytes) -> None:
    """Write to stdout. Raises OSError where it is closed."""
    end_progress()
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def uses_color() -> bool:
    """Whether stdout wants colour: a terminal does, unless NO_COLOR or TERM=dumb say no, and what
    is no terminal where FORCE_COLOR says so, as the logs of some pipelines do."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR", "") not in {"", "0"}
    return forced or (is_terminal(sys.stdout) and os.environ.get("TERM", "") != "dumb")


def print_row(lead: str, text: str) -> None:
    """Print a text in a column beside its lead, so that on a terminal nothing leaves the column;
    a word too long for it goes under the lead. What is no terminal gets one line."""
    from verifier.report.escape import visible  # noqa: PLC0415

    shown = visible(text)
    if not is_terminal(sys.stdout):
        print(f"{lead}{shown}".rstrip())
        return
    width, margin = terminal_width(), len(lead) - len(lead.lstrip())
    longest = max(map(len, shown.split(" ")))
    beside = longest <= width - len(lead)
    if not beside:
        print(lead.rstrip())
    indent = " " * (len(lead) if beside else margin + 2)
    rows = textwrap.wrap(
        shown,
        width,
        initial_indent=lead if beside else indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    print("\n".join(rows) or lead.rstrip())


def progress(message: str) -> None:
    """What is being done, in one line on stderr that the next one replaces, when somebody
    watches."""
    if not is_terminal(sys.stderr):
        return
    if _is_dumb():
        print(f"verify: {message}", file=sys.stderr)
        return
    width = shutil.get_terminal_size().columns
    print(f"{_ERASE}{f'verify: {message}'[: width - 1]}", end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Erase the line of progress: what stands there next is to stay."""
    if is_terminal(sys.stderr) and not _is_dumb():
        print(_ERASE, end="", file=sys.stderr, flush=True)


def _is_dumb() -> bool:
    """Whether a terminal can erase nothing."""
    return os.environ.get("TERM", "") in {"", "dumb"}


def prepare_process() -> None:
    """What each process of the command begins with. Libraries warn of nothing, since what is odd
    about evidence is for the checks to say, and garbage is looked for rarely."""
    gc.set_threshold(_GARBAGE)
    prepare_small_process()


def prepare_small_process() -> None:
    """The same for one that has to stay small: garbage is looked for as often as Python does."""
    warnings.simplefilter("ignore")


def warn(message: str, hint: str = "") -> None:
    """One line on stderr, and a second one with what to do next."""
    from verifier.manifest.secret_text import masked  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    if sys.stderr is not None:
        end_progress()
        print(f"verify: {visible(masked(message))}", file=sys.stderr)
        if hint:
            print(f"        {visible(hint)}", file=sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is there and is a terminal."""
    return stream is not None and stream.isatty()
