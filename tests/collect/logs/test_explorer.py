"""Asking an explorer: pages, refusals, keys, and what it may cost."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.timeline.explorers import Entry, answer, given, refusal
from tests.timeline.explorers import Explorer as Served
from tests.timeline.scans import ADDRESS, CHAIN_ID, COMPOSE_HASH_ADDED, FILTER, log
from tests.timeline.world import NOW
from verifier.collect import explorer as asking
from verifier.collect.explorer import Explorer, ask_explorer, logs_url
from verifier.collect.http import HttpClient
from verifier.collect.network import System
from verifier.evidence.chain.endpoint_label import public_label
from verifier.evidence.chain.explorer_logs import (
    Asked,
    ExplorerLogs,
    encode_explorer_logs,
    parse_explorer_logs,
)
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.plan import ScanPlan
from verifier.lab.response import Response

KEY = "ABCDEF0123456789ABCDEF0123456789"
URL = f"https://api.explorer.example/v2/api?chainid=1&apikey={KEY}"
OTHER_TOPIC = "0x" + "11" * 32
LAST = 9_999
PLAN = ScanPlan(FILTER, 0, LAST)
TWO_TOPICS = LogFilter(chain_id=CHAIN_ID, address=ADDRESS, topics=(OTHER_TOPIC, COMPOSE_HASH_ADDED))


def many(blocks: range, **changes: Any) -> list[Entry]:
    return [log(block, **changes) for block in blocks]


def ask(
    served: Served, plan: ScanPlan = PLAN, *, url: str = URL, seconds: float = 60.0
) -> tuple[tuple[Asked, ...], str, list[float]]:
    """What it answers, why some is missing, and the pauses that were made."""
    pauses: list[float] = []
    with HttpClient(clock=lambda: NOW, responder=served.respond) as client:
        explorer = Explorer(client=client, url=url, system=System(sleep=pauses.append))
        answers, failure = ask_explorer(explorer, plan, seconds=seconds)
    return answers, failure, pauses


def blocks_of(answers: tuple[Asked, ...], wanted: LogFilter = FILTER) -> list[int]:
    """The blocks of all logs, which have to cover the whole range."""
    told = parse_explorer_logs(encode_explorer_logs(wanted, answers), "x")
    logs, gaps, reason = told.read(0, LAST, "x")
    assert (gaps, reason) == ((), "")
    return [item.log.block for item in logs]


# What is asked.


def test_the_request_names_everything_once() -> None:
    asked = urlsplit(logs_url(URL, FILTER, OTHER_TOPIC, (5, 9)))
    assert (asked.netloc, asked.path) == ("api.explorer.example", "/v2/api")
    query = parse_qsl(asked.query, strict_parsing=True)
    assert len(dict(query)) == len(query)
    assert dict(query) == {
        "apikey": KEY,
        "module": "logs",
        "action": "getLogs",
        "chainid": str(CHAIN_ID),
        "address": ADDRESS,
        "fromBlock": "5",
        "toBlock": "9",
        "page": "1",
        "offset": "1000",
        "topic0": OTHER_TOPIC,
    }


@pytest.mark.parametrize(
    ("url", "begins"),
    [
        ("https://x.example", "https://x.example/api?module=logs"),
        ("https://x.example/", "https://x.example/api?module=logs"),
        ("https://x.example/api#part", "https://x.example/api?module=logs"),
        ("https://x.example/v2/api?chain_id=1", "https://x.example/v2/api?module=logs"),
    ],
)
def test_what_the_address_leaves_out_is_added(url: str, begins: str) -> None:
    asked = logs_url(url, FILTER, "", (0, 1))
    assert asked.startswith(begins)
    assert "topic0" not in asked
    assert ("chain_id=8453" if "chain_id" in url else "chainid=8453") in asked


# Pages.


@pytest.mark.parametrize("dialect", ["blockscout", "etherscan"])
@pytest.mark.parametrize("count", [0, 1, 999])
def test_a_short_history_is_one_answer(dialect: str, count: int) -> None:
    served = Served(many(range(count)), dialect)
    answers, failure, _ = ask(served)
    assert failure == ""
    assert blocks_of(answers) == list(range(count))
    assert len(served.asked) == 1


@pytest.mark.parametrize("count", [1000, 1001, 3456])
def test_a_long_history_is_halved_until_nothing_is_cut_off(count: int) -> None:
    served = Served(many(range(count)))
    answers, failure, _ = ask(served)
    assert failure == ""
    assert blocks_of(answers) == list(range(count))
    assert len(served.asked) < 40


def test_a_long_history_is_asked_for_by_topic_where_topics_are_named() -> None:
    others = many(range(2000), topics=["0x" + "22" * 32])
    wanted = [log(5, 1), log(6, 1, topics=[OTHER_TOPIC])]
    served = Served(sorted([*others, *wanted], key=lambda item: int(item["blockNumber"], 16)))
    answers, failure, _ = ask(served, ScanPlan(TWO_TOPICS, 0, LAST))
    assert failure == ""
    assert blocks_of(answers, TWO_TOPICS) == [5, 6]
    assert [query.get("topic0") for query in served.asked] == [None, *TWO_TOPICS.topics]
    few = Served(others[:10] + wanted)
    answers, _, _ = ask(few, ScanPlan(TWO_TOPICS, 0, LAST))
    assert blocks_of(answers, TWO_TOPICS) == [5, 6]
    assert len(few.asked) == 1


def test_a_block_with_too_many_logs_is_not_answered() -> None:
    crowd = [log(7, index % 256, transactionHash=f"0x{index:064x}") for index in range(1200)]
    answers, failure, _ = ask(Served(crowd))
    assert failure == ""
    told = ExplorerLogs(filter=FILTER, answers=answers)
    logs, gaps, reason = told.read(0, LAST, "x")
    assert (logs, gaps) == ((), ((7, 7),))
    assert "may have been left out" in reason


def test_requests_time_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Served([], instead=lambda _: answer(given(many(range(1000)))))
    answers, failure, _ = ask(endless, ScanPlan(FILTER, 0, 2**60))
    assert len(endless.asked) <= asking.MAX_REQUESTS
    assert "than allowed" in failure
    late = Served(many(range(3)))
    assert "than allowed" in ask(late, seconds=0.0)[1]
    assert late.asked == []
    monkeypatch.setattr(asking, "MAX_BYTES", 1)
    answers, failure, _ = ask(Served(many(range(1500))))
    assert "than allowed" in failure
    assert answers == ()


# Refusals and keys.


def test_too_often_is_asked_again_later() -> None:
    often = iter([refusal("NOTOK", "Max calls per sec rate limit reached (5/sec)")] * 2)

    def instead(_: dict[str, str]) -> Response | None:
        body = next(often, None)
        return None if body is None else answer(body)

    answers, failure, pauses = ask(Served(many(range(3)), instead=instead))
    assert (failure, pauses) == ("", [1, 2])
    assert blocks_of(answers) == [0, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "Max rate limit reached",
        "Invalid API Key",
        "Free API access is not supported for this chain",
    ],
)
def test_a_refusal_stays_in_the_evidence_and_ends_it(text: str) -> None:
    served = Served(many(range(2000)), instead=lambda _: answer(refusal("NOTOK", text)))
    answers, failure, pauses = ask(served)
    assert failure == ""
    assert len(served.asked) == 1 + len(pauses) == (4 if "rate" in text else 1)
    logs, gaps, reason = ExplorerLogs(filter=FILTER, answers=answers).read(0, LAST, "x")
    assert (logs, gaps) == ((), ((0, LAST),))
    assert text in reason


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer(refusal("NOTOK", f"Invalid API Key (#err2)|{KEY}")), "repeats a part of the URL"),
        (answer(f"no such key {KEY}".encode(), 403), "HTTP 403"),
        (answer(b"\xff"), "not UTF-8"),
        (Response(status=302, headers={"Location": "https://b.example/"}, body=b""), "redirected"),
    ],
)
def test_a_key_stays_out_of_evidence_and_errors(reply: Response, said: str) -> None:
    answers, failure, _ = ask(Served([], instead=lambda _: reply))
    assert answers == ()
    assert said in failure
    assert KEY not in failure


def test_an_answer_that_repeats_the_key_is_not_kept() -> None:
    document = json.loads(given([log(3)]))
    document["request"] = f"/api?apikey={KEY}"
    body = json.dumps(document).encode()
    answers, failure, _ = ask(Served([], instead=lambda _: answer(body)))
    assert answers == ()
    assert KEY not in failure


def test_nobody_there_is_said_without_the_key() -> None:
    with HttpClient(clock=lambda: NOW, allow_hosts={"127.0.0.1"}) as client:
        explorer = Explorer(client=client, url=f"http://127.0.0.1:9/api?apikey={KEY}")
        answers, failure = ask_explorer(explorer, PLAN, seconds=60.0)
    assert answers == ()
    assert "cannot connect" in failure
    assert KEY not in failure
    assert KEY not in public_label(explorer.url)


def test_nothing_is_asked_once_the_collection_is_interrupted() -> None:
    served = Served(many(range(3)))
    with HttpClient(clock=lambda: NOW, responder=served.respond) as client:
        client.budget.stop()
        answers, failure = ask_explorer(Explorer(client=client, url=URL), PLAN, seconds=60.0)
    assert (served.asked, answers) == ([], ())
    assert "interrupted" in failure
