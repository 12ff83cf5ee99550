"""Mutations that broke something once break nothing any more: a file in `inputs` for each, with the
evidence, its number in a block, what was done to it, and what it broke."""

from pathlib import Path

import msgspec
import pytest

from tests.mutation.block import Breach, faults, tried
from tests.mutation.cases import RECORDED, cases
from tests.mutation.operations import mutated

FOLDER = Path(__file__).parent / "inputs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_broke_holds(path: Path) -> None:
    found = msgspec.json.decode(path.read_bytes(), type=Breach)
    made = cases()
    if found.case in RECORDED and found.case not in made:
        pytest.skip("the recorded evidence is not part of the project")
    case = made[found.case]()
    named = next((item.donor for item in found.operations if item.donor), found.case)
    donor = case if named == found.case else made[named]()
    bundle = mutated(case.bundle, found.operations, {donor.name: donor.bundle})
    assert bundle.digest != case.bundle.digest, "the evidence has no such place: make it again"
    if found.whole:
        assert not faults(case, donor, found.operations, fully=False)[1]
    else:
        assert not tried(case, found.operations[0], donor)[1]
