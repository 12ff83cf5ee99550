"""The schemas of what is written: each is named, valid, and says which document it is of."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
PATHS = sorted(FOLDER.iterdir())
NAMED = re.compile(r'^SCHEMA: Final = "(.*)"$', re.MULTILINE)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_schema_is_named_as_its_file(path: Path) -> None:
    schema: dict[str, Any] = json.loads(path.read_bytes())
    Draft202012Validator.check_schema(schema)
    name, _, version = path.name.removesuffix(".schema.json").rpartition("-")
    assert schema["$id"] == f"urn:dstack-audit:schema:{name}:{version}"
    assert schema["title"] == f"dstack-audit/{name}/{version}"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    stated = schema["properties"].get("schema", {}).get("const", schema["title"])
    assert stated == schema["title"]


def test_every_result_has_a_schema() -> None:
    rendered = (FOLDER.parents[1] / "verifier" / "report").rglob("*.py")
    named = {found for path in rendered for found in NAMED.findall(path.read_text("utf-8"))}
    assert "dstack-audit/report/v1" in named
    assert named <= {json.loads(path.read_bytes())["title"] for path in PATHS}
