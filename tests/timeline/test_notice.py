"""The notice of each change: only what announced this very change, by whoever could make it."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.timeline.events import (
    ALICE,
    APP,
    BOB,
    CAROL,
    HASH,
    KMS,
    NEW_CODE,
    OTHER,
    TIMELOCK,
    History,
    born,
    seconds,
    transferred,
)
from verifier.evidence.chain.ethereum import keccak256
from verifier.model.chain import Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Change
from verifier.timeline.notice import OPENING, changes

FUNCTIONS = {
    "ComposeHashAdded": ("addComposeHash(bytes32)",),
    "DeviceAdded": ("addDevice(bytes32)",),
    "AllowAnyDeviceSet": ("setAllowAnyDevice(bool)",),
    "RequireTcbUpToDateSet": ("setRequireTcbUpToDate(bool)",),
    "Upgraded": ("upgradeToAndCall(address,bytes)",),
    "OwnershipTransferred": (
        "transferOwnership(address)",
        "renounceOwnership()",
        "acceptOwnership()",
    ),
    "OsImageHashAdded": ("addOsImageHash(bytes32)",),
    "KmsAggregatedMrAdded": ("addKmsAggregatedMr(bytes32)",),
    "KmsDeviceAdded": ("addKmsDevice(bytes32)",),
    "KmsInfoSet": ("setKmsInfo((bytes,bytes,bytes,bytes))",),
    "GatewayAppIdSet": ("setGatewayAppId(string)",),
    "AppImplementationSet": ("setAppImplementation(address)",),
    "AppAuthImplementationSet": ("setAppAuthImplementation(address)",),
}
ADD = "dfc77223" + HASH


def executed(  # noqa: PLR0913 - each part of a call
    history: History,
    *,
    data: str = ADD,
    announced: str = "",
    target: str = APP,
    by: str = TIMELOCK,
    event: tuple[str, dict[str, JsonValue]] = ("ComposeHashAdded", {"composeHash": HASH}),
) -> Change:
    """A call that `by` scheduled, and the change in whose transaction it was executed."""
    call: dict[str, JsonValue] = {"id": "01" * 32, "index": 0, "target": target, "data": data}
    history.owner(by, "CallScheduled", **{**call, "data": announced or data})
    history.add(Role.APP, event)
    change = history.events[-1]
    place = replace(change.place, log_index=1)
    history.events.append(
        replace(
            change, place=place, role=Role.APP_OWNER, address=by, name="CallExecuted", args=call
        )
    )
    return changes(history.events)[-1]


def test_selectors_are_hashes_of_the_functions_that_emit_the_events() -> None:
    expected = {
        event: tuple(keccak256(name.encode())[:4].hex() for name in names)
        for event, names in FUNCTIONS.items()
    }
    assert {event: found for event, found in OPENING.items() if found} == expected


def test_what_the_owning_timelock_scheduled_had_notice() -> None:
    history = born(TIMELOCK)
    change = executed(history)
    scheduled = history.events[-3]
    assert change.announced == scheduled.place
    assert change.notice == seconds(history.events, change.place) - (scheduled.time or 0) > 0


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (("Upgraded", {"implementation": NEW_CODE}), "4f1ef286" + NEW_CODE[2:].rjust(64, "0")),
        (("AllowAnyDeviceSet", {"allowAny": True}), "7c4beeb8" + "1".rjust(64, "0")),
        (("DeviceAdded", {"deviceId": OTHER}), "2a819728" + OTHER),
        (
            ("OwnershipTransferred", transferred(TIMELOCK, BOB)),
            "f2fde38b" + BOB[2:].rjust(64, "0"),
        ),
        (("OwnershipTransferred", transferred(TIMELOCK, "0x" + "00" * 20)), "715018a6"),
    ],
)
def test_every_function_is_known(event: tuple[str, dict[str, JsonValue]], data: str) -> None:
    assert executed(born(TIMELOCK), data=data.lower(), event=event).announced is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": "2f6622e5" + HASH},
        {"data": "dfc77223" + OTHER},
        {"data": ""},
        {"announced": "dfc77223" + OTHER},
        {"target": KMS},
        {"by": CAROL},
    ],
    ids=["getter", "other hash", "no call", "other data", "other target", "other timelock"],
)
def test_what_only_looks_like_an_announcement_is_none(wrong: dict[str, Any]) -> None:
    change = executed(born(TIMELOCK), **wrong)
    assert (change.announced, change.notice) == (None, 0)


def test_a_timelock_that_owns_no_more_announces_nothing() -> None:
    history = born(TIMELOCK)
    history.app("OwnershipTransferred", **transferred(TIMELOCK, ALICE))
    assert executed(history).announced is None


def test_the_text_of_a_gateway_is_found_in_calldata() -> None:
    text = "55" * 20
    data = "3971db27" + text.encode().hex()
    event: tuple[str, dict[str, JsonValue]] = ("GatewayAppIdSet", {"gatewayAppId": text})
    assert executed(born(TIMELOCK), data=data, event=event).announced is not None


def test_a_proposal_of_the_same_contract_counts_and_another_does_not() -> None:
    history = born()
    proposed = history.app("ComposeHashProposed", hash=HASH, activatesAt=1)
    history.owner(BOB, "ComposeHashProposed", hash=OTHER, activatesAt=1)
    history.app("ComposeHashActivated", hash=HASH)
    history.app("ComposeHashActivated", hash=OTHER)
    mine, others = changes(history.events, notice_period=60)
    assert (mine.announced, mine.notice) == (proposed, 40)
    assert "another delay" in mine.how
    assert (others.announced, others.notice) == (None, 0)


def test_an_offer_announces_its_acceptance_alone() -> None:
    history = born()
    offered = history.app("OwnershipTransferStarted", **transferred(ALICE, BOB))
    history.app("OwnershipTransferred", **transferred(ALICE, BOB))
    history.app("OwnershipTransferred", **transferred(BOB, CAROL))
    first, second = changes(history.events)
    assert (first.announced, second.announced) == (offered, None)


def test_creation_and_what_closes_are_no_changes() -> None:
    history = born()
    history.app("AllowAnyDeviceSet", allowAny=False)
    history.app("RequireTcbUpToDateSet", requireUpToDate=True)
    history.app("ComposeHashRemoved", composeHash=HASH)
    assert changes(history.events) == ()
    history.app("AllowAnyDeviceSet", allowAny=True)
    history.app("RequireTcbUpToDateSet", requireUpToDate=False)
    assert [item.notice for item in changes(history.events)] == [0, 0]


def test_unknown_times_give_no_notice() -> None:
    history = born()
    history.app("OwnershipTransferStarted", **transferred(ALICE, BOB))
    history.app("OwnershipTransferred", **transferred(ALICE, BOB))
    history.events[-2] = replace(history.events[-2], time=None)
    (change,) = changes(history.events)
    assert change.notice == 0
    assert "times unknown" in change.how
