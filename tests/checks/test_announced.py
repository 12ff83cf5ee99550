"""Who says what is about to change: the chain, or a service of whose words the signatures count;
and which of it is a reservation."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.report.timelines import APP, CALM, OWNER, SECOND
from tests.worlds.audited import audit
from verifier.checks.authorization.announced import announced, unseen
from verifier.checks.case import Case
from verifier.lab.attacks import ATTACKS
from verifier.model.chain import OwnerKind, Role
from verifier.model.pending import Effect, Look, Outlook, PendingCall, PendingOperation
from verifier.model.result import Basis

MEASURED = "5e" * 32
IMAGES = {"production": "a0" * 32, "development": "a1" * 32}
CALL = PendingCall(
    target=APP,
    touches=Role.APP,
    function="addComposeHash",
    args={"composeHash": "ab" * 32},
    data="",
    effect=Effect.OPENS,
)
WAITING = PendingOperation(
    account=OWNER,
    kind=OwnerKind.TIMELOCK,
    id="cd" * 32,
    basis=Basis.CHAIN,
    calls=(CALL,),
    whole=True,
)
DIRECT = Outlook(
    role=Role.APP, account=OWNER, kind=OwnerKind.TIMELOCK, direct=True, look=Look.WHOLE
)


def reservations(*operations: PendingOperation, outlook: Outlook = DIRECT) -> list[str]:
    rows = [SimpleNamespace(kind=kind, os_image_hash=text) for kind, text in IMAGES.items()]
    case = SimpleNamespace(
        reference=SimpleNamespace(os_images=rows),
        identity=SimpleNamespace(compose_hash=bytes.fromhex(MEASURED)),
    )
    timeline = replace(CALM, pending=operations, outlook=(outlook,))
    return announced(cast("Case", case), timeline)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("safe-about-to-allow", "(2 signers are proven to have agreed)"),
        ("announced-lately", " announced addComposeHash("),
    ],
)
def test_a_service_is_named_where_it_is_its_word(name: str, said: str) -> None:
    attack = next(item for item in ATTACKS if item.name == name)
    (result,) = audit(attack.knobs).check("authorization.governance")
    assert said in result.summary
    assert ("by the word of a service" in result.summary) == name.startswith("safe")


def add(function: str, value: str) -> dict[str, Any]:
    return {"function": function, "args": {"value": value}}


@pytest.mark.parametrize(
    ("changes", "weighs"),
    [
        ({"effect": Effect.UNKNOWN}, True),
        ({"effect": Effect.UNKNOWN, "touches": Role.GATEWAY}, True),
        ({"effect": Effect.UNKNOWN, "touches": None}, True),
        ({"effect": Effect.CONTROL}, True),
        ({"effect": Effect.CONTROL, "touches": Role.GATEWAY}, False),
        ({"effect": Effect.CLOSES}, False),
        ({"effect": Effect.ELSEWHERE}, False),
        ({}, True),
        ({"touches": Role.GATEWAY}, False),
        ({"touches": Role.KMS}, True),
        (add("addComposeHash", SECOND), False),
        (add("addComposeHash", MEASURED), False),
        (add("activateComposeHash", MEASURED), False),
        (add("activateComposeHash", "ab" * 32), True),
        (add("addOsImageHash", IMAGES["production"]), False),
        (add("addOsImageHash", IMAGES["development"]), True),
        (add("addOsImageHash", MEASURED), True),
        (add("addDevice", MEASURED), True),
        ({"function": "setAllowAnyDevice", "args": {}}, True),
    ],
    ids=str,
)
def test_which_call_is_a_reservation(changes: dict[str, Any], *, weighs: bool) -> None:
    call = replace(CALL, **changes)
    assert len(reservations(replace(WAITING, calls=(call,)))) == weighs
    harmless = replace(CALL, effect=Effect.CLOSES)
    assert len(reservations(replace(WAITING, calls=(harmless, call)))) == weighs


UNSHOWN = {"calls": (), "whole": False}
OF_SAFE = {"kind": OwnerKind.SAFE, "signers": ("a",), "threshold": 2}


@pytest.mark.parametrize(
    ("changes", "weighs"),
    [
        ({**UNSHOWN, "whole": True}, False),
        (UNSHOWN, True),
        ({**UNSHOWN, **OF_SAFE}, False),
        ({**UNSHOWN, **OF_SAFE, "threshold": 1}, True),
        ({**UNSHOWN, **OF_SAFE, "threshold": None}, True),
        ({**UNSHOWN, **OF_SAFE, "kind": OwnerKind.TIMELOCK}, True),
        ({**UNSHOWN, **OF_SAFE, "calls": (replace(CALL, effect=Effect.CLOSES),)}, True),
    ],
    ids=str,
)
def test_calls_that_are_not_shown_may_be_any(changes: dict[str, Any], *, weighs: bool) -> None:
    found = reservations(replace(WAITING, **changes))
    assert len(found) == weighs
    assert all("calls that are not all shown" in text for text in found)


@pytest.mark.parametrize(
    ("account", "outlook", "weighs"),
    [
        (APP, replace(DIRECT, direct=False), True),
        (OWNER, DIRECT, True),
        (OWNER, replace(DIRECT, direct=False), False),
        ("0x" + "99" * 20, DIRECT, False),
    ],
    ids=["the app itself", "who acts", "who only proposes", "a stranger"],
)
def test_whose_announcement_counts(account: str, outlook: Outlook, *, weighs: bool) -> None:
    found = reservations(replace(WAITING, account=account), outlook=outlook)
    assert len(found) == weighs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ready": True, "due": 0}, "which it can make at any moment"),
        ({"due": 0}, "which it can make from 1970-01-01T00:00:00Z on"),
        ({}, "which it can make once enough signers agree"),
        ({"basis": Basis.ASSERTED}, f"by the word of a service, timelock {OWNER} waits to make"),
        ({}, f"announced addComposeHash({'ab' * 32}) of {APP}, which"),
        ({"calls": (CALL, CALL)}, f"of {APP} and 1 more calls, which"),
        ({"calls": (replace(CALL, function="", args={}, data="0102"),)}, "call (0x0102) of"),
        ({"calls": (replace(CALL, args={"text": "x" * 65}),)}, f"Hash({'x' * 64}) of"),
    ],
    ids=str,
)
def test_what_is_said_of_it(changes: dict[str, Any], said: str) -> None:
    (text,) = reservations(replace(WAITING, **changes))
    assert said in text


@pytest.mark.parametrize(("count", "more"), [(0, 0), (3, 0), (4, 1), (5, 2)])
def test_three_are_named_and_the_others_counted(count: int, more: int) -> None:
    found = reservations(*[WAITING] * count)
    assert len(found) == min(count, 3) + (more > 0)
    assert found[3:] == [f"and {more} more announced operations"] * (more > 0)


@pytest.mark.parametrize(
    ("changes", "reserved"),
    [
        ({}, False),
        ({"look": Look.PART}, True),
        ({"look": Look.NOT_LOOKED_AT}, True),
        ({"look": Look.ASSERTED}, False),
        ({"look": Look.PART, "kind": OwnerKind.SAFE}, True),
        ({"look": Look.PART, "direct": False}, False),
        ({"look": Look.NOTHING, "kind": OwnerKind.EOA}, False),
    ],
    ids=str,
)
def test_who_was_not_looked_at_is_a_reservation(changes: dict[str, Any], *, reserved: bool) -> None:
    assert len(unseen(replace(CALM, outlook=(replace(DIRECT, **changes),)))) == reserved
