"""Every source of an audit, failing in every way: what the command says, and what it costs.

    python -m benchmarks.faults [--again] [--workers N] [WORD…]

runs the rows that are not in the table yet, or with `--again` those that are, too; with words, only
rows whose source and fault hold one of them. Each source of a simulated world fails on loopback as
its row says; all others are honest. The real command is run against them, over TLS. What is not as
a user has it: names lead to loopback, and browsers here trust a root of this run. A row that breaks
a rule of `broken` is an error. Writes faults.md beside this file, and the table of docs/faults.md.
"""

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.fault_servers import FAULTS, Certificates, served
from benchmarks.fault_sources import (
    APP,
    CLOUD,
    DASHBOARD,
    EXPLORER,
    FINDINGS,
    HONEST,
    HOSTS,
    SOURCES,
    UNNAMED,
    Row,
    rows,
    understood,
)
from tests.timeline.explorers import Explorer
from verifier.lab.dashboard import dashboard_report
from verifier.lab.knobs import Governance, Knobs
from verifier.lab.registry import Image
from verifier.lab.response import NOT_FOUND, Response, answer
from verifier.lab.world import DOMAIN, World, build

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = Path(__file__).with_suffix(".md")
PAGE: Final = ROOT / "docs" / "faults.md"
TIMEOUT: Final = 40
GRACE: Final = 10
"""Seconds for starting, and for judging what was collected, on a busy machine."""
MOST_MIB: Final = 256
FRESH: Final = 60
"""Seconds for which a world is as of now: a KMS dates what it signs."""
WORTH: Final = {"affirming": 2, "warning": 1}
"""What a verdict lets a relying party do; the others are worth nothing."""
CODES: Final = {"affirming": 0, "none": 3, "contraindicated": 4, "warning": 5}


@dataclass(frozen=True)
class Result:
    """What became of a row.

    verdict    the verdict, `no report` without one
    code       the exit code
    seconds    from start to end
    mebibytes  the most memory that was held
    named      whether the report says of the source that it failed; None where nobody noted it
    advised    whether what stands first says what to do; None likewise
    said       what stands first in the report
    """

    verdict: str
    code: int
    seconds: float
    mebibytes: float
    named: bool | None
    advised: bool | None
    said: str


class Stage:
    """The worlds and certificates that all rows share; worlds are made anew as time passes."""

    def __init__(self, governance: Governance) -> None:
        self._lock, self._made, self._ruled = threading.Lock(), 0.0, governance
        self.folder = Path(tempfile.mkdtemp())
        self.roots = self.folder / "roots.pem"

    def worlds(self) -> tuple[World, World, Certificates, Explorer]:
        """An app's world, and that of another app."""
        with self._lock:
            if time.time() - self._made > FRESH:
                self._made = time.time()
                now = int(self._made)
                self.world = build(Knobs(now=now, governance=self._ruled))
                elsewhere: dict[str, Any] = {"collateral_fmspc": bytes(range(6))}
                other = Knobs(now=now, seed="another", image=Image("lab/other"), **elsewhere)
                self.other = build(other)
                hosts = {host.format(app=self.world.app_id) for x in SOURCES for host in x.hosts}
                suffixes = {f"*{host}" if host.startswith(".") else host for host in hosts}
                self.shown = Certificates(tuple(sorted(suffixes)))
                self.shown.attested(self.world)
                self.roots.write_bytes(self.shown.roots)
                chain = self.world.chain
                logs: list[Any] = [chain.log_json(item) for item in chain.logs()]
                for item in logs:
                    item["blockTimestamp"] = hex(chain.timestamp(int(item["blockNumber"], 16)))
                self.explorer = Explorer(logs)
            return self.world, self.other, self.shown, self.explorer

    def respond(self, method: str, url: str, body: bytes) -> Response:
        """What an honest source answers."""
        world, _, _, explorer = self.worlds()
        if EXPLORER in url:
            return explorer.respond(method, url, {}, body)
        if DASHBOARD in url:
            claims = {"compose_hash": world.guest.compose_hash.hex()}
            return answer(
                200, "application/json", dashboard_report(claims, world.now, app_id=world.app_id)
            )
        if "dns.google/resolve" in url:
            return _resolved(world)
        url = url.replace(CLOUD, "cloud.lab.invalid")
        return world.respond(method, url, {}, body)

    def respond_other(self, method: str, url: str, body: bytes) -> Response:
        """What the source of another app would answer."""
        world, other, _, _ = self.worlds()
        for ours, theirs in (
            (world.app_id, other.app_id),
            (world.knobs.image.digest, other.knobs.image.digest),
            (world.knobs.image.repository, other.knobs.image.repository),
        ):
            url, body = url.replace(ours, theirs), body.replace(ours.encode(), theirs.encode())
        if any(host in url for host in (EXPLORER, DASHBOARD, "dns.google/resolve", "phala.com")):
            return NOT_FOUND
        return other.respond(method, url, {}, body)


def _resolved(world: World) -> Response:
    """The TXT record that leads a domain to the app."""
    record = {"name": f"_dstack-app-address.{DOMAIN}.", "type": 16, "data": f"{world.app_id}:443"}
    body = json.dumps({"Status": 0, "Answer": [record]}).encode()
    return Response(status=200, headers={"Content-Type": "application/json"}, body=body)


class Runner:
    """A process that runs the command for one row after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.fault_runs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._told()

    def _told(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def run(self, places: dict[str, int | str], words: list[str], folder: Path, roots: Path) -> int:
        """The exit code of one run."""
        asked = self._process.stdin
        assert asked is not None
        job = {"places": places, "words": words, "folder": str(folder), "roots": str(roots)}
        asked.write(json.dumps(job) + "\n")
        asked.flush()
        return int(self._told())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def ran(row: Row, stage: Stage, runner: Runner, folder: Path) -> Result:
    """Run the command against the servers of a row."""
    world, _, shown, _ = stage.worlds()
    (folder / "reference.json").write_bytes(world.reference())
    given = [item.replace(APP, world.app_id) for item in (row.source.target, *row.source.options)]
    command = [
        *(*given, "--unsafe-root", "reference.json"),
        *("--format", "json", "--timeout", str(TIMEOUT)),
    ]
    with served(stage.respond, stage.respond_other, world, shown, row.fault) as (bad, good):
        places: dict[str, int | str] = dict.fromkeys(HOSTS, good)
        places |= dict.fromkeys(row.source.gone, "unknown")
        places |= dict.fromkeys(row.source.hosts, bad)
        places = {host.replace(APP, world.app_id): place for host, place in places.items()}
        began = time.monotonic()
        code = runner.run(places, command, folder, stage.roots)
        seconds = time.monotonic() - began
    raw, said = (folder / "out").read_bytes(), (folder / "err").read_text(errors="replace")
    report: dict[str, Any] = json.loads(raw) if raw.startswith(b"{") else {}
    peak = folder / "peak"
    first, advice = _worst(report) if report else (said.strip(), "")
    return Result(
        verdict="crash" if "Traceback" in said else report.get("verdict", "no report"),
        code=code,
        seconds=seconds,
        mebibytes=int(peak.read_text()) / 1024 if peak.exists() else 0,
        named=_names(
            report,
            [
                *(host.replace(APP, world.app_id) for host in row.source.hosts),
                *([row.source.called] if row.source.called else []),
            ],
        ),
        advised=bool(advice),
        said=first,
    )


def _names(report: dict[str, Any], hosts: list[str]) -> bool:
    """Whether a failure is reported of one of these hosts."""
    told = [item["source"] for item in report.get("sources", ()) if item["error"]]
    for check in report.get("checks", ()):
        told += [check["summary"], check["reason"] or ""] if check["status"] != "pass" else []
    told += [item["note"] for item in report.get("comparisons", ())]
    return any(host.lstrip(".") in text for host in hosts for text in told)


def _worst(report: dict[str, Any]) -> tuple[str, str]:
    """Why the worst check does not pass, and what to do."""
    order = ("fail", "error", "skip", "warn")
    checks = [item for item in report["checks"] if item["requirement"] != "not-asked"]
    checks = [item for item in checks if item["skip_kind"] not in ("blocked", "not-applicable")]
    found = sorted(
        (item for item in checks if item["status"] in order),
        key=lambda item: order.index(item["status"]),
    )
    if not found:
        return "", ""
    return f"{found[0]['id']}: {found[0]['summary']}", found[0]["remediation"] or ""


def broken(row: Row, result: Result, without: str) -> str:
    """The rule that a row breaks, or "". `without` is the verdict where the source refuses."""
    failing = not (row.fault.harmless or understood(row))
    worth, most = WORTH.get(result.verdict, 0), WORTH.get(without, 0)
    rules = {
        "it takes longer than it was given": result.seconds > TIMEOUT + GRACE,
        "it holds too much memory": result.mebibytes > MOST_MIB,
        "it gives no report": result.verdict not in CODES,
        "it accuses the app": result.verdict == "contraindicated" and row.key not in FINDINGS,
        "its exit code is not the verdict's": result.code != CODES.get(result.verdict),
        "it is worth more than without the source": failing and worth > most,
        "it affirms the app": failing and result.verdict == "affirming" and not row.source.spare,
        "it does not say which source failed": failing
        and result.named is False
        and not (row.source.spare or row.key in UNNAMED | FINDINGS),
        "it does not say what to do": failing
        and result.verdict in ("none", "warning")
        and result.advised is False,
    }
    return next((rule for rule, holds in rules.items() if holds), "")


def breaches(results: dict[str, Result]) -> list[str]:
    """Which rows break a rule."""
    found = []
    for row in rows():
        refusing = f"{row.source.name} | {FAULTS[0].says}"
        if row.key in results and refusing in results:
            why = broken(row, results[row.key], results[refusing].verdict)
            found += [f"{row.key}: {why}"] if why else []
    return found


# The table.

HEAD: Final = """\
# Sources that fail

`make faults`: each source of a simulated world fails in turn, on loopback, and the real command
audits the app with `--timeout {timeout}`. The rules that every row keeps are in docs/faults.md.
Seconds are from when the command's modules are loaded; MiB is the most memory that it held. `?`
stands where nobody noted whether the report names the source, or says what to do.

| Source | What it does | Verdict | Exit | Seconds | MiB | Named | Advice | Said first |
|---|---|---|--:|--:|--:|---|---|---|
"""
YES: Final = {"yes": True, "no": False, "?": None}
SAID: Final = {value: word for word, value in YES.items()}


def written(results: dict[str, Result]) -> str:
    """Every row that was run."""
    lines = [_line(row, results[row.key]) for row in rows() if row.key in results]
    return HEAD.format(timeout=TIMEOUT) + "".join(f"{line}\n" for line in lines)


def _line(row: Row, result: Result) -> str:
    said = " ".join(result.said.split()).replace("|", "\\|").replace("<", "&lt;")
    cut = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]}…"
    return (
        f"| {row.key} | {result.verdict} | {result.code} | {result.seconds:.1f} |"
        f" {result.mebibytes:.0f} | {SAID[result.named]} | {SAID[result.advised]} | {cut} |"
    )


MOST_SAID: Final = 160


def read(text: str) -> dict[str, Result]:
    """The rows of a table."""
    found = {}
    for line in text.splitlines():
        cells = line.removeprefix("| ").split(" | ", 8)
        if line.startswith("| ") and cells[0] != "Source":
            source, fault, verdict, code, seconds, mebibytes, named, advised, said = cells
            found[f"{source} | {fault}"] = Result(
                verdict=verdict,
                code=int(code),
                seconds=float(seconds),
                mebibytes=float(mebibytes),
                named=YES[named],
                advised=YES[advised],
                said=said.removesuffix(" |").replace("\\|", "|"),
            )
    return found


MARK: Final = "<!-- the table of benchmarks/faults.py -->\n"


def page(text: str, results: dict[str, Result]) -> str:
    """The page of docs/ with the table in it: a row for each way to fail, a column per source."""
    before, _, rest = text.partition(MARK)
    _, _, after = rest.partition(MARK)
    names = [source.name for source in SOURCES]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for fault in (HONEST, *FAULTS):
        cells = [_cell(results.get(f"{name} | {fault.says}")) for name in names]
        lines.append(f"| {fault.says} | {' | '.join(cells)} |")
    columns = [
        [item for key, item in results.items() if key.startswith(f"{name} | ")] for name in names
    ]
    seconds = [max((item.seconds for item in each), default=0) for each in columns]
    mebibytes = [max((item.mebibytes for item in each), default=0) for each in columns]
    lines += [_numbers("*most seconds*", seconds), _numbers("*most MiB*", mebibytes)]
    return f"{before}{MARK}\n" + "\n".join(lines) + f"\n\n{MARK}{after}"


def _numbers(label: str, values: list[float]) -> str:
    return f"| {label} | {' | '.join(f'{value:.0f}' for value in values)} |"


def _cell(result: Result | None) -> str:
    return result.verdict if result is not None else ""


class Table:
    """The results so far, written down as they come."""

    def __init__(self) -> None:
        self.results = read(ROWS.read_text()) if ROWS.exists() else {}
        self._lock = threading.Lock()

    def add(self, row: Row, result: Result) -> None:
        """Take a row in."""
        with self._lock:
            self.results[row.key] = result
            part = ROWS.with_suffix(".part")
            part.write_text(written(self.results))
            part.replace(ROWS)
            print(
                f"{row.key}: {result.verdict} {result.code} {result.seconds:.1f} s"
                f" {result.mebibytes:.0f} MiB {result.said[:MOST_SAID]!r}",
                flush=True,
            )


def main(words: list[str]) -> int:
    """Run rows, and write what became of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(words)
    table, waiting = Table(), queue.SimpleQueue[Row]()
    stages = {source.ruled: Stage(source.ruled) for source in SOURCES}
    # Each fault at every source before the next: a run that is cut short has been everywhere.
    for row in sorted(rows(), key=lambda row: (HONEST, *FAULTS).index(row.fault)):
        chosen = not given.words or any(word in row.key for word in given.words)
        if chosen and (given.again or row.key not in table.results):
            waiting.put(row)

    def work() -> None:
        runner = Runner()
        with suppress(queue.Empty):
            while True:
                row = waiting.get_nowait()
                with tempfile.TemporaryDirectory() as folder:
                    stage = stages[row.source.ruled]
                    table.add(row, ran(row, stage, runner, Path(folder)))
        runner.close()

    threads = [threading.Thread(target=work) for _ in range(given.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    PAGE.write_text(page(PAGE.read_text(), table.results))
    found = breaches(table.results)
    print("\n".join(found) or f"{len(table.results)} rows, and each keeps the rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
