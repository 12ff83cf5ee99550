"""[governance] of a policy: each demand met, not met, and not known."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.policy.policies import Load
from tests.report.timelines import APP_OWNED, CALM, HEIR, KMS_OWNED, OWNER, SECOND
from verifier.checks.authorization import governance as module
from verifier.checks.case import Case
from verifier.checks.demands import Demands
from verifier.checks.engine import run_checks
from verifier.model.chain import ZERO_ADDRESS, OwnerKind
from verifier.model.identifiers import LATEST_TIME
from verifier.model.result import CheckResult, SkipKind, Status
from verifier.model.timeline import (
    Beginning,
    Governance,
    Known,
    Method,
    Origin,
    Permission,
    Timeline,
)

FIRST = 1772323200
"""2026-03-01T00:00:00Z, when each manifest was first allowed."""
WEEK = 7 * 86400


def measured(demands: Demands) -> SimpleNamespace:
    """What the check reads of a case besides its timeline."""
    identity = SimpleNamespace(compose_hash=bytes.fromhex(SECOND), provider="kms")
    return SimpleNamespace(identity=identity, demands=demands, once=lambda _key, compute: compute())


def timeline(
    *, app: dict[str, Any] | None = None, kms: dict[str, Any] | None = None, **state: Any
) -> Timeline:
    """Both contracts in the hands of two keys with a week's notice, proven, but for changes."""
    strong = {"keys": 2, "notice": WEEK, "remarks": ()}
    hashes = state.get("compose_hashes", CALM.app_state.compose_hashes)
    return replace(
        CALM,
        permissions=tuple(
            Permission(compose_hash=item, first=FIRST, since=FIRST) for item in sorted(hashes)
        ),
        governance=(
            _changed(APP_OWNED, strong, app or {}),
            _changed(KMS_OWNED, strong, kms or {}),
        ),
        app_state=replace(CALM.app_state, **state),
    )


def _changed(period: Governance, strong: dict[str, Any], changes: dict[str, Any]) -> Governance:
    return replace(period, **{**strong, **changes})


@pytest.fixture
def judge(written: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    def judged(found: Timeline | None, demands: str) -> CheckResult:
        monkeypatch.setattr(module, "timeline_of", lambda _case: found)
        policy = written(f"[governance]\n{demands}\n")
        checks = [replace(item, requires=()) for item in module.CHECKS]
        (result,) = run_checks(checks, cast("Case", measured(policy.demands)))
        return result

    return judged


DEMANDS = ("notice_days = 7", "several_keys = true", "upgrades_disabled = true")


@pytest.mark.parametrize("demand", [*DEMANDS, f'owners = ["{OWNER}"]', "max_unknown_manifests = 0"])
def test_a_demand_that_is_met(judge: Any, demand: str) -> None:
    assert judge(timeline(), demand).status is Status.PASS


@pytest.mark.parametrize(
    ("demand", "status"),
    [
        ("max_unknown_manifests = 2", Status.PASS),
        ("max_unknown_manifests = 1", Status.PASS),
        ("max_unknown_manifests = 0", Status.FAIL),
        ("", Status.WARN),
    ],
)
def test_as_many_unknown_manifests_as_a_policy_lets_be(
    judge: Any, demand: str, status: Status
) -> None:
    found = timeline(compose_hashes=frozenset({SECOND, "ff" * 32}))
    assert judge(found, demand).status is status


@pytest.mark.parametrize(
    ("demand", "changes", "word"),
    [
        ("notice_days = 7", {"app": {"notice": WEEK - 1}}, "the app's owner"),
        ("notice_days = 7", {"kms": {"notice": 0}}, "the KMS's owner"),
        ("several_keys = true", {"app": {"keys": 1}}, "the app's owner"),
        ("several_keys = true", {"kms": {"keys": 1}}, "the KMS's owner"),
        (
            "upgrades_disabled = true",
            {"upgrades_disabled": Known(value=False, method=Method.EVENT)},
            "can be changed",
        ),
        (f'owners = ["{HEIR}"]', {}, "is not expected"),
        (f'owners = ["{OWNER}"]', {"pending_owner": HEIR}, "offered"),
        (
            "max_unknown_manifests = 0",
            {"compose_hashes": frozenset({SECOND, "ff" * 32})},
            "unknown",
        ),
    ],
)
def test_a_demand_that_is_not_met(
    judge: Any, demand: str, changes: dict[str, Any], word: str
) -> None:
    found = judge(timeline(**changes), demand)
    assert found.status is Status.FAIL
    assert word in found.summary


@pytest.mark.parametrize(
    ("demand", "changes"),
    [
        ("notice_days = 7", {"app": {"notice": None}}),
        ("notice_days = 7", {"kms": {"notice": None}}),
        ("several_keys = true", {"app": {"keys": None}}),
        ("several_keys = true", {"kms": {"keys": None}}),
        ("upgrades_disabled = true", {"upgrades_disabled": Known(None, Method.UNKNOWN)}),
    ],
)
def test_a_demand_that_nobody_can_judge(judge: Any, demand: str, changes: dict[str, Any]) -> None:
    found = judge(timeline(**changes), demand)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "is not known" in found.reason


def test_what_is_not_known_hides_nothing_that_is_broken(judge: Any) -> None:
    found = judge(timeline(app={"keys": None}, kms={"keys": 1}), "several_keys = true")
    assert found.status is Status.FAIL


@pytest.mark.parametrize("demand", ["notice_days = 7", "several_keys = true"])
@pytest.mark.parametrize("contract", ["app", "kms"])
@pytest.mark.parametrize("kind", [OwnerKind.SAFE, OwnerKind.TIMELOCK])
def test_an_owner_contracts_own_word_meets_no_demand(
    judge: Any, demand: str, contract: str, kind: OwnerKind
) -> None:
    found = judge(timeline(**{contract: {"kind": kind, "own_word": True}}), demand)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize("contract", ["app", "kms"])
@pytest.mark.parametrize("changes", [{"own_word": True}, {"keys": None}, {"notice": None}])
def test_what_is_not_known_of_an_owner_is_a_reservation_without_a_demand(
    judge: Any, contract: str, changes: dict[str, Any]
) -> None:
    found = judge(timeline(**{contract: changes}), "")
    assert found.status is Status.WARN
    assert judge(timeline(), "").status is Status.PASS


def test_what_endpoints_contradict_each_other_about_is_an_error(judge: Any) -> None:
    found = judge(timeline(app={"disputed": "a and b disagree"}), "several_keys = true")
    assert found.status is Status.ERROR
    assert "a and b disagree" in found.summary


@pytest.mark.parametrize("demand", ["notice_days = 7", "several_keys = true"])
def test_an_offered_contract_is_a_reservation(judge: Any, demand: str) -> None:
    found = judge(timeline(pending_owner=HEIR), demand)
    assert found.status is Status.WARN
    assert "may take over the app" in found.summary


@pytest.mark.parametrize("demand", DEMANDS)
@pytest.mark.parametrize("contract", ["app", "kms"])
def test_an_owner_whom_no_event_names_is_not_nobody(judge: Any, demand: str, contract: str) -> None:
    found = judge(timeline(**{contract: {"kind": OwnerKind.UNKNOWN, "owner": ""}}), demand)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE


def test_code_that_nobody_knows_is_a_reservation(judge: Any) -> None:
    found = judge(timeline(continuous=False), "upgrades_disabled = true")
    assert found.status is Status.WARN
    assert "code that nobody knows" in found.summary


def test_a_renounced_contract_has_nobody_to_ask(judge: Any) -> None:
    nobody = {"owner": "", "kind": OwnerKind.RENOUNCED, "keys": None, "notice": None}
    found = judge(timeline(app=nobody), "notice_days = 7\nseveral_keys = true")
    assert found.status is Status.PASS
    assert ZERO_ADDRESS not in found.summary
    assert found.summary.startswith("the app can be changed by nobody: its ownership was given up;")


def test_who_governed_before_is_not_asked_for_anything(judge: Any) -> None:
    found = timeline(app={"keys": 1, "notice": 0, "until": APP_OWNED.since})
    past, kms = found.governance
    assert judge(found, "several_keys = true").skip_kind is SkipKind.MISSING_EVIDENCE
    present, _ = timeline().governance
    both = replace(found, governance=(past, present, kms))
    assert judge(both, "several_keys = true\nnotice_days = 7").status is Status.PASS


def test_owners_that_are_not_known_at_all(judge: Any) -> None:
    found = judge(replace(timeline(), governance=()), "several_keys = true")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE


def test_other_manifests_are_a_reservation_until_a_number_is_set(judge: Any) -> None:
    found = timeline(compose_hashes=frozenset({SECOND, "ff" * 32}))
    assert judge(found, "several_keys = true").status is Status.WARN
    assert "--manifests" in judge(found, "").remediation
    assert judge(found, "max_unknown_manifests = 1").status is Status.PASS
    assert judge(replace(found, manifests={"ff" * 32: "x"}), "").status is Status.PASS


def test_what_to_do_about_a_reservation_is_about_that_reservation(judge: Any) -> None:
    offered = timeline(pending_owner=HEIR)
    assert "review the code" in judge(offered, "").remediation
    others = timeline(pending_owner=HEIR, compose_hashes=frozenset({SECOND, "ff" * 32}))
    assert "--manifests" in judge(others, "").remediation
    assert "review the code" in judge(others, "max_unknown_manifests = 1").remediation


def floored(found: Timeline, **first: Any) -> Timeline:
    return replace(found, permissions=tuple(replace(item, **first) for item in found.permissions))


FLOOR = "[manifest]\nnot_before = 2026-03-01"


def test_a_floor_counts_whole_days_from_the_first_permission_on(judge: Any) -> None:
    assert judge(timeline(), FLOOR).status is Status.PASS
    result = judge(floored(timeline(), first=FIRST - 1), FLOOR)
    assert result.status is Status.FAIL
    assert "allowed on 2026-02-28" in result.summary
    rows = result.actual["manifests"]
    assert [row["first_allowed"] for row in rows] == ["2026-02-28T23:59:59Z"] * len(rows)


@pytest.mark.parametrize(
    ("name", "field"),
    [("first", "first_allowed"), ("since", "allowed_since"), ("seen", "first_seen")],
)
@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, None),
        (0, "1970-01-01T00:00:00Z"),
        (FIRST, "2026-03-01T00:00:00Z"),
        (LATEST_TIME, "9999-12-31T23:59:59Z"),
        (LATEST_TIME + 1, None),
        (None, None),
    ],
)
def test_a_time_that_no_calendar_has_is_not_told(
    judge: Any, name: str, field: str, seconds: int | None, told: str | None
) -> None:
    (row,) = judge(floored(timeline(), **{name: seconds}), "").actual["manifests"]
    assert row[field] == told


def test_an_earlier_sighting_makes_it_older_and_none_makes_it_younger(judge: Any) -> None:
    assert judge(floored(timeline(), seen=FIRST - 1), FLOOR).status is Status.FAIL
    assert judge(floored(timeline(), seen=FIRST + 1), FLOOR).status is Status.PASS
    later = judge(floored(timeline(), first=FIRST - 1, seen=FIRST + 1), FLOOR)
    assert later.status is Status.FAIL


def test_of_manifests_that_may_start_the_one_that_runs_is_told(judge: Any) -> None:
    found = judge(timeline(compose_hashes=frozenset({SECOND, "ff" * 32})), "")
    rows = {row["compose_hash"]: row["runs"] for row in found.actual["manifests"]}
    assert rows == {SECOND: True, "ff" * 32: False}


def lacking_logs(found: Timeline) -> Timeline:
    app = replace(found.coverage[0], unproven=("what it allows is not known",))
    return replace(found, coverage=(app, *found.coverage[1:]))


def without_factory(found: Timeline) -> Timeline:
    created = Origin(kind=Beginning.CREATED, asked=0, block=1, event="Upgraded")
    return replace(
        found, coverage=(replace(found.coverage[0], origin=created), *found.coverage[1:])
    )


@pytest.mark.parametrize(
    "found",
    [
        floored(timeline(), first=None),
        replace(timeline(), permissions=()),
        replace(timeline(), single_source=True),
        timeline(continuous=False),
        lacking_logs(timeline()),
        without_factory(timeline()),
    ],
    ids=[
        "undated",
        "not-the-measured-one",
        "one-operator",
        "unknown-code",
        "not-whole",
        "silent-creator",
    ],
)
def test_a_floor_needs_a_whole_history(judge: Any, found: Timeline) -> None:
    assert judge(found, FLOOR).skip_kind is SkipKind.MISSING_EVIDENCE
    assert judge(found, "").skip_kind is None


def test_without_a_contract_nothing_dates_what_runs(judge: Any) -> None:
    assert judge(None, FLOOR).skip_kind is SkipKind.MISSING_EVIDENCE
    assert judge(None, "").status is Status.WARN


@pytest.mark.parametrize(("count", "named", "more"), [(3, 3, ""), (4, 3, " and 1 more")])
def test_three_manifests_are_named_and_the_others_counted(
    judge: Any, count: int, named: int, more: str
) -> None:
    hashes = [f"{number:064x}" for number in range(count)]
    result = judge(timeline(compose_hashes=frozenset({SECOND, *hashes})), "")
    assert result.summary.count("allowed on 2026-03-01, its text is not known") == named
    assert result.summary.endswith(f"known){more}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "2 keys, 7 days of notice"),
        ({"keys": 1, "notice": 0}, "one key, no notice"),
        ({"keys": 3, "notice": 86400}, "3 keys, 1 days of notice"),
        ({"notice": 86399}, "2 keys, 24 hours of notice"),
        ({"notice": 5400}, "2 keys, 1.5 hours of notice"),
        ({"keys": None, "notice": None}, "an unknown number of keys, unknown notice"),
    ],
)
@pytest.mark.parametrize("contract", ["app", "kms"])
def test_who_governs_in_words(
    judge: Any, contract: str, changes: dict[str, Any], words: str
) -> None:
    found, place = timeline(**{contract: changes}), ("app", "kms").index(contract)
    owner = found.governance[place]
    said = judge(found, "").summary.split("; ")[place]
    name = ("the app", "the KMS")[place]
    assert said == f"{name} is governed by {owner.owner} ({owner.kind.value}): {words}"


@pytest.mark.parametrize(
    ("notice", "words"), [(0, "no time"), (5400, "1.5 hours"), (86400, "1 days")]
)
def test_how_much_notice_is_short_of_the_demand(judge: Any, notice: int, words: str) -> None:
    found = judge(timeline(app={"notice": notice}), "notice_days = 7")
    assert f"needs to give {words} of notice" in found.summary


def test_an_expected_owner_may_be_offered_the_app(judge: Any) -> None:
    found = judge(timeline(pending_owner=HEIR), f'owners = ["{OWNER}", "{HEIR}"]')
    assert found.status is Status.WARN
