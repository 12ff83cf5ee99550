"""What is demanded, as plain values: until when a waiver holds, and which demands are made."""

from datetime import date
from typing import Any, Final

import pytest
from msgspec.structs import replace

from verifier.checks.demands import Demands, GovernanceDemands, Waiver, waiver_for
from verifier.model.result import Severity
from verifier.reference.values import Origin

EXPIRES: Final = 1772323200
"""2026-03-01T00:00:00Z."""

DAY: Final = 86400
WAIVER: Final = Waiver(
    id="w",
    check="hardware.tcb",
    rule="",
    scope="ab" * 20,
    reason="known",
    owner="ops",
    expires=date(2026, 3, 1),
)


@pytest.mark.parametrize(
    ("now", "holds", "days"),
    [
        (EXPIRES - DAY - 1, True, 2),
        (EXPIRES - DAY, True, 1),
        (EXPIRES - 1, True, 1),
        (EXPIRES, False, 0),
        (EXPIRES + DAY - 1, False, 0),
        (EXPIRES + DAY, False, -1),
    ],
)
def test_a_waiver_ends_with_the_day_before_it_expires(now: int, days: int, *, holds: bool) -> None:
    assert (WAIVER.holds(now), WAIVER.days_left(now)) == (holds, days)
    state = "waived until" if holds else "counts: its waiver expired on"
    assert WAIVER.words(now) == f"{state} 2026-03-01 (w, ops: known)"


def test_which_waiver_is_that_of_a_failure() -> None:
    later = replace(WAIVER, id="later", expires=date(2026, 4, 1))
    of_rule = replace(WAIVER, rule="SVC-001")
    elsewhere = replace(WAIVER, scope="cd" * 20)
    of_other = replace(WAIVER, check="boot.machine")
    others = (of_rule, elsewhere, of_other)

    def found(now: int, *waivers: Waiver, rule: str = "") -> Waiver | None:
        return waiver_for((*others, *waivers), "hardware.tcb", "ab" * 20, now, rule)

    assert found(EXPIRES) is None
    assert found(EXPIRES - 1, WAIVER, later) == found(EXPIRES, later, WAIVER) == later
    assert found(EXPIRES, WAIVER) == WAIVER
    assert found(EXPIRES, WAIVER, rule="SVC-001") == of_rule


def test_a_waivers_digests_are_told_where_it_has_some() -> None:
    assert "digests" not in WAIVER.to_json()
    assert replace(WAIVER, digests=("aa",)).to_json()["digests"] == ["aa"]
    assert WAIVER.to_json()["expires"] == "2026-03-01"


@pytest.mark.parametrize(
    ("demand", "told"),
    [
        ({}, {}),
        ({"notice_days": 7}, {"notice_days": 7}),
        ({"owners": ("0x1",)}, {"owners": ["0x1"]}),
        ({"several_keys": True}, {"several_keys": True}),
        ({"upgrades_disabled": True}, {"upgrades_disabled": True}),
        ({"max_unknown_manifests": 0}, {"max_unknown_manifests": 0}),
    ],
    ids=str,
)
def test_of_the_owners_is_demanded_what_a_policy_says(
    demand: dict[str, Any], told: dict[str, Any]
) -> None:
    assert GovernanceDemands(**demand).made == told


def test_of_the_machine_is_demanded_what_a_policy_says() -> None:
    assert Demands().platform_json == {}
    assert Demands(ppids=("ab",)).platform_json == {"ppid": ["ab"]}
    assert Demands(place_keys=("cd",), place_days=3).platform_json == {
        "proof_of_cloud": "signed",
        "proof_of_cloud_keys": ["cd"],
        "proof_of_cloud_days": 3,
    }
    both = Demands(ppids=("ab",), place_keys=("cd",)).platform_json
    assert both.keys() == {"ppid", "proof_of_cloud", "proof_of_cloud_keys", "proof_of_cloud_days"}


def test_an_expected_image_is_a_name_and_a_digest() -> None:
    named = Demands(expect={"image": ("a.io/b:1=sha256:cd", "c=sha256:ef")})
    assert named.expected_images == (("a.io/b:1", "sha256:cd"), ("c", "sha256:ef"))
    assert Demands().expected_images == ()


def test_of_any_guest_is_demanded_its_platform_and_its_system_alone() -> None:
    of_any: dict[str, Any] = {
        "tcb_statuses": ("OutOfDate",),
        "reject_advisories": ("INTEL-SA-00615",),
        "minimum_evaluation_number": 19,
        "tcb_grace": 1,
        "max_collateral_age": 2,
        "max_root_crl_age": 3,
        "os_origin": Origin.REBUILT,
        "rules": {"SVC-001": Severity.HIGH},
    }
    of_one: dict[str, Any] = {
        "max_quote_age": 4,
        "ppids": ("ab",),
        "place_keys": ("cd",),
        "expect": {"kms": ("x",)},
        "kms_signed": True,
        "endpoint_named": True,
        "os_releases": ("0.5.8",),
        "registries": ("a.io",),
        "governance": GovernanceDemands(several_keys=True),
        "not_before": date(2026, 1, 1),
        "waivers": (WAIVER,),
    }
    assert Demands(**of_any, **of_one).of_guests() == Demands(**of_any)
