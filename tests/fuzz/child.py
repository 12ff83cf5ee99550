"""Targets under libFuzzer: `python -m tests.fuzz.child FOLDER SECONDS SEED TARGET…`.

The code is watched from its import on, once; each target then runs in a process of its own. A
crash of Python code is written to the target's folder `crashes`, one for each place, and the run
goes on; a crash of native code ends the process, libFuzzer writes its input, and another process
goes on.
"""

import hashlib
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Final, NoReturn

import atheris

WATCHED: Final = ["verifier", "yaml", "bs4", "dns", "rfc8785", "tomllib", "tarfile", "html"]
"""What is watched for new ways: the auditor, and what it parses with that is Python."""

_HANG: Final = 60
_AT_LEAST: Final = 4096
_STDERR: Final = 2

with atheris.instrument_imports(include=WATCHED):
    from tests.fuzz.catalogue import TARGETS
    from tests.fuzz.target import CORPUS, LONGEST, READ, REFUSED, Target, inputs, judge


def main(folder: Path, seconds: float, seed: int, names: list[str]) -> None:
    """Run each target for some time."""
    warnings.simplefilter("ignore")
    for name in names:
        until = time.monotonic() + seconds
        while (left := round(until - time.monotonic())) > 0:
            process = os.fork()
            if not process:
                _run(TARGETS[name], folder / name, left, seed)
            os.waitpid(process, 0)
            seed += 1


def _run(target: Target, own: Path, seconds: int, seed: int) -> NoReturn:
    """Run a target until libFuzzer ends the process, which tells its log how it went."""
    log = os.open(own / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, _STDERR)
    try:
        folders = (own / "found", CORPUS / target.name, own / "seeds")
        kept = [raw for folder in folders for raw in inputs(folder.parent, folder.name)]
        with atheris.instrument_imports(include=WATCHED):
            for raw in inputs(own, "seeds"):
                judge(target, raw)  # what is imported only where it is used, is watched too
        longest = min(LONGEST, max(_AT_LEAST, *(2 * len(raw) for raw in kept)))
        arguments = [
            *("fuzz", f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={_HANG}"),
            *("-rss_limit_mb=3072", f"-max_len={longest}"),
            *((f"-dict={own / 'tokens'}",) if target.tokens else ()),
            *(f"-artifact_prefix={own / 'crashes'}/", *map(str, folders)),
        ]
        atheris.Setup(arguments, lambda raw: _try(target, raw, own / "crashes"))
        atheris.Fuzz()
    except Exception:  # noqa: BLE001 - told in the log
        traceback.print_exc()
    os._exit(1)


def _try(target: Target, raw: bytes, crashes: Path) -> None:
    outcome = judge(target, raw)
    if outcome in (READ, REFUSED):
        return
    path = crashes / f"crash-{hashlib.sha256(outcome.encode()).hexdigest()[:16]}"
    if not path.exists() or len(raw) < path.stat().st_size:
        path.write_bytes(raw)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
