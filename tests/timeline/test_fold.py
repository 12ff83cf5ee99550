"""The fold: what it makes of each event, and that a state is what a replay up to it gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.codes import known_code
from tests.timeline.events import (
    ALICE,
    APP_CODE,
    BOB,
    CAROL,
    HASH,
    NEW_CODE,
    OLD_CODE,
    OTHER,
    ROGUE,
    History,
    born,
    policy_changed,
    transferred,
)
from verifier.evidence.chain.ethereum import keccak256
from verifier.model.chain import Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Known, Method
from verifier.timeline.fold import Keyed, Setting
from verifier.timeline.initial import InitialFlags

KEYS = ("11" * 32, "22" * 32, "33" * 32)
_KEYED = st.tuples(
    st.sampled_from(["ComposeHash", "Device", "OsImageHash", "KmsAggregatedMr", "KmsDevice"]),
    st.sampled_from(["Added", "Removed"]),
    st.sampled_from(KEYS),
)
_APP_STEMS = ("ComposeHash", "Device")


@given(st.lists(_KEYED, max_size=40))
def test_a_state_is_what_a_replay_up_to_its_place_gives(
    steps: list[tuple[str, str, str]],
) -> None:
    history, naive = born(), dict[str, set[str]]()
    expected: list[tuple[Place, dict[str, frozenset[str]]]] = []
    for stem, ending, key in steps:
        role = Role.APP if stem in _APP_STEMS else Role.KMS
        place = history.add(role, (stem + ending, {"key": key}))
        held = naive.setdefault(stem, set())
        (held.add if ending == "Added" else held.discard)(key)
        expected.append((place, {name: frozenset(item) for name, item in naive.items()}))
    folded, none = history.fold(), frozenset[str]()
    for place, sets in expected:
        app, kms = folded.app_state(place), folded.kms_state(place)
        assert app.compose_hashes == sets.get("ComposeHash", none)
        assert app.devices == sets.get("Device", none)
        assert kms.os_images == sets.get("OsImageHash", none)
        assert kms.aggregated_mrs == sets.get("KmsAggregatedMr", none)
        assert kms.devices == sets.get("KmsDevice", none)
        for key in KEYS:
            spans = folded.allowed_intervals(key)
            inside = [a <= place and (b is None or place < b) for a, b in spans]
            assert inside.count(True) == (key in app.compose_hashes)
            assert folded.allowed(key, place) is (key in app.compose_hashes)
    assert set(folded.keys(Keyed.COMPOSE_HASH)) == {key for stem, _, key in steps if "Comp" in stem}


def test_nothing_is_allowed_before_the_first_event() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=HASH)
    state = history.fold().app_state(Place(1, 0))
    assert state.compose_hashes == frozenset()
    assert state.any_device.value is None
    assert not state.continuous


def test_what_only_repeats_is_no_change() -> None:
    history = born()
    history.app("ComposeHashRemoved", composeHash=OTHER)
    first = history.app("ComposeHashAdded", composeHash=HASH)
    history.app("ComposeHashAdded", composeHash=HASH)
    assert history.fold().allowed_intervals(HASH) == ((first, None),)
    assert history.fold().allowed_intervals(OTHER) == ()


def test_events_of_an_owner_change_nothing() -> None:
    history = born()
    history.owner(BOB, "ComposeHashAdded", composeHash=HASH)
    history.owner(BOB, "Upgraded", implementation=ROGUE)
    assert history.fold().app_state() == born().fold().app_state()


ADDED: tuple[str, dict[str, JsonValue]] = ("ComposeHashAdded", {"composeHash": HASH})
SAID = ("PolicyChanged", policy_changed("compose-hash", HASH, enabled=True))


@pytest.mark.parametrize("steps", [(ADDED, SAID), (SAID, ADDED)], ids=["after", "before"])
def test_a_policy_change_beside_the_older_event_says_nothing_new(
    steps: tuple[tuple[str, dict[str, JsonValue]], ...],
) -> None:
    history = born()
    history.add(Role.APP, *steps)
    folded = history.fold()
    assert folded.app_state().compose_hashes == {HASH}
    assert folded.notes == ()


def test_a_policy_change_alone_counts_and_is_said() -> None:
    history = born()
    history.add(Role.APP, SAID)
    folded = history.fold()
    assert folded.app_state().compose_hashes == {HASH}
    assert "without the older event" in folded.notes[0]


def test_a_policy_change_of_another_transaction_or_contract_is_alone() -> None:
    history = born()
    history.add(Role.APP, ADDED)
    history.add(Role.APP, SAID)
    assert history.fold().notes
    history = born()
    block = history.add(Role.KMS, ("Upgraded", {"implementation": NEW_CODE})).block
    word = NEW_CODE[2:].lower().rjust(64, "0")
    history.add(
        Role.APP, ("PolicyChanged", policy_changed("implementation-upgrade", word, enabled=True))
    )
    history.events[-1] = replace(history.events[-1], transaction=f"{block:064x}")
    assert history.fold().app_state().implementation == NEW_CODE


def test_a_policy_change_that_contradicts_the_older_event_is_not_dropped() -> None:
    history = born()
    history.add(
        Role.APP,
        ("AllowAnyDeviceSet", {"allowAny": False}),
        ("PolicyChanged", policy_changed("allow-any-device", "00" * 32, enabled=True)),
    )
    folded = history.fold()
    assert folded.app_state().any_device == Known(value=True, method=Method.EVENT)
    assert folded.notes


def test_text_and_bytes_are_compared_by_their_hashes() -> None:
    history = born()
    key = "02" + "ab" * 32
    for name, args, policy, raw in (
        ("KmsInfoSet", {"k256Pubkey": key}, "kms-info", bytes.fromhex(key)),
        ("GatewayAppIdSet", {"gatewayAppId": "any"}, "gateway-app-id", b"any"),
    ):
        digest = keccak256(raw).hex()
        said = ("PolicyChanged", policy_changed(policy, digest, enabled=True))
        history.add(Role.KMS, (name, dict[str, JsonValue](args)), said)
    folded = history.fold()
    assert (folded.kms_state().root_key, folded.kms_state().gateway_app_id) == (key, "any")
    assert folded.notes == ()


def test_registrations_of_apps_make_no_notes_and_others_are_counted() -> None:
    history = born()
    for _ in range(3):
        history.kms("PolicyChanged", **policy_changed("registered-app", HASH, enabled=True))
        history.app("unknown", topics=[], data="")
    (note,) = history.fold().notes
    assert note.endswith("and 2 times after it")


def test_ownership_in_two_steps() -> None:
    history = born()
    offered = history.app("OwnershipTransferStarted", **transferred(ALICE, BOB))
    cancelled = history.app("OwnershipTransferStarted", **transferred(ALICE, "0x" + "00" * 20))
    history.app("OwnershipTransferStarted", **transferred(ALICE, CAROL))
    history.app("OwnershipTransferred", **transferred(ALICE, CAROL))
    folded = history.fold()
    assert folded.app_state(offered).pending_owner == BOB
    assert folded.app_state(offered).owner == ALICE
    assert folded.app_state(cancelled).pending_owner == ""
    assert (folded.app_state().owner, folded.app_state().pending_owner) == (CAROL, "")


def test_a_renounced_contract_has_no_owner() -> None:
    history = born()
    history.app("OwnershipTransferred", **transferred(ALICE, "0x" + "00" * 20))
    assert history.fold().app_state().owner == ""


def test_an_app_with_a_delay_of_its_own_allows_what_was_activated() -> None:
    history = born()
    history.app("ComposeHashProposed", hash=HASH, activatesAt=1)
    assert history.fold().app_state().compose_hashes == frozenset()
    begun = history.app("ComposeHashActivated", hash=HASH)
    ended = history.app("ComposeHashRemoved", hash=HASH)
    assert history.fold().allowed_intervals(HASH) == ((begun, ended),)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Upgraded", {"implementation": ROGUE}),
        ("undecodable", {"event": "ComposeHashAdded"}),
        ("AdminChanged", {}),
        ("BeaconUpgraded", {}),
    ],
)
def test_events_bind_no_longer_after(name: str, args: dict[str, JsonValue]) -> None:
    history = born()
    before = history.app("ComposeHashAdded", composeHash=HASH)
    place = history.app(name, **args)
    history.app("Upgraded", implementation=APP_CODE)
    folded = history.fold()
    assert folded.app_state(before).continuous
    assert not folded.app_state().continuous
    assert folded.lost(Role.APP) == place
    assert folded.lost(Role.KMS) is None
    assert folded.notes


def test_an_upgrade_to_known_code_goes_on() -> None:
    history = born()
    history.app("Upgraded", implementation=NEW_CODE)
    state = history.fold().app_state()
    assert state.continuous
    assert state.code == known_code("G8")


@pytest.mark.parametrize("role", [Role.APP, Role.KMS])
def test_an_upgrade_in_place_to_another_layout_is_followed_no_further(role: Role) -> None:
    history = History()
    history.add(role, ("Upgraded", {"implementation": OLD_CODE}))
    before = history.add(role, ("ComposeHashAdded", {"composeHash": HASH}))
    place = history.add(role, ("Upgraded", {"implementation": NEW_CODE}))
    folded = history.fold()
    state = folded.app_state if role is Role.APP else folded.kms_state
    assert state(before).continuous
    assert not state().continuous
    assert folded.lost(role) == place
    assert "from G3 to G8 code in place" in folded.notes[0]


@pytest.mark.parametrize("policy", ["kms-info", "gateway-app-id"])
def test_a_value_of_which_only_the_hash_is_told_is_not_known(policy: str) -> None:
    history = born()
    history.kms("KmsInfoSet", k256Pubkey="aa")
    place = history.kms("PolicyChanged", **policy_changed(policy, HASH, enabled=True))
    folded = history.fold()
    assert folded.kms_state(history.events[-2].place).continuous
    assert not folded.kms_state().continuous
    assert folded.lost(Role.KMS) == place
    assert "the value is not known" in folded.notes[0]


def test_a_contract_that_never_named_its_code_is_not_known() -> None:
    history = History()
    first = history.app("ComposeHashAdded", composeHash=HASH)
    history.app("ComposeHashRemoved", composeHash=HASH)
    folded = history.fold()
    assert not folded.app_state().continuous
    assert folded.lost(Role.APP) == first
    assert folded.lost(Role.KMS) is None
    assert "no event names the code" in folded.notes[0]


def test_a_flag_that_nothing_tells_is_unknown_until_it_is_set() -> None:
    history = born()
    before = history.events[-1].place
    history.app("AllowAnyDeviceSet", allowAny=False)
    folded = history.fold(InitialFlags())
    assert folded.app_state(before).any_device.value is None
    assert folded.app_state().any_device == Known(value=False, method=Method.EVENT)
    assert folded.app_state().upgrades_disabled.value is None
    assert len(folded.values(Role.APP, Setting.ANY_DEVICE)) == 1
