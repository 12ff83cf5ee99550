"""Nodes as providers run them: one synthetic set of logs behind every limit and every lie.

A `Shim` is an HTTP server on loopback. Its `Policy` looks at each `eth_getLogs` and refuses it in
the provider's own words, or lets it through to the chain (or to an upstream node), and a `Lie`
changes what is let through. `PROVIDERS` are the public endpoints as they were in 2025 and 2026,
after their documentation and ponder-sh/ponder's recorded errors; they all hold the same logs.

As a program (`python -m tests.timeline.providers OPTIONS`) it prints its port and serves until its
standard input closes; the method `shim_requests` tells how many `eth_getLogs` it saw.
"""

import asyncio
import hashlib
import http.client
import json
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from verifier.evidence.chain.log_scan import LogFilter

CHAIN_ID = 8453
ADDRESS = "0x" + "ad" * 20
OTHER_ADDRESS = "0x" + "ef" * 20
TOPIC = "0x" + "0a" * 32
OTHER_TOPIC = "0x" + "0b" * 32
FILTER = LogFilter(chain_id=CHAIN_ID, address=ADDRESS, topics=(TOPIC,))
LOOPBACK = "127.0.0.1"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer. A `cut` one promises more bytes than it has."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One `eth_getLogs`: its range, how many logs are in it, and the how manieth it is (from 1)."""

    first: int
    last: int
    held: int
    head: int
    number: int

    @property
    def width(self) -> int:
        """The number of blocks."""
        return self.last - self.first + 1

    @property
    def distance(self) -> int:
        """From the first block to the last, as some nodes count."""
        return self.last - self.first


Policy = Callable[[Query], Reply | None]
Lie = Callable[[bytes], Reply | bytes]


def refuse(status: int, code: int, message: str, **more: Any) -> Reply:
    """A JSON-RPC error under an HTTP status."""
    error = {"code": code, "message": message, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()
    return Reply(status=status, body=body, headers=JSON)


def result(value: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


class Chain:
    """Blocks up to `head` with `count` logs at deterministic heights; a `fork` has other hashes."""

    def __init__(self, *, first: int = 0, head: int = 20_000, count: int = 40) -> None:
        self.first, self.head, self.fork = first, head, 0
        span = head - first
        self.heights = [first + (2 * index + 1) * span // (2 * count) for index in range(count)]
        self._texts = [self.log(block, index) for index, block in enumerate(self.heights)]

    def log(self, block: int, index: int, **changes: Any) -> dict[str, Any]:
        """One log as a node writes it."""
        return {
            "address": ADDRESS,
            "topics": [TOPIC],
            "data": "0x" + index.to_bytes(32, "big").hex(),
            "blockNumber": hex(block),
            "blockHash": self.hash(block),
            "blockTimestamp": hex(1_686_789_347 + 2 * block),
            "transactionHash": "0x" + hashlib.sha256(b"tx%d" % block).hexdigest(),
            "transactionIndex": "0x0",
            "logIndex": hex(index % 7),
            "removed": False,
        } | changes

    def hash(self, block: int) -> str:
        """The hash of a block."""
        return "0x" + hashlib.sha256(b"%d/%d" % (self.fork, block)).hexdigest()

    def between(self, first: int, last: int) -> slice:
        """Which logs lie in an inclusive range."""
        return slice(bisect_left(self.heights, first), bisect_right(self.heights, last))

    def answer(self, method: str, params: list[Any]) -> bytes:
        """The honest answer to a call."""
        if method == "eth_getLogs":
            asked = params[0]
            first, last = int(asked["fromBlock"], 16), int(asked["toBlock"], 16)
            matches = asked["address"] == ADDRESS
            matches = matches and TOPIC in asked.get("topics", [[TOPIC]])[0]
            return result(self._texts[self.between(first, last)] if matches else [])
        if method == "eth_getBlockByNumber":
            tag = params[0]
            number = int(tag, 16) if tag.startswith("0x") else self.head
            return result({"number": hex(number), "hash": self.hash(number)})
        values = {"eth_chainId": hex(CHAIN_ID), "eth_blockNumber": hex(self.head)}
        if method in values:
            return result(values[method])
        return refuse(200, -32601, f"the method {method} does not exist").body


class Shim:
    """A provider on loopback; a context manager.

    `asked` holds the ranges of `eth_getLogs`, `busiest` how many requests it had at once.
    """

    def __init__(
        self,
        chain: Chain,
        policy: Policy = lambda _: None,
        lie: Lie = lambda body: body,
        *,
        latency: float = 0.0,
        upstream: str = "",
    ) -> None:
        self.chain, self.policy, self.lie = chain, policy, lie
        self.latency, self.upstream = latency, upstream
        self.asked: list[tuple[int, int]] = []
        self.connections = self.busiest = self._busy = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, LOOPBACK, 0, backlog=64)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}/"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
                request = json.loads(await reader.readexactly(length))
                self._busy += 1
                self.busiest = max(self.busiest, self._busy)
                if self.latency:
                    await asyncio.sleep(self.latency)
                reply = await self._reply(request)
                self._busy -= 1
                writer.write(_encoded(reply))
                await writer.drain()
                if reply.cut:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _reply(self, request: dict[str, Any]) -> Reply:
        method, params = request["method"], request["params"]
        if method == "shim_requests":
            return Reply(body=result(len(self.asked)), headers=JSON)
        if method != "eth_getLogs":
            return Reply(body=await self._honest(request), headers=JSON)
        first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
        self.asked.append((first, last))
        held = self.chain.between(first, last)
        query = Query(
            first=first,
            last=last,
            held=held.stop - held.start,
            head=self.chain.head,
            number=len(self.asked),
        )
        refused = self.policy(query)
        if refused is not None:
            return refused
        told = self.lie(await self._honest(request))
        return Reply(body=told, headers=JSON) if isinstance(told, bytes) else told

    async def _honest(self, request: dict[str, Any]) -> bytes:
        if not self.upstream:
            return self.chain.answer(request["method"], request["params"])
        return await asyncio.to_thread(_forward, self.upstream, json.dumps(request).encode())


def _forward(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=30)
    try:
        connection.request("POST", parts.path or "/", body, JSON)
        return connection.getresponse().read()
    finally:
        connection.close()


def _encoded(reply: Reply) -> bytes:
    length = len(reply.body) + (100 if reply.cut else 0)
    lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body


# Providers, each as a policy over one query.


def base_org(query: Query) -> Reply | None:
    """mainnet.base.org since 2026-09: counts the distance, so 2,001 blocks pass."""
    if query.distance > 2_000:
        return refuse(413, -32614, "eth_getLogs is limited to a 2,000 range")
    return None


def base_org_trap(query: Query) -> Reply | None:
    """mainnet.base.org of 2025: a range that is too wide looks like an outage."""
    if query.distance > 2_000:
        return refuse(503, -32011, "no backend is currently healthy to serve traffic")
    return None


def publicnode(query: Query) -> Reply | None:
    if query.first < query.head - 5_000:
        return refuse(
            403,
            -32602,
            "Archive requests require a personal token. Get one at: "
            "https://www.allnodes.com/publicnode",
        )
    if query.width > 10_000:
        return refuse(200, -32701, "exceed maximum block range: 10000")
    return None


def drpc_free(query: Query) -> Reply | None:
    if query.width > 10:
        return refuse(400, 35, "ranges over 10000 blocks are not supported on free plan")
    return None


def drpc_busy(query: Query) -> Reply | None:
    if query.number % 5 == 2:
        return refuse(500, 19, "Temporary internal error. Please retry")
    return None


def tenderly(query: Query) -> Reply | None:
    return refuse(200, -32602, "invalid params") if query.width > 1_000 else None


def tenderly_with_data(query: Query) -> Reply | None:
    if query.width > 1_000:
        text = f"range {query.width} is bigger than range limit 1000"
        return refuse(200, -32602, "invalid params", data=text)
    return None


def alchemy_free(query: Query) -> Reply | None:
    if query.width > 10:
        works = f"[{query.first:#x}, {query.first + 9:#x}]"
        return refuse(
            400,
            -32600,
            "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block "
            f"range. Based on your parameters, this block range should work: {works}. Upgrade to "
            "PAYG for expanded block range.",
        )
    return None


def alchemy_paid(query: Query) -> Reply | None:
    """Unlimited blocks, but not bytes."""
    if query.held > 6:
        works = f"[{query.first:#x}, {query.first + 2_000 - 1:#x}]"
        return refuse(
            200,
            -32602,
            "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block "
            "range and no limit on the response size, or you can request any block range with a "
            "cap of 10K logs in the response. Based on your parameters and the response size "
            f"limit, this block range should work: {works}",
        )
    return None


def infura(query: Query) -> Reply | None:
    if query.width > 10_000:
        return refuse(200, -32602, f"range {query.width} exceeds limit of 10000")
    if query.held > 6:
        works = f"[{query.first:#x}, {(query.first + query.last) // 2:#x}]"
        return refuse(
            200,
            -32005,
            f"query returned more than 10000 results. Try with this block range {works}.",
        )
    return None


def infura_slow(query: Query) -> Reply | None:
    return refuse(200, -32005, "query timeout exceeded") if query.width > 4_000 else None


def quicknode(query: Query) -> Reply | None:
    if query.distance > 10_000:
        return refuse(413, -32614, "eth_getLogs is limited to a 10,000 range")
    return None


def coinbase(query: Query) -> Reply | None:
    """The node counts less than it says: the refusal at exactly its cap."""
    if query.width >= 1_000:
        return refuse(200, -32005, "please limit the query to at most 1000 blocks")
    return None


def ankr(query: Query) -> Reply | None:
    return refuse(200, -32600, "block range is too wide") if query.width > 3_000 else None


def reth(query: Query) -> Reply | None:
    """Suggests the very range that it refuses."""
    if query.held > 5:
        text = f"query exceeds max results 20000, retry with the range {query.first}-{query.last}"
        return refuse(200, -32602, text)
    return None


def reth_blocks(query: Query) -> Reply | None:
    return (
        refuse(200, -32602, "query exceeds max block range 5000") if query.width > 5_000 else None
    )


def one_rpc(query: Query) -> Reply | None:
    if query.width > 1_000:
        return refuse(200, -32602, "eth_getLogs is limited to a 1000 blocks range")
    if query.held > 1:
        return refuse(200, -32602, "response size should not greater than 10000000 bytes")
    return None


def chainstack(query: Query) -> Reply | None:
    return refuse(200, -32602, "Block range limit exceeded.") if query.width > 100 else None


def proxyd_large(query: Query) -> Reply | None:
    return refuse(500, -32020, "backend response too large") if query.held > 3 else None


def throttled(every: int, **headers: str) -> Policy:
    """2,000 blocks at a time, and a 429 for each `every`-th request."""

    def policy(query: Query) -> Reply | None:
        if query.number % every == 0:
            limited = refuse(429, -32016, "over rate limit")
            return Reply(status=429, body=limited.body, headers=headers)
        return base_org(query)

    return policy


PROVIDERS: Mapping[str, Policy] = {
    "unlimited": lambda _: None,
    "mainnet.base.org": base_org,
    "mainnet.base.org 2025": base_org_trap,
    "drpc with hiccups": drpc_busy,
    "tenderly": tenderly,
    "tenderly with data": tenderly_with_data,
    "alchemy free, blast": alchemy_free,
    "alchemy paid": alchemy_paid,
    "infura": infura,
    "infura, slow": infura_slow,
    "quicknode": quicknode,
    "coinbase": coinbase,
    "ankr": ankr,
    "reth": reth,
    "reth, range": reth_blocks,
    "1rpc": one_rpc,
    "chainstack": chainstack,
    "proxyd": proxyd_large,
    "rate limited": throttled(4),
    "rate limited, politely": throttled(4, **{"Retry-After": "3"}),
}
"""Endpoints that hold every log and give all of them to whom asks as they wish."""


# Lies, each as a change of an honest answer.


def _changed(change: Callable[[list[Any]], Any]) -> Lie:
    return lambda body: result(change(json.loads(body)["result"]))


def _first(**changes: Any) -> Lie:
    return _changed(
        lambda logs: [{**log, **(changes if not at else {})} for at, log in enumerate(logs)]
    )


REFUSED_LIES: Mapping[str, Lie] = {
    "wrong order": _changed(lambda logs: logs[::-1] if len(logs) > 1 else logs),
    "wrong address": _first(address=OTHER_ADDRESS),
    "wrong topic": _first(topics=[OTHER_TOPIC]),
    "no topics": _first(topics=[]),
    "too many topics": _first(topics=[TOPIC] * 5),
    "other block": _first(blockNumber="0x1000000"),
    "a log twice": _changed(lambda logs: logs[:1] + logs),
    "leading zero": _first(blockNumber="0x01"),
    "upper-case data": _first(data="0x" + "AB" * 32),
    "odd data": _first(data="0x0"),
    "removed": _first(removed=True),
    "no block hash": _first(blockHash=None),
    "pending": _first(blockNumber=None),
    "year 10000": _first(blockTimestamp="0x3afff44180"),
    "not a list": _changed(lambda logs: {"logs": logs}),
    "null": _changed(lambda _: None),
    "no result": lambda _: b'{"jsonrpc":"2.0","id":1}',
    "other id": lambda body: body.replace(b'"id": 1', b'"id": 2'),
    "id as text": lambda body: body.replace(b'"id": 1', b'"id": "1"'),
    "result twice": lambda body: body.replace(b'"result"', b'"result": [], "result"'),
    "batch": lambda body: b"[" + body + b"]",
    "truncated JSON": lambda body: body[:-2],
    "trailing bytes": lambda body: body + b"{}",
    "garbage": lambda _: b"\x00\xff<html>",
    "empty": lambda _: b"",
    "deep": lambda _: b"[" * 100_000,
    "gzip": lambda body: Reply(body=body, headers={"Content-Encoding": "gzip"}),
    "redirect": lambda _: Reply(body=b"", status=302, headers={"Location": "http://127.0.0.1:9/"}),
    "huge": lambda _: Reply(body=b" " * (8 << 20) + b"!"),
    "cut off": lambda body: Reply(body=body, cut=True),
    "unauthorized": lambda _: refuse(200, -32000, "Unauthorized: You must authenticate"),
    "error as text": lambda _: b'{"jsonrpc":"2.0","id":1,"error":"no"}',
    "unknown method": lambda _: refuse(200, -32601, "the method does not exist"),
}
"""What the answers of one endpoint show by themselves."""

SILENT_LIES: Mapping[str, Lie] = {
    "drops a log": _changed(lambda logs: logs[1:]),
    "hides all": _changed(lambda _: []),
    "other data": _first(data="0x" + "ff" * 32),
    "not removed": _changed(
        lambda logs: logs and [*logs, {**logs[-1], "logIndex": "0xff", "data": "0x" + "ee" * 32}]
    ),
}
"""What only a second endpoint's answers show, or a log that is known to exist."""


def main(arguments: list[str]) -> None:
    """Serve `{"provider": …, "latency": seconds, "first": …, "head": …, "count": …}`."""
    options = json.loads(arguments[0])
    chain = Chain(first=options["first"], head=options["head"], count=options["count"])
    policy = PROVIDERS[options["provider"]]
    with Shim(chain, policy, latency=options["latency"]) as shim:
        sys.stdout.write(f"{shim.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
