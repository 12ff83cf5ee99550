"""The table of contract generations, and that no other place knows them by name."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

import verifier
from tests.codes import known_code
from tests.timeline.events import APP_CODE, FLAGS, NEW_CODE, born
from verifier.chain.storage import Layout
from verifier.errors import UsageError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import keccak256
from verifier.lab.world import build
from verifier.model.chain import Role
from verifier.model.timeline import Known, Method
from verifier.reference.generations import (
    G0,
    G1,
    G2,
    G3,
    G4,
    G5,
    G6,
    G7,
    G8,
    GENERATIONS,
    NEWEST,
    AppSlots,
    Generation,
    newest_like,
    same_slots,
    slots_of,
)
from verifier.reference.values import parse_reference
from verifier.timeline.fold import fold

PACKAGE = Path(verifier.__file__).parent
NAMED = re.compile(r"\bG\d*\b", re.ASCII)
CONSTANT = re.compile(r"G\d+", re.ASCII)


def literals(tree: ast.AST) -> Iterator[str]:
    """Strings that name a generation, parts of f-strings among them; prose alone is not code."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if isinstance(text, str) and NAMED.search(text):
                yield f"{node.lineno}: {text!r}"


def constants(tree: ast.AST) -> Iterator[str]:
    """Uses of one generation's record by its name."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                if CONSTANT.fullmatch(name):
                    yield f"{node.lineno}: {name}"


def modules(*without: str) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.partition("/")[0] not in without:
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_no_literal_names_a_generation() -> None:
    found = [f"{name}:{at}" for name, tree in modules("reference") for at in literals(tree)]
    assert found == []


def test_nothing_that_judges_picks_one_generation() -> None:
    found = [f"{name}:{at}" for name, tree in modules("reference", "lab") for at in constants(tree)]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        'old = name == "G3"',
        'old = name in {"G1", "G2"}',
        'old = f"G{number}"',
        'old = f"{name} G6 build"',
        'old = "G3-G6"',
        'old = b"G7"',
    ],
)
def test_a_literal_is_found(code: str) -> None:
    assert list(literals(ast.parse(code)))


def test_a_constant_is_found() -> None:
    assert list(constants(ast.parse("from verifier.reference.generations import G3")))
    assert list(constants(ast.parse("old = generations.G3")))


def test_prose_is_no_literal() -> None:
    assert not list(literals(ast.parse('"""Since G6."""\nSLOT = 3\n"""G6 and later."""')))


def test_every_record_has_its_own_name() -> None:
    ordered = (G8, G7, G6, G5, G4, G3, G2, G1, G0)
    assert tuple(GENERATIONS.values()) == ordered
    assert [item.name for item in ordered] == list(GENERATIONS)
    assert NEWEST is G8


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=GENERATIONS)
def test_selectors_are_those_of_their_signatures(generation: Generation) -> None:
    for signature, selector in generation.creations:
        assert keccak256(signature.encode())[:4].hex() == selector


@pytest.mark.parametrize(
    ("generation", "expected"),
    [(G0, G0), (G1, G1), (G2, G3), (G3, G3), (G4, G4), (G5, G8), (G6, G8), (G7, G8), (G8, G8)],
)
def test_what_a_contract_may_have_been_upgraded_to_in_place(
    generation: Generation, expected: Generation
) -> None:
    assert newest_like(generation) is expected


def test_slots() -> None:
    assert same_slots(G5.app, G6.app)
    assert same_slots(G2.kms, G3.kms)
    assert not same_slots(G3.app, G5.app)
    assert not same_slots(G3.kms, G5.kms)
    assert not same_slots(G4.kms, G5.kms)
    assert not same_slots(G5.app, G5.kms)


def test_only_later_generations_can_require_a_current_tcb() -> None:
    found = [item for item in GENERATIONS.values() if item.can_require_tcb]
    assert found == [G8, G7, G6]


@pytest.mark.parametrize("table", ["kms", "contracts"])
def test_reference_values_name_known_generations_alone(table: str) -> None:
    document = json.loads(build().reference())
    parse_reference(json.dumps(document).encode(), unsafe="lab")
    document[table][0]["generation"] = "G99"
    with pytest.raises(UsageError, match="G99"):
        parse_reference(json.dumps(document).encode(), unsafe="lab")


def test_a_new_generation_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    later = AppSlots(compose_hashes=0, flags=4, devices=2)
    table = cast("dict[str, Generation]", GENERATIONS)
    monkeypatch.setitem(table, "G9", replace(G8, name="G9", app=later))
    history = born()
    history.app("Upgraded", implementation=NEW_CODE)
    folded = fold(
        history.events,
        initial=FLAGS,
        codes={APP_CODE: known_code("G8"), NEW_CODE: known_code("G9")},
    )
    state = folded.app_state()
    assert not state.continuous
    assert "from G8 to G9 code in place" in folded.notes[-1]
    assert state.require_tcb_up_to_date == Known(value=False, method=Method.CODE)
    slots = slots_of(GENERATIONS["G9"], Role.APP)
    assert slots is later
    asked = contracts.eth_call(APP_CODE, contracts.ALLOW_ANY_DEVICE, "0x1")
    assert Layout.of(later).slots(asked) == (4,)
