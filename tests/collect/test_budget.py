"""One span of time and one number of bytes for a whole collection."""

import math
import threading

import pytest

from verifier.collect.budget import PARTS, Budget, Share, SpentError
from verifier.collect.http import HttpClient
from verifier.collect.limits import Limits
from verifier.collect.workers import Workers
from verifier.lab.response import Response, answer

MIB = 1 << 20


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.time


def test_every_share_ends_in_time_and_all_bytes_are_128_mib() -> None:
    clock = Clock()
    budget = Budget(180, monotonic=clock)
    assert {share: budget.left(share) for share in Share if share is not Share.RELEASE} == {
        Share.GUESTS: 60,
        Share.ENDORSEMENTS: 90,
        Share.IMAGES: 120,
        Share.LOGS: 150,
        Share.STATE: 180,
    }
    parts = {share: part.max_bytes for share, part in PARTS.items()}
    del parts[Share.RELEASE]  # of no collection
    assert sum(parts.values()) == 128 * MIB
    clock.time += 60
    with pytest.raises(SpentError, match="the time for guests is over, of 180 seconds in all"):
        budget.check(Share.GUESTS)
    budget.check(Share.ENDORSEMENTS)


def test_a_long_collection_keeps_a_minute_for_what_the_logs_name() -> None:
    assert Budget(3_600, monotonic=Clock()).left(Share.LOGS) == 3_540


def test_without_an_end_nothing_ends() -> None:
    budget = Budget(monotonic=Clock())
    assert {budget.left(share) for share in Share if share is not Share.RELEASE} == {math.inf}


def test_a_share_of_the_bytes_is_counted_over_all_origins() -> None:
    budget = Budget(monotonic=Clock())
    for origin in ("a", "b", "c"):
        budget.take(Share.GUESTS, origin, 8 * MIB)
    with pytest.raises(SpentError, match="more bytes than all evidence about guests"):
        budget.take(Share.GUESTS, "d", 1)
    budget.take(Share.IMAGES, "d", 1)


def test_one_endpoint_does_not_use_up_the_bytes_of_the_other() -> None:
    budget = Budget(monotonic=Clock())
    with pytest.raises(SpentError):
        budget.take(Share.LOGS, "a", 17 * MIB)
    budget.take(Share.LOGS, "b", 16 * MIB)


def test_the_client_asks_for_nothing_once_the_time_is_over() -> None:
    clock, asked = Clock(), list[str]()

    def respond(_method: str, url: str, *_: object) -> Response:
        asked.append(url)
        clock.time += 50
        return answer(200, "text/plain", b"x")

    limits = Limits(share=Share.GUESTS, max_bytes=10)
    budget = Budget(180, monotonic=clock)
    with HttpClient(clock=lambda: 0, responder=respond, budget=budget) as client:
        for _ in range(2):
            client.get("https://guest.example/", limits=limits)
        with pytest.raises(SpentError, match=r"guest\.example/: not asked"):
            client.get("https://guest.example/", limits=limits)
    assert len(asked) == 2


def test_workers_run_as_many_at_once_as_they_may_and_no_more() -> None:
    workers, at_once, most = Workers(3), 0, 0
    lock, full = threading.Lock(), threading.Barrier(3)

    def work(number: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        full.wait(5)
        with lock:
            at_once -= 1
        return number

    futures = [workers.submit(work, number) for number in range(9)]
    assert [future.result(5) for future in futures] == list(range(9))
    assert most == 3


def test_what_a_worker_raises_is_for_whoever_waits() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Workers(1).submit(fail).result(5)
