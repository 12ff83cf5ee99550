"""A block explorer, in the dialects of Blockscout's RPC API and of Etherscan's API V2."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain.explorer_logs import MAX_LOGS, Asked, encode_explorer_logs
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer
from verifier.lab.response import Response

Entry = dict[str, Any]
Dialect = Callable[[Entry], Entry]
Edit = Callable[[list[Entry]], list[Entry]]
NOTHING = {"blockscout": "No logs found", "etherscan": "No records found"}


def blockscout(log: Entry) -> Entry:
    """A node's log as Blockscout spells it: four topics, no block hash, every field a string."""
    kept = ("address", "data", "blockNumber", "logIndex", "transactionHash", "transactionIndex")
    topics = [*log["topics"], *[None] * (4 - len(log["topics"]))]
    return {
        **{name: log[name] for name in kept},
        "topics": topics,
        "timeStamp": log["blockTimestamp"],
        "gasPrice": "0x3b9aca00",
        "gasUsed": "0x121a0",
    }


def etherscan(log: Entry) -> Entry:
    """A node's log as Etherscan spells it: zero is "0x", the block's hash is given."""
    spelled = blockscout(log)
    for name in ("logIndex", "transactionIndex"):
        spelled[name] = "0x" if log[name] == "0x0" else log[name]
    return {**spelled, "topics": log["topics"], "blockHash": log["blockHash"]}


DIALECTS: dict[str, Dialect] = {"blockscout": blockscout, "etherscan": etherscan}


def given(entries: Iterable[Entry], dialect: str = "blockscout") -> bytes:
    """The body of an answer."""
    logs = [DIALECTS[dialect](item) for item in entries]
    if not logs:
        return refusal(NOTHING[dialect], [])
    return json.dumps({"message": "OK", "result": logs, "status": "1"}).encode()


def refusal(message: str, result: Any = None) -> bytes:
    """The body of an answer with status "0"."""
    return json.dumps({"message": message, "result": result, "status": "0"}).encode()


@dataclass
class Explorer:
    """An explorer of these logs, as nodes spell them, in chain order.

    `edit` changes what it shows, and `instead` is asked first for another answer to a query.
    `asked` holds the queries.
    """

    logs: list[Entry]
    dialect: str = "blockscout"
    edit: Edit = lambda logs: logs
    instead: Callable[[dict[str, str]], Response | None] = lambda _: None
    asked: list[dict[str, str]] = field(default_factory=list)

    def respond(
        self, _method: str, url: str, _headers: Mapping[str, str], _body: bytes
    ) -> Response:
        """What it answers to a GET."""
        query = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        self.asked.append(query)
        other = self.instead(query)
        if other is not None:
            return other
        first, last = int(query["fromBlock"]), int(query["toBlock"])
        found = [
            log
            for log in self.edit(self.logs)
            if log["address"] == query["address"]
            and first <= int(log["blockNumber"], 16) <= last
            and query.get("topic0") in (None, *log["topics"][:1])
        ]
        return answer(given(found[:MAX_LOGS], self.dialect))


def answer(body: bytes, status: int = 200) -> Response:
    """An HTTP answer."""
    return Response(status=status, headers={"Content-Type": "application/json"}, body=body)


def told(first: int, last: int, body: bytes, topic: str = "") -> Asked:
    """An answer about a range."""
    return topic, RangeAnswer(first=first, last=last, at=1_700_000_000, body=body)


def add(builder: BundleBuilder, source: str, wanted: LogFilter, *answers: Asked) -> None:
    """Record an explorer's account."""
    builder.add(
        Kind.EXPLORER_LOGS,
        encode_explorer_logs(wanted, answers),
        source=source,
        collected_at=1_700_000_000,
        request=wanted.text,
    )
