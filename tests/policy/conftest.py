"""Policies written for a test, and the worlds that they are applied to."""

from pathlib import Path

import pytest

from tests.policy.policies import DOUBTFUL, Load, with_compose
from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs
from verifier.policy.policy import Policy, load_policy


@pytest.fixture(scope="session")
def honest() -> Audited:
    """The honest world, audited."""
    return audit(Knobs())


@pytest.fixture(scope="session")
def doubtful() -> Audited:
    """A world whose manifest has findings, none of them critical."""
    return audit(Knobs(edit_manifest=with_compose(DOUBTFUL)))


@pytest.fixture
def written(tmp_path: Path) -> Load:
    """Load a policy that extends baseline."""

    def load(text: str) -> Policy:
        path = tmp_path / "policy.toml"
        path.write_text(f'extends = "baseline"\n{text}', encoding="utf-8")
        return load_policy(str(path))

    return load
