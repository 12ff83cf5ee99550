"""What GPUs and NVIDIA's word about them prove, and what not, beside the catalogue of attacks."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.lab.attacks.gpu import CHECK, WITH_GPUS, honest, judged, nonce_of, vouched_for
from verifier.lab.events import MACHINE
from verifier.lab.forgeries import HandedOver
from verifier.lab.gpu import Gpus
from verifier.lab.knobs import Knobs
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict


@pytest.fixture(scope="module")
def world() -> Audited:
    return audit(WITH_GPUS)


def result(audited: Audited, evidence: HandedOver = ()) -> CheckResult:
    return audited.handing_over(evidence).check(CHECK)[0]


def with_payload(
    audited: Audited, *more: tuple[Kind, bytes], gpus: Gpus | None = None
) -> HandedOver:
    payload = (gpus or audited.world.gpus).payload(nonce_of(audited.world))
    return ((Kind.GPU_EVIDENCE, payload), *more)


def test_a_machine_without_ports_has_nothing_to_show(honest_world: Audited) -> None:
    assert result(honest_world).skip_kind is SkipKind.NOT_APPLICABLE
    beside = result(honest_world, honest(audit(WITH_GPUS).world))
    assert beside.status is Status.WARN


@pytest.fixture(scope="module")
def honest_world() -> Audited:
    return audit(Knobs())


def test_manifests_or_a_verdict_say_what_the_gpus_run(world: Audited) -> None:
    for given in (honest(world.world), vouched_for(world.world)):
        audited = world.handing_over(given)
        assert audited.check(CHECK)[0].status is Status.PASS
        assert audited.report.verdict is Verdict.AFFIRMING
        claim = audited.claims()["gpus"]
        assert claim.basis is Basis.HARDWARE
        assert len(claim.value) == 2  # type: ignore[arg-type]
    alone = result(world, with_payload(world))
    assert alone.status is Status.WARN
    assert "driver and firmware not compared (2 of 2)" in alone.summary


@pytest.mark.parametrize(
    "given",
    [
        lambda world: judged(world, world.gpus, age=7200),
        lambda world: judged(world, replace(world.gpus, label="other gpu")),
        lambda world: (
            (Kind.GPU_EVIDENCE, world.gpus.payload(nonce_of(world))),
            *((Kind.GPU_RIM, raw) for raw in replace(world.gpus, driver="550.90.07").rims()),
        ),
        lambda world: (
            (Kind.GPU_EVIDENCE, world.gpus.payload(nonce_of(world))),
            (Kind.GPU_RIM, b"<x>"),
        ),
    ],
    ids=["old-verdict", "verdict-on-others", "manifest-of-another-driver", "no-manifest"],
)
def test_what_is_said_of_other_things_is_no_comparison(
    world: Audited, given: Callable[..., HandedOver]
) -> None:
    found = result(world, given(world.world))
    assert found.status is Status.WARN
    assert "not compared" in found.summary


def test_a_verdict_of_failure_counts_when_it_is_old_and_without_a_report(world: Audited) -> None:
    gpus, nonce = world.world.gpus, nonce_of(world.world)
    failure = gpus.verdict(nonce, success=False, age=1 << 20)
    keys = (Kind.GPU_VERDICT_KEYS, gpus.key_set())
    assert result(world, ((Kind.GPU_VERDICT, failure), keys)).status is Status.FAIL
    alone = result(world, ((Kind.GPU_VERDICT, gpus.verdict(nonce)), keys))
    assert alone.status is Status.WARN
    swapped = json.loads(gpus.verdict(nonce))
    swapped[1]["GPU-0"] = swapped[1]["GPU-1"]
    found = result(
        world, with_payload(world, (Kind.GPU_VERDICT, json.dumps(swapped).encode()), keys)
    )
    assert found.status is Status.WARN


def test_the_judged_quote_is_the_one_that_has_to_commit() -> None:
    nonce = b"\5" * 32
    asked = audit(replace(WITH_GPUS, challenge=nonce))
    evidence = ((Kind.GPU_EVIDENCE, asked.world.gpus.payload(nonce)), *honest(asked.world)[1:])
    judging_another = asked.handing_over(evidence)
    found = judging_another.check(CHECK)[0]
    assert found.status is Status.WARN
    assert f"--challenge {nonce.hex()}" in found.summary
    assert judging_another.claims()["gpus"].basis is Basis.ASSERTED
    assert judging_another.again(challenge=nonce).check(CHECK)[0].status is Status.PASS


def test_eight_gpus_leave_ports_to_four_switches() -> None:
    for switches, status in ((4, Status.PASS), (3, Status.WARN)):
        machine = {**MACHINE, "num_gpus": 8, "num_nvswitches": switches}
        audited = audit(replace(WITH_GPUS, machine=machine))
        assert result(audited, honest(audited.world)).status is status


def test_an_unverified_quote_ties_nothing_and_a_false_report_fails_all_the_same() -> None:
    audited = audit(replace(WITH_GPUS, root="attacker"))
    assert result(audited, honest(audited.world)).skip_kind is SkipKind.BLOCKED
    forged = with_payload(audited, gpus=replace(audited.world.gpus, root="attacker"))
    assert result(audited, forged).status is Status.FAIL
