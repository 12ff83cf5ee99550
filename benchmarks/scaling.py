"""How cost grows with size: `python -m benchmarks.scaling` writes scaling.md and its plots here.

Each curve is the least processor time of several runs at growing sizes, and the exponent of the
power law through its points: 1 is linear. A fixed part makes it smaller than 1.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from msgspec.structs import replace

from benchmarks.image import busy
from benchmarks.run import HERE, unread
from benchmarks.timeline import APP, BEGIN, KMS, app_logs, node_says, whole_timeline
from tests.timeline.nodes import view_of
from verifier.audit import audit_bundle
from verifier.cli.question import simulated_question
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain.contract_events import KMS_GOVERNANCE_TOPICS, decode_event
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, decode_answer, encode_scan
from verifier.evidence.td.event_log import parse_event_log, replay
from verifier.lab.world import build
from verifier.manifest.audit import audit_manifest
from verifier.manifest.context import Context
from verifier.policy.policy import load_policy

FOLDER = HERE / "scaling"
RUNS = 3
SLOPE = 1.1
"""A measured exponent up to which a curve counts as linear: the machine is not quiet."""
SERVICE = """
  service{0}:
    image: docker.io/acme/service{0}:1.{0}@sha256:{0:064x}
    restart: unless-stopped
    ports: ["{1}:80"]
    environment: {{LEVEL: info, TOKEN: "${{TOKEN_{0}}}"}}
    volumes: ["data{0}:/data", "/var/run/dstack.sock:/var/run/dstack.sock"]
    command: ["sh", "-c", "exec /app --port 80 --name service{0}"]
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """What grows, and the processor seconds at each size."""

    name: str
    what: str
    points: tuple[tuple[int, float], ...]

    @property
    def exponent(self) -> float:
        """The least-squares slope of log(seconds) over log(size)."""
        logs = [(math.log(size), math.log(seconds)) for size, seconds in self.points]
        x, y = (sum(axis) / len(logs) for axis in zip(*logs, strict=True))
        spread = sum((a - x) ** 2 for a, _ in logs)
        return float(sum((a - x) * (b - y) for a, b in logs) / spread)


def measured(
    name: str, what: str, sizes: tuple[int, ...], job_of: Callable[[int], Callable[[], object]]
) -> Curve:
    return Curve(name, what, tuple((size, busy(job_of(size), RUNS)) for size in sizes))


def events(count: int) -> Callable[[], object]:
    digest = "ab" * 48
    entry = {"imr": 3, "event_type": 134217729, "digest": digest, "event": "x", "event_payload": ""}
    raw = json.dumps([entry] * count).encode()

    def job() -> None:
        found = parse_event_log(raw, "event log")
        replay([bytes.fromhex(digest)] * len(found))

    return job


def logs(count: int) -> Callable[[], object]:
    wanted, given = LogFilter(chain_id=8453, address=APP), app_logs(count)

    def job() -> None:
        for item in decode_answer(wanted, given, "benchmark"):
            decode_event(item.log)

    return job


def history(count: int) -> Callable[[], object]:
    bundle, last = BundleBuilder(), BEGIN + count
    for address, topics, held in ((APP, (), app_logs(count)), (KMS, KMS_GOVERNANCE_TOPICS, [])):
        wanted = LogFilter(chain_id=8453, address=address, topics=topics)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": held}).encode()
        scan = encode_scan(wanted, [RangeAnswer(first=BEGIN, last=last, at=0, body=body)])
        for source in view_of(last, node_says, node_says).endpoints:
            bundle.add(Kind.LOG_SCAN, scan, source=source, collected_at=0, request=wanted.text)
    return lambda: whole_timeline(bundle, last)


def services(count: int) -> Callable[[], object]:
    compose = "services:" + "".join(SERVICE.format(item, 8000 + item) for item in range(count))
    volumes = "".join(f"\n  data{item}: {{}}" for item in range(count))
    document = {
        "manifest_version": 2,
        "name": "scaling",
        "runner": "docker-compose",
        "docker_compose_file": f"{compose}\nvolumes:{volumes}\n",
        "kms_enabled": True,
        "allowed_envs": [f"TOKEN_{item}" for item in range(count)],
    }
    raw = json.dumps(document).encode()
    return lambda: audit_manifest(raw, Context())


def instances() -> Callable[[int], Callable[[], object]]:
    """One attester's evidence under several names, as a cluster of equal guests gives it."""
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    one = collect_evidence(
        question, Sources(responder=world.respond, cloud=False), lambda: world.now
    )
    policy, (subject,) = load_policy("baseline"), one.subjects

    def job_of(count: int) -> Callable[[], object]:
        copies = [
            replace(item, subject=f"{subject}-{copy}")
            for item in one.artifacts
            if item.subject == subject
            for copy in range(1, count)
        ]
        bundle = Bundle((*one.artifacts, *copies), one.blobs)
        return lambda: audit_bundle(unread(bundle), "benchmark", question, policy)

    return job_of


def curves() -> Iterator[Curve]:
    yield measured(
        "events", "entries of an event log, parsed and replayed", (10, 100, 1000, 4000), events
    )
    yield measured("logs", "contract logs, decoded", (100, 1000, 10_000, 100_000), logs)
    yield measured(
        "hashes",
        "events of a timeline that allow and withdraw hashes",
        (100, 1000, 10_000),
        history,
    )
    yield measured(
        "services", "services of a manifest, judged by every rule", (10, 100, 300, 900), services
    )
    yield measured("instances", "guests of one app, audited", (1, 3, 10, 30), instances())


def plot(curve: Curve) -> bytes:
    """Seconds over size, both axes logarithmic, as SVG; the dashed line is linear growth."""
    width, height, edge = 480, 300, 48
    xs = [math.log10(size) for size, _ in curve.points]
    ys = [math.log10(seconds) for _, seconds in curve.points]
    low, high = math.floor(min(ys)), math.ceil(max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[-1] - xs[0])
        up = (y - low) / (high - low)
        return edge + across * (width - 2 * edge), height - edge - up * (height - 2 * edge)

    root = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", role="img"
    )
    ET.SubElement(root, "title").text = f"{curve.what}: exponent {curve.exponent:.2f}"
    linear = [(xs[0], ys[-1] - (xs[-1] - xs[0])), (xs[-1], ys[-1])]
    for line, stroke, dashes in (
        ([(x, y) for x, y in linear if y >= low], "#888", "4"),
        (list(zip(xs, ys, strict=True)), "#2563eb", ""),
    ):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        style = {"fill": "none", "stroke": stroke, "stroke-width": "2", "stroke-dasharray": dashes}
        ET.SubElement(root, "polyline", {"points": path, **style})
    text = {"font-family": "sans-serif", "font-size": "12", "fill": "#555"}
    for (size, seconds), x, y in zip(curve.points, xs, ys, strict=True):
        left, top = place(x, y)
        below = {"x": f"{left:.1f}", "y": f"{height - edge / 2:.1f}", "text-anchor": "middle"}
        ET.SubElement(root, "text", {**text, **below}).text = f"{size:,}"
        beside = {"x": f"{left:.1f}", "y": f"{top - 8:.1f}", "text-anchor": "middle"}
        ET.SubElement(root, "text", {**text, **beside}).text = f"{seconds * 1000:.3g} ms"
    return ET.tostring(root) + b"\n"


def render(found: list[Curve]) -> str:
    lines = [
        "# How cost grows",
        "",
        "Least processor milliseconds of several runs. The exponent is the slope of the points",
        f"where both axes are logarithmic: up to {SLOPE} counts as linear on a busy machine.",
    ]
    for curve in found:
        costs = " · ".join(f"{size:,}: {seconds * 1000:.3g} ms" for size, seconds in curve.points)
        steps = ", ".join(
            f"{math.log(after / before) / math.log(more / less):.2f}"
            for (less, before), (more, after) in pairwise(curve.points)
        )
        kind = "linear or less" if curve.exponent <= SLOPE else "**more than linear**"
        lines += [
            "",
            f"## {curve.name.capitalize()}",
            "",
            f"{curve.what.capitalize()}: {costs}.",
            f"Exponent {curve.exponent:.2f} ({kind}); step by step {steps}.",
            "",
            f"![{curve.what}](scaling/{curve.name}.svg)",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    found = []
    for curve in curves():
        found.append(curve)
        (FOLDER / f"{curve.name}.svg").write_bytes(plot(curve))
        print(f"{curve.name}: exponent {curve.exponent:.2f}", flush=True)
    (HERE / "scaling.md").write_text(render(found), encoding="utf-8")


if __name__ == "__main__":
    main()
