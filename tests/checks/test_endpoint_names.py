"""Where the name of an endpoint leads."""

from types import SimpleNamespace
from typing import Any

import pytest

from verifier.checks.endpoint import names
from verifier.checks.engine import Outcome
from verifier.model.result import Status


@pytest.mark.parametrize("own", [{"aa"}, {"aa", "bb"}])
def test_a_name_below_a_gateway_that_holds_another_id_is_false(own: set[str]) -> None:
    def led(identifier: str) -> Any:
        route = SimpleNamespace(identifier=identifier)
        endpoint: Any = SimpleNamespace(host=f"{identifier}-443.gw.example", route=route)
        return names._routed(endpoint, own)  # noqa: SLF001 - of one kind of name

    other = led("cc")
    assert isinstance(other, Outcome)
    assert (other.status, other.actual) == (Status.FAIL, "cc")
    for identifier in own:
        assert isinstance(led(identifier), names.Route)
