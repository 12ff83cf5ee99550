"""Of several pieces of evidence for one thing neither digest nor order decides which counts: what
anybody can put beside honest evidence changes nothing."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.ordered import DIGESTS, breaking, in_both_orders, outcome
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.model.result import Status

CHALLENGE: Final = bytes(range(1, 33))


@cache
def challenging() -> Audited:
    """The honest world, asked with a challenge that nobody has answered yet."""
    return audit(Knobs(challenge=b"")).again(challenge=CHALLENGE)


def quoted(report_data: bytes = CHALLENGE + bytes(32)) -> JsonObject:
    return dict(challenging().world.guest.get_quote(report_data))


def in_the_middle() -> JsonObject:
    return quoted(bytes(16) + CHALLENGE + bytes(16))


def unsigned() -> JsonObject:
    found = quoted()
    return {**found, "quote": breaking(bytes.fromhex(str(found["quote"]))).hex()}


def with_cut_log() -> JsonObject:
    found = quoted()
    return {**found, "event_log": json.dumps(json.loads(str(found["event_log"]))[:-1])}


def without_log() -> JsonObject:
    return {**quoted(), "event_log": ""}


def answered(*answers: JsonObject) -> Iterator[Audited]:
    given = [(Kind.GET_QUOTE, json.dumps(item).encode()) for item in answers]
    found = challenging().handing_over(given)
    for bundle in in_both_orders(found.bundle, Kind.GET_QUOTE):
        yield found.again(bundle)


@pytest.mark.parametrize(
    "other",
    [in_the_middle, unsigned, with_cut_log, without_log],
    ids=lambda other: other.__name__,
)
def test_of_two_answers_to_a_challenge(other: Callable[[], JsonObject]) -> None:
    honest, *_ = answered(quoted())
    assert honest.check("application.binding")[0].status is Status.PASS
    for alone in answered(other()):
        assert outcome(alone) != outcome(honest)
    for number in DIGESTS:
        for both in answered(quoted(), {**other(), "number": number}):
            assert outcome(both) == outcome(honest)


def test_a_challenge_in_the_middle_answers_nothing() -> None:
    for alone in answered(in_the_middle()):
        assert alone.check("application.binding")[0].status is Status.FAIL
