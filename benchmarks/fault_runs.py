"""The command, again and again: a process that has loaded it forks once for each line it reads.

A line is JSON: where names lead (`places`: a port, or a word for what is no server), the words of
the command, its folder, and the roots that browsers trust. Answered is the exit code. The child
leaves `out`, `err` and, as `peak`, the most memory that it held (KiB) in its folder.
"""

import functools
import importlib
import json
import os
import pkgutil
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpcore

import verifier
from verifier.cli.main import main
from verifier.collect import http, network

PRIVATE: Final = "10.20.30.40"
_PUBLIC: Final = "8.8."
_LOADED: Final = (
    *("checks", "chain", "timeline", "manifest", "policy", "evidence", "collect"),
    *("report.audit", "collection", "audit", "api", "cli.gather", "cli.commands.app"),
)


def load() -> None:
    """Import what an audit imports, so that no run has to."""
    loaded = tuple(f"verifier.{name}" for name in _LOADED)
    for module in pkgutil.walk_packages(verifier.__path__, "verifier."):
        if module.name.startswith(loaded):
            importlib.import_module(module.name)


def resolver(places: dict[str, int | str]) -> Callable[[str], list[str]]:
    """Names lead to a public address, which stands for a port of loopback."""

    def resolve(host: str) -> list[str]:
        place = places.get(network.matching_host(host, places) or "", "unknown")
        if place == "never":
            time.sleep(120)
        if place == "private":
            return [PRIVATE]
        if isinstance(place, str):
            code = socket.EAI_AGAIN if place == "later" else socket.EAI_NONAME
            raise socket.gaierror(code, "no address")
        return [f"{_PUBLIC}{place >> 8}.{place & 255}"]

    return resolve


def on_loopback(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Connections to such an address go to its port."""

    def connect_tcp(self: object, address: str, port: int, **more: Any) -> Any:  # noqa: ANN401
        if not address.startswith(_PUBLIC):
            return connect(self, address, port, **more)
        high, low = map(int, address.removeprefix(_PUBLIC).split("."))
        return connect(self, "127.0.0.1", high << 8 | low, **more)

    return connect_tcp


def run(places: dict[str, int | str], words: list[str], folder: str, roots: str) -> None:
    """One run of the command, which ends this process."""
    os.chdir(folder)
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ["XDG_CACHE_HOME"] = folder
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(roots)
    changed: Any = http
    changed.System = functools.partial(
        network.System, resolve=resolver(places), trust=lambda: trust
    )
    sys.argv = ["verify", *words]
    code: object = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        Path("peak").write_text(peak)
    os._exit(code if isinstance(code, int) else int(code is not None))


def serve() -> None:
    """Run what the lines of standard input say, one after the other."""
    changed: Any = httpcore.SyncBackend
    changed.connect_tcp = on_loopback(httpcore.SyncBackend.connect_tcp)
    load()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
