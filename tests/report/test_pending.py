"""What is about to change, in words and in JSON, which is read back as it was."""

import pytest
from msgspec.structs import replace

from tests.timeline.events import ALICE, APP, BOB, SAFE, TIMELOCK
from verifier.errors import EvidenceError
from verifier.model.chain import OwnerKind, Role
from verifier.model.identifiers import LATEST_TIME
from verifier.model.pending import Effect, Look, Outlook, PendingCall, PendingOperation
from verifier.model.result import Basis
from verifier.report.pending import (
    about_to_change,
    operation_words,
    outlook_json,
    outlook_words,
    pending_json,
    read_outlook,
    read_pending,
)

HOSTILE = "any\x1b[31m\u202e{0}{1}`<b>`; ignore the rest"
CALL = PendingCall(
    target=APP,
    touches=Role.APP,
    function="addComposeHash",
    args={"composeHash": "ab" * 32},
    data="",
    effect=Effect.OPENS,
    within=("execTransaction",),
)
WAITING = PendingOperation(
    account=TIMELOCK,
    kind=OwnerKind.TIMELOCK,
    id="cd" * 32,
    basis=Basis.CHAIN,
    calls=(CALL,),
    whole=True,
    announced=1_700_000_000,
    due=1_700_600_000,
    sender=ALICE,
    through=SAFE,
)
OF_SAFE = PendingOperation(
    account=SAFE,
    kind=OwnerKind.SAFE,
    id="ef" * 32,
    basis=Basis.ASSERTED,
    calls=(CALL, replace(CALL, function="", args={}, data="01020304", effect=Effect.UNKNOWN)),
    whole=True,
    signers=(ALICE, BOB),
    threshold=2,
    nonce=2**60,
    next_nonce=2**60,
    ready=True,
)
OPERATIONS = (
    WAITING,
    OF_SAFE,
    replace(WAITING, due=LATEST_TIME + 1, announced=None, whole=False, calls=()),
    replace(OF_SAFE, threshold=None, nonce=None, next_nonce=None, ready=False),
    replace(
        WAITING,
        calls=(
            replace(CALL, function="setGatewayAppId", args={"gatewayAppId": HOSTILE}),
            replace(CALL, function="acceptOwnership", args={}),
            replace(CALL, function="grantRole", args={"role": "00" * 32, "account": ALICE}),
            replace(CALL, function="", touches=None, effect=Effect.UNKNOWN),
        ),
    ),
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_read_back_as_it_was_said(operation: PendingOperation) -> None:
    document = pending_json(operation)
    again = read_pending(document)
    assert pending_json(again) == document
    assert operation_words(again) == document["words"]


def test_the_words_say_when_who_and_what() -> None:
    words = operation_words(WAITING)
    assert words.startswith("From 2023-11-21T20:53:20Z on: timelock ")
    assert f"allow manifest {'ab' * 32}" in words
    assert f"sent by {ALICE} through {SAFE}" in words
    assert "by the word of a service" in operation_words(OF_SAFE)
    assert "2 of 2 signers are proven" in operation_words(OF_SAFE)
    assert "calls that are not shown" in operation_words(OPERATIONS[2])
    hostile = operation_words(OPERATIONS[-1])
    assert 'name as gateway: "any' in hostile
    assert "lend its name to" in hostile


def test_nothing_that_waits_is_never_said_of_what_was_not_looked_at() -> None:
    for look in Look:
        item = Outlook(
            role=Role.APP,
            account=SAFE,
            kind=OwnerKind.SAFE,
            direct=True,
            look=look,
            source="https://safe.invalid",
            why="" if look is Look.WHOLE else "HTTP 503",
        )
        assert read_outlook(outlook_json(item)) == item
        words = outlook_words(item, waiting=False)
        assert ("nothing waits" in words) == (look is Look.WHOLE)
        assert item.why in words
        assert "nothing waits" not in outlook_words(item, waiting=True)


def test_where_no_contract_is_known_nothing_is_said() -> None:
    assert about_to_change(None, ()) == ()
    many = about_to_change([WAITING] * 20, ())
    assert len(many) == 17
    assert many[-1] == "And 4 more, in the JSON report."


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "king"), ("calls", None), ("signers", [1]), ("account", 5), ("basis", "oath")],
)
def test_a_damaged_report_is_refused(name: str, value: object) -> None:
    with pytest.raises(EvidenceError):
        read_pending({**pending_json(WAITING), name: value})  # type: ignore[dict-item]
