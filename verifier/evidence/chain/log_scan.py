"""Log scans: every answer that one node gave to `eth_getLogs` over a range, in one transcript.

A node shows logs only in short ranges, so that a history is thousands of answers, nearly all of
them empty. They are kept together, each as the text that was received:

    {"schema": "dstack-audit/log-scan/v1",
     "filter": {"chain_id": 8453, "address": "0x…", "topics": ["0x…", …]},
     "answers": [{"first": 0, "last": 1999, "at": 1781524800, "cached": false, "answer": "{…}"}, …]}

`topics` are the values of topic 0 that were asked for, none for every log; `first` and `last` are
inclusive block numbers, `at` is when the answer was received (Unix seconds), and `cached` says that
it was received in an earlier audit. Ranges ascend and do not overlap; what is between them was not
answered. A scan proves nothing by itself: it is a witness's account of what a node said.
"""

import json
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.canonical_logs import TimedLog, read_canonical_logs
from verifier.evidence.chain.contracts import Call, Log, decode_timed_logs
from verifier.evidence.chain.json_rpc import parse_answer
from verifier.model.result import JsonValue

SCHEMA: Final = "dstack-audit/log-scan/v1"
MAX_BLOCK: Final = 2**64 - 1


class LogFilter(Struct, frozen=True, kw_only=True):
    """Which logs: those of one contract (0x, lower case), with one of these values as topic 0.

    `topics` (0x, lower case, sorted) is empty for every log of the contract.
    """

    chain_id: int
    address: str
    topics: tuple[str, ...] = ()

    def call(self, first: int, last: int | None) -> Call:
        """The `eth_getLogs` for an inclusive range of blocks; without `last`, to the head."""
        query: dict[str, JsonValue] = {
            "address": self.address,
            "fromBlock": hex(first),
            "toBlock": "latest" if last is None else hex(last),
        }
        if self.topics:
            query["topics"] = [list(self.topics)]
        return "eth_getLogs", [query]

    @property
    def text(self) -> str:
        """The filter as canonical JSON, by which a scan is found again."""
        return json.dumps(self._document, separators=(",", ":"), sort_keys=True)

    @property
    def _document(self) -> dict[str, JsonValue]:
        return {"chain_id": self.chain_id, "address": self.address, "topics": list(self.topics)}

    def matches(self, log: Log) -> bool:
        """Whether a node may give this log for the filter."""
        first = "0x" + log.topics[0].hex() if log.topics else ""
        return log.address == self.address and (not self.topics or first in self.topics)


class RangeAnswer(Struct, frozen=True, kw_only=True):
    """What a node said about one inclusive range of blocks; `body` is the response as received."""

    first: int
    last: int
    at: int
    body: bytes
    cached: bool = False


class LogScan(Struct, frozen=True, kw_only=True):
    """One transcript."""

    filter: LogFilter
    answers: tuple[RangeAnswer, ...]

    def gaps(self, first: int, last: int) -> tuple[tuple[int, int], ...]:
        """The inclusive ranges within `first` to `last` that no answer covers."""
        found: list[tuple[int, int]] = []
        expected = first
        for answer in self.answers:
            if answer.last < expected:
                continue
            if answer.first > last:
                break
            if answer.first > expected:
                found.append((expected, answer.first - 1))
            expected = answer.last + 1
        if expected <= last:
            found.append((expected, last))
        return tuple(found)

    def logs(self, what: str) -> tuple[TimedLog, ...]:
        """Every log of every answer, in chain order.

        Raises EvidenceError for an error, a malformed answer, and a log that is not of the filter,
        not of the answer's range, or has no block hash.
        """
        empty: set[bytes] = set()
        found: list[TimedLog] = []
        for answer in self.answers:
            if answer.body in empty:
                continue
            logs = decode_range(self.filter, answer, what)
            if not logs:
                empty.add(answer.body)
            found.extend(logs)
        return tuple(found)


def decode_range(wanted: LogFilter, answer: RangeAnswer, what: str) -> tuple[TimedLog, ...]:
    """The logs of one answer, each of which the filter and the range allow.

    Raises EvidenceError (see `LogScan.logs`).
    """
    where = f"{what}, blocks {answer.first} to {answer.last}"
    found = decode_answer(wanted, parse_answer(answer.body, where), where)
    for item in found:
        if not answer.first <= item.log.block <= answer.last:
            raise EvidenceError(f"{where}: a log of block {item.log.block}, which was not asked")
    return found


def decode_answer(wanted: LogFilter, value: JsonValue, what: str) -> tuple[TimedLog, ...]:
    """The logs in the result of one `eth_getLogs`, each of which the filter allows.

    Raises EvidenceError for a malformed result, another contract's log, and a missing block hash.
    """
    found = read_canonical_logs(value)
    if found is None:
        found = _read_strictly(value, what)
    for item in found:
        if not wanted.matches(item.log):
            raise EvidenceError(f"{what}: a log of {item.log.address} that was not asked for")
    return found


def _read_strictly(value: JsonValue, what: str) -> tuple[TimedLog, ...]:
    found: list[TimedLog] = []
    for (log, time), item in zip(
        decode_timed_logs(value, what), codec.as_list(value, what), strict=True
    ):
        entry = codec.as_object(item, what)
        digest = codec.parse_hex(entry.get("blockHash"), what, length=32, allow_0x=True)
        found.append(TimedLog(log, digest.hex(), time))
    return tuple(found)


def encode_scan(wanted: LogFilter, answers: Iterable[RangeAnswer]) -> bytes:
    """The transcript. Raises EvidenceError for an answer that is not UTF-8."""
    entries = [
        {
            "first": item.first,
            "last": item.last,
            "at": item.at,
            "cached": item.cached,
            "answer": codec.parse_utf8(item.body, "eth_getLogs"),
        }
        for item in sorted(answers, key=lambda item: item.first)
    ]
    document = {"schema": SCHEMA, "filter": json.loads(wanted.text), "answers": entries}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def written_bytes(body: bytes) -> int:
    """How many bytes an answer takes in a transcript, where what JSON escapes takes more."""
    return len(json.dumps(body.decode("utf-8", "replace"), ensure_ascii=False).encode("utf-8"))


def parse_scan(raw: bytes, what: str) -> LogScan:
    """Read a transcript. Raises EvidenceError; the answers in it are not read yet."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(f"{what}: schema {document.get('schema')!r:.60} is not {SCHEMA!r}")
    answers: list[RangeAnswer] = []
    for index, item in enumerate(codec.as_list(document.get("answers"), f"{what}: answers")):
        answers.append(_parse_entry(item, f"{what}: answers[{index}]"))
        if index and answers[-2].last >= answers[-1].first:
            raise EvidenceError(f"{what}: answers[{index}] overlaps the one before it")
    return LogScan(filter=parse_filter(document.get("filter"), what), answers=tuple(answers))


def _parse_entry(value: JsonValue, what: str) -> RangeAnswer:
    item = codec.as_object(value, what)
    first, last, at = (codec.as_int(item.get(key), what) for key in ("first", "last", "at"))
    if not 0 <= first <= last <= MAX_BLOCK or at < 0:
        raise EvidenceError(f"{what}: not a range of blocks and a time")
    cached = item.get("cached")
    if not isinstance(cached, bool):
        raise EvidenceError(f"{what}: cached is not true or false")
    body = codec.as_str(item.get("answer"), what).encode("utf-8")
    return RangeAnswer(first=first, last=last, at=at, cached=cached, body=body)


def parse_filter(value: JsonValue, what: str) -> LogFilter:
    """The `filter` member of a transcript. Raises EvidenceError."""
    item = codec.as_object(value, f"{what}: filter")
    topics = [
        "0x" + codec.parse_hex(topic, f"{what}: topics", length=32, allow_0x=True).hex()
        for topic in codec.as_list(item.get("topics"), f"{what}: topics")
    ]
    address = codec.parse_hex(item.get("address"), f"{what}: address", length=20, allow_0x=True)
    return LogFilter(
        chain_id=codec.as_int(item.get("chain_id"), f"{what}: chain_id"),
        address="0x" + address.hex(),
        topics=tuple(topics),
    )
