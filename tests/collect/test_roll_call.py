"""How long it is asked who else answers: until nobody new is met, and never for ever."""

import json

from hypothesis import given
from hypothesis import strategies as st

from verifier.collect.guests import MAX_CALLS, MAX_NAMES, Guests, RollCall
from verifier.collect.requests import guest_requests
from verifier.evidence.bundle import Kind


def asked(answers: list[str]) -> tuple[RollCall, list[int]]:
    """A roll call that is answered in turn, the last answer again and again; what it asked."""
    call, found = RollCall(), list[int]()
    call.record(answers[0], called=False)
    while numbers := call.numbers():
        found.extend(numbers)
        for number in numbers:
            call.record(answers[min(number, len(answers) - 1)], called=True)
    return call, found


def test_one_instance_is_asked_eight_times_more() -> None:
    assert asked(["a"])[1] == list(range(1, 9))


def test_somebody_new_makes_it_ask_on() -> None:
    _, numbers = asked(["a", *["a"] * 7, "b"])
    assert len(numbers) == 8 + 12


def test_without_an_instance_id_nobody_can_be_told_apart() -> None:
    assert asked([""])[1] == []


def test_silence_counts_as_nobody_new() -> None:
    assert len(asked(["a", ""])[1]) == 8


def test_an_endpoint_is_asked_before_anybody_is_known() -> None:
    call = RollCall(3)
    assert list(call.numbers()) == [1, 2, 3]
    for shown in ("", "", "a"):
        assert not call.numbers()
        call.record(shown, called=True)
    assert len(call.numbers()) == 8


@given(st.lists(st.sampled_from([*map(str, range(40)), ""]), min_size=1, max_size=300))
def test_it_ends(answers: list[str]) -> None:
    _, numbers = asked(answers)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= MAX_CALLS


def test_names_are_bounded_however_many_a_server_gives() -> None:
    base = f"https://{'aa' * 20}-8090.gw.example"
    guests = Guests([base], alone=False)
    info = next(item for item in guest_requests(base) if item.kind is Kind.INFO)
    found = set()
    for number in range(2 * MAX_NAMES):
        body = json.dumps({"app_id": "aa" * 20, "instance_id": f"{number:040x}"}).encode()
        guests.count(info, body)
        found.add(guests.answered(info, body))
    assert len(guests.names) == MAX_NAMES
    assert len(found) == MAX_NAMES + 1
    assert f"gw.example/{'aa' * 20}" in found
    assert len(list(guests.requests())) <= 3 * 64 + MAX_CALLS
