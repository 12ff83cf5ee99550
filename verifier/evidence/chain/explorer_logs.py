"""Explorer logs: every answer that one block explorer gave about a contract's logs, in one file.

An explorer indexes a chain by itself and shows logs of any range of blocks, at most 1,000 at once.
Two families answer `module=logs&action=getLogs` nearly alike: Blockscout's RPC API, whose four
`topics` end in nulls and which gives no `blockHash`, and Etherscan's API V2, which spells zero
"0x". Both say `status` "1" with logs, and "0" with an empty `result` and `message` "No logs found"
(Blockscout) or "No records found" (Etherscan) without; any other "0" is a refusal. The answers are
kept as the texts that were received:

    {"schema": "dstack-audit/explorer-logs/v1",
     "filter": {"chain_id": 8453, "address": "0x…", "topics": ["0x…", …]},
     "answers": [{"topic": "", "first": 0, "last": 54000000, "at": 1781524800, "answer": "{…}"}, …]}

`topic` is the one value of topic 0 that was asked for, "" for all logs of the contract; `first`,
`last` and `at` are as in a log scan. Answers are sorted by topic and block, and those of one topic
do not overlap. Like a log scan, it proves nothing by itself.
"""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.contracts import decode_timed_logs
from verifier.evidence.chain.log_scan import (
    MAX_BLOCK,
    LogFilter,
    LogScan,
    RangeAnswer,
    parse_filter,
)
from verifier.model.result import JsonValue

SCHEMA: Final = "dstack-audit/explorer-logs/v1"
MAX_LOGS: Final = 1_000
"""What both families show at once; an answer with so many may be cut off."""

_NOTHING: Final = frozenset({"No logs found", "No records found"})
_SHOWN: Final = 200

Asked = tuple[str, RangeAnswer]
"""A value of topic 0 ("" for any), and the answer about a range."""


class ExplorerLogs(Struct, frozen=True, kw_only=True):
    """One transcript."""

    filter: LogFilter
    answers: tuple[Asked, ...]

    def read(
        self, first: int, last: int, what: str
    ) -> tuple[tuple[TimedLog, ...], tuple[tuple[int, int], ...], str]:
        """The logs within an inclusive range of blocks, the ranges within it that are not
        answered for every topic, and why the first answer that is of no use is not.

        Where an answer gives no block hash, the log has "" in its place. Raises EvidenceError for
        two answers that contradict each other.
        """
        found: dict[tuple[int, int], TimedLog] = {}
        used: list[Asked] = []
        reason = ""
        for topic, answer in self.answers:
            try:
                logs = decode_answer(self.filter, topic, answer, what)
            except EvidenceError as error:
                reason = reason or error.message
                continue
            used.append((topic, answer))
            for item in logs:
                if found.setdefault((item.log.block, item.log.log_index), item) != item:
                    raise EvidenceError(f"{what}: two logs {item.log.log_index} of a block")
        gaps = {
            gap
            for topic in self.filter.topics or ("",)
            for gap in self._answered(used, topic).gaps(first, last)
        }
        within = tuple(found[place] for place in sorted(found) if first <= place[0] <= last)
        return within, _joined(gaps), reason

    def _answered(self, used: Iterable[Asked], topic: str) -> LogScan:
        """The answers that tell of a topic, as one scan."""
        answers = [answer for asked, answer in used if asked in ("", topic)]
        answers.sort(key=lambda answer: answer.first)
        return LogScan(filter=self.filter, answers=tuple(answers))


class ExplorerRefusalError(EvidenceError):
    """An explorer answered that it gives no logs; `said` is why, in its own words."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def entries(raw: bytes, what: str) -> list[JsonValue]:
    """The undecoded logs of an answer.

    Raises ExplorerRefusalError for a refusal, EvidenceError for a malformed answer.
    """
    document = codec.parse_json_object(raw, what)
    status, result = document.get("status"), document.get("result")
    message = document.get("message")
    if status == "1" and isinstance(result, list):
        return result
    if status == "0" and isinstance(message, str) and message in _NOTHING and result == []:
        return []
    said = result if isinstance(result, str) and result else message
    message = f"{what}: the explorer refused: {said!a:.{_SHOWN}}"
    raise ExplorerRefusalError(message, said if isinstance(said, str) else "")


def decode_answer(
    wanted: LogFilter, topic: str, answer: RangeAnswer, what: str
) -> tuple[TimedLog, ...]:
    """The logs of one answer that the filter allows, in chain order.

    Raises EvidenceError for a refusal, a malformed answer, one that may be cut off, a log that was
    not asked for, and one that stands twice.
    """
    where = f"{what}, blocks {answer.first} to {answer.last}"
    given = entries(answer.body, where)
    if len(given) >= MAX_LOGS:
        raise EvidenceError(f"{where}: {len(given)} logs, so that more may have been left out")
    asked = LogFilter(
        chain_id=wanted.chain_id, address=wanted.address, topics=(topic,) if topic else ()
    )
    found: list[TimedLog] = []
    for index, item in enumerate(given):
        timed = _decode(item, f"{where}: result[{index}]")
        if not asked.matches(timed.log) or not answer.first <= timed.log.block <= answer.last:
            raise EvidenceError(f"{where}: a log that was not asked for")
        if wanted.matches(timed.log):
            found.append(timed)
    found.sort(key=lambda item: (item.log.block, item.log.log_index))
    if any(
        (a.log.block, a.log.log_index) == (b.log.block, b.log.log_index) for a, b in pairwise(found)
    ):
        raise EvidenceError(f"{where}: a log stands twice")
    return tuple(found)


def _decode(value: JsonValue, what: str) -> TimedLog:
    """One log, read as strictly as a node's once its dialect is undone."""
    item = codec.as_object(value, what)
    topics = list(codec.as_list(item.get("topics"), what))
    while topics and topics[-1] is None:
        topics.pop()
    index = item.get("logIndex")
    spelled: dict[str, JsonValue] = {
        **item,
        "topics": topics,
        "logIndex": "0x0" if index == "0x" else index,
        "blockTimestamp": item.get("timeStamp"),
    }
    ((log, time),) = decode_timed_logs([spelled], what)
    named = item.get("blockHash")
    if named is None:
        return TimedLog(log, "", time)
    return TimedLog(log, codec.parse_hex(named, what, length=32, allow_0x=True).hex(), time)


def encode_explorer_logs(wanted: LogFilter, answers: Iterable[Asked]) -> bytes:
    """The transcript. Raises EvidenceError for an answer that is not UTF-8."""
    listed = [
        {
            "topic": topic,
            "first": item.first,
            "last": item.last,
            "at": item.at,
            "answer": codec.parse_utf8(item.body, "getLogs"),
        }
        for topic, item in sorted(answers, key=lambda asked: (asked[0], asked[1].first))
    ]
    document = {"schema": SCHEMA, "filter": json.loads(wanted.text), "answers": listed}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def parse_explorer_logs(raw: bytes, what: str) -> ExplorerLogs:
    """Read a transcript. Raises EvidenceError; the answers in it are not read yet."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(f"{what}: schema {document.get('schema')!r:.60} is not {SCHEMA!r}")
    wanted = parse_filter(document.get("filter"), what)
    answers: list[Asked] = []
    for index, item in enumerate(codec.as_list(document.get("answers"), f"{what}: answers")):
        topic, answer = _parse_entry(item, f"{what}: answers[{index}]")
        if topic and topic not in wanted.topics:
            raise EvidenceError(f"{what}: answers[{index}] is about a topic outside the filter")
        if answers and (topic, answer.first) <= (answers[-1][0], answers[-1][1].last):
            raise EvidenceError(f"{what}: answers[{index}] overlaps the one before it")
        answers.append((topic, answer))
    return ExplorerLogs(filter=wanted, answers=tuple(answers))


def _parse_entry(value: JsonValue, what: str) -> Asked:
    item = codec.as_object(value, what)
    first, last, at = (codec.as_int(item.get(key), what) for key in ("first", "last", "at"))
    if not 0 <= first <= last <= MAX_BLOCK or at < 0:
        raise EvidenceError(f"{what}: not a range of blocks and a time")
    body = codec.as_str(item.get("answer"), what).encode("utf-8")
    topic = codec.as_str(item.get("topic"), what)
    return topic, RangeAnswer(first=first, last=last, at=at, body=body)


def _joined(gaps: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The union of ranges, ascending."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(gaps):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)
