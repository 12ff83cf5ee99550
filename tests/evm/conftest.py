"""A node for the tests of this folder, where Node packages are installed."""

import os
from collections.abc import Iterator

import pytest

from tests.evm import anvil

_MISSING = "no Node packages in tests/evm: `make node` installs the EVM of these tests"


def _require() -> None:
    if not anvil.NODE.exists():
        if os.environ.get("CI"):
            pytest.fail(_MISSING)
        pytest.skip(_MISSING)


@pytest.fixture(scope="session")
def chain() -> Iterator[anvil.Anvil]:
    """One node for every test; each deploys contracts of its own."""
    _require()
    with anvil.running() as node:
        yield node


@pytest.fixture
def tutorial_chain() -> Iterator[anvil.Anvil]:
    """A node whose blocks all keep Base's time, a little before the tutorial's app."""
    _require()
    with anvil.running(first=39_966_800) as node:
        yield node


@pytest.fixture(scope="session")
def node_packages() -> None:
    """The compiler and its libraries are there."""
    _require()
