"""What an explorer says about a contract's logs: read strictly, and held against nodes."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from tests.timeline.explorers import DIALECTS, add, given, refusal, told
from tests.timeline.scans import (
    ADDRESS,
    CHAIN_ID,
    COMPOSE_HASH_ADDED,
    FILTER,
    answer,
    bundle_of,
    log,
)
from verifier.chain.agreed_logs import AgreedLogs, Scans
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind, Trust, trust_of
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.explorer_logs import (
    MAX_LOGS,
    Asked,
    ExplorerLogs,
    decode_answer,
    encode_explorer_logs,
    parse_explorer_logs,
)
from verifier.evidence.chain.log_scan import LogFilter

A, B, EXPLORER = "https://a.example", "https://b.example", "https://explorer.example"
OTHER_TOPIC = "0x" + "11" * 32
HELD = (log(3), log(70), log(70, 1))


def explored(*answers: Asked, nodes: tuple[str, ...] = (A,)) -> AgreedLogs:
    """What nodes that give HELD say together with an explorer's answers."""
    nodes_say = bundle_of({node: [answer(0, 99, *HELD)] for node in nodes})
    return agreed(nodes_say, *answers)


def agreed(bundle: Bundle, *answers: Asked, wanted: LogFilter = FILTER) -> AgreedLogs:
    builder = BundleBuilder(bundle)
    add(builder, EXPLORER, wanted, *answers)
    return Scans(builder.build()).agree(wanted, 0, 99, (A, B))


def decode(body: bytes, topic: str = "", wanted: LogFilter = FILTER) -> tuple[TimedLog, ...]:
    return decode_answer(wanted, topic, told(0, 99, body)[1], "logs")


# One answer.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_both_dialects_say_the_same(dialect: str) -> None:
    found = decode(given(HELD, dialect))
    assert [(item.log.block, item.log.log_index) for item in found] == [(3, 0), (70, 0), (70, 1)]
    assert [item.time for item in found] == [1_700_000_006, 1_700_000_140, 1_700_000_140]
    assert found[0].log.topics == (bytes.fromhex(COMPOSE_HASH_ADDED[2:]),)
    assert found[0].block_hash == (f"{3:064x}" if dialect == "etherscan" else "")
    assert decode(given(HELD[::-1], dialect)) == found
    assert decode(given([], dialect)) == ()


def test_only_what_the_filter_names_is_taken_of_a_whole_history() -> None:
    wanted = LogFilter(chain_id=CHAIN_ID, address=ADDRESS, topics=(OTHER_TOPIC,))
    mixed = given([log(3), log(4, topics=[OTHER_TOPIC])])
    assert [item.log.block for item in decode(mixed, wanted=wanted)] == [4]
    with pytest.raises(EvidenceError, match="not asked for"):
        decode(mixed, OTHER_TOPIC, wanted)


@pytest.mark.parametrize(
    "body",
    [
        refusal("NOTOK", "Max rate limit reached"),
        refusal("NOTOK", "Invalid API Key"),
        refusal("No logs found"),
        refusal("No logs found", "none"),
        refusal("No logs found", [{}]),
        refusal("OK", []),
        json.dumps({"status": "1", "message": "OK", "result": "none"}).encode(),
        json.dumps({"status": 1, "message": "OK", "result": []}).encode(),
        json.dumps({"status": "2", "message": "OK", "result": []}).encode(),
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": []}).encode(),
        b'{"status": "0", "status": "1", "message": "OK", "result": []}',
        b"[]",
        b"",
        b"<html>",
    ],
)
def test_what_is_no_list_of_logs_is_never_an_empty_one(body: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode(body)
    found = explored(told(0, 99, body))
    assert (found.problems, found.sources) == ((), (A,))
    assert {name for name, _ in found.partial} == {EXPLORER}
    assert len(found.logs) == len(HELD)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "0x" + "b2" * 20},
        {"blockNumber": hex(200)},
        {"blockNumber": "3"},
        {"logIndex": "0x00"},
        {"logIndex": None},
        {"data": "0xABC"},
        {"topics": [None, COMPOSE_HASH_ADDED, None, None]},
        {"topics": [COMPOSE_HASH_ADDED] * 5},
        {"topics": None},
        {"timeStamp": "1700000000"},
        {"blockHash": "0x12"},
        {"removed": True},
        {"transactionHash": "0x12"},
    ],
)
def test_a_malformed_log_spoils_the_answer_and_contradicts_nothing(change: dict[str, Any]) -> None:
    document = json.loads(given([log(3)]))
    document["result"][0].update(change)
    body = json.dumps(document).encode()
    with pytest.raises(EvidenceError):
        decode(body)
    found = explored(told(0, 99, body))
    assert (found.problems, found.sources) == ((), (A,))
    assert found.partial


def test_a_log_that_stands_twice_and_a_full_page_are_refused() -> None:
    with pytest.raises(EvidenceError, match="twice"):
        decode(given([log(3), log(3)]))
    page = [log(block, index) for block in range(100) for index in range(MAX_LOGS // 100)]
    assert len(decode(given(page[1:]))) == MAX_LOGS - 1
    with pytest.raises(EvidenceError, match="may have been left out"):
        decode(given(page))


# The transcript.


def test_a_transcript_survives_its_own_reading() -> None:
    answers = (told(0, 9, given([log(3)])), told(10, 99, given([])))
    raw = encode_explorer_logs(FILTER, answers[::-1])
    assert parse_explorer_logs(raw, "x") == ExplorerLogs(filter=FILTER, answers=answers)
    assert trust_of(Kind.EXPLORER_LOGS) is Trust.WITNESSED


ENTRY = {"topic": "", "first": 0, "last": 9, "at": 0, "answer": "{}"}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "dstack-audit/log-scan/v1"},
        {"filter": {"chain_id": 1, "address": "0x12", "topics": []}},
        {"answers": {}},
        {"answers": [ENTRY | {"first": 10}]},
        {"answers": [ENTRY | {"first": False}]},
        {"answers": [ENTRY | {"at": -1}]},
        {"answers": [ENTRY | {"topic": None}]},
        {"answers": [ENTRY | {"topic": OTHER_TOPIC}]},
        {"answers": [ENTRY, ENTRY | {"first": 9, "last": 12}]},
        {"answers": [ENTRY | {"first": 5}, ENTRY | {"last": 4}]},
        {"answers": [ENTRY | {"answer": None}]},
    ],
)
def test_a_malformed_transcript_is_refused_and_contradicts_nothing(change: dict[str, Any]) -> None:
    raw = json.dumps(json.loads(encode_explorer_logs(FILTER, [])) | change).encode()
    with pytest.raises(EvidenceError):
        parse_explorer_logs(raw, "x")
    builder = BundleBuilder(bundle_of({A: [answer(0, 99, *HELD)]}))
    builder.add(Kind.EXPLORER_LOGS, raw, source=EXPLORER, collected_at=0, request=FILTER.text)
    found = Scans(builder.build()).agree(FILTER, 0, 99, (A,))
    assert (found.problems, found.sources) == ((), (A,))
    assert found.partial[0][0] == EXPLORER


def test_a_topic_that_was_not_answered_leaves_a_gap() -> None:
    topics = (COMPOSE_HASH_ADDED, OTHER_TOPIC)
    wanted = LogFilter(chain_id=CHAIN_ID, address=ADDRESS, topics=topics)
    one = told(0, 99, given([log(3)]), COMPOSE_HASH_ADDED)
    other = told(0, 49, given([]), OTHER_TOPIC)
    nodes_say = bundle_of({A: [answer(0, 99, log(3))]}, wanted)
    assert agreed(nodes_say, one, wanted=wanted).sources == (A,)
    assert (EXPLORER, "no answer for blocks 50 to 99") in agreed(
        nodes_say, one, other, wanted=wanted
    ).partial
    rest = told(50, 99, given([]), OTHER_TOPIC)
    assert agreed(nodes_say, one, other, rest, wanted=wanted).sources == (A, EXPLORER)


# Held against nodes.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_explorer_that_agrees_is_another_source(dialect: str) -> None:
    whole = told(0, 99, given(HELD, dialect))
    found = explored(whole)
    assert (found.sources, found.partial, found.problems) == ((A, EXPLORER), (), ())
    assert [item.block_hash for item in found.logs] == [f"{n:064x}" for n in (3, 70, 70)]
    assert explored(whole, nodes=(A, B)).sources == (A, B, EXPLORER)


@pytest.mark.parametrize(
    ("entries", "dialect", "said"),
    [
        (HELD[:2], "blockscout", f"{A} gives the log 1 of block 70"),
        ((*HELD, log(80)), "blockscout", f"{EXPLORER} gives the log 0 of block 80"),
        ((log(3, data="0x"), *HELD[1:]), "blockscout", "different contents of the log 0"),
        ((log(3, topics=[OTHER_TOPIC]), *HELD[1:]), "blockscout", "different contents"),
        ((log(3, transactionHash=OTHER_TOPIC), *HELD[1:]), "blockscout", "different contents"),
        ((log(3, logIndex="0x1"), *HELD[1:]), "blockscout", "which"),
        ((log(3, blockTimestamp="0x1"), *HELD[1:]), "blockscout", "different times"),
        ((log(3, blockHash=OTHER_TOPIC), *HELD[1:]), "etherscan", "different contents"),
        ((), "blockscout", f"which {EXPLORER} does not have"),
    ],
)
def test_a_lie_is_named(entries: tuple[dict[str, Any], ...], dialect: str, said: str) -> None:
    found = explored(told(0, 99, given(entries, dialect)))
    assert said in found.problems[0]


def test_an_explorer_alone_is_no_source() -> None:
    whole = told(0, 99, given(HELD))
    alone = agreed(BundleBuilder().build(), whole)
    assert (alone.sources, alone.logs, alone.problems) == ((), (), ())
    part = agreed(bundle_of({A: [answer(0, 49, log(3))]}), whole)
    assert part.sources == ()
    assert [item.log.block for item in part.logs] == [3]
    assert part.problems == ()
    nowhere_asked = agreed(bundle_of({"https://other.example": [answer(0, 99, *HELD)]}), whole)
    assert nowhere_asked.sources == ()
    assert not Scans(_alone(whole)).asked(FILTER)


def _alone(*answers: Asked) -> Bundle:
    builder = BundleBuilder()
    add(builder, EXPLORER, FILTER, *answers)
    return builder.build()


def test_part_of_an_account_is_no_source_but_may_contradict() -> None:
    found = explored(told(0, 49, given([log(3)])))
    assert found.sources == (A,)
    assert found.partial == ((EXPLORER, "no answer for blocks 50 to 99"),)
    assert explored(told(0, 49, given([]))).problems


def test_two_accounts_of_one_explorer_do_not_count() -> None:
    builder = BundleBuilder(bundle_of({A: [answer(0, 99, *HELD)]}))
    add(builder, EXPLORER, FILTER, told(0, 99, given(HELD)))
    add(builder, EXPLORER, FILTER, told(0, 99, given(HELD, "etherscan")))
    found = Scans(builder.build()).agree(FILTER, 0, 99, (A,))
    assert (found.sources, found.problems) == ((A,), ())
    assert "several accounts" in found.partial[0][1]


# Mutations.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=4,
)


@examples(st.sampled_from(sorted(DIALECTS)), st.data())
def test_a_mutated_answer_raises_nothing_but_evidence_errors(
    dialect: str, data: st.DataObject
) -> None:
    document = json.loads(given(HELD, dialect))
    where: Any = data.draw(st.sampled_from([document, *document["result"]]))
    where[data.draw(st.sampled_from([*sorted(where), "removed", "blockHash"]))] = data.draw(VALUES)
    raw = bytearray(json.dumps(document).encode())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(raw))
    except EvidenceError:
        with suppress(EvidenceError):  # what is not UTF-8 is in no transcript
            assert explored(told(0, 99, bytes(raw))).problems == ()


@examples(st.data())
def test_a_mutated_transcript_raises_nothing_but_evidence_errors(data: st.DataObject) -> None:
    raw = bytearray(encode_explorer_logs(FILTER, [told(0, 99, given(HELD))]))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    with suppress(EvidenceError):
        parse_explorer_logs(bytes(raw), "x").read(0, 99, "x")
