"""Fuzz the parsers of hostile input: `make fuzz` writes fuzz.md beside this file.

Seeds are a simulated world's page, log, quote, answers, certificates, chain answers and manifest.
Each input is a seed after a few random edits: bytes changed, cut out, doubled, spliced in from
another seed, tokens of the formats put in. A parser may refuse an input with an EvidenceError, or
read it; anything else is a crash, and so is more than a second for one input.

    python benchmarks/fuzz.py [SECONDS for each target] [SEED]
"""

import json
import platform
import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verifier.errors import EvidenceError
from verifier.evidence.chain.contracts import decode_logs, get_block
from verifier.evidence.chain.json_rpc import encode_request
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.codec import parse_json
from verifier.evidence.compose.app_compose import parse_app_compose
from verifier.evidence.compose.compose_yaml import parse_compose
from verifier.evidence.compose.interpolation import parse_template
from verifier.evidence.guest.kms_answers import parse_env_key, parse_meta
from verifier.evidence.guest.page import parse_page
from verifier.evidence.guest.tcb_info import parse_info
from verifier.evidence.import_files import import_files
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.event_log import parse_event_log
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_ATTESTATION, parse_chain
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build
from verifier.manifest.audit import audit_compose_file, audit_manifest
from verifier.manifest.diff import compare, read_compose_document, read_document
from verifier.version import DISTRIBUTION, tool_version

HERE = Path(__file__).parent
SECONDS = 10.0
SLOW = 1.0
TOKENS = tuple(
    text.encode()
    for text in (
        *('"', "\\", "\\u0000", "\\ud800", "{", "}", "[", "]", ",", ":", "null", "NaN", "1e999"),
        *("-0", "18446744073709551616", "0x", "<<: *a", "&a ", "*a", "!!int ", "\t", "\n---\n"),
        *("${", "$$", "${A:-${B}}", "%", "\u202e", "\x1b[2J", "<textarea readonly>", "&#38;"),
        *("</textarea>", "-----BEGIN CERTIFICATE-----", "services:", "- ", "? ", "| ", "#"),
    )
)


@dataclass(slots=True)
class Target:
    """One parser and its seeds, and what came of it."""

    name: str
    parse: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    runs: int = 0
    refused: int = 0
    slowest: float = 0.0
    crashes: dict[str, bytes] = field(default_factory=dict)


def mutated(seed: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    """A seed after a few edits."""
    raw = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        start = rng.randrange(len(raw) + 1)
        end = min(len(raw), start + rng.choice((1, 1, 2, 4, 16, 200)))
        other = rng.choice(others)
        cut = rng.randrange(len(other) + 1)
        first, last, new = rng.choice(
            (
                (start, end, rng.randbytes(end - start)),
                (start, end, b""),
                (start, start, bytes(raw[start:end]) * rng.choice((1, 2, 50))),
                (start, end, rng.choice(TOKENS)),
                (start, start, rng.choice(TOKENS) * rng.choice((1, 1, 3, 500))),
                (start, end, other[cut : cut + rng.choice((4, 40, 400))]),
                (start, len(raw), b""),
            )
        )
        raw[first:last] = new
    return bytes(raw)


def run(target: Target, seconds: float, rng: random.Random) -> None:
    """Try inputs for some time. A crash is kept by its place in the code."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        raw = mutated(rng.choice(target.seeds), target.seeds, rng)
        started = time.perf_counter()
        try:
            target.parse(raw)
        except EvidenceError:
            target.refused += 1
        except Exception as error:  # noqa: BLE001 - what is looked for
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            target.crashes.setdefault(place, raw)
        spent = time.perf_counter() - started
        target.slowest = max(target.slowest, spent)
        if spent > SLOW:
            target.crashes.setdefault(f"over {SLOW:.0f} s", raw)
        target.runs += 1


def served(world: World, url: str, body: str = "") -> bytes:
    """What the simulated world answers."""
    method = "POST" if body else "GET"
    return world.respond(method, url, {}, body.encode("ascii")).body


def kms_answers(world: World) -> tuple[bytes, bytes]:
    """GetMeta and GetAppEnvEncryptPubKey."""
    base = "https://kms.gw.lab.invalid/prpc/KMS"
    asked = json.dumps({"app_id": world.app_id})
    return (
        served(world, f"{base}.GetMeta?json"),
        served(world, f"{base}.GetAppEnvEncryptPubKey?json", asked),
    )


def chain_logs(world: World) -> bytes:
    """Every log of the app's contract, as a node gives them."""
    head = encode_request(*get_block("finalized"))
    answer = json.loads(served(world, "https://rpc-a.lab.invalid/", head))
    last = int(answer["result"]["number"], 16)
    wanted = LogFilter(chain_id=world.knobs.chain_id, address=f"0x{world.app_id}")
    asked = encode_request(*wanted.call(0, last))
    return served(world, "https://rpc-a.lab.invalid/", asked)


def targets() -> list[Target]:
    knobs = (Knobs(), Knobs(version="0.3.6"), Knobs(public_sysinfo=True, public_logs=True))
    worlds = [build(item) for item in knobs]
    guests = [world.guest for world in worlds]
    pages = tuple(guest.page.encode() for guest in guests)
    infos = tuple(json.dumps(guest.info).encode() for guest in guests)
    certificates = tuple(guest.app_cert.encode() for guest in guests)
    logs = tuple(json.dumps(guest.log).encode() for guest in guests)
    quote = guests[0].quote(bytes(64))
    manifests = tuple(manifest_text(item).encode() for item in knobs)
    composes = tuple((parse_app_compose(raw).compose or "").encode() for raw in manifests)
    meta, env_key = kms_answers(worlds[0])
    forms = (Knobs(cert_attestation="msgpack-v1"), Knobs(cert_attestation="scale-v0"))
    chains = [parse_chain(build(item).guest.app_cert, "chain") for item in forms]
    attested = tuple(chain.leaf[EXT_ATTESTATION] for chain in chains)
    return [
        Target("metadata page", lambda raw: parse_page(raw, "page"), pages),
        Target("Info answer", lambda raw: parse_info(raw, "Info"), infos),
        Target("app certificate", lambda raw: parse_chain(_text(raw), "chain"), certificates),
        Target("event log", lambda raw: parse_event_log(raw, "log"), logs),
        Target("TD quote", lambda raw: parse_quote(raw, "quote"), (quote,)),
        Target("attestation blob", lambda raw: parse_attestation(raw, "blob"), attested),
        Target("KMS key", lambda raw: parse_env_key(raw, "key"), (env_key,)),
        Target("KMS meta", lambda raw: parse_meta(raw, "meta"), (meta,)),
        Target("chain logs", _chain_logs, (chain_logs(worlds[0]),)),
        Target("manifest", audit_manifest, manifests),
        Target("compose file", audit_compose_file, composes),
        Target("compose YAML", lambda raw: parse_compose(_text(raw), "compose"), composes),
        Target("interpolation", lambda raw: parse_template(_text(raw)), TOKENS),
        Target("comparison", _compared(manifests[0]), manifests),
        Target("compose comparison", _compared_alone(composes[0]), composes),
        Target("any file", _imported, (pages[0], infos[0], manifests[0], quote)),
    ]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _chain_logs(raw: bytes) -> None:
    document = parse_json(raw, "answer")
    decode_logs(document.get("result") if isinstance(document, dict) else document, "answer")


def _compared(raw: bytes) -> Callable[[bytes], Any]:
    old = read_document("old", raw)
    return lambda new: compare(old, read_document("new", new))


def _compared_alone(raw: bytes) -> Callable[[bytes], Any]:
    old = read_compose_document("old", raw)
    return lambda new: compare(old, read_compose_document("new", new))


def _imported(raw: bytes) -> None:
    import_files([("given", raw)], collected_at=0)


def table(tried: list[Target], seconds: float, seed: int) -> str:
    """The result as Markdown."""
    tool = f"{DISTRIBUTION} {tool_version()}"
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    lines = [
        "# Fuzzing the parsers",
        "",
        f"`make fuzz`, {seconds:g} s for each parser, seed {seed}: {tool}, {machine}.",
        "",
        "| Parser | Inputs | Refused | Read | Slowest input | Crashes |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {item.name} | {item.runs:,} | {item.refused:,} | "
        f"{item.runs - item.refused - len(item.crashes):,} | {item.slowest * 1000:.0f} ms | "
        f"{len(item.crashes)} |"
        for item in tried
    ]
    total = sum(item.runs for item in tried)
    crashes = sum(len(item.crashes) for item in tried)
    lines += ["", f"{total:,} inputs, {crashes} crashes.", "", *(__doc__ or "").splitlines()[2:6]]
    return "\n".join(lines) + "\n"


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1  # noqa: PLR2004
    tried = targets()
    for target in tried:
        run(target, seconds, random.Random(f"{seed} {target.name}"))  # noqa: S311 - no secret
        print(f"{target.name:20} {target.runs:9,} inputs, {target.refused:9,} refused")
        for place, raw in target.crashes.items():
            print(f"  CRASH {place}: {raw[:200]!r}")
    (HERE / "fuzz.md").write_text(table(tried, seconds, seed), encoding="utf-8")
    return int(any(target.crashes for target in tried))


if __name__ == "__main__":
    sys.exit(main())
