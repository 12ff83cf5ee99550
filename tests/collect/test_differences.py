"""Which earlier answers are asked for again, and which are dropped."""

import pytest

from tests.timeline.explorers import given, told
from tests.timeline.scans import FILTER, answer, log
from verifier.collect.differences import (
    account_of,
    contradicted,
    differing,
    explorer_account,
    stale,
)
from verifier.evidence.chain.explorer_logs import ExplorerLogs
from verifier.evidence.chain.log_scan import RangeAnswer

A, B, C = "https://a.example", "https://b.example", "https://c.example"


def test_only_blocks_that_both_answered_differ() -> None:
    one = account_of(FILTER, [answer(0, 49, log(3)), answer(50, 99, log(70))])
    other = account_of(FILTER, [answer(0, 9), answer(60, 99, log(70))])
    assert differing(one, other) == {3}
    assert differing(one, account_of(FILTER, [answer(10, 99, log(70))])) == set()


def test_an_answer_that_cannot_be_read_says_nothing() -> None:
    broken = RangeAnswer(first=0, last=9, at=0, body=b"{}")
    account = account_of(FILTER, [broken, answer(10, 19, log(12))])
    assert account.spans == (((10, 19), False),)
    assert differing(account, account_of(FILTER, [answer(0, 19, log(3), log(12))])) == set()


@pytest.mark.parametrize("cached", [True, False])
def test_what_was_answered_earlier_is_stale_where_another_account_differs(*, cached: bool) -> None:
    lacking = account_of(FILTER, [answer(0, 49, cached=cached), answer(50, 99, cached=True)])
    whole = account_of(FILTER, [answer(0, 99, log(3))])
    found = stale({A: lacking, B: whole})
    assert found == ({A: {3}} if cached else {})
    assert lacking.recalled({3}) == ([(0, 49)] if cached else [])


def test_an_explorer_is_an_account_too() -> None:
    explored = ExplorerLogs(filter=FILTER, answers=(told(0, 49, given([log(3)])),))
    account = explorer_account(explored, 0, 99)
    assert account.spans == (((0, 49), False),)
    assert stale({A: account_of(FILTER, [answer(0, 99, cached=True)]), C: account}) == {A: {3}}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({B: [answer(0, 99, log(3))]}, False),
        ({B: [answer(0, 99, log(3))], C: [answer(0, 99, log(3))]}, True),
        ({B: [answer(0, 99, log(3))], C: [answer(0, 99, log(3), cached=True)]}, False),
        ({B: [answer(0, 99, log(3))], C: [answer(0, 99, log(3, data="0x11"))]}, False),
        ({B: [answer(0, 99)], C: [answer(0, 99, log(3))]}, False),
    ],
    ids=["one", "two", "an earlier one", "two that differ", "one on each side"],
)
def test_two_live_operators_contradict_an_earlier_answer(
    others: dict[str, list[RangeAnswer]], *, expected: bool
) -> None:
    accounts = {A: account_of(FILTER, [answer(0, 99, cached=True)])}
    accounts |= {name: account_of(FILTER, answers) for name, answers in others.items()}
    assert contradicted(A, 3, accounts, lambda name: name) is expected


def test_one_operator_with_two_endpoints_is_one() -> None:
    accounts = {
        A: account_of(FILTER, [answer(0, 99, cached=True)]),
        B: account_of(FILTER, [answer(0, 99, log(3))]),
        C: account_of(FILTER, [answer(0, 99, log(3))]),
    }
    assert not contradicted(A, 3, accounts, lambda _: "one")
