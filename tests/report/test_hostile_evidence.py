"""Hostile text in some of the fields that others write; `make hostile` does all of them."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as struct_replace

from tests.report.hostile import FORMATS, HOSTILE, MARK, Field, fields, problems
from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs

SOME = 6


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def test_no_field_changes_how_a_format_is_built(honest: Audited) -> None:
    chosen = [item for item in fields(honest) if not item.name.startswith("refusal")][:SOME]
    assert len(chosen) == SOME
    assert [text for field in chosen for text in problems(field)] == []


def test_the_words_of_a_server_that_refuses(honest: Audited) -> None:
    refusal = next(item for item in fields(honest) if item.name == "refusal of kms.gw")
    assert problems(refusal) == []
    render, _ = FORMATS["json"]
    assert MARK in render(refusal.audited(HOSTILE))


def test_the_fields_are_those_that_are_there(honest: Audited) -> None:
    names = {item.name for item in fields(honest)}
    assert len(names) > 100
    assert {"manifest /name", "compose /services/web/image", "info /app_name"} <= names


def test_a_format_that_lets_markup_through_is_found(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def audited(text: str) -> Audited:
        return replace(honest, report=struct_replace(honest.report, target=text))

    _, read = FORMATS["html"]
    field = Field("the target", audited)
    assert not problems(field)
    monkeypatch.setitem(FORMATS, "loose", (lambda x: f"<p>{x.report.target}</p>", read))
    assert {item.split(": ")[1] for item in problems(field)} == {"loose"}
