"""Honest worlds, each audited once."""

from collections.abc import Callable

import pytest

from tests.worlds.audited import Audited, audit
from verifier.lab.attacks.attack import PASSED_THROUGH
from verifier.lab.knobs import Knobs


@pytest.fixture(scope="session")
def honest() -> Audited:
    """The honest world, audited."""
    return audit(Knobs())


@pytest.fixture(scope="session")
def met() -> Audited:
    """The honest world, asked about an address that its guest serves."""
    return audit(Knobs(), endpoint=PASSED_THROUGH)


@pytest.fixture(scope="session")
def twin() -> Callable[..., Audited]:
    """Audits of honest worlds, asked about an endpoint and named instances, each made once."""
    made: dict[str, Audited] = {}

    def get(knobs: Knobs, endpoint: str = "", instances: tuple[int, ...] = ()) -> Audited:
        key = f"{knobs!r} {endpoint} {instances}"
        if key not in made:
            made[key] = audit(knobs, endpoint=endpoint, instances=instances)
        return made[key]

    return get
