"""How fast every verifier that installs here is, beside this auditor: peers-speed.md and its plots.

Each works in a process of its own, which takes turns with this auditor's: first ours, then theirs,
in every round, so that a machine that is not quiet slows both. Written are medians of processor
time, and the median of the rounds' ratios.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from benchmarks.peers.run import CORPUS, HERE, NODE, installed

OURS: Final = "verify (this auditor)"
ROUNDS: Final = 3
SIZES: Final = {
    "quote": (1, 10, 100, 1000),
    "log": (10, 100, 1000, 4000),
    "manifest": (1, 10, 100, 1000),
}
WHAT: Final = {
    "quote": "quotes, verified with their collateral",
    "log": "entries of an event log, read and replayed",
    "manifest": "services of a manifest, read and hashed",
}
DOES: Final = {
    "quote": "Ours is the step that the check `hardware.quote` takes: dcap-qvl gives the claims, "
    "and what it leaves open is judged besides. secretvm-verify asks the same library and reads "
    "the quote once more; tinfoil verifies signatures and certificates alone, without collateral.",
    "log": "Ours reads strictly and recomputes each digest from name and payload; dstack-sdk "
    "believes the digests of the log.",
    "manifest": "Ours reads strictly and hashes the bytes that were measured; dstack-sdk hashes "
    "what it writes again.",
}
_ABOUT: Final = (
    "Processor milliseconds (the median of three rounds), and how many times as long it takes as "
    "this auditor (the median of the rounds' ratios: above 1 it is slower). The growth is the "
    "slope of the points where both axes are logarithmic. Written by `make peers-speed`; what "
    "each gets right stands in [peers.md](peers.md)."
)
_COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed")


@dataclass(frozen=True, slots=True)
class Curve:
    """What one verifier took at each size, and the ratio to this auditor beside it."""

    name: str
    seconds: tuple[float, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Timed:
    """A verifier that works on demand."""

    process: "subprocess.Popen[str]"
    jobs: tuple[str, ...]

    def seconds(self, job: str, size: int) -> float:
        """The processor time of one job."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"job": job, "size": size}) + "\n")
        self.process.stdin.flush()
        return float(_line(self.process))


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "a verifier ended, or gave a wrong result"
    return line


@contextmanager
def timed(*words: str) -> Iterator[Timed]:
    vector = next(path for path in sorted((CORPUS / "quote").iterdir()) if "honest" in path.name)
    process = subprocess.Popen(
        [*words, str(vector)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    try:
        yield Timed(process, tuple(json.loads(_line(process))))
    finally:
        process.kill()
        process.communicate()


def compared(name: str, theirs: Timed, mine: Timed) -> Iterator[tuple[str, Curve, Curve]]:
    """Ours and theirs, in turns, at every size of every job of theirs."""
    for job in theirs.jobs:
        rows: list[list[tuple[float, float]]] = []
        for verifier in (mine, theirs):
            verifier.seconds(job, SIZES[job][0])  # the first is not counted
        for size in SIZES[job]:
            rounds = [(mine.seconds(job, size), theirs.seconds(job, size)) for _ in range(ROUNDS)]
            rows.append(rounds)
        own = tuple(statistics.median(one for one, _ in rounds) for rounds in rows)
        other = tuple(statistics.median(two for _, two in rounds) for rounds in rows)
        ratios = tuple(statistics.median(two / one for one, two in rounds) for rounds in rows)
        yield job, Curve(OURS, own, tuple(1.0 for _ in own)), Curve(name, other, ratios)


def growth(sizes: tuple[int, ...], seconds: tuple[float, ...]) -> float:
    """The least-squares slope of log(seconds) over log(size)."""
    across, up = [math.log(size) for size in sizes], [math.log(each) for each in seconds]
    return statistics.linear_regression(across, up).slope


def plot(job: str, curves: list[Curve]) -> bytes:
    """Seconds over size, both axes logarithmic, as SVG."""
    width, height, edge = 560, 360, 56
    xs = [math.log10(size) for size in SIZES[job]]
    every = [math.log10(seconds) for curve in curves for seconds in curve.seconds]
    low, high = math.floor(min(every)), math.ceil(max(every))
    root = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", role="img"
    )
    ET.SubElement(root, "title").text = f"{WHAT[job]}: processor time of each verifier"
    text = {"font-family": "sans-serif", "font-size": "12"}

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - xs[0]) / (xs[-1] - xs[0]), (y - low) / (high - low)
        return edge + across * (width - 2 * edge), height - edge - up * (height - 2 * edge)

    for power in range(low, high + 1):
        top = f"{place(xs[0], power)[1]:.1f}"
        line = {"x1": str(edge), "x2": str(width - edge), "y1": top, "y2": top, "stroke": "#ddd"}
        ET.SubElement(root, "line", line)
        left = {"x": str(edge - 6), "y": top, "text-anchor": "end", "fill": "#555"}
        shown = f"{10.0**power:g} s" if power >= 0 else f"{10.0 ** (power + 3):g} ms"
        ET.SubElement(root, "text", {**text, **left}).text = shown
    for size, x in zip(SIZES[job], xs, strict=True):
        below = {"x": f"{place(x, low)[0]:.1f}", "y": str(height - edge + 18)}
        style = {"text-anchor": "middle", "fill": "#555"}
        ET.SubElement(root, "text", {**text, **below, **style}).text = f"{size:,}"
    for number, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        ys = [math.log10(seconds) for seconds in curve.seconds]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in zip(xs, ys, strict=True))
        style = {"fill": "none", "stroke": colour, "stroke-width": "2"}
        ET.SubElement(root, "polyline", {"points": path, **style})
        key = {"x": str(edge + 8), "y": str(20 + 15 * number), "fill": colour}
        ET.SubElement(root, "text", {**text, **key}).text = curve.name
    return ET.tostring(root) + b"\n"


def document(found: dict[str, list[Curve]]) -> str:
    lines = ["# The speed of verifiers", "", _ABOUT]
    for job, curves in found.items():
        sizes = SIZES[job]
        shown = " | ".join(f"{size:,}" for size in sizes)
        lines += ["", f"## {WHAT[job].capitalize()}", "", DOES[job], ""]
        lines += [f"| Verifier | {shown} | growth |", f"|---|{'---|' * len(sizes)}---|"]
        for curve in curves:
            cells = [
                f"{seconds * 1000:.3g}" + ("" if curve.name == OURS else f" ({ratio:.2f} times)")
                for seconds, ratio in zip(curve.seconds, curve.ratios, strict=True)
            ]
            cells.append(f"{growth(sizes, curve.seconds):.2f}")
            lines.append(f"| {curve.name} | {' | '.join(cells)} |")
        lines += ["", f"![{WHAT[job]}](peers/{job}.svg)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    found: dict[str, list[Curve]] = {job: [] for job in SIZES}
    script = str(HERE / "timed_python.py")
    with tempfile.TemporaryDirectory() as folder, timed(sys.executable, script, "verify") as mine:
        for package, name, interpreter in installed(Path(folder)):
            words = [interpreter, script, package]
            if package == NODE:
                inside = Path(folder) / "node" / "timed_node.js"
                inside.write_bytes((HERE / inside.name).read_bytes())
                words = [interpreter, str(inside)]
            with timed(*words) as theirs:
                for job, own, other in compared(name, theirs, mine):
                    found[job] += [own, other] if not found[job] else [other]
                    print(job, name, [round(ratio, 2) for ratio in other.ratios], flush=True)
    for job, curves in found.items():
        (HERE / f"{job}.svg").write_bytes(plot(job, curves))
    (HERE.parent / "peers-speed.md").write_text(document(found), encoding="utf-8")


if __name__ == "__main__":
    main()
