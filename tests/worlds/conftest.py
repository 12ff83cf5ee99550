"""Honest worlds, each audited once."""

from collections.abc import Callable

import pytest

from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs


@pytest.fixture(scope="session")
def honest() -> Audited:
    """The honest world, audited."""
    return audit(Knobs())


@pytest.fixture(scope="session")
def twin() -> Callable[[Knobs], Audited]:
    """Audits of honest worlds, each made once."""
    made: dict[str, Audited] = {}

    def get(knobs: Knobs) -> Audited:
        if repr(knobs) not in made:
            made[repr(knobs)] = audit(knobs)
        return made[repr(knobs)]

    return get
