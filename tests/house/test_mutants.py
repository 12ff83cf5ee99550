"""The edits and changes of `make mutants` are of the code as it is."""

import ast
from typing import Final

import pytest

from benchmarks.mutants.picked import PICKED, Edit
from benchmarks.mutants.points import ROOT, changed, modules, points

CODE: Final = '''\
LIMIT: Final = 3


class Case:
    """A text with 3 numbers."""

    default = 4

    def judged(self, at=5):
        if self.time < LIMIT and not self.bad:
            return failed(f"{1 < 2}")
        raise MissingEvidence("5 > 4")
'''


def read(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("edit", PICKED, ids=lambda edit: edit.why)
def test_a_picked_edit_is_of_the_code_as_it_is(edit: Edit) -> None:
    assert ast.dump(ast.parse(edit.changed(read(edit.file)))) != ast.dump(
        ast.parse(read(edit.file))
    )
    assert (ROOT / edit.by.partition("::")[0]).is_file()


def test_each_is_told_from_the_others() -> None:
    assert len({edit.why for edit in PICKED}) == len(PICKED)


def test_what_is_changed_is_judgement_and_no_text() -> None:
    assert [f"{item.function}: {item.before} → {item.after}" for item in points("f", CODE)] == [
        "LIMIT: 3 → 4",
        "Case.judged: raise MissingEvidence('5 > 4') → pass",
        "Case.judged: self.time < LIMIT and (not self.bad) → self.time < LIMIT or not self.bad",
        "Case.judged: self.time < LIMIT and (not self.bad) → not self.bad",
        "Case.judged: self.time < LIMIT and (not self.bad) → self.time < LIMIT",
        "Case.judged: self.time < LIMIT → self.time <= LIMIT",
        "Case.judged: not self.bad → self.bad",
        "Case.judged: failed(…) → warned(…)",
    ]


def test_one_change_is_made_at_a_time() -> None:
    (number, refusal, *_) = points("f", CODE)
    plain = ast.unparse(ast.parse(CODE))
    assert ast.unparse(changed(CODE, number)) == plain.replace("= 3", "= 4")
    assert "MissingEvidence" not in ast.unparse(changed(CODE, refusal))


def test_every_room_has_places_to_change() -> None:
    files = modules()
    assert {file.split("/")[1] for file in files} == {"checks", "policy", "chain", "timeline"}
    assert any(list(points(file, read(file))) for file in files)
