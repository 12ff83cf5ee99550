"""Every source of an audit, failing in every way: what the command says, and what it costs.

    python -m benchmarks.online [PART…]     rows whose source and fault hold one of these words;
                                            the others of the page stay as they are

Each source of a simulated world has a server of its own on loopback, which behaves as the row says;
all others are honest. The real command is run against them with `--timeout 15`. The one thing that
is not as a user has it is where names lead: the hosts of the world are reached by plain HTTP on
loopback, under their https addresses. A row over the budget, over 256 MiB, that accuses the app, or
that affirms it by what the faulty source says, is an error. Writes online.md beside this file.
"""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.lab.world import World, build

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(__file__).with_suffix(".md")
TIMEOUT = 15
GRACE = 10
"""Seconds for starting, and for judging what was collected, on a busy machine."""
MOST_MIB = 256
DOMAIN = "app.example.org"
EXPLORER = "https://explorer.lab.invalid/api"
LOOPBACK = "127.0.0.1"
_MIB = 1 << 20

PROGRAM = """
import json, sys
routes = {host: tuple(at) for host, at in json.loads(sys.argv.pop(1)).items()}
from verifier.collect import http
transport = http.Transport
http.Transport = lambda **options: transport(**{**options, "routes": routes})
sys.argv[0] = "verify"
from verifier.cli.main import main
main()
"""
"""The command, for which the names of the world lead to loopback."""

Serve = Callable[["Handler", Callable[[], Response]], None]
"""What a server does with a request, given how to answer it honestly."""


class Handler(BaseHTTPRequestHandler):
    """One request at a server that behaves as a row says."""

    protocol_version = "HTTP/1.1"
    respond: Callable[[str, str, bytes], Response]
    behave: Any
    over: threading.Event

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        host = self.headers["Host"].partition(":")[0]
        honest = functools.partial(self.respond, self.command, f"https://{host}{self.path}", body)
        with suppress(OSError):
            self.behave(honest)

    do_GET = do_POST = _serve  # noqa: N815 - http.server's own names

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def give(self, response: Response, length: int | None = None) -> None:
        """Send an answer, which may lie about its length."""
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body) if length is None else length))
        self.end_headers()
        self.wfile.write(response.body)


class Quiet(ThreadingHTTPServer):
    """Takes as many connections as a collection opens, and says nothing of those that break."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


# How servers behave.


def honest(handler: Handler, respond: Callable[[], Response]) -> None:
    """Answer as the world does."""
    handler.give(respond())


def silent(handler: Handler, _: Callable[[], Response]) -> None:
    """Never answer."""
    handler.over.wait(60)


def drips(handler: Handler, respond: Callable[[], Response]) -> None:
    """Send a byte every half second."""
    response = respond()
    handler.give(replace(response, body=b""), length=len(response.body))
    for at in range(len(response.body)):
        handler.wfile.write(response.body[at : at + 1])
        if handler.over.wait(0.5):
            return


def late(handler: Handler, respond: Callable[[], Response]) -> None:
    """Answer after two seconds."""
    if not handler.over.wait(2):
        handler.give(respond())


def endless(handler: Handler, _: Callable[[], Response]) -> None:
    """Never end the body."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.over.is_set():
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def says(status: int, body: bytes, **headers: str) -> Serve:
    """Always answer the same."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.give(Response(status=status, headers=named, body=body))


def padded(handler: Handler, respond: Callable[[], Response]) -> None:
    """Fill each answer up with blanks, as far as one may be long."""
    response = respond()
    handler.give(replace(response, body=response.body.ljust(7 * _MIB)))


def cut(handler: Handler, respond: Callable[[], Response]) -> None:
    """Break off in the middle."""
    response = respond()
    half = response.body[: len(response.body) // 2]
    handler.give(replace(response, body=half), length=len(response.body))
    handler.close_connection = True
    handler.connection.close()


PORTAL = b"<html><head><title>Hotel Wi-Fi</title></head><body>Please sign in</body></html>"
FAULTS: dict[str, Serve | None] = {
    "refuses connections": None,
    "never answers": silent,
    "sends a byte every 0.5 s": drips,
    "takes 2 s for each answer": late,
    "never ends its body": endless,
    "breaks off": cut,
    "answers 404": says(404, b"no such thing"),
    "answers 429": says(429, b"slow down", Retry_After="1"),
    "answers 503": says(503, b"out of order"),
    "is a captive portal": says(200, PORTAL, Content_Type="text/html"),
    "redirects elsewhere": says(302, b"", Location="https://192.0.2.1/"),
    "compresses": says(200, b"\x1f\x8b", Content_Encoding="gzip"),
    "sends 4 MB of []": says(200, b'{"result":[' + b"[]," * (4_000_000 // 3) + b"0]}"),
    "sends 7 MiB of blanks": padded,
    "sends no UTF-8": says(200, b"\xff\xfe\x00"),
}


@dataclass(frozen=True)
class Row:
    """One row: which hosts misbehave and how, in which world, with which further options."""

    source: str
    fault: str
    hosts: tuple[str, ...] = ()
    serve: Serve | None = honest
    knobs: Callable[[int], Knobs] = lambda now: Knobs(now=now)
    options: tuple[str, ...] = ()
    domain: bool = False
    accepts: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a row."""

    verdict: str
    code: int
    seconds: float
    mebibytes: float
    said: str


GUESTS = (".gw.lab.invalid",)
SOURCES: dict[str, tuple[str, ...]] = {
    "guest": GUESTS,
    "collateral": ("pcs.lab.invalid",),
    "KMS": ("kms.gw.lab.invalid",),
    "one RPC of two": ("rpc-a.lab.invalid",),
    "both RPC": ("rpc-a.lab.invalid", "rpc-b.lab.invalid"),
    "explorer": ("explorer.lab.invalid",),
    "registry": ("registry.lab.invalid",),
    "GitHub": ("api.github.com",),
    "DNS over HTTPS": ("dns.google",),
}
NOT_NEEDED = ("explorer", "GitHub", "KMS")
"""What an honest app is affirmed without: others say the same, or a policy does not ask for it."""
OTHERS = ("cloud-api.phala.com",)


def rows() -> Iterator[Row]:
    """Every row of the table."""
    yield Row("all", "are honest", accepts=True)
    for source, hosts in SOURCES.items():
        for fault, serve in FAULTS.items():
            options = ("--explorer-url", EXPLORER) if source == "explorer" else ()
            heard = serve is late or source in NOT_NEEDED
            domain = source.startswith("DNS")
            yield Row(source, fault, hosts, serve, options=options, domain=domain, accepts=heard)
    yield Row("guest", "names a new instance each time", GUESTS, names_instances)
    for fault, words in (
        (RpcFault.OTHER_CHAIN, "serves another chain"),
        (RpcFault.NO_LOGS, "says that there are no logs"),
        (RpcFault.DROPPED_LOG, "leaves out a log"),
        (RpcFault.INVENTED_LOG, "invents a log"),
        (RpcFault.OTHER_HASH, "gives another block"),
        (RpcFault.LYING_CALL, "lies about a call"),
        (RpcFault.NO_ARCHIVE, "has no old state"),
        (RpcFault.PRUNED, "has forgotten old logs"),
    ):
        made = functools.partial(_faulty, fault)
        yield Row("one RPC of two", words, knobs=made, accepts=fault is RpcFault.NO_ARCHIVE)
    yield Row("both RPC", "serve another chain", knobs=lambda now: Knobs(now=now, chain_id=1))
    explored = ("--explorer-url", EXPLORER)
    nothing = b'{"status":"0","message":"No logs found","result":[]}'
    yield Row("explorer", "has no logs", SOURCES["explorer"], says(200, nothing), options=explored)
    yield Row("options", "--kms names another contract", options=("--kms", f"8453:0x{'11' * 20}"))
    yield Row("options", "--kms names another key", options=("--kms", "30" * 91))


def _faulty(fault: RpcFault, now: int) -> Knobs:
    return Knobs(now=now, rpc_faults={"a": fault})


def names_instances(handler: Handler, respond: Callable[[], Response]) -> None:
    """Have the page name another instance, which does not exist, whenever it is asked."""
    response = respond()
    if handler.path == "/":
        other = os.urandom(20).hex().encode()
        named = re.sub(
            rb"(Instance ID\W.{0,200}?)[0-9a-f]{40}",
            rb"\g<1>" + other,
            response.body,
            flags=re.DOTALL,
        )
        response = replace(response, body=named)
    handler.give(response)


@contextmanager
def served(world: World, row: Row) -> Iterator[dict[str, tuple[str, int]]]:
    """Where each host of the world is served."""
    over = threading.Event()

    def respond(method: str, url: str, body: bytes) -> Response:
        if "dns.google" in url:
            return _resolved(world)
        if any(host in url for host in OTHERS):
            return Response(status=404, headers={}, body=b"")
        return world.respond(method, url, {}, body)

    def start(behave: Serve) -> tuple[str, int]:
        named = {"respond": staticmethod(respond), "behave": behave, "over": over}
        server = stack.enter_context(Quiet((LOOPBACK, 0), type("Each", (Handler,), named)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(server.shutdown)
        return LOOPBACK, server.server_address[1]

    hosts = {host for listed in SOURCES.values() for host in listed} | set(OTHERS)
    with ExitStack() as stack:
        good = start(honest)
        bad = (LOOPBACK, 9) if row.serve is None else start(row.serve)
        stack.callback(over.set)
        yield {host: bad if host in row.hosts else good for host in sorted(hosts)}


def _resolved(world: World) -> Response:
    """The TXT record that leads a domain to the app."""
    record = {"name": f"_dstack-app-address.{DOMAIN}.", "type": 16, "data": f"{world.app_id}:443"}
    body = json.dumps({"Status": 0, "Answer": [record]}).encode()
    return Response(status=200, headers={"Content-Type": "application/json"}, body=body)


def ran(row: Row, folder: Path) -> Result:
    """Run the command against the servers of a row."""
    world = build(row.knobs(int(time.time())))
    (folder / "reference.json").write_bytes(world.reference())
    command = [
        *(DOMAIN if row.domain else world.app_id, "--unsafe-root", "reference.json"),
        *("--format", "json", "--timeout", str(TIMEOUT), *row.options),
    ]
    with served(world, row) as routes:
        began = time.monotonic()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            done = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(routes), *command],
                cwd=folder,
                stdout=out,
                stderr=err,
                env={**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT)},
            )
            _, status, usage = os.wait4(done.pid, 0)
        seconds = time.monotonic() - began
    said = (folder / "err").read_text(errors="replace").strip()
    raw = (folder / "out").read_bytes()
    report: dict[str, Any] = json.loads(raw) if raw else {}
    return Result(
        verdict=report.get("verdict", "no report"),
        code=os.waitstatus_to_exitcode(status),
        seconds=seconds,
        mebibytes=usage.ru_maxrss / 1024,
        said=said or _first_reason(report),
    )


def _first_reason(report: dict[str, Any]) -> str:
    """Why the worst check does not pass, in its own words."""
    order = ("fail", "error", "skip", "warn")
    checks = [item for item in report["checks"] if item["requirement"] != "not-asked"]
    checks = [item for item in checks if item["skip_kind"] not in ("blocked", "not-applicable")]
    found = sorted(
        (item for item in checks if item["status"] in order),
        key=lambda item: order.index(item["status"]),
    )
    return f"{found[0]['id']}: {found[0]['summary']}" if found else ""


def wrong(row: Row, result: Result) -> str:
    """What a row must not be, or ""."""
    if result.seconds > TIMEOUT + GRACE:
        return "over the budget of time"
    if result.mebibytes > MOST_MIB:
        return "over the budget of memory"
    if "Traceback" in result.said or result.code == 1:
        return "a crash"
    if result.verdict == "contraindicated":
        return "accuses the app"
    if result.verdict == "affirming" and not row.accepts:
        return "affirms the app"
    return ""


INTRODUCTION = (
    "`make online`: each source of a simulated world misbehaves in turn, on loopback, and the real "
    f"command audits the app with `--timeout {TIMEOUT}`. No row may take more than {GRACE} seconds "
    f"more, hold more than {MOST_MIB} MiB, accuse the app, or affirm it by what the faulty source "
    "alone says."
)


def table(done: list[tuple[Row, Result]], before: str) -> str:
    """The page: new rows in the place of those of an earlier page."""
    written = {_key(line): line for line in before.splitlines() if line.startswith("| ")}
    written |= {_key(line): line for line in (_line(*item) for item in done)}
    order = [f"{row.source} | {row.fault}" for row in rows()]
    lines = [
        "# Sources that fail",
        "",
        INTRODUCTION,
        "",
        "| Source | Fault | Verdict | Exit code | Seconds | MiB | What is said first |",
        "|---|---|---|--:|--:|--:|---|",
    ]
    lines += [written[key] for key in order if key in written]
    return "\n".join(lines) + "\n"


def _key(line: str) -> str:
    return " | ".join(line.removeprefix("| ").split(" | ")[:2])


def _line(row: Row, result: Result) -> str:
    said = result.said.partition("\n")[0].replace("|", "\\|").replace("<", "&lt;")
    return (
        f"| {row.source} | {row.fault} | {result.verdict} | {result.code} |"
        f" {result.seconds:.1f} | {result.mebibytes:.0f} | {_shortened(said)} |"
    )


def _shortened(text: str, most: int = 140) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def main(parts: list[str]) -> int:
    """Run the rows, and write them into the page."""
    chosen = [
        row
        for row in rows()
        if not parts or any(part in f"{row.source} {row.fault}" for part in parts)
    ]
    done: list[tuple[Row, Result]] = []
    failed = 0
    for row in chosen:
        with tempfile.TemporaryDirectory() as folder:
            result = ran(row, Path(folder))
        problem = wrong(row, result)
        failed += bool(problem)
        done.append((row, result))
        print(
            f"{row.source}: {row.fault}: {result.verdict} {result.code} {result.seconds:.1f} s"
            f" {result.mebibytes:.0f} MiB {problem.upper()} {_shortened(result.said, 200)!r}",
            flush=True,
        )
    OUT.write_text(table(done, OUT.read_text() if OUT.exists() else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
