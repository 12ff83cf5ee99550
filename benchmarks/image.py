"""What an OS image and a machine cost: `python -m benchmarks.image` writes image.md here.

Times of one processor, but for the image, which hashes on two: that is measured by the clock,
beside hashing the same files once with sha384, without which RTMR2 cannot be known.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.run import HERE, Row, paired, render
from tests.image.images import files_of, write_image
from tests.machine.machines import OVMF
from verifier.image.files import read_image
from verifier.image.measurement import measure_image
from verifier.machine.acpi import acpi_blobs
from verifier.machine.firmware import complete, find_memory, memory_map_digest
from verifier.machine.search import find_shape, memory_sizes
from verifier.machine.shape import MachineShape

GIB = 1 << 30
NO_DIGESTS = (bytes(48), bytes(48), bytes(48))


def busy(job: Callable[[], object], runs: int) -> float:
    """The least processor seconds of several runs, after one to warm up."""
    taken = []
    for _ in range(runs + 1):
        start = time.process_time()
        job()
        taken.append(time.process_time() - start)
    return min(taken[1:])


def rtmr0(shape: MachineShape) -> None:
    """RTMR0 of a machine whose tables nobody kept."""
    complete(memory_map_digest(OVMF, shape.memory), OVMF, acpi_blobs(shape).digests)


def searched() -> None:
    """A search for a machine that is none."""
    find_shape.cache_clear()
    assert find_shape(8 * GIB, NO_DIGESTS) is None
    assert find_memory(OVMF, bytes(48), memory_sizes()) is None


def rows() -> Iterator[Row]:
    usual = MachineShape(cpus=8, memory=64 * GIB)
    # Each of another size: the processors of the last machines are kept.
    largest = (MachineShape(cpus=4096 - less, memory=1 << 40) for less in range(4))
    for what, job, budget in (
        ("RTMR0 of a machine of 8 vCPU", lambda: rtmr0(usual), 0.005),
        ("RTMR0 of a machine of 4,096 vCPU", lambda: rtmr0(next(largest)), 0.2),
        ("a search that finds neither memory nor tables", searched, 2.0),
    ):
        least = f"{budget * 1000:g} ms of one processor"
        yield Row(what=f"{what} / {least}", ours=busy(job, 3), least=budget, budget=1)
    with tempfile.TemporaryDirectory() as name:
        files = files_of(**{"initramfs.cpio.gz": os.urandom(195 << 20)})
        folder = write_image(Path(name) / "image", files)

        def hashed() -> None:
            for path in folder.iterdir():
                hashlib.sha384(path.read_bytes()).digest()

        ours, least_time = paired(lambda: measure_image(read_image(folder)), hashed, 5)
    yield Row(
        what="measure an image of 200 MB / sha384 of its files once",
        ours=ours,
        least=least_time,
        budget=1.5,
    )


def main() -> None:
    text = render(list(rows())).replace("# Benchmarks", "# Image and machine", 1)
    (HERE / "image.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
