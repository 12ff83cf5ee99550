"""One honest simulated world, whose evidence the tests of parsers spell, cut and mutate."""

import pytest

from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build


@pytest.fixture(scope="session")
def world() -> World:
    """A guest of a release that has every channel: certificate, GetQuote, app key, page."""
    return build(Knobs(version="0.5.8"))


@pytest.fixture(scope="session")
def quote(world: World) -> bytes:
    """Its quote over zero report data, as the guest hands it out."""
    return world.guest.quote(bytes(64))
