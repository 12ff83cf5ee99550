"""What an audit costs, as ratios within one run: `make bench` writes results.md beside this file.

Each row compares the auditor with the least that the same job could cost, measured in turn in the
same run, so that a slow or busy machine slows both. Rows about real evidence need the recorded
near/mpc set (see `EVIDENCE`); without it they are measured on the simulated world, and say so.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dcap_qvl
from msgspec.structs import replace

from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.checks.hardware import anchors, nvidia
from verifier.cli.question import simulated_question
from verifier.collection import Sources, collect_evidence
from verifier.evidence import bundle as bundles
from verifier.evidence.certificates import spki_digest
from verifier.evidence.gpu.payload import parse_payload
from verifier.evidence.import_files import import_files
from verifier.evidence.readings import Readings
from verifier.lab.gpu import Gpus, trust_anchors
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId, format_time
from verifier.policy.policy import load_policy
from verifier.reference.values import TrustAnchor, embedded

HERE = Path(__file__).parent
EVIDENCE = HERE.parents[1] / "shared" / "evidence" / "near-mpc" / "2026-03-23_d84519915"
JUDGED_AT = 1774300620
VERIFY = str(Path(sys.executable).with_name("verify"))
ROUND_TRIP = 0.1
ROUNDS = 5

SMALLEST_APP = """
import typer
app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
@app.callback()
def group() -> None: "Do nothing."
@app.command()
def one(name: str) -> None: "Do nothing."
@app.command()
def two(name: str) -> None: "Do nothing."
app()
"""
SMALLEST_AUDIT = """
import sys, typer
app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
@app.command()
def one(quote: str, collateral: str, root: str, at: int) -> None:
    import dcap_qvl
    endorsements = dcap_qvl.QuoteCollateralV3.from_json(open(collateral).read())
    raw = [open(name, "rb").read() for name in (quote, root)]
    print(dcap_qvl.verify_with_root_ca(raw[0], endorsements, raw[1], at).status)
app()
"""

BEFORE = "import typer, pydantic, cryptography.x509"
SIGSTORE = (
    f"{BEFORE}, sigstore.hashes, sigstore.models, sigstore.verify, sigstore_models.trustroot.v1"
)

SERVER = """
import json, sys
from verifier.lab.serve import serve
from verifier.lab.world import build
with serve(build().respond, delay=float(sys.argv[1])) as served:
    print(json.dumps(dict(served.routes)), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison: seconds (or MB) of ours and of the least, and the budget for the ratio."""

    what: str
    ours: float
    least: float
    budget: float | None
    unit: str = "ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A bundle to audit offline, and what asks about it; `signed` where it holds a signature that
    Sigstore verifies."""

    name: str
    bundle: bundles.Bundle
    question: Question
    options: tuple[str, ...]
    signed: bool = False


def paired(ours: Callable[[], object], least: Callable[[], object], runs: int) -> tuple[float, ...]:
    """Median seconds of two jobs run in turn, after one warm-up of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for job, taken in zip((ours, least), times, strict=True):
            start = time.perf_counter()
            job()
            if run:
                taken.append(time.perf_counter() - start)
    return tuple(statistics.median(taken) for taken in times)


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(arguments, capture_output=True, check=False)


def recorded() -> Material | None:
    if not EVIDENCE.is_dir():
        return None
    files = [(path.name, path.read_bytes()) for path in sorted(EVIDENCE.iterdir())]
    app_id = json.loads((EVIDENCE / "tcb_info.json").read_text())["compose_hash"][:40]
    question = Question(app_id=AppId(app_id), reference=embedded(), at=JUDGED_AT, trusted=False)
    return Material(
        name="a recorded near/mpc bundle",
        bundle=import_files(files, collected_at=JUDGED_AT),
        question=question,
        options=(app_id, "--at", format_time(JUDGED_AT)),
    )


def simulated(world: World, folder: Path) -> Material:
    reference = folder / "reference.json"
    reference.write_bytes(world.reference())
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False)
    bundle = collect_evidence(question, sources, lambda: world.now)
    vouch = ("--trust-bundle", bundle.digest, "--unsafe-root", str(reference))
    return Material(
        name="a simulated bundle with a page, a certificate, KMS signatures and contract state",
        bundle=bundle,
        question=question,
        options=(world.app_id, "--at", format_time(world.now), *vouch),
        signed=True,
    )


def quote_of(material: Material) -> tuple[bytes, str, bytes]:
    """Quote, collateral document and root of a bundle, as a bare verification takes them."""
    from verifier.checks.case import Case
    from verifier.evidence.chain.json_rpc import Exchanges
    from verifier.evidence.subject import read_subject

    subject = read_subject(material.bundle, material.bundle.subjects[0])
    case = Case(subject, material.question, Exchanges(material.bundle))
    collateral = dcap_qvl.QuoteCollateralV3(**case.collateral.members)
    return case.quote.raw, collateral.to_json(), material.question.reference.root


def unread(bundle: bundles.Bundle) -> bundles.Bundle:
    """A bundle that remembers no reading of its blobs, as when it was just loaded."""
    return replace(bundle, readings=Readings())


def offline_rows(
    material: Material, folder: Path, budgets: tuple[float, float], memory: float
) -> Iterator[Row]:
    """The whole process, all checks, and peak memory of which `memory` MB is the budget."""
    quote, document, root = quote_of(material)
    paths = [folder / name for name in ("quote", "collateral", "root")]
    for path, raw in zip(paths, (quote, document.encode(), root), strict=True):
        path.write_bytes(raw)
    saved = folder / "bundle"
    bundles.save(material.bundle, saved)
    audit = (VERIFY, *material.options, "--bundle", str(saved), "--format", "json")
    least = (sys.executable, "-c", SMALLEST_AUDIT, *map(str, paths), str(material.question.at))
    ours, least_seconds = paired(command(*audit), command(*least), 15)
    yield Row(
        what=f"offline audit, whole process: {material.name} / python, Typer, one DCAP verify",
        ours=ours,
        least=least_seconds,
        budget=budgets[0],
    )
    policy = load_policy("baseline")
    endorsements = dcap_qvl.QuoteCollateralV3.from_json(document)
    at = material.question.at
    ours, bare = paired(
        lambda: audit_bundle(unread(material.bundle), "benchmark", material.question, policy),
        lambda: dcap_qvl.verify_with_root_ca(quote, endorsements, root, at),
        200,
    )
    yield Row(
        what=f"all checks in process, no rendering: {material.name} / one bare DCAP verify",
        ours=ours,
        least=bare,
        budget=budgets[1],
    )
    yield Row(
        what=f"peak memory of an offline audit: {material.name}",
        ours=peak_memory(*audit),
        least=memory,
        budget=1,
        unit="MB",
    )
    if material.signed:
        loaded, begun = paired(
            command(sys.executable, "-c", SIGSTORE), command(sys.executable, "-c", BEFORE), 15
        )
        yield Row(
            what=f"of the whole process, to load what verifies by Sigstore: {material.name} / "
            "python, Typer, one DCAP verify",
            ours=loaded - begun,
            least=least_seconds,
            budget=None,
        )


def peak_memory(*arguments: str) -> float:
    """Peak resident memory (MB) of one child process."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=True
    )
    divisor = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return int(done.stdout) / divisor


@contextmanager
def delayed() -> Iterator[Sources]:
    """The simulated world, served by another process until the block ends."""
    arguments = (sys.executable, "-c", SERVER, str(ROUND_TRIP))
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        routes = json.loads(server.stdout.readline())
        yield Sources(
            routes={host: (address, port) for host, (address, port) in routes.items()},
            cloud=False,
        )
        server.stdin.close()


def live_row(world: World, question: Question) -> Row:
    """A live audit, imports and TLS apart: from the first request to the verdict."""
    policy = load_policy("baseline")

    def audit(sources: Sources) -> None:
        bundle = collect_evidence(question, sources, lambda: world.now)
        report = audit_bundle(bundle, world.app_id, question, policy)
        assert report.accepted

    with delayed() as sources:
        ours, _ = paired(lambda: audit(sources), lambda: None, 7)
    return Row(
        what=f"live audit at {ROUND_TRIP * 1000:.0f} ms a response / {ROUNDS} dependent rounds",
        ours=ours,
        least=ROUNDS * ROUND_TRIP,
        budget=1.6,
    )


def gpu_rows() -> Iterator[Row]:
    """GPU reports from bytes to a judgement, beside the signatures that they have; what the chains
    of one machine share counts once."""
    nonce, now = bytes(32), 1_781_524_800
    root = trust_anchors()["nvidia-device"]
    anchor = TrustAnchor(use="", spki=spki_digest(root), certificate="", source="", date="")
    for count, signatures in ((1, 5), (8, 26)):
        gpus = Gpus(count=count, now=now)
        raw = gpus.payload(nonce)
        leaf, device, *_ = gpus.chain(0)

        def judge(raw: bytes = raw) -> None:
            anchors.forget()
            for entry in parse_payload(raw, "benchmark").gpus:
                assert not nvidia.report_failure(entry, (anchor,), now)

        def verify(times: int = signatures) -> None:
            for _ in range(times):
                leaf.verify_directly_issued_by(device)  # noqa: B023 - run before the next round

        ours, bare = paired(judge, verify, 60)
        yield Row(
            what=f"GPU reports and certificates, from bytes: {count} / {signatures} bare P-384 "
            "verifications",
            ours=ours,
            least=bare,
            budget=1.6,
        )


def rows() -> Iterator[Row]:
    ours, least = paired(
        command(VERIFY, "--help"), command(sys.executable, "-c", SMALLEST_APP, "--help"), 21
    )
    yield Row(what="verify --help / the smallest Typer app", ours=ours, least=least, budget=1.2)
    world = build(Knobs())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = recorded()
        if real is not None:
            (folder / "real").mkdir()
            yield from offline_rows(real, folder / "real", (1.6, 5.0), 45)
        (folder / "lab").mkdir()
        material = simulated(world, folder / "lab")
        yield from offline_rows(material, folder / "lab", (4.3, 32.0), 70)
        yield live_row(world, material.question)
    yield from gpu_rows()


def render(found: list[Row]) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Python {platform.python_version()}, {platform.machine()}. Medians of paired runs:",
        "only the ratios mean anything.",
        "",
        "| Measured / compared with | Ours | Least | Ratio | Budget |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in found:
        scale = 1000 if row.unit == "ms" else 1
        budget = "stated only" if row.budget is None else f"≤ {row.budget:g}"
        lines.append(
            f"| {row.what} | {row.ours * scale:.2f} {row.unit} | {row.least * scale:.2f} "
            f"{row.unit} | {row.ours / row.least:.2f} | {budget} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    text = render(list(rows()))
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
