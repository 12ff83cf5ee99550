"""What comes of one input: `python -m tests.fuzz.replay TARGET FILE` prints it."""

import sys
import warnings
from pathlib import Path

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.target import judge

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    judge(TARGETS[sys.argv[1]], b"")  # what is imported at the first use
    sys.stdout.write(judge(TARGETS[sys.argv[1]], Path(sys.argv[2]).read_bytes()))
