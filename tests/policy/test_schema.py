"""The schema and the documentation of policies say what the loader takes."""

import json
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from verifier.audit import known
from verifier.errors import PolicyError
from verifier.policy.document import MAX_NUMBER
from verifier.policy.platform import MAX_VERSION
from verifier.policy.policy import BUILT_IN, KEYS, SECTIONS, load_policy
from verifier.policy.schema import policy_schema
from verifier.policy.stage import REQUIREMENTS
from verifier.policy.waivers import KEYS as WAIVER_KEYS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
BUILT = [(ROOT / "verifier" / "policy" / f"{name}.toml").read_text("utf-8") for name in BUILT_IN]

NUMBER = "[freshness]\nmax_quote_age = {}\n"
VERSION = "[snp]\nmin_tcb = {{ snp = {} }}\n"
REVIEWED = f"""\
[[reviews]]
requirement = {{}}
compose_hash = "{"44" * 32}"
reason = "read"
reviewer = "ops"
expires = 2026-12-31
"""
TAKEN = (
    *(NUMBER.format(bound) for bound in (0, MAX_NUMBER)),
    *(VERSION.format(bound) for bound in (0, MAX_VERSION)),
    *(REVIEWED.format(bound) for bound in (1, len(REQUIREMENTS))),
    f'[platform]\nproof_of_cloud = "signed"\nproof_of_cloud_keys = ["{"66" * 32}"]\n',
)

WRONG = (
    'waiver = "x"\n',
    "[checks]\n" + '"boot.imag" = "required"\n',
    '[checks]\n"boot.image" = "advisory"\n',
    '[checks]\n"manifest.rules" = "maybe"\n',
    "[tcb]\nstatuses = 1\n",
    "[tcb]\nstatus = []\n",
    *(NUMBER.format(over) for over in (-1, MAX_NUMBER + 1)),
    *(VERSION.format(over) for over in (-1, MAX_VERSION + 1)),
    *(REVIEWED.format(over) for over in (0, len(REQUIREMENTS) + 1)),
    "[snp]\nmin_tcb = {}\n",
    '[platform]\nproof_of_cloud = "signed"\n',
    f'[platform]\nproof_of_cloud_keys = ["{"66" * 32}"]\n',
    '[expect]\ncompose_hash = "12"\n',
    "[expect]\nimage = []\n",
    '[rules]\n"SVC-999" = "low"\n',
    '[rules]\n"SVC-001" = "lowish"\n',
    "[governance]\nseveral_keys = 1\n",
    "[os]\nreleases = []\n",
    'accept = ["none"]\n',
    "accept = []\n",
    '[[waivers]]\nid = "W-1"\ncheck = "hardware.freshness"\n',
)


@pytest.fixture(name="schema")
def made() -> Any:
    """The schema, as it is made."""
    return json.loads(policy_schema())


def as_json(text: str) -> Any:
    """A policy document as a schema sees it: dates are texts."""
    document = tomllib.loads(text)
    return json.loads(json.dumps(document, default=date.isoformat))


def test_the_schema_is_one(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "text", [*EXAMPLES, *BUILT, *(f'extends = "baseline"\n{text}' for text in TAKEN)]
)
def test_what_loads_is_valid(schema: Any, text: str, tmp_path: Path) -> None:
    jsonschema.validate(as_json(text), schema)
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    load_policy(str(path))


@pytest.mark.parametrize("text", WRONG)
def test_what_is_refused_is_invalid(schema: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_json(text), schema)
    path = tmp_path / "policy.toml"
    path.write_text(f'extends = "baseline"\n{text}', encoding="utf-8")
    with pytest.raises(PolicyError):
        known(load_policy(str(path)))


def test_the_schema_has_the_keys_of_the_loader(schema: Any) -> None:
    tables = schema["properties"]
    assert set(tables) == set(KEYS)
    for name, keys in SECTIONS.items():
        if keys is not None:
            assert set(tables[name]["properties"]) == set(keys), name
    assert set(tables["waivers"]["items"]["properties"]) == set(WAIVER_KEYS)


def test_the_guide_names_and_shows_every_key() -> None:
    shown = [tomllib.loads(text) for text in EXAMPLES]
    for name in (*KEYS, *(key for keys in SECTIONS.values() for key in keys or ()), *WAIVER_KEYS):
        assert re.search(rf"`(?:\w+\.|\[+)?{name}\b", GUIDE), name
    for name, keys in SECTIONS.items():
        written = {key for document in shown for key in document.get(name, {})}
        assert set(keys or ()) <= written, name
    waivers = [item for document in shown for item in document.get("waivers", [])]
    assert {key for item in waivers for key in item} == set(WAIVER_KEYS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('waiver = "x"\n', "did you mean waivers?"),
        ("[freshnes]\nx = 1\n", "did you mean freshness?"),
        ("[tcb]\nstatusses = []\n", "did you mean statuses?"),
        ('[checks]\n"manifest.rules" = "requird"\n', "did you mean required?"),
        ('[checks]\n"manifest.rule" = "required"\n', "did you mean manifest.rules?"),
        ('[rules]\n"SVC-01" = "low"\n', "did you mean SVC-"),
        ('[rules]\n"SVC-001" = "hihg"\n', "did you mean high?"),
        ('[images]\nregistries = ["https://ghcr.io"]\n', "such as ghcr.io"),
        ("[[waivers]]\nchek = 1\n", "did you mean check?"),
        ('[[waivers]]\ncheck = "hardware.freshness"\n', 'id = "W-1"'),
        ('[[waivers]]\nid = "W-1"\ncheck = "hardware.freshness"\n', "40 hex digits"),
        ("[zzz]\n", "the keys are name, accept, extends"),
    ],
)
def test_a_mistake_names_what_was_meant(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'extends = "baseline"\n{text}', encoding="utf-8")
    with pytest.raises(PolicyError) as raised:
        known(load_policy(str(path)))
    assert says in raised.value.hint
