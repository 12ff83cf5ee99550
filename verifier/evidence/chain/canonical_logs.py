"""Logs as nearly every node spells them, read at the pace of long histories.

A history is a hundred thousand logs, each of ten fields. Here the types of all fields are checked
by one conversion, and their spelling by one pattern for the whole log: lower-case hex, quantities
without leading zeros. What is spelled otherwise is not judged here: the strict reader of
`verifier.evidence.chain.contracts` reads it field by field, or says what is wrong with it.
"""

import re
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from verifier.evidence.chain.contracts import MAX_TOPICS, Log
from verifier.model.identifiers import LATEST_TIME
from verifier.model.result import JsonValue
from verifier.patterns import pattern

_QUANTITY: Final = r"0x(?:0|[1-9a-f][0-9a-f]{0,15})"
_WORD: Final = r"0x[0-9a-f]{64}"
_LOG: Final = pattern(
    rf"0x[0-9a-f]{{40}} 0x[0-9a-f]* {_QUANTITY} {_QUANTITY} (?:{_QUANTITY})?"
    rf" {_WORD} {_WORD}(?: {_WORD}){{0,{MAX_TOPICS}}}",
    re.ASCII,
)
_LEAST_SPACES: Final = 6


class TimedLog(Struct, frozen=True, gc=False):
    """A log, the hash of its block (hex) and, where the node adds it, its time (Unix seconds)."""

    log: Log
    block_hash: str
    time: int | None


class _Spelled(Struct, rename="camel", gc=False):
    """A log as JSON has it, with the names and the spelling of `eth_getLogs`.

    address           the contract, 20 bytes
    topics            32 bytes each
    data              bytes of any number
    block_number      a quantity
    log_index         a quantity
    transaction_hash  32 bytes
    block_hash        32 bytes
    block_timestamp   Unix seconds, a quantity; None where the node does not add it
    removed           true for a log of a block that is no longer in the chain; None where the node
                      is silent
    """

    address: str
    topics: list[str]
    data: str
    block_number: str
    log_index: str
    transaction_hash: str
    block_hash: str
    block_timestamp: str | None = None
    removed: bool | None = None


def read_canonical_logs(value: JsonValue) -> tuple[TimedLog, ...] | None:
    """The entries of an `eth_getLogs` answer, in (block, log index) order; None where the strict
    reader has to say what they are."""
    try:
        spelled = msgspec.convert(value, list[_Spelled])
    except msgspec.ValidationError:
        return None
    found = [_read(item) for item in spelled]
    logs = [item for item in found if item is not None]
    places = [(item.log.block, item.log.log_index) for item in logs]
    if len(logs) != len(found) or any(one >= next_one for one, next_one in pairwise(places)):
        return None
    return tuple(logs)


def _read(item: _Spelled) -> TimedLog | None:
    stamp, topics = item.block_timestamp, item.topics
    fields = (item.address, item.data, item.block_number, item.log_index, stamp or "")
    line = " ".join((*fields, item.transaction_hash, item.block_hash, *topics))
    # As many spaces as were put in: no field holds one, so each is what the pattern takes it for.
    whole = line.count(" ") == _LEAST_SPACES + len(topics) and len(item.data) % 2 == 0
    if item.removed or stamp == "" or not whole or not _LOG.fullmatch(line):
        return None
    time = None if stamp is None else int(stamp, 16)
    if time is not None and time > LATEST_TIME:
        return None
    return TimedLog(
        Log(
            address=item.address,
            topics=tuple([bytes.fromhex(topic[2:]) for topic in topics]),
            data=bytes.fromhex(item.data[2:]),
            block=int(item.block_number, 16),
            log_index=int(item.log_index, 16),
            transaction=item.transaction_hash[2:],
        ),
        item.block_hash[2:],
        time,
    )
