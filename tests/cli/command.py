"""What a run of the command gives."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
"""The command as a user runs it: another process, without this one's environment."""

PROGRAM: Final = (
    "import signal, sys; sys.argv[0] = 'verify'; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from verifier.cli.main import main; main()"
)
"""The command. A shell that runs the tests in the background has Ctrl-C ignored by all below it."""
_KEPT: Final = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR")
_SECONDS: Final = 60
_OF_PYTHON: Final = ("PYTHON", "LANG", "LC_")
"""How the variables begin that are read where Python starts."""

# To load the auditor takes longer than most commands: each process begins where that is done, and
# with nothing else, since nothing was run there before.
_LOADED: Final = multiprocessing.get_context("forkserver")
_LOADED.set_forkserver_preload(["__main__", "tests.cli.warmed"])


def command_in(folder: Path, cache: Path) -> Run:
    """The command as it runs in a directory, with this cache directory."""

    def run_command(*arguments: str | Path, **environment: str) -> Ran:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        variables = kept | {"XDG_CACHE_HOME": str(cache)} | environment
        starts = _started if any(name.startswith(_OF_PYTHON) for name in environment) else _forked
        return starts([*map(str, arguments)], folder, variables)

    return run_command


def _started(arguments: list[str], folder: Path, variables: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def _forked(arguments: list[str], folder: Path, variables: Mapping[str, str]) -> Ran:
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept) / "out", Path(kept) / "err"
        process = _LOADED.Process(target=_run, args=(arguments, folder, variables, out, err))
        process.start()
        process.join(_SECONDS)
        code = process.exitcode
        if code is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, _SECONDS)
        process.close()
        return Ran(code, out.read_bytes().decode(), err.read_bytes().decode())


def _run(
    arguments: list[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path
) -> None:
    """The command in this process, which is its own."""
    from verifier.cli.main import main  # noqa: PLC0415 - loaded already

    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["verify", *arguments]
    sys.modules["__main__"] = ModuleType("__main__")  # what the command's own processes begin with
    main()
