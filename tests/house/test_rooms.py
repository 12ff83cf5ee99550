"""The id of a check or of a rule names its room."""

import pytest

from verifier.checks import catalogue as checks
from verifier.checks.engine import CheckSpec
from verifier.manifest.rule import Rule
from verifier.manifest.rules.bld import BuildRule
from verifier.manifest.rules.catalogue import BUILD_RULES, RULES


@pytest.mark.parametrize("spec", checks.CHECKS, ids=lambda spec: spec.id)
def test_a_check_stands_in_the_room_of_its_family(spec: CheckSpec) -> None:
    family = spec.id.partition(".")[0]
    room = f"verifier.checks.{family}"
    assert spec.run.__module__ == room or spec.run.__module__.startswith(f"{room}.")


@pytest.mark.parametrize("rule", [*RULES, *BUILD_RULES], ids=lambda rule: rule.id)
def test_a_rule_stands_in_the_room_of_its_prefix(rule: Rule | BuildRule) -> None:
    prefix = rule.id.partition("-")[0].lower()
    room = f"verifier.manifest.rules.{prefix}"
    assert rule.detect.__module__ == room or rule.detect.__module__.startswith(f"{room}.")
