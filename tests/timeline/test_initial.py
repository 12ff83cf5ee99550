"""Flags that no event carries: by each method, and where methods contradict each other."""

import pytest
from msgspec.structs import replace

from tests.timeline.events import ALICE, NEW_CODE, History, born, policy_changed
from verifier.evidence.chain.creation_calldata import SELECTORS, InitialTerms
from verifier.model.chain import Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Known, Method
from verifier.timeline.initial import InitialFlags, initial_flags

DISABLED_ONLY = bytes(31) + b"\1"
ANY_ONLY = bytes(30) + b"\1\0"
ZERO, ONE = bytes(32), bytes(31) + b"\1"


def terms(*, any_device: bool = False, disabled: bool = False) -> InitialTerms:
    return InitialTerms(
        owner=ALICE,
        disable_upgrades=disabled,
        require_tcb_up_to_date=True,
        allow_any_device=any_device,
        device_id="00" * 32,
        compose_hash="00" * 32,
        app_id="",
        signature="",
        nested=False,
    )


def test_calldata_comes_first() -> None:
    flags = initial_flags(born().events, terms(any_device=True), storage_now=ANY_ONLY, tcb_now=ONE)
    assert flags.any_device == Known(value=True, method=Method.CALLDATA)
    assert flags.require_tcb == Known(value=True, method=Method.CALLDATA)
    assert flags.upgrades_disabled == Known(value=False, method=Method.CALLDATA)
    assert flags.problems == ()


@pytest.mark.parametrize("signature", SELECTORS)
def test_an_initializer_without_the_flag_leaves_it_false(signature: str) -> None:
    named = "bool,bool,bool" in signature
    said = replace(terms(), signature=signature, require_tcb_up_to_date=True if named else None)
    flags = initial_flags(born().events, said)
    assert flags.require_tcb == Known(value=named, method=Method.CALLDATA)


def test_storage_at_creation_comes_next() -> None:
    flags = initial_flags(
        born().events, None, storage_at_creation=DISABLED_ONLY, tcb_at_creation=ONE
    )
    assert flags.any_device == Known(value=False, method=Method.STORAGE)
    assert flags.upgrades_disabled == Known(value=True, method=Method.STORAGE)
    assert flags.require_tcb == Known(value=True, method=Method.STORAGE)


def test_present_storage_counts_where_nothing_could_have_set_it() -> None:
    flags = initial_flags(born().events, None, storage_now=ANY_ONLY, tcb_now=ZERO)
    assert flags.any_device == Known(value=True, method=Method.NEVER_SET)
    assert flags.require_tcb == Known(value=False, method=Method.NEVER_SET)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("AllowAnyDeviceSet", {"allowAny": True}),
        ("Upgraded", {"implementation": NEW_CODE}),
        ("Initialized", {"version": 2}),
        ("undecodable", {}),
        ("unknown", {}),
        ("PolicyChanged", policy_changed("allow-any-device", "00" * 32, enabled=True)),
        ("PolicyChanged", policy_changed(None, "00" * 32, enabled=True)),
    ],
)
def test_present_storage_says_nothing_of_what_may_have_been_set(
    name: str, args: dict[str, JsonValue]
) -> None:
    history = born()
    history.app(name, **args)
    flags = initial_flags(history.events, None, storage_now=ANY_ONLY)
    assert flags.any_device == Known(None, Method.UNKNOWN)
    assert flags.problems == ()


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ComposeHashAdded", {"composeHash": "11" * 32}),
        ("RequireTcbUpToDateSet", {"requireUpToDate": True}),
        ("PolicyChanged", policy_changed("compose-hash", "11" * 32, enabled=True)),
    ],
)
def test_events_about_something_else_leave_a_flag(name: str, args: dict[str, JsonValue]) -> None:
    history = born()
    history.app(name, **args)
    flags = initial_flags(history.events, None, storage_now=ANY_ONLY)
    assert flags.any_device == Known(value=True, method=Method.NEVER_SET)


def test_contradictions_make_a_flag_unknown_and_are_said() -> None:
    flags = initial_flags(born().events, terms(), storage_at_creation=ANY_ONLY)
    assert flags.any_device == Known(None, Method.UNKNOWN)
    assert flags.upgrades_disabled.value is False
    (problem,) = flags.problems
    assert "creation calldata says false" in problem
    assert "storage says true" in problem


def test_a_setter_in_the_block_of_the_creation_hides_what_storage_held_before() -> None:
    history = History()
    history.add(
        Role.APP,
        ("Upgraded", {"implementation": NEW_CODE}),
        ("Initialized", {"version": 1}),
        ("AllowAnyDeviceSet", {"allowAny": True}),
    )
    words = {"storage_at_creation": ANY_ONLY, "storage_now": ANY_ONLY}
    honest = initial_flags(history.events, terms(), **words)
    assert honest.any_device == Known(value=False, method=Method.CALLDATA)
    assert honest.problems == ()
    assert initial_flags(history.events, None, **words).any_device.value is None
    assert initial_flags(history.events, None, **words).upgrades_disabled.value is False


def test_a_contract_that_is_initialized_later_has_no_flags_at_its_creation() -> None:
    history = History()
    history.app("Upgraded", implementation=NEW_CODE)
    history.app("Initialized", version=1)
    flags = initial_flags(history.events, None, storage_at_creation=ZERO, storage_now=ANY_ONLY)
    assert flags.any_device == Known(None, Method.UNKNOWN)
    assert flags.problems == ()


def test_other_values_than_booleans_and_other_sizes_say_nothing() -> None:
    for word in (bytes(30) + b"\2\2", b"", bytes(31)):
        flags = initial_flags(born().events, None, storage_at_creation=word)
        assert flags.any_device.value is None
        assert flags.upgrades_disabled.value is None


def test_an_app_without_events_has_no_flags() -> None:
    assert initial_flags((), terms()) == InitialFlags()
