"""What is held against a contract, and what a history that is not whole counts as."""

from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from tests.timeline.events import APP, KMS, born, event
from tests.timeline.nodes import view_of
from verifier.chain import calls
from verifier.chain.storage import Proven
from verifier.evidence.chain import contracts
from verifier.model.chain import Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Beginning, TimelineEvent
from verifier.timeline import completeness
from verifier.timeline.completeness import (
    _compare,
    _Comparison,
    _cover,
    _Found,
    _origin,
    _scalars,
)
from verifier.timeline.history import History, Stream

NUMBER: Final = 100
CALL: Final = contracts.eth_call(APP, contracts.ALLOW_ANY_DEVICE, hex(NUMBER))
YES, NO = f"0x{1:064x}", f"0x{0:064x}"


class _Proves:
    """A proof that gives one value."""

    def __init__(self, value: JsonValue) -> None:
        self._value = value

    def value(self, _call: object, _decode: object) -> JsonValue:
        return self._value


@pytest.mark.parametrize(
    ("answer", "proof", "problem"),
    [
        (YES, True, ""),
        (YES, None, ""),
        (YES, False, "by a proof against the state root"),
        (NO, None, "a log is missing"),
        (NO, True, "a log is missing"),
    ],
)
def test_storage_its_proof_and_the_events_say_the_same(
    answer: str, proof: JsonValue, problem: str
) -> None:
    history = SimpleNamespace(reader=view_of(NUMBER, lambda _: answer, lambda _: answer))
    stream = SimpleNamespace(events=())
    item = _Comparison("allowAnyDevice()", folded=True, call=CALL, decode=contracts.decode_bool)
    found = _Found(problems=[], disputed=[], unproven=[])
    proven = cast("Proven", _Proves(proof))
    _compare(cast("History", history), cast("Stream", stream), item, proven, found)
    assert (found.disputed, found.unproven, found.compared) == ([], [], 1)
    assert found.proven == (proof is True and not problem)
    assert problem in found.problems[0] if problem else not found.problems


def covered(
    events: list[TimelineEvent],
    *,
    pieced: bool = False,
    role: Role = Role.APP_OWNER,
    sources: tuple[str, ...] = ("a", "b"),
) -> Any:
    """The coverage of one contract whose logs two operators gave."""
    agreed = SimpleNamespace(sources=sources, problems=(), partial=(), pieced=pieced, cached=0)
    stream = SimpleNamespace(role=role, address=APP, first=0, agreed=agreed, events=events)
    history = SimpleNamespace(
        reader=SimpleNamespace(number=NUMBER, operators_of=len),
        plan=SimpleNamespace(kms=KMS),
        creation=SimpleNamespace(creation=None),
        left_out=(),
        owner_disputes=lambda _role: (),
        streams=lambda: (stream,),
    )
    return _cover(cast("History", history), cast("Stream", stream), ())


def test_a_history_pieced_together_is_that_of_one_operator() -> None:
    assert covered(born().events).operators == 2
    assert covered(born().events, pieced=True).operators == 1


def test_what_no_chain_has_counts_against_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completeness, "_proven", lambda *_: None)
    honest = [event for event in born().events if event.role is Role.APP]
    last = next(event for event in honest if event.name == "Upgraded")
    twice = replace(last, place=replace(last.place, log_index=9), block_hash="00")
    assert covered(honest, role=Role.APP).problems == ()
    (problem,) = covered([*honest, twice], role=Role.APP).problems
    assert "two hashes" in problem


@pytest.mark.parametrize(
    ("name", "before", "after", "values"),
    [
        ("OwnershipTransferred", "previousOwner", "newOwner", ("0x0A", "0x0B", "0x0C")),
        ("MinDelayChange", "oldDuration", "newDuration", (0, 86400, 3600)),
        ("AdminChanged", "previousAdmin", "newAdmin", ("0x0A", "0x0B", "0x0C")),
    ],
)
def test_what_an_event_says_of_the_value_before_is_what_made_it(
    name: str, before: str, after: str, values: tuple[JsonValue, ...]
) -> None:
    """Whatever the value is at last: it was another one in between."""
    first, second, third = values
    honest, silent = born(), born()
    honest.owner(APP, name, **{before: first, after: second})
    honest.owner(APP, name, **{before: second, after: third})
    silent.owner(APP, name, **{before: first, after: second})
    silent.owner(APP, name, **{before: third, after: second})
    of_owner = [[x for x in each.events if x.role is Role.APP_OWNER] for each in (honest, silent)]
    assert covered(of_owner[0]).problems == ()
    (problem,) = covered(of_owner[1]).problems
    assert f"was {str(third).lower()}, and the event of block" in problem
    assert covered(of_owner[1], sources=()).problems == ()


def test_an_owner_who_is_followed_by_another_is_the_one_that_events_made() -> None:
    events = born()
    events.owner(APP, "OwnershipTransferred", previousOwner="0x0A", newOwner="0x0B")
    events.owner(APP, "OwnershipTransferStarted", previousOwner="0x0B", newOwner="0x0C")
    own = [event for event in events.events if event.role is Role.APP_OWNER]
    assert covered(own).problems == ()
    wrong = replace(own[1], args={"previousOwner": "0x0D", "newOwner": "0x0C"})
    assert covered([own[0], wrong]).problems


CREATED: Final = ("Upgraded", "Initialized")


def transaction(block: int, *names: str) -> list[TimelineEvent]:
    return [event(Role.APP, name, {}, block=block, index=index) for index, name in enumerate(names)]


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (transaction(10, *CREATED), Beginning.CREATED),
        (transaction(10, *CREATED, "ComposeHashAdded"), Beginning.CREATED),
        (transaction(10, "ComposeHashAdded") + transaction(20, *CREATED), Beginning.ASSUMED),
        (transaction(10, "Upgraded") + transaction(20, "Initialized"), Beginning.ASSUMED),
        ([], Beginning.ASSUMED),
    ],
    ids=["creation", "with a manifest", "upgraded later", "in two transactions", "no log"],
)
def test_a_history_begins_with_its_creation(events: list[TimelineEvent], kind: Beginning) -> None:
    history = SimpleNamespace(
        creation=SimpleNamespace(creation=None), plan=SimpleNamespace(kms=KMS)
    )
    stream = SimpleNamespace(role=Role.APP, first=0, events=events)
    assert _origin(cast("History", history), cast("Stream", stream), None).kind is kind


@pytest.mark.parametrize("slot", [calls.ADMIN_SLOT, calls.BEACON_SLOT])
def test_no_other_kind_of_proxy_goes_unseen(slot: str) -> None:
    state = SimpleNamespace(owner="", pending_owner="", implementation="")
    asked = {
        item.call[1][1]: item.folded
        for item in _scalars(APP, cast("Any", state), hex(NUMBER), "app")
    }
    assert asked[slot] == ""
