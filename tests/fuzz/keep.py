"""Keeps the few inputs of a target that reach what all of them do, in its folder of the corpus:
`python -m tests.fuzz.keep FOLDER TARGET…` prints what they are, as JSON, a line for each target."""

import hashlib
import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Final

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.coverage import fewest, lines
from tests.fuzz.target import CORPUS, inputs

BUDGET: Final = 14 << 10
"""Bytes of the inputs that are kept of one target."""


def keep(name: str, folder: Path) -> dict[str, int]:
    """Keep inputs of a target: from what was found and given, and from those that are kept."""
    target, own = TARGETS[name], CORPUS / name
    raws = [*inputs(CORPUS, name), *inputs(folder, "seeds"), *inputs(folder, "found")]
    kept, reached = fewest(target, raws, BUDGET)
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    for raw in kept:
        (own / hashlib.sha256(raw).hexdigest()[:16]).write_bytes(raw)
    return {"kept": len(kept), "bytes": sum(map(len, kept)), "lines": lines(reached)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sys.argv[2:]:
        sys.stdout.write(f"{json.dumps(keep(name, Path(sys.argv[1]) / name))}\n")
