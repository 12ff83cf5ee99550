"""Claims of a guest whose operating system could have measured anything."""

from functools import cache
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import AcceptedError
from verifier.lab.knobs import Knobs
from verifier.model.result import Basis, Status

WORDS: Final = (Basis.ASSERTED, Basis.UNKNOWN)
USABLE: Final = (Status.PASS, Status.WARN)
CLAIMS: Final = (
    *("app_id", "compose_hash", "instance_id", "os_image_hash", "images"),
    *("key_provider", "mr_kms", "kms", "kms_root"),
)


@cache
def under(os_image: str) -> Audited:
    """An app under an operating system."""
    return audit(Knobs(os_image=os_image))


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_under_a_known_system_is_more_than_a_word(name: str) -> None:
    assert under("production").claims()[name].basis not in WORDS


@pytest.mark.parametrize("os_image", ["self-built", "development"])
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_whose_condition_does_not_hold_is_a_word(name: str, os_image: str) -> None:
    audited = under(os_image)
    assert audited.check("boot.image")[0].status not in USABLE
    claim = audited.claims().get(name)
    if claim is None or claim.basis in WORDS:
        return
    statuses = {check_id: audited.check(check_id)[0].status for check_id in claim.conditions}
    broken = {check_id: held for check_id, held in statuses.items() if held not in USABLE}
    if broken:
        raise AcceptedError(f"{name} is {claim.basis} although {broken}")


def test_the_hash_of_the_system_is_read_from_the_registers() -> None:
    """The event that names it is written from what the KMS says."""
    claim = under("production").claims()["os_image_hash"]
    if claim.basis is not Basis.REFERENCE:
        raise AcceptedError(f"os_image_hash is {claim.basis}")
