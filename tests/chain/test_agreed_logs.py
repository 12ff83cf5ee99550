"""What several nodes' scans of one contract say together."""

import json

import pytest

from tests.timeline.scans import ADDRESS, CHAIN_ID, FILTER, answer, bundle_of, log
from verifier.chain.agreed_logs import AgreedLogs, Scans
from verifier.errors import EvidenceError
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, encode_scan, parse_scan
from verifier.model.result import JsonValue

A, B = "https://a.example", "https://b.example"


def agreed(scans: dict[str, list[RangeAnswer]], first: int = 0, last: int = 99) -> AgreedLogs:
    return Scans(bundle_of(scans)).agree(FILTER, first, last, (A, B))


def places(found: AgreedLogs) -> list[int]:
    return [item.log.block for item in found.logs]


def test_two_equal_scans_agree() -> None:
    answers = [answer(0, 49, log(3)), answer(50, 99, log(70), log(70, 1))]
    found = agreed({A: answers, B: [answer(0, 99, log(3), log(70), log(70, 1))]})
    assert (found.sources, found.partial, found.problems) == ((A, B), (), ())
    assert places(found) == [3, 70, 70]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([answer(0, 99, log(3))], "gives the log 0 of block 70"),
        ([answer(0, 99, log(3), log(5), log(70))], "gives the log 0 of block 5"),
        ([answer(0, 99, log(3), log(70, data="0x"))], "different contents"),
        ([answer(0, 99, log(3), log(70, blockHash="0x" + "5e" * 32))], "different contents"),
        ([answer(0, 99, log(3), log(70, blockTimestamp="0x1"))], "different times"),
    ],
)
def test_a_disagreement_names_the_log(other: list[RangeAnswer], said: str) -> None:
    found = agreed({A: [answer(0, 99, log(3), log(70))], B: other})
    assert said in found.problems[0]


def test_what_only_one_was_asked_for_is_no_disagreement() -> None:
    found = agreed({A: [answer(0, 99, log(3), log(70))], B: [answer(0, 49, log(3))]})
    assert found.problems == ()
    assert found.sources == (A,)
    assert found.partial == ((B, "no answer for blocks 50 to 99"),)


def test_two_halves_make_a_whole_that_is_marked() -> None:
    halves = {A: [answer(0, 60, log(3))], B: [answer(40, 99, log(70))]}
    found = agreed(halves)
    assert found.sources == (A, B)
    assert found.pieced
    assert places(found) == [3, 70]


def test_a_common_gap_leaves_no_source() -> None:
    found = agreed({A: [answer(0, 40)], B: [answer(50, 99, log(70))]})
    assert found.sources == ()
    assert [text for _, text in found.partial] == [
        "no answer for blocks 41 to 99",
        "no answer for blocks 0 to 49",
    ]


def test_an_endpoint_that_does_not_count_adds_nothing() -> None:
    scans = Scans(bundle_of({A: [answer(0, 99, log(3))], B: [answer(0, 99)]}))
    found = scans.agree(FILTER, 0, 99, (A,))
    assert (found.sources, found.problems, places(found)) == ((A,), (), [3])


@pytest.mark.parametrize(
    "entry",
    [
        log(200),
        log(3, address="0x" + "b2" * 20),
        log(3, removed=True),
        log(3, logIndex="0x00"),
        log(3, blockHash="0x12"),
        log(3, blockHash=None),
        log(3, data="0xABC"),
    ],
)
def test_a_log_that_was_not_asked_for_or_is_malformed_is_a_problem(
    entry: dict[str, JsonValue],
) -> None:
    assert agreed({A: [answer(0, 99, entry)]}).problems


def test_logs_out_of_order_or_twice_are_a_problem() -> None:
    assert agreed({A: [answer(0, 99, log(70), log(3))]}).problems
    assert agreed({A: [answer(0, 99, log(3), log(3))]}).problems


def test_an_error_is_never_an_empty_list() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}})
    scans = {A: [RangeAnswer(first=0, last=99, at=0, body=body.encode())]}
    assert "error" in agreed(scans).problems[0]
    null = json.dumps({"jsonrpc": "2.0", "id": 1, "result": None})
    scans = {A: [RangeAnswer(first=0, last=99, at=0, body=null.encode())]}
    assert "null" in agreed(scans).problems[0]


def test_a_log_of_another_topic_than_asked_for_is_a_problem() -> None:
    wanted = LogFilter(chain_id=CHAIN_ID, address=ADDRESS, topics=("0x" + "11" * 32,))
    scans = Scans(bundle_of({A: [answer(0, 99, log(3))]}, wanted))
    assert scans.agree(wanted, 0, 99, (A,)).problems


def test_a_transcript_survives_its_own_reading() -> None:
    answers = (answer(0, 9, log(3)), answer(10, 99, cached=True))
    scan = parse_scan(encode_scan(FILTER, answers), "scan")
    assert scan.answers == answers
    assert scan.filter == FILTER


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"answers": [{"first": 5, "last": 4, "at": 0, "cached": False, "answer": "{}"}]},
        {"answers": [{"first": 5, "last": 6, "at": 0, "cached": 0, "answer": "{}"}]},
        {"answers": [{"first": 5, "last": 6, "at": 0, "cached": False}]},
        {"answers": [{"first": True, "last": 6, "at": 0, "cached": False, "answer": "{}"}]},
        {
            "answers": [
                {"first": 0, "last": 6, "at": 0, "cached": False, "answer": "{}"},
                {"first": 6, "last": 9, "at": 0, "cached": False, "answer": "{}"},
            ]
        },
        {"filter": {"chain_id": 1, "address": "0x12", "topics": []}},
    ],
)
def test_a_malformed_transcript_is_refused(change: dict[str, JsonValue]) -> None:
    document = json.loads(encode_scan(FILTER, [])) | change
    with pytest.raises(EvidenceError):
        parse_scan(json.dumps(document).encode(), "scan")


def test_a_scan_begins_where_the_last_of_them_does() -> None:
    scans = Scans(bundle_of({A: [answer(40, 99, log(70))], B: [answer(50, 99, log(70))]}))
    assert scans.begins(FILTER, (A, B)) == 50
    assert scans.begins(FILTER, (A,)) == 40
    assert scans.begins(FILTER, ()) is None


def test_a_scan_does_not_begin_after_a_log_that_another_gives() -> None:
    scans = Scans(bundle_of({A: [answer(0, 99, log(3), log(70))], B: [answer(50, 99, log(70))]}))
    assert scans.begins(FILTER, (A, B)) is None
