"""Log scans made by hand."""

import json

from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, encode_scan
from verifier.model.result import JsonValue

CHAIN_ID = 8453
ADDRESS = "0x" + "a1" * 20
COMPOSE_HASH_ADDED = "0xfecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af"
FILTER = LogFilter(chain_id=CHAIN_ID, address=ADDRESS)


def log(block: int, index: int = 0, **changes: JsonValue) -> dict[str, JsonValue]:
    """One entry of an `eth_getLogs` answer."""
    entry: dict[str, JsonValue] = {
        "address": ADDRESS,
        "topics": [COMPOSE_HASH_ADDED],
        "data": "0x" + f"{block:064x}",
        "blockNumber": hex(block),
        "blockHash": "0x" + f"{block:064x}",
        "blockTimestamp": hex(1_700_000_000 + 2 * block),
        "transactionHash": "0x" + f"{block:062x}{index:02x}",
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        "removed": False,
    }
    return entry | changes


def answer(first: int, last: int, *logs: JsonValue, cached: bool = False) -> RangeAnswer:
    """The answer to one range."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": list(logs)}).encode()
    return RangeAnswer(first=first, last=last, at=1_700_000_000, body=body, cached=cached)


def bundle_of(scans: dict[str, list[RangeAnswer]], wanted: LogFilter = FILTER) -> Bundle:
    """A bundle with one scan per endpoint."""
    builder = BundleBuilder()
    for endpoint, answers in scans.items():
        builder.add(
            Kind.LOG_SCAN,
            encode_scan(wanted, answers),
            source=endpoint,
            collected_at=1_700_000_000,
            request=wanted.text,
        )
    return builder.build()
