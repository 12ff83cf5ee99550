"""What a timelock announced, until it was made or given up, and what each call would change."""

from typing import Any

import pytest
from eth_abi.abi import encode

from tests.evidence.chain.test_calldata import ADD, REMOVE, call, execution
from tests.timeline.events import ALICE, APP, BOB, KMS, SAFE, TIMELOCK, History, born
from verifier.evidence.chain.ethereum import keccak256
from verifier.model.chain import Role
from verifier.model.pending import Effect, PendingOperation
from verifier.timeline.pending import (
    DONE,
    MAX_OPERATIONS,
    Announced,
    proposed_manifests,
    timelock_operations,
)

ZERO = bytes(32)
GATEWAY = BOB
TOUCHED = {
    APP: Role.APP,
    KMS: Role.KMS,
    SAFE: Role.APP_OWNER,
    TIMELOCK: Role.APP_OWNER,
    GATEWAY: Role.GATEWAY,
}
DELAY = 1_000


def batch_id(calls: list[tuple[str, bytes]], salt: bytes = ZERO) -> bytes:
    targets, payloads = [item for item, _ in calls], [raw for _, raw in calls]
    kinds = ["address[]", "uint256[]", "bytes[]", "bytes32", "bytes32"]
    return keccak256(encode(kinds, [targets, [0] * len(calls), payloads, ZERO, salt]))


def single_id(target: str, raw: bytes, salt: bytes = ZERO) -> bytes:
    kinds = ["address", "uint256", "bytes", "bytes32", "bytes32"]
    return keccak256(encode(kinds, [target, 0, raw, ZERO, salt]))


def schedule(
    history: History,
    digest: bytes,
    *calls: tuple[str, bytes],
    salt: bytes = ZERO,
    delay: Any = DELAY,
    left_out: int = -1,
) -> None:
    """One operation, as CallScheduled tells it, without the call of one index."""
    listed: list[tuple[str, dict[str, Any]]] = [
        (
            "CallScheduled",
            {
                "id": digest.hex(),
                "index": index,
                "target": target,
                "value": 0,
                "data": raw.hex(),
                "predecessor": ZERO.hex(),
                "delay": delay,
            },
        )
        for index, (target, raw) in enumerate(calls)
        if index != left_out
    ]
    if any(salt):
        listed.append(("CallSalt", {"id": digest.hex(), "salt": salt.hex()}))
    history.add(Role.APP_OWNER, *listed, at=TIMELOCK)


def announced(history: History, *, later: int = 1, said: int | None = None) -> Announced:
    now = (history.events[-1].time or 0) + later
    return timelock_operations(
        history.events, {TIMELOCK}, TOUCHED.get, lambda _account, _id: said, now
    )


def one(*calls: tuple[str, bytes], later: int = 1, said: int | None = None) -> PendingOperation:
    history = born(TIMELOCK)
    digest = single_id(*calls[0]) if len(calls) == 1 else batch_id(list(calls))
    schedule(history, digest, *calls)
    (found,) = announced(history, later=later, said=said).operations
    return found


def effect(target: str, raw: bytes) -> Effect:
    (found,) = one((target, raw)).calls
    return found.effect


def test_an_operation_waits_until_it_was_made_or_cancelled() -> None:
    for name in ("CallExecuted", "Cancelled"):
        history = born(TIMELOCK)
        digest = single_id(APP, ADD)
        schedule(history, digest, (APP, ADD))
        schedule(history, single_id(APP, REMOVE), (APP, REMOVE))
        history.owner(TIMELOCK, name, id=digest.hex(), index=0)
        (left,) = announced(history).operations
        assert [item.function for item in left.calls] == ["removeComposeHash"]
        # What was given up may be announced again.
        schedule(history, digest, (APP, ADD))
        assert len(announced(history).operations) == 2


def test_it_can_be_made_once_its_delay_is_over_or_when_the_storage_says() -> None:
    waiting = one((APP, ADD))
    assert (waiting.due, waiting.ready) == ((waiting.announced or 0) + DELAY, False)
    assert one((APP, ADD), later=DELAY).ready
    stored = one((APP, ADD), said=(waiting.announced or 0) + 1)
    assert (stored.due, stored.ready) == ((waiting.announced or 0) + 1, True)
    history = born(TIMELOCK)
    schedule(history, single_id(APP, ADD), (APP, ADD), delay=None)
    (unknown,) = announced(history).operations
    assert (unknown.due, unknown.ready) == (None, True)


@pytest.mark.parametrize(("said", "words"), [(0, "given up"), (DONE, "made")])
def test_storage_that_contradicts_the_log_is_a_doubt_and_hides_nothing(
    said: int, words: str
) -> None:
    history = born(TIMELOCK)
    schedule(history, single_id(APP, ADD), (APP, ADD))
    found = announced(history, said=said)
    assert words in found.doubts[TIMELOCK]
    assert len(found.operations) == 1


def test_the_id_commits_to_every_call() -> None:
    calls = [(APP, REMOVE), (APP, ADD), (KMS, REMOVE)]
    salt = b"\7" * 32
    assert one(*calls).whole
    assert one((APP, ADD)).whole
    for digest, kept, left_out, salted in (
        (batch_id(calls), calls, 1, ZERO),
        (batch_id(calls), calls, 2, ZERO),
        (batch_id(calls), calls, 0, ZERO),
        (batch_id(calls), calls[::-1], -1, ZERO),
        (batch_id(calls, salt), calls, -1, ZERO),
    ):
        history = born(TIMELOCK)
        schedule(history, digest, *kept, salt=salted, left_out=left_out)
        (found,) = announced(history).operations
        assert not found.whole
    history = born(TIMELOCK)
    schedule(history, batch_id(calls, salt), *calls, salt=salt)
    assert announced(history).operations[0].whole
    history = born(TIMELOCK)
    schedule(history, batch_id([(APP, ADD)]), (APP, ADD))
    assert announced(history).operations[0].whole


@pytest.mark.parametrize(
    ("target", "raw", "expected"),
    [
        (APP, ADD, Effect.OPENS),
        (APP, REMOVE, Effect.CLOSES),
        (APP, call("setAllowAnyDevice", True), Effect.OPENS),  # noqa: FBT003 - its argument
        (APP, call("setAllowAnyDevice", False), Effect.CLOSES),  # noqa: FBT003
        (APP, call("setRequireTcbUpToDate", False), Effect.OPENS),  # noqa: FBT003
        (APP, call("upgradeToAndCall", ALICE, b""), Effect.OPENS),
        (APP, call("transferOwnership", ALICE), Effect.CONTROL),
        (KMS, call("addOsImageHash", ZERO), Effect.OPENS),
        (TIMELOCK, call("updateDelay", 0), Effect.CONTROL),
        (TIMELOCK, call("grantRole", ZERO, ALICE), Effect.CONTROL),
        (SAFE, call("changeThreshold", 1), Effect.CONTROL),
        (SAFE, execution(APP, ADD), Effect.OPENS),
        (SAFE, execution(ALICE, b"\1\2\3\4", 1), Effect.UNKNOWN),
        (APP, b"\1\2\3\4" + ZERO, Effect.UNKNOWN),
        (APP, ADD + b"\0", Effect.UNKNOWN),
        (APP, b"", Effect.ELSEWHERE),
        (ALICE, ADD, Effect.ELSEWHERE),
    ],
)
def test_what_a_call_would_change(target: str, raw: bytes, expected: Effect) -> None:
    assert effect(target, raw) is expected


def test_others_timelocks_do_not_count() -> None:
    history = born(TIMELOCK)
    schedule(history, single_id(APP, ADD), (APP, ADD))
    now = history.events[-1].time or 0
    assert timelock_operations(history.events, {SAFE}, TOUCHED.get, lambda *_: None, now) == (
        Announced((), {})
    )


def test_a_flood_is_cut_off_and_said() -> None:
    history = born(TIMELOCK)
    for index in range(MAX_OPERATIONS + 3):
        salt = (index + 1).to_bytes(32, "big")
        schedule(history, single_id(APP, REMOVE, salt), (APP, REMOVE), salt=salt)
    found = announced(history)
    assert len(found.operations) == MAX_OPERATIONS
    assert "67 operations" in found.doubts[TIMELOCK]


def test_a_manifest_that_the_app_itself_announced_waits_until_it_is_allowed_or_taken_back() -> None:
    for over in ("ComposeHashActivated", "ComposeHashCancelled"):
        history = born()
        first, second = "aa" * 32, "bb" * 32
        history.app("ComposeHashProposed", hash=first, activatesAt=2_000_000_000)
        history.app("ComposeHashProposed", hash=second, activatesAt=2_000_000_009)
        history.app(over, hash=first)
        (found,) = proposed_manifests(history.events, 2_000_000_000)
        assert (found.id, found.due, found.ready) == (second, 2_000_000_009, False)
        assert [(call.function, call.effect) for call in found.calls] == [
            ("activateComposeHash", Effect.OPENS)
        ]
        (later,) = proposed_manifests(history.events, 2_000_000_009)
        assert later.ready
