"""Several reports of one GPU: it is one GPU, and what it is said to be is what it answered to the
quote's nonce, in whichever order they stand."""

import json

import pytest

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.lab.attacks.gpu import CHECK, WITH_GPUS, honest, nonce_of
from verifier.lab.forgeries import HandedOver
from verifier.model.result import Status, Verdict


@pytest.fixture(scope="module")
def world() -> Audited:
    return audit(WITH_GPUS)


def payload(*entries: dict[str, str], number: int) -> tuple[Kind, bytes]:
    """A payload of these entries, with a digest of its own."""
    document = {"evidence_list": entries, "arch": "HOPPER", "number": number}
    return Kind.GPU_EVIDENCE, json.dumps(document).encode()


def both_orders(first: HandedOver, second: HandedOver) -> tuple[HandedOver, HandedOver]:
    return (*first, *second), (*second, *first)


@pytest.mark.parametrize("number", range(6))
def test_two_attestation_keys_of_one_device_are_one_gpu(world: Audited, number: int) -> None:
    gpus, nonce = world.world.gpus, nonce_of(world.world)
    one, other = gpus.entry(0, nonce), gpus.entry(0, nonce, "second leaf")
    rims = honest(world.world)[1:]
    for pair in ((one, other), (other, one)):
        audited = world.handing_over([payload(*pair, number=number), *rims])
        assert audited.check(CHECK)[0].status is Status.FAIL
        assert audited.report.verdict is Verdict.CONTRAINDICATED
    apart = [(payload(entry, number=number),) for entry in (one, other)]
    for given in both_orders(*apart):
        audited = world.handing_over([*given, *rims])
        assert "1 genuine GH100" in audited.check(CHECK)[0].summary
        assert audited.report.verdict is Verdict.WARNING
    two = [gpus.entry(place, nonce) for place in range(2)]
    audited = world.handing_over([payload(*two, number=number), *rims])
    assert audited.report.verdict is Verdict.AFFIRMING
