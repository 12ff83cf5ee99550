"""Manifests that were written to mislead or to stall: bounded, and shown harmless."""

import json
import time
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifest.diff.manifests import COMPOSE, composes, difference, document, manifest
from verifier.errors import EvidenceError
from verifier.manifest.diff import compare, read_compose_document, read_document
from verifier.model.result import Severity
from verifier.report.diff.json import render_json
from verifier.report.diff.markdown import render_markdown
from verifier.report.diff.terminal import render_terminal
from verifier.report.diff.told import read_diff, tell

EVIL = "a\x1b[31m\u202eb\n| [x](http://evil.example) `${{ x }}` <b>"


SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "schema" / "diff-v1.schema.json").read_text("utf-8")
)


def all_formats(comparison: Any) -> tuple[str, str, bytes]:
    """Every form, which the JSON of it gives again."""
    told = tell([comparison], Severity.MEDIUM)
    again = read_diff(render_json(told))
    found, repeated = (
        (render_terminal(item, color=False, width=80), render_markdown(item), render_json(item))
        for item in (told, again)
    )
    assert found == repeated
    return found


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_is_as_the_schema_says() -> None:
    old = document(manifest(), "old")
    for fields in ({}, {"public_logs": True, "name": EVIL}, {"docker_compose_file": "[MASKED]"}):
        _, _, raw = all_formats(compare(old, document(manifest(**fields), EVIL)))
        jsonschema.validate(json.loads(raw), SCHEMA)
    alone = read_compose_document("c", COMPOSE.encode())
    _, _, raw = all_formats(compare(old, alone))
    jsonschema.validate(json.loads(raw), SCHEMA)


def test_text_cannot_act() -> None:
    evil = json.dumps(EVIL)
    new = COMPOSE.replace("  app:", f"  {evil}:").replace("LEVEL=info", "LEVEL=\x7f")
    found = compare(
        document({}, EVIL),
        document({"docker_compose_file": new, "name": EVIL, EVIL: EVIL, "allowed_envs": [EVIL]}),
    )
    terminal, markdown, raw = all_formats(found)
    for text in (terminal, markdown):
        assert not any(character in text for character in "\x1b\u202e\x7f")
    assert "<b>" not in markdown.replace("`<b>`", "") or "`" in markdown
    assert json.loads(raw)["schema"] == "dstack-audit/diff/v1"


def test_table_cells_stay_cells() -> None:
    found = difference({"name": "a|b"}, {"name": "c|d\n|e"})
    rows = [line for line in all_formats(found)[1].splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5, 7}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1,"a":2}',
        b"\xff",
        b'{"runner": 1}',
        b"[" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_manifest_is_an_evidence_error(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_document("m", raw)


def test_five_thousand_services_in_seconds() -> None:
    def big(digit: str) -> str:
        digest = digit * 4 + "0123456789abcdef" * 3 + digit * 12
        return "services:\n" + "".join(
            f"  s{number}:\n    image: a/b@sha256:{digest}\n" for number in range(5_000)
        )

    start = time.process_time()
    found = composes(big("a"), big("b"))
    assert time.process_time() - start < 8
    assert len(found.changes) == 5_000


def test_ten_thousand_allowed_names_in_seconds() -> None:
    old = [f"OLD_{number}" for number in range(10_000)]
    new = [f"NEW_{number}" for number in range(10_000)]
    start = time.process_time()
    found = difference({"allowed_envs": old}, {"allowed_envs": new})
    assert time.process_time() - start < 5
    assert len(found.changes) == 20_000


def test_many_unknown_fields_in_seconds() -> None:
    old, new = document({}), document({f"field{number}": "x" for number in range(2_000)})
    start = time.process_time()
    found = compare(old, new)
    assert time.process_time() - start < 2
    assert len(found.changes) == 2_000


def test_an_alias_bomb_is_not_evaluable() -> None:
    levels = "".join(f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    found = composes(COMPOSE, f"x-0: &a0 [x]\n{levels}{COMPOSE}")
    assert found.not_evaluable


@given(
    st.dictionaries(
        st.sampled_from(sorted(manifest())) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text()),
        max_size=6,
    )
)
def test_any_fields_give_a_comparison_or_an_evidence_error(fields: dict[str, Any]) -> None:
    try:
        new = read_document("new", json.dumps(manifest() | fields).encode())
    except EvidenceError:
        return
    for found in (compare(document({}), new), compare(new, document({}))):
        assert found.identical or found.changes
        all_formats(found)
