"""Every attribute of a compose file is judged or harmless, and reaches its rules in any syntax."""

import pytest

from tests.manifest.spellings import NAMES, SPELLINGS, Row
from tests.manifest.vectors import PINNED, Case, known, manifest
from verifier.manifest.audit import audit_manifest
from verifier.manifest.rules.catalogue import BY_ID
from verifier.reference.compose_attributes import attributes, judged, newest, shipped_with

ROWS = [(path, row) for path, rows in SPELLINGS.items() for row in rows]


def case(row: Row) -> Case:
    body, beside, _ = row
    has_code = any(line.startswith(("image:", "build:", "provider:")) for line in body.splitlines())
    lines = [] if has_code else [f"image: {PINNED}"]
    lines += body.splitlines()
    text = "services:\n  web:\n" + "".join(f"    {line}\n" for line in lines) + f"{beside}\n"
    return manifest(
        text,
        allowed_envs=list(NAMES),
        pre_launch_script="test -e /x || exit 1\n",
        context=known(pages=({},)),
    )


def test_every_attribute_is_judged_or_harmless() -> None:
    for path, place in attributes().items():
        assert bool(place.rules) != bool(place.harmless), path
        assert not set(place.rules) - set(BY_ID), path
        assert place.since <= newest(), path


def test_every_judged_attribute_has_a_spelling() -> None:
    assert {path for path, place in judged().items() if place.rules} == set(SPELLINGS)


@pytest.mark.parametrize(("path", "row"), ROWS)
def test_a_spelling_reaches_its_rules(path: str, row: Row) -> None:
    found = {finding.rule for finding in audit_manifest(case(row).raw, case(row).context).findings}
    assert set(row[2].split()) <= found
    assert set(row[2].split()) & set(judged()[path].rules)


def test_which_compose_an_os_ships() -> None:
    assert shipped_with("dstack-0.5.4") == (2, 26, 0)
    assert shipped_with("0.5.9") == (2, 26, 0)
    assert shipped_with("0.6.0") is None
    assert shipped_with("") is None
