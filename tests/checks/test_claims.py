"""What a claim rests on: the checks that make a value more than somebody's word."""

import pytest

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Bundle, Kind
from verifier.lab.attacks.attack import BY_GATEWAY, PASSED_THROUGH
from verifier.lab.knobs import Knobs
from verifier.model.result import Basis, Status


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def test_the_root_key_of_a_kms_rests_on_what_it_signed(honest: Audited) -> None:
    signed = honest.claims()["kms_root"]
    (proven,) = honest.check("key_management.root")
    assert (signed.basis, signed.evidence) == (Basis.KMS, proven.evidence)
    kept = tuple(item for item in honest.bundle.artifacts if item.kind is not Kind.KMS_ENV_KEY)
    silent = honest.again(Bundle(kept, honest.bundle.blobs))
    assert silent.check("key_management.root")[0].status is Status.SKIP
    recorded = silent.claims()["kms_root"]
    assert (recorded.value, recorded.basis) == (signed.value, Basis.REFERENCE)
    assert recorded.evidence == silent.claims()["kms"].evidence


@pytest.mark.parametrize(
    ("endpoint", "holder", "basis"),
    [
        (PASSED_THROUGH, "guest", Basis.HARDWARE),
        (BY_GATEWAY, "gateway", Basis.HARDWARE),
        ("web.customer.invalid", "", Basis.ASSERTED),
    ],
)
def test_whose_key_an_endpoint_shows(endpoint: str, holder: str, basis: Basis) -> None:
    claim = audit(Knobs(), endpoint=endpoint).claims()["endpoint_key"]
    assert isinstance(claim.value, dict)
    assert (claim.value["held_by"], claim.basis) == (holder, basis)
