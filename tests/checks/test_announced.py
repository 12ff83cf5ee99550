"""Who says what is about to change: the chain, or a service of whose words the signatures count."""

import pytest

from tests.worlds.audited import audit
from verifier.lab.attacks import ATTACKS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("safe-about-to-allow", "(2 signers are proven to have agreed)"),
        ("announced-lately", " announced addComposeHash("),
    ],
)
def test_a_service_is_named_where_it_is_its_word(name: str, said: str) -> None:
    attack = next(item for item in ATTACKS if item.name == name)
    (result,) = audit(attack.knobs).check("authorization.governance")
    assert said in result.summary
    assert ("by the word of a service" in result.summary) == name.startswith("safe")
