"""Several reports of one GPU: it is one GPU, and what it is said to be is what it answered to the
quote's nonce, in whichever order they stand."""

import json

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.lab import keys
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


def drivers(audited: Audited) -> list[str]:
    value = audited.claims()["gpus"].value
    return [row["driver"] for row in value]  # type: ignore[union-attr, index, call-overload, misc]


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


@pytest.mark.parametrize("number", range(8))
def test_a_report_over_another_nonce_does_not_say_what_runs(world: Audited, number: int) -> None:
    others = replace(world.world.gpus, driver="999.99.99")
    nonce = keys.labelled(f"nonce of another time {number}", 32)
    old = ((Kind.GPU_EVIDENCE, others.payload(nonce)),)
    for given in both_orders(honest(world.world), old):
        audited = world.handing_over(given)
        assert audited.check(CHECK)[0].status is Status.WARN
        assert "999.99.99" not in audited.check(CHECK)[0].summary
        assert drivers(audited) == [world.world.gpus.driver] * 2


@pytest.mark.parametrize("number", range(6))
def test_reports_over_the_quotes_nonce_that_differ_are_both_named(
    world: Audited, number: int
) -> None:
    others, nonce = replace(world.world.gpus, driver="999.99.99"), nonce_of(world.world)
    listed = [others.entry(place, nonce) for place in range(2)]
    found = []
    for given in both_orders(honest(world.world), (payload(*listed, number=number),)):
        audited = world.handing_over(given)
        assert "2 genuine GH100" in audited.check(CHECK)[0].summary
        found.append((audited.report.verdict, audited.claims()["gpus"].value))
        assert drivers(audited) == [f"{world.world.gpus.driver}, 999.99.99"] * 2
    assert found[0] == found[1]


@pytest.mark.parametrize("number", range(6))
def test_a_verdict_of_failure_that_nobody_can_judge_is_a_doubt(world: Audited, number: int) -> None:
    gpus = world.world.gpus
    failure = gpus.verdict(nonce_of(world.world), success=False, age=60 + number)
    spoilt = ((Kind.GPU_VERDICT_KEYS, gpus.key_set()[: -1 - number]),)
    for keys_beside in ((), spoilt):
        verdict = ((Kind.GPU_VERDICT, failure), *keys_beside)
        for given in both_orders(honest(world.world), verdict):
            audited = world.handing_over(given)
            assert audited.check(CHECK)[0].status is Status.WARN
            assert audited.report.verdict is not Verdict.AFFIRMING
