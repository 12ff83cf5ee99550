"""What a timeline costs, as ratios within one run: a section of results.md beside this file.

    python -m benchmarks.timeline        after benchmarks/run.py, which writes the file anew

Scans go to a simulated provider, in a process of its own on loopback, that shows 2,000 blocks at a
time and takes 50 ms to answer. The least is what its answers alone would take, eight at a time.

Logs are those of one app that allows and withdraws manifests and machines. They are decoded from
parsed JSON, as they come from a node, and again from what was read from it, against web3's
`process_log` on logs that web3 has formatted already; both ratios are of the same logs.
"""

import hashlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.run import HERE, Row, paired, render
from tests.timeline.nodes import view_of
from tests.timeline.providers import FILTER, LOOPBACK, Chain
from verifier.chain.agreed_logs import Scans
from verifier.chain.safe_queues import SafeQueues
from verifier.collect.http import HttpClient
from verifier.collect.log_cache import LogCache
from verifier.collect.scan import EndpointProfile, KnownLog, LogQuery, Node, ScanResult, scan_logs
from verifier.errors import EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain import json_rpc
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.contract_events import KMS_GOVERNANCE_TOPICS, decode_event
from verifier.evidence.chain.contracts import Call, decode_logs
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.evidence.chain.log_scan import (
    LogFilter,
    LogScan,
    RangeAnswer,
    decode_answer,
    encode_scan,
)
from verifier.evidence.plan import ChainPlan
from verifier.model.chain import Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Timeline, TimelineEvent
from verifier.reference.generations import NEWEST
from verifier.reference.values import embedded
from verifier.timeline.build import build_timeline
from verifier.timeline.exposures import Attested
from verifier.timeline.fold import fold
from verifier.timeline.history import History
from verifier.timeline.initial import InitialFlags

TITLE = "## Timeline"
CAP = 2_000
LATENCY = 0.05
AT_ONCE = 8
LOGS = 500
BLOCKS = 5_000_000
SAMPLE = 100
WARM_REQUESTS = 3
DECODED = 100_000
COMPARED = 2_000
FOLDED = 100_000
BUILT = 2_000
APP = "0x" + "a9" * 20
KMS = "0x" + "6d" * 20
CODE = "0x" + "c0" * 20
NAMES = ("ComposeHashAdded", "DeviceAdded", "ComposeHashRemoved", "DeviceRemoved")
BEGIN = 30_000_000
ARGUMENTS = 100
"""Characters of a call that has any."""


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


def worked(job: Callable[[], object]) -> float:
    """Seconds of processor time that a job needs, at best of five."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        job()
        taken.append(time.process_time() - start)
    return min(taken)


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
    known = KnownLog(FILTER, chain.heights[0])

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


def word(number: int) -> str:
    return f"0x{number:064x}"


def key(number: int) -> str:
    return "0x" + hashlib.sha256(b"key %d" % number).hexdigest()


def topic(signature: str) -> str:
    return "0x" + keccak256(signature.encode()).hex()


def app_logs(count: int) -> list[JsonValue]:
    """The logs of an app as a node gives them: two transactions a key allow it, two withdraw it."""
    found: list[JsonValue] = [
        app_log(0, [topic("Upgraded(address)"), word(int(CODE, 16))], "0x"),
        app_log(1, [topic("Initialized(uint64)")], word(1)),
    ]
    for number in range(2, count):
        name = NAMES[number % len(NAMES)]
        found.append(app_log(number, [topic(f"{name}(bytes32)")], key(number // len(NAMES))))
    return found


def app_log(number: int, topics: list[JsonValue], body: str) -> JsonValue:
    block = BEGIN + max(number - 1, 0)
    return {
        "address": APP,
        "topics": topics,
        "data": body,
        "blockNumber": hex(block),
        "blockHash": word(block),
        "blockTimestamp": hex(1_686_789_347 + 2 * block),
        "transactionHash": word(block),
        "transactionIndex": "0x0",
        "logIndex": hex(number == 1),
        "removed": False,
    }


def event_of(item: TimedLog) -> TimelineEvent:
    decoded = decode_event(item.log)
    return TimelineEvent(
        place=Place(item.log.block, item.log.log_index),
        time=item.time,
        block_hash=item.block_hash,
        transaction=item.log.transaction,
        role=Role.APP,
        address=checksum_address(bytes.fromhex(APP[2:])),
        name=decoded.name,
        args=decoded.args,
    )


def decode_rows() -> Iterator[Row]:
    """Logs a second, and against web3."""
    from web3 import Web3
    from web3._utils.method_formatters import log_entry_formatter

    wanted, raw = LogFilter(chain_id=8453, address=APP), app_logs(DECODED)

    def from_json(logs: list[JsonValue]) -> None:
        for log in decode_logs(logs, "benchmark"):
            decode_event(log)

    def as_scanned(logs: list[JsonValue]) -> None:
        for item in decode_answer(wanted, logs, "benchmark"):
            decode_event(item.log)

    for what, decode, budget in (
        ("from parsed JSON", from_json, 1.0),
        ("from parsed JSON, with the times and block hashes that a scan keeps", as_scanned, None),
    ):
        yield Row(
            what=f"decode {DECODED:,} logs {what} / one second of one processor",
            ours=worked(partial(decode, raw)),
            least=1.0,
            budget=budget,
        )
    some = raw[2 : COMPARED + 2]
    read = decode_logs(some, "benchmark")
    formatted: list[Any] = [log_entry_formatter(item) for item in some]
    abi = [
        {
            "type": "event",
            "name": name,
            "anonymous": False,
            "inputs": [{"name": "key", "type": "bytes32", "indexed": False}],
        }
        for name in NAMES
    ]
    events = Web3().eth.contract(abi=abi).events
    by_topic = {topic(f"{name}(bytes32)"): getattr(events, name)() for name in NAMES}

    def web3_process_log() -> None:
        for item in formatted:
            by_topic["0x" + item["topics"][0].hex().removeprefix("0x")].process_log(item)

    for what, job, budget in (
        ("from parsed JSON", lambda: from_json(some), None),
        ("that are read already", lambda: [decode_event(log) for log in read], 1 / 20),
    ):
        ours, web3 = paired(job, web3_process_log, 7)
        yield Row(
            what=f"decode {COMPARED:,} logs {what} / web3's process_log on formatted ones",
            ours=ours,
            least=web3,
            budget=budget,
        )


def fold_rows() -> Iterator[Row]:
    """The fold alone: its time, and its own memory."""
    wanted = LogFilter(chain_id=8453, address=APP)
    events = [event_of(item) for item in decode_answer(wanted, app_logs(FOLDED), "benchmark")]
    build = next(row for row in embedded().contracts if row.role == "app")
    codes = {checksum_address(bytes.fromhex(CODE[2:])): build}

    def folded() -> object:
        found = fold(events, initial=InitialFlags(), codes=codes)
        return found, found.app_state(), found.kms_state()

    yield Row(
        what=f"fold {FOLDED:,} events, and the last state / one second of one processor",
        ours=worked(folded),
        least=1.0,
        budget=1,
    )
    tracemalloc.start()
    kept = folded()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    yield Row(
        what=f"peak memory of folding {FOLDED:,} events",
        ours=peak,
        least=150,
        budget=1,
        unit="MB",
    )


def node_says(call: Call) -> JsonValue:
    """A node's answers about the contracts of these logs; every key was withdrawn again."""
    method, params = call
    if method == "eth_getBlockByNumber":
        number = int(str(params[0]), 16)
        stamp = hex(1_686_789_347 + 2 * number)
        return {"number": hex(number), "hash": word(number), "timestamp": stamp}
    if method == "eth_getTransactionByHash":
        return {"hash": params[0], "from": CODE, "to": APP, "input": "0x"}
    if method == "eth_getCode":
        return "0x60806040"
    if method == "eth_call" and len(str(params[0])) < ARGUMENTS:
        raise EvidenceError("only mappings are answered")
    return word(0)


def whole_timeline(bundle: BundleBuilder, last: int) -> Timeline:
    """From the bundle's scans and reads to a timeline, as an audit does it."""
    plan = ChainPlan(
        chain_id=8453,
        kms=checksum_address(bytes.fromhex(KMS[2:])),
        generation=NEWEST,
        deployed_block=BEGIN,
        app_id=bytes.fromhex(APP[2:]),
    )
    reader = view_of(last, node_says, node_says, plan=plan)
    app = plan.app or ""
    held = bundle.build()
    history = History(reader, Scans(held), plan, app, SafeQueues(held))
    return build_timeline(history, (), Attested(running=None, sightings=(), manifests={}))


def build_rows() -> Iterator[Row]:
    """A whole history of one app."""
    logs, last = app_logs(BUILT), BEGIN + BUILT
    bundle = BundleBuilder()
    for address, topics, held in ((APP, (), logs), (KMS, KMS_GOVERNANCE_TOPICS, [])):
        wanted = LogFilter(chain_id=8453, address=address, topics=topics)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": held}).encode()
        scan = encode_scan(wanted, [RangeAnswer(first=BEGIN, last=last, at=0, body=body)])
        for source in view_of(last, node_says, node_says).endpoints:
            bundle.add(Kind.LOG_SCAN, scan, source=source, collected_at=0, request=wanted.text)
    assert len(whole_timeline(bundle, last).events) == BUILT
    yield Row(
        what=f"a timeline of {BUILT:,} events of two endpoints / one second of one processor",
        ours=worked(lambda: whole_timeline(bundle, last)),
        least=1.0,
        budget=None,
    )


def rows() -> Iterator[Row]:
    yield from scan_rows()
    yield from decode_rows()
    yield from fold_rows()
    yield from build_rows()


def main() -> None:
    path = HERE / "results.md"
    table = render(list(rows()))
    section = f"{TITLE}\n\n{table[table.index('| Measured') :]}"
    before = path.read_text(encoding="utf-8").partition(TITLE)[0]
    path.write_text(f"{before.rstrip()}\n\n{section}", encoding="utf-8")
    print(section, end="")


if __name__ == "__main__":
    main()
