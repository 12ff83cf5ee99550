"""One honest world for all tests of the lab."""

import pytest

from verifier.lab.world import World, build


@pytest.fixture(scope="session")
def world() -> World:
    """The honest world."""
    return build()
