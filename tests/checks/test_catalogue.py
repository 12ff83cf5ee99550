"""The catalogue: every check is in the room that its id names, and rests on others in it."""

import itertools

from verifier.checks.catalogue import CHECKS, GAPS, PLANNED
from verifier.policy.policy import DECIDED_BY, FLOOR

IDS = [spec.id for spec in CHECKS]


def test_the_id_names_the_room() -> None:
    rooms = {spec.id: spec.run.__module__.split(".")[:3] for spec in CHECKS}
    assert rooms == {item: ["verifier", "checks", item.partition(".")[0]] for item in IDS}


def test_ids_are_unique_and_explained() -> None:
    assert len(set(IDS)) == len(IDS)
    assert all(spec.title and spec.explanation for spec in CHECKS)


def test_families_stand_together() -> None:
    families = [item.partition(".")[0] for item in IDS]
    assert [name for name, _ in itertools.groupby(families)] == list(dict.fromkeys(families))


def test_checks_rest_on_checks() -> None:
    assert {other for spec in CHECKS for other in spec.requires} <= set(IDS)
    assert {*FLOOR, *DECIDED_BY.values()} <= set(IDS)


def test_what_is_planned_is_a_gap_and_no_check() -> None:
    assert not set(PLANNED) & set(IDS)
    assert set(PLANNED.values()) <= set(GAPS)
