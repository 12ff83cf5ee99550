"""Workers of a pool that meet accidents: prepared in the worker's own process."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from verifier.watch.fleet.job import Asked, Job, Outcome, judge

ALWAYS: Final = "kills whoever audits it"
ONCE: Final = "kills the first one, and leaves a file"
HANGS: Final = "never ends"


def judge_or_die(asked: Asked, job: Job) -> Outcome:
    """Audit a job, unless its name says that it goes wrong."""
    if job.name == HANGS:
        time.sleep(600)
    met = Path(job.text.partition("@")[2] + ".met")
    if job.name == ALWAYS or (job.name == ONCE and not met.exists()):
        met.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return judge(asked, job)


def never_ready() -> None:
    """End before there is any job."""
    os.kill(os.getpid(), signal.SIGKILL)
