"""Workers of a pool that meet accidents: prepared in the worker's own process."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from verifier.watch.fleet import pool
from verifier.watch.fleet.job import Asked, Job, Outcome
from verifier.watch.fleet.job import judge as judged

ALWAYS: Final = "kills whoever audits it"
ONCE: Final = "kills the first one, and leaves a file"
HANGS: Final = "never ends"


def meet_accidents() -> None:
    """Let the audits of some jobs go wrong in this process."""

    def judge(asked: Asked, job: Job) -> Outcome:
        if job.name == HANGS:
            time.sleep(600)
        met = Path(job.text.partition("@")[2] + ".met")
        if job.name == ALWAYS or (job.name == ONCE and not met.exists()):
            met.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return judged(asked, job)

    pool.judge = judge


def never_ready() -> None:
    """End before there is any job."""
    os.kill(os.getpid(), signal.SIGKILL)
