"""`verify diff TARGET@TIME`: the manifests that a contract allowed at points of a timeline."""

import shutil
from pathlib import Path

import pytest

from tests.cli.command import Run
from verifier.evidence.bundle import load

FIXTURES = Path(__file__).parents[2] / "fixtures"
BUNDLE = FIXTURES / "demo-bundle.tar"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "known").mkdir()
    shutil.copy(BUNDLE, tmp_path / "known")
    return [
        *("--manifests", str(tmp_path / "known"), "--at", "2026-06-15T12:00:00Z"),
        *("--trust-bundle", f"sha256:{load(BUNDLE).digest}"),
        *("--unsafe-root", str(FIXTURES / "demo-reference.json")),
    ]


def test_two_points_with_the_same_manifest(run: Run, arguments: list[str]) -> None:
    ran = run("diff", f"{BUNDLE}@2026-06-10", f"{BUNDLE}@2026-06-11T12:00:00Z", *arguments)
    assert ran.code == 0, ran.err
    assert "equal to the byte" in ran.out


def test_a_manifest_that_nobody_knows_is_named(run: Run, arguments: list[str]) -> None:
    ran = run("diff", f"{BUNDLE}@2026-05-01", f"{BUNDLE}@2026-06-11", *arguments)
    assert ran.code == 3
    assert "no manifest that was allowed then is known; allowed were:" in ran.err
    assert "--manifests" in ran.err


def test_without_vouching_there_is_no_history(run: Run, arguments: list[str]) -> None:
    kept = arguments[:4] + arguments[6:]
    ran = run("diff", f"{BUNDLE}@2026-06-10", f"{BUNDLE}@2026-06-11", *kept)
    assert ran.code == 3
    assert "nobody vouches for it" in ran.err


def test_a_time_that_is_none(run: Run, arguments: list[str]) -> None:
    ran = run("diff", f"{BUNDLE}@2026-13-99", str(BUNDLE), *arguments)
    assert ran.code == 2
    assert "is not a time" in ran.err
