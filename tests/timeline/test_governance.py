"""Who governs: each kind of owner over time, and what its own word is worth."""

import pytest
from msgspec.structs import replace

from tests.timeline.events import (
    ALICE,
    BOB,
    CAROL,
    KMS,
    SAFE,
    TIMELOCK,
    History,
    account,
    born,
    transferred,
)
from verifier.model.chain import OwnerKind, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Governance
from verifier.reference.values import embedded
from verifier.timeline.governance import (
    ADMIN_ROLES,
    BEHIND_OWN_WORD,
    CONTRADICTED,
    EXECUTOR_ROLE,
    MAX_RULES,
    NOT_FOLLOWED,
    OWN_WORD,
    PROPOSER_ROLE,
    REPLACED,
    Governed,
    accounts,
    governance,
)
from verifier.timeline.owners import (
    ANYBODY,
    HIDDEN,
    NOT_PROVEN,
    SIGNED_BY_CODE,
    UNANNOUNCED,
    UNKNOWN_HANDLER,
    OwnerReads,
)

KEY = OwnerReads(code=b"")
CODE = b"\x60\x80"
TWO_OF_THREE = OwnerReads(
    code=CODE,
    threshold=2,
    signers=(ALICE, BOB, CAROL),
    modules=(),
    guard="",
    handler="",
    version="1.4.1",
)
KNOWN_SAFE = next(row for row in embedded().contracts if row.role == "safe")
KNOWN_TIMELOCK = next(row for row in embedded().contracts if row.role == "timelock")
TWO_DAYS = OwnerReads(code=CODE, min_delay=172_800)
NOBODY = account(0)
KEYS = {ALICE: KEY, BOB: KEY, CAROL: KEY}


def governed(history: History, **reads: OwnerReads) -> Governed:
    known = KEYS | {
        {"safe": SAFE, "timelock": TIMELOCK}[name]: item for name, item in reads.items()
    }
    return governance(Role.APP, history.events, known)


def present(history: History, **reads: OwnerReads) -> Governance:
    return governed(history, **reads).periods[-1]


def timelock(**granted: str) -> History:
    """A timelock that was created in sight, with these holders of roles."""
    history = History()
    history.owner(TIMELOCK, "RoleGranted", role=ADMIN_ROLES[0], account=TIMELOCK)
    for name, holder in granted.items():
        role = ADMIN_ROLES[0] if name.startswith("admin") else PROPOSER_ROLE
        history.owner(TIMELOCK, "RoleGranted", role=role, account=holder)
    history.owner(TIMELOCK, "MinDelayChange", oldDuration=0, newDuration=172_800)
    history.app("OwnershipTransferred", **transferred(NOBODY, TIMELOCK))
    return history


def test_a_key_acts_alone_and_at_once() -> None:
    period = present(born())
    assert (period.kind, period.keys, period.notice) == (OwnerKind.EOA, 1, 0)
    assert period.remarks == ()


def test_a_key_that_borrows_code_is_a_key() -> None:
    borrowed = replace(TWO_OF_THREE, code=bytes.fromhex("ef0100") + bytes(20))
    period = present(born(SAFE), safe=borrowed)
    assert (period.kind, period.keys) == (OwnerKind.EOA, 1)
    longer = replace(borrowed, code=bytes.fromhex("ef0100") + bytes(21))
    assert present(born(SAFE), safe=longer).kind is OwnerKind.SAFE


def test_a_safe_by_its_own_word() -> None:
    period = present(born(SAFE), safe=TWO_OF_THREE)
    assert (period.kind, period.keys, period.threshold) == (OwnerKind.SAFE, 2, 2)
    assert period.notice == 0
    assert period.own_word
    assert period.remarks == (OWN_WORD,)


@pytest.mark.parametrize(
    ("modules", "remark"),
    [((CAROL,), "modules go round"), (None, "is not known")],
    ids=["modules", "not answered"],
)
def test_modules_that_exist_or_are_not_told_leave_the_keys_unknown(
    modules: tuple[str, ...] | None, remark: str
) -> None:
    period = present(born(SAFE), safe=replace(TWO_OF_THREE, modules=modules))
    assert period.keys is None
    assert any(remark in item for item in period.remarks)


@pytest.mark.parametrize(
    ("initializer", "keys"),
    [(NOBODY, 2), ("0xBD89A1CE4DDe368FFAB0eC35506eEcE0b1fFdc54", 2), (CAROL, None)],
)
def test_code_that_a_setup_ran_may_have_left_more_keys(initializer: str, keys: int | None) -> None:
    history = History()
    setup: dict[str, JsonValue] = {"owners": [ALICE, BOB, CAROL], "threshold": 2}
    history.owner(SAFE, "SafeSetup", **setup, initializer=initializer)
    history.app("OwnershipTransferred", **transferred(NOBODY, SAFE))
    period = governed(history, safe=TWO_OF_THREE).periods[-1]
    assert period.keys == keys
    assert any(CAROL in item for item in period.remarks) == (keys is None)


@pytest.mark.parametrize("threshold", [0, 4, 2**255])
def test_a_threshold_that_no_safe_has_makes_an_unknown_contract(threshold: int) -> None:
    period = present(born(SAFE), safe=replace(TWO_OF_THREE, threshold=threshold))
    assert (period.kind, period.keys, period.notice) == (OwnerKind.CONTRACT, None, None)


def test_what_was_not_answered_is_unknown() -> None:
    period = present(born(SAFE))
    assert (period.kind, period.keys, period.notice) == (OwnerKind.UNKNOWN, None, None)


def test_a_safe_over_time() -> None:
    history = History()
    setup: dict[str, JsonValue] = {"owners": [ALICE, BOB], "threshold": 1}
    history.owner(SAFE, "SafeSetup", **setup)
    history.app("OwnershipTransferred", **transferred(NOBODY, SAFE))
    history.owner(SAFE, "ExecutionSuccess", txHash="00" * 32)
    history.owner(SAFE, "EnabledModule", module=CAROL)
    history.owner(SAFE, "AddedOwner", owner=CAROL)
    history.owner(SAFE, "ChangedThreshold", threshold=2)
    history.owner(SAFE, "DisabledModule", module=CAROL)
    history.owner(SAFE, "ChangedGuard", guard=BOB)
    found = governed(history, safe=replace(TWO_OF_THREE, guard=BOB))
    assert found.problems == ()
    said = [(len(item.signers), item.threshold, item.keys, item.guard) for item in found.periods]
    assert said == [
        (2, 1, 1, ""),
        (2, 1, None, ""),
        (3, 1, None, ""),
        (3, 2, None, ""),
        (3, 2, 2, ""),
        (3, 2, 2, BOB),
    ]
    assert [item.until for item in found.periods[:-1]] == [item.since for item in found.periods[1:]]


def test_a_safe_that_is_older_than_the_logs() -> None:
    history = born(SAFE)
    history.owner(SAFE, "AddedOwner", owner=CAROL)
    history.owner(SAFE, "ChangedThreshold", threshold=2)
    first, second, third = governed(history, safe=TWO_OF_THREE).periods
    assert set(first.signers) == {ALICE, BOB}
    assert set(second.signers) == {ALICE, BOB, CAROL}
    assert (first.keys, second.keys, third.keys) == (None, None, 2)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ChangedThreshold", {"threshold": 1}),
        ("SafeSetup", {"owners": [ALICE], "threshold": 2}),
    ],
)
def test_a_safe_whose_events_contradict_it_has_no_word(
    name: str, args: dict[str, JsonValue]
) -> None:
    history = born(SAFE)
    history.owner(SAFE, name, **args)
    found = governed(history, safe=TWO_OF_THREE)
    assert found.problems
    assert {item.keys for item in found.periods} == {None}
    assert {item.notice for item in found.periods} == {None}
    assert CONTRADICTED in found.periods[-1].remarks


def test_a_timelock_and_its_proposers() -> None:
    period = present(timelock(proposer=SAFE), timelock=TWO_DAYS, safe=TWO_OF_THREE)
    assert (period.kind, period.notice, period.keys) == (OwnerKind.TIMELOCK, 172_800, 2)
    assert period.proposers == (SAFE,)
    assert period.own_word
    assert period.remarks == (OWN_WORD, BEHIND_OWN_WORD)


def test_what_known_code_says_is_a_fact() -> None:
    safe = replace(TWO_OF_THREE, known=KNOWN_SAFE, whole=True)
    delayed = replace(TWO_DAYS, known=KNOWN_TIMELOCK, followed=True)
    period = present(born(SAFE), safe=safe)
    assert (period.own_word, period.keys, period.remarks) == (False, 2, ())
    period = present(timelock(proposer=SAFE), timelock=delayed, safe=safe)
    assert (period.own_word, period.keys, period.remarks) == (False, 2, ())
    period = present(timelock(proposer=SAFE), timelock=delayed, safe=TWO_OF_THREE)
    assert (period.own_word, period.remarks) == (True, (BEHIND_OWN_WORD,))


def test_what_a_safe_stores_besides_its_lists_leaves_the_keys_unknown() -> None:
    delayed = replace(TWO_DAYS, known=KNOWN_TIMELOCK, followed=True)
    for whole, keys, said in ((False, None, HIDDEN), (None, 2, NOT_PROVEN)):
        safe = replace(TWO_OF_THREE, known=KNOWN_SAFE, whole=whole)
        for period in (
            present(born(SAFE), safe=safe),
            present(timelock(proposer=SAFE), timelock=delayed, safe=safe),
        ):
            assert (period.keys, period.remarks) == (keys, (said,))
    alone = replace(TWO_OF_THREE, known=KNOWN_SAFE, threshold=1, whole=False)
    assert present(born(SAFE), safe=alone).keys == 1


def test_a_delay_is_none_where_nobody_knows_what_the_timelock_was_made_with() -> None:
    safe, made = replace(TWO_OF_THREE, known=KNOWN_SAFE), replace(TWO_DAYS, known=KNOWN_TIMELOCK)
    period = present(timelock(proposer=SAFE), timelock=made, safe=safe)
    assert (period.own_word, period.keys, period.notice) == (False, None, None)
    assert period.delay == 172_800
    assert NOT_FOLLOWED in period.remarks
    period = present(timelock(proposer=SAFE), timelock=replace(made, whole=False), safe=safe)
    assert (period.keys, period.notice) == (None, None)
    assert UNANNOUNCED in period.remarks
    assert NOT_FOLLOWED not in period.remarks


def test_known_code_of_another_kind_proves_nothing() -> None:
    assert present(born(SAFE), safe=replace(TWO_OF_THREE, known=KNOWN_TIMELOCK)).own_word


def test_an_owner_about_whom_endpoints_disagree_is_disputed() -> None:
    disputed = OwnerReads(code=None, disputed="a and b disagree")
    period = present(born(SAFE), safe=disputed)
    assert (period.kind, period.keys, period.notice) == (OwnerKind.UNKNOWN, None, None)
    assert period.disputed == "a and b disagree"
    period = present(timelock(proposer=SAFE), timelock=TWO_DAYS, safe=disputed)
    assert (period.keys, period.disputed) == (None, "a and b disagree")


def test_a_key_among_the_proposers_or_admins_suffices() -> None:
    for holders in ({"one": SAFE, "two": ALICE}, {"one": SAFE, "admin": ALICE}):
        period = present(timelock(**holders), timelock=TWO_DAYS, safe=TWO_OF_THREE)
        assert period.keys == 1
    assert any("without the delay" in item for item in period.remarks)


def test_roles_granted_before_the_logs_begin_are_not_known() -> None:
    history = History()
    history.owner(TIMELOCK, "RoleGranted", role=PROPOSER_ROLE, account=SAFE)
    history.app("OwnershipTransferred", **transferred(NOBODY, TIMELOCK))
    period = present(history, timelock=TWO_DAYS, safe=TWO_OF_THREE)
    assert (period.keys, period.notice) == (None, 172_800)
    assert any("others may propose" in item for item in period.remarks)


def test_another_role_that_decides_who_proposes_counts_as_admin() -> None:
    history = timelock(proposer=SAFE)
    other = "77" * 32
    history.owner(TIMELOCK, "RoleAdminChanged", role=PROPOSER_ROLE, newAdminRole=other)
    history.owner(TIMELOCK, "RoleGranted", role=other, account=BOB)
    period = present(history, timelock=TWO_DAYS, safe=TWO_OF_THREE)
    assert BOB in period.admins
    assert period.keys == 1


def test_a_revoked_role_and_a_delay_that_changed() -> None:
    history = timelock(one=SAFE, two=ALICE)
    history.owner(TIMELOCK, "RoleRevoked", role=PROPOSER_ROLE, account=ALICE)
    history.owner(TIMELOCK, "MinDelayChange", oldDuration=172_800, newDuration=str(2**60))
    found = governed(history, timelock=replace(TWO_DAYS, min_delay=2**60), safe=TWO_OF_THREE)
    assert [item.keys for item in found.periods] == [1, 2, 2]
    assert [item.notice for item in found.periods] == [172_800, 172_800, 2**60]
    assert found.problems == ()


def test_a_timelock_that_answers_another_delay_than_its_events_has_no_word() -> None:
    found = governed(timelock(one=SAFE), timelock=replace(TWO_DAYS, min_delay=9), safe=TWO_OF_THREE)
    assert found.problems
    assert found.periods[-1].notice is None


def test_owners_change_back_and_forth() -> None:
    history = born()
    history.app("OwnershipTransferred", **transferred(ALICE, SAFE))
    history.owner(SAFE, "ExecutionSuccess")
    history.app("OwnershipTransferred", **transferred(SAFE, ALICE))
    history.app("OwnershipTransferred", **transferred(ALICE, NOBODY))
    periods = governed(history, safe=TWO_OF_THREE).periods
    assert [item.kind for item in periods] == [
        OwnerKind.EOA,
        OwnerKind.SAFE,
        OwnerKind.EOA,
        OwnerKind.RENOUNCED,
    ]
    assert periods[-1].owner == ""
    assert periods[-1].until is None


def test_the_owner_of_the_kms_stands_beside() -> None:
    history = born(ALICE, SAFE)
    (period,) = governance(Role.KMS, history.events, KEYS | {SAFE: TWO_OF_THREE}).periods
    assert (period.role, period.owner, period.keys) == (Role.KMS, SAFE, 2)


def test_a_delay_that_an_app_names_itself_gives_no_notice() -> None:
    (period,) = governance(Role.APP, born().events, {ALICE: KEY}, notice_period=10**7).periods
    assert period.notice == 0
    assert "its own word" in period.remarks[0]


@pytest.mark.parametrize(
    ("owner", "replaceable", "remarks"),
    [(ALICE, True, 2), (ALICE, False, 1), (TIMELOCK, True, 1), (NOBODY, True, 1)],
    ids=["replaceable", "fixed", "timelock", "nobody"],
)
def test_a_delay_of_an_app_whose_code_can_be_replaced_without_it(
    owner: str,
    replaceable: bool,  # noqa: FBT001 - a parameter
    remarks: int,
) -> None:
    (period,) = governance(
        Role.APP,
        born(owner).events,
        {ALICE: KEY, TIMELOCK: TWO_DAYS},
        notice_period=60,
        replaceable=lambda place: replaceable and place is None,
    ).periods
    assert len([item for item in period.remarks if "delay of its own" in item]) == 1
    assert len([item for item in period.remarks if "round that delay" in item]) == remarks - 1


def test_without_a_word_about_its_owner_who_governs_is_unknown() -> None:
    history = History()
    first = history.app("ComposeHashActivated", hash="11" * 32)
    (period,) = governed(history).periods
    assert (period.owner, period.kind, period.since) == ("", OwnerKind.UNKNOWN, first)
    assert (period.keys, period.notice, period.until) == (None, None, None)
    handed = history.app("OwnershipTransferred", **transferred(ALICE, BOB))
    before, after = governed(history).periods
    assert (before.kind, before.until, after.owner) == (OwnerKind.UNKNOWN, handed, BOB)
    assert governed(History()).periods == ()


def test_a_safe_that_replaced_its_own_code_is_not_known_since_then() -> None:
    history = born(SAFE)
    place = history.owner(SAFE, "ChangedMasterCopy", masterCopy=CAROL)
    history.owner(SAFE, "ChangedGuard", guard=NOBODY)
    before, *after = governed(history, safe=TWO_OF_THREE).periods
    assert (before.keys, before.notice) == (2, 0)
    assert after[0].since == place
    assert {(item.keys, item.notice) for item in after} == {(None, None)}
    assert all(REPLACED in item.remarks for item in after)


def test_code_that_a_safe_was_set_up_with_is_known() -> None:
    """SafeToL2Setup names the singleton within the setup; another one may have written anything
    before the one of today took its place."""
    setup: dict[str, JsonValue] = {"owners": [ALICE, BOB, CAROL], "threshold": 2}
    for named, keys in ((KMS, 2), (CAROL, None)):
        history = History()
        changed: dict[str, JsonValue] = {"masterCopy": named}
        steps = (("ChangedMasterCopy", changed), ("SafeSetup", setup))
        history.add(Role.APP_OWNER, *steps, at=SAFE)
        history.app("OwnershipTransferred", **transferred(NOBODY, SAFE))
        assert present(history, safe=replace(TWO_OF_THREE, singleton=KMS)).keys == keys


def test_a_proof_of_all_that_a_safe_stores_says_how_it_is_whatever_it_was() -> None:
    setup: dict[str, JsonValue] = {"owners": [ALICE, BOB, CAROL], "threshold": 2}
    history = History()
    history.owner(SAFE, "SafeSetup", **setup, initializer=CAROL)
    history.app("OwnershipTransferred", **transferred(NOBODY, SAFE))
    history.owner(SAFE, "ChangedMasterCopy", masterCopy=KMS)
    for whole, keys in ((True, 2), (False, None), (None, None)):
        safe = replace(TWO_OF_THREE, known=KNOWN_SAFE, singleton=KMS, whole=whole)
        before, after = governed(history, safe=safe).periods
        assert (before.keys, after.keys) == (None, keys)


def test_the_zero_address_among_the_proposers_leaves_the_keys_unknown() -> None:
    period = present(timelock(one=SAFE, two=NOBODY), timelock=TWO_DAYS, safe=TWO_OF_THREE)
    assert period.keys is None
    assert any("zero address may propose" in item for item in period.remarks)


def test_a_proposer_that_carries_out_too_is_said() -> None:
    history = timelock(one=SAFE)
    history.owner(TIMELOCK, "RoleGranted", role=EXECUTOR_ROLE, account=NOBODY)
    assert present(history, timelock=TWO_DAYS, safe=TWO_OF_THREE).remarks == (
        OWN_WORD,
        BEHIND_OWN_WORD,
    )
    history.owner(TIMELOCK, "RoleGranted", role=EXECUTOR_ROLE, account=SAFE)
    period = present(history, timelock=TWO_DAYS, safe=TWO_OF_THREE)
    assert period.keys == 2
    assert any("may also carry out" in item for item in period.remarks)


def test_an_owner_that_changes_its_rules_very_often_is_not_followed_for_ever() -> None:
    history = born(SAFE)
    for _ in range(MAX_RULES):
        history.owner(SAFE, "AddedOwner", owner=CAROL)
        history.owner(SAFE, "RemovedOwner", owner=CAROL)
    found = governed(history, safe=replace(TWO_OF_THREE, signers=(ALICE, BOB)))
    assert len(found.periods) == MAX_RULES + 1
    assert found.periods[0].keys is None
    assert found.periods[-1].keys == 2


def test_accounts_are_owners_offered_owners_and_holders_of_roles() -> None:
    history = timelock(proposer=SAFE)
    history.app("OwnershipTransferStarted", **transferred(TIMELOCK, BOB))
    history.app("RoleGranted", role=PROPOSER_ROLE, account=CAROL)
    assert set(accounts(history.events)) == {TIMELOCK, SAFE, BOB}


@pytest.mark.parametrize(
    ("threshold", "with_code", "keys"),
    [
        (2, {}, 2),
        (2, {CAROL: OwnerReads(code=CODE)}, None),
        (2, {CAROL: OwnerReads(code=None)}, None),
        (2, {CAROL: OwnerReads(code=b"\xef\x01\x00" + b"\x11" * 20)}, None),
        (2, {CAROL: TWO_OF_THREE}, None),
        (3, {CAROL: OwnerReads(code=CODE)}, 2),
        (1, {CAROL: OwnerReads(code=CODE)}, 1),
    ],
)
def test_an_owner_of_a_safe_with_code_counts_as_no_key(
    threshold: int, with_code: dict[str, OwnerReads], keys: int | None
) -> None:
    safe = replace(TWO_OF_THREE, threshold=threshold)
    history = timelock(proposer=SAFE)
    reads = KEYS | {TIMELOCK: TWO_DAYS, SAFE: safe} | with_code
    for found in (history, born(SAFE)):
        period = governance(Role.APP, found.events, reads).periods[-1]
        assert period.keys == keys
        assert (SIGNED_BY_CODE in period.remarks) is (bool(with_code) and threshold > 1)


def test_anybody_acts_for_a_safe_that_passes_calls_on_to_what_it_governs() -> None:
    history = timelock(proposer=SAFE)
    app = next(event.address for event in history.events if event.role is Role.APP)
    for handler in (app, TIMELOCK):
        safe = replace(TWO_OF_THREE, handler=handler)
        period = present(history, timelock=TWO_DAYS, safe=safe)
        assert period.keys == 1
        assert ANYBODY in period.remarks
    assert present(born(SAFE), safe=safe).keys == 2  # the timelock is no part of that world
    assert present(born(SAFE), safe=replace(TWO_OF_THREE, handler=app)).keys == 1
    compatible = replace(TWO_OF_THREE, handler=account(0xF48F))
    assert present(history, timelock=TWO_DAYS, safe=compatible).keys == 2
    untold = present(history, timelock=TWO_DAYS, safe=replace(TWO_OF_THREE, handler=None))
    assert untold.keys is None
    assert UNKNOWN_HANDLER in untold.remarks


def test_owners_that_a_safe_took_in_are_accounts() -> None:
    history = born(SAFE)
    history.owner(SAFE, "AddedOwner", owner=CAROL)
    assert {SAFE, CAROL} <= set(accounts(history.events))


def test_who_proposes_is_not_known_by_the_logs_of_one_operator() -> None:
    history = timelock(proposer=SAFE)
    lone = replace(TWO_DAYS, lone_logs=True)
    assert present(history, timelock=lone, safe=TWO_OF_THREE).keys is None
    history.owner(TIMELOCK, "RoleGranted", role=PROPOSER_ROLE, account=ALICE)
    assert present(history, timelock=lone, safe=TWO_OF_THREE).keys == 1
