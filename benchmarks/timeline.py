"""What a timeline costs, as ratios within one run: a section of results.md beside this file.

    python -m benchmarks.timeline        after benchmarks/run.py, which writes the file anew

Scans go to a simulated provider, in a process of its own on loopback, that shows 2,000 blocks at a
time and takes 50 ms to answer. The least is what its answers alone would take, eight at a time.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.run import HERE, Row, render
from tests.timeline.providers import FILTER, LOOPBACK, Chain
from verifier.collect.http import HttpClient
from verifier.collect.log_cache import LogCache
from verifier.collect.scan import Canary, EndpointProfile, LogQuery, Node, ScanResult, scan_logs
from verifier.evidence import json_rpc
from verifier.evidence.log_scan import LogScan

TITLE = "## Timeline"
CAP = 2_000
LATENCY = 0.05
AT_ONCE = 8
LOGS = 500
BLOCKS = 5_000_000
SAMPLE = 100
WARM_REQUESTS = 3


@contextmanager
def provider(chain: Chain) -> Iterator[str]:
    """The URL of a provider that serves a chain like this one until the block ends."""
    options = {
        "provider": "mainnet.base.org",
        "latency": LATENCY,
        "first": chain.first,
        "head": chain.head,
        "count": len(chain.heights),
    }
    command = (sys.executable, "-m", "tests.timeline.providers", json.dumps(options))
    with subprocess.Popen(
        command, cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield f"http://{LOOPBACK}:{int(server.stdout.readline())}/"
        server.stdin.close()


def timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def one_by_one(url: str, chain: Chain) -> float:
    """Seconds a block of bare requests on one connection, one after the other, over a sample."""
    connection = http.client.HTTPConnection(url.split("/")[2])
    bodies = [
        json_rpc.encode_request(*FILTER.call(first, first + CAP - 1))
        for first in range(chain.first, chain.first + SAMPLE * CAP, CAP)
    ]

    def ask() -> None:
        for body in bodies:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            assert b'"result"' in connection.getresponse().read()

    seconds = timed(ask)
    connection.close()
    return seconds / (SAMPLE * CAP)


def web3_get_logs(url: str, chain: Chain) -> float:
    """Seconds a block of web3's `get_logs`, over the same sample."""
    from web3 import HTTPProvider, Web3

    node = Web3(HTTPProvider(url)).eth

    def ask() -> None:
        for first in range(chain.first, chain.first + SAMPLE * CAP, CAP):
            node.get_logs(
                {
                    "address": Web3.to_checksum_address(FILTER.address),
                    "topics": [list(FILTER.topics)],
                    "fromBlock": first,
                    "toBlock": first + CAP - 1,
                }
            )

    return timed(ask) / (SAMPLE * CAP)


def complete(found: ScanResult, chain: Chain, last: int) -> ScanResult:
    """The scan itself, if it holds every block and every log."""
    scan = LogScan(filter=FILTER, answers=found.answers)
    assert not found.failure, found.failure
    assert not scan.gaps(chain.first, last)
    expected = [block for block in chain.heights if block <= last]
    assert [item.log.block for item in scan.logs("benchmark")] == expected
    return found


def scan_rows() -> Iterator[Row]:
    chain = Chain(first=30_000_000, head=30_000_000 + BLOCKS - 1, count=LOGS)
    known = Canary(FILTER, chain.heights[0])

    def scan(
        profile: EndpointProfile, last: int = chain.head, cache: LogCache | None = None
    ) -> ScanResult:
        node = Node(client=client, endpoint=url, block_hash=chain.hash, profile=profile)
        query = LogQuery(filter=FILTER, first=chain.first, last=last, known_log=known)
        return complete(scan_logs(node, query, cache=cache), chain, last)

    least = -(-BLOCKS // CAP // AT_ONCE) * LATENCY
    what = f"cold scan of {BLOCKS:,} blocks with {LOGS} logs"
    with (
        tempfile.TemporaryDirectory() as folder,
        provider(chain) as url,
        HttpClient(clock=lambda: 0, allow_hosts={LOOPBACK}) as client,
        LogCache(Path(folder) / "logs.sqlite3") as cache,
    ):
        held = timed(lambda: scan(EndpointProfile(ceiling=AT_ONCE)))
        ours = timed(lambda: scan(EndpointProfile(), chain.head - 600, cache))
        warm = scan(EndpointProfile(), chain.head, cache)
        assert not cache.problem
        pace = {
            f"bare requests one after the other, extrapolated from {SAMPLE}": one_by_one,
            f"web3's get_logs in a loop, extrapolated from {SAMPLE}": web3_get_logs,
        }
        others = {name: measure(url, chain) * BLOCKS for name, measure in pace.items()}
    yield Row(
        what=f"{what}, {AT_ONCE} requests at once / the answers alone, {AT_ONCE} at once",
        ours=held,
        least=least,
        budget=1.25,
    )
    yield Row(
        what=f"{what}, as an audit does it, into a cache / the answers alone, {AT_ONCE} at once",
        ours=ours,
        least=least,
        budget=1.25,
    )
    for name, seconds in others.items():
        yield Row(what=f"the same / {name}", ours=ours, least=seconds, budget=None)
    yield Row(
        what=f"eth_getLogs of a warm scan, 600 blocks later / {WARM_REQUESTS}",
        ours=warm.requests,
        least=WARM_REQUESTS,
        budget=1,
        unit="requests",
    )


def rows() -> Iterator[Row]:
    yield from scan_rows()


def main() -> None:
    path = HERE / "results.md"
    table = render(list(rows()))
    section = f"{TITLE}\n\n{table[table.index('| Measured') :]}"
    before = path.read_text(encoding="utf-8").partition(TITLE)[0]
    path.write_text(f"{before.rstrip()}\n\n{section}", encoding="utf-8")
    print(section, end="")


if __name__ == "__main__":
    main()
