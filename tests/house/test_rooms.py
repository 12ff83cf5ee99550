"""The id of a check names its room: the module or folder of its family under verifier/checks."""

import pytest

from verifier.checks.catalogue import CHECKS
from verifier.checks.engine import CheckSpec


@pytest.mark.parametrize("spec", CHECKS, ids=lambda spec: spec.id)
def test_a_check_stands_in_the_room_of_its_family(spec: CheckSpec) -> None:
    module = spec.run.__module__.split(".")
    assert module[:3] == ["verifier", "checks", spec.id.partition(".")[0]]
