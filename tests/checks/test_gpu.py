"""What GPUs and NVIDIA's word about them prove, and what not, beside the catalogue of attacks."""

import base64
import json
from collections.abc import Callable
from typing import cast

import pytest
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509 import BasicConstraints, Certificate, CertificateBuilder
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks.hardware.anchors import chain_failure, signature_holds
from verifier.evidence.bundle import Kind
from verifier.evidence.certificates import spki_digest
from verifier.evidence.codec import JsonObject
from verifier.lab.attacks.gpu import CHECK, WITH_GPUS, honest, judged, nonce_of, vouched_for
from verifier.lab.events import MACHINE
from verifier.lab.forgeries import HandedOver, before_ready
from verifier.lab.gpu import Gpus
from verifier.lab.host import firmware_event_added
from verifier.lab.keys import p256, p384
from verifier.lab.knobs import Knobs
from verifier.lab.pki import der, key_usage
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict
from verifier.reference.values import TrustAnchor


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


def for_gpus(document: JsonObject) -> JsonObject:
    """Reference values in which every image is one for GPUs."""
    rows = cast("list[JsonObject]", document["os_images"])
    return {
        **document,
        "os_images": [{**row, "release": f"nvidia-{row['release']}"} for row in rows],
    }


@pytest.mark.parametrize(
    ("knobs", "reference", "skip"),
    [
        (Knobs(), for_gpus, SkipKind.NOT_APPLICABLE),
        (Knobs(edit_events=firmware_event_added), for_gpus, SkipKind.MISSING_EVIDENCE),
        (Knobs(edit_events=firmware_event_added), None, SkipKind.NOT_APPLICABLE),
    ],
    ids=["of a known machine", "of another machine", "another image"],
)
def test_an_image_for_gpus_asks_for_them_where_nothing_tells_the_machine(
    knobs: Knobs, reference: Callable[[JsonObject], JsonObject] | None, skip: SkipKind
) -> None:
    assert result(audit(knobs, reference=reference)).skip_kind is skip


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
    ids=["verdict-on-others", "manifest-of-another-driver", "no-manifest"],
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


def test_one_version_has_a_manifest_for_each_board(world: Audited) -> None:
    gpus = world.world.gpus
    other = gpus.rim(gpus.driver, dict.fromkeys(range(8, 40), bytes(48)))
    given = (*honest(world.world), (Kind.GPU_RIM, other))
    assert result(world, given).status is Status.PASS
    assert result(world, with_payload(world, (Kind.GPU_RIM, other))).status is Status.FAIL


def test_every_report_of_a_gpu_is_compared(world: Audited) -> None:
    honest_one, *rims = honest(world.world)
    payload = replace(world.world.gpus, debug=True).payload(nonce_of(world.world))
    for spaces in range(2):
        other = (Kind.GPU_EVIDENCE, payload + b" " * spaces)
        for given in ((honest_one, other, *rims), (other, honest_one, *rims)):
            assert result(world, given).status is Status.FAIL


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


def test_zeros_that_pad_report_data_are_no_nonce() -> None:
    asked = audit(replace(WITH_GPUS, app_key_report_data=b"\7" * 32 + bytes(32)))
    evidence = ((Kind.GPU_EVIDENCE, asked.world.gpus.payload(bytes(32))), *honest(asked.world)[1:])
    judging = asked.handing_over(evidence).again(challenge=b"\7" * 32)
    assert judging.check("hardware.freshness")[0].status is Status.PASS
    assert judging.check(CHECK)[0].status is Status.WARN


def test_a_chain_leads_leaf_first_and_without_turns_to_the_root() -> None:
    gpus = Gpus(count=1, now=0)
    leaf, device, provisioner, identity, root = gpus.chain(0)
    trusted = (
        TrustAnchor(
            use="",
            spki=spki_digest(root),
            certificate=base64.b64encode(der(root)).decode(),
            source="",
            date="",
        ),
    )
    at = 1_781_524_800

    def failure(*chain: Certificate, moment: int = at) -> str:
        return chain_failure(chain, trusted, moment)

    assert failure(leaf, device, provisioner, identity, root) == ""
    assert failure(leaf, device, provisioner, identity) == ""
    for chain, words in (
        ((), "CA"),
        ((device, provisioner, identity, root), "CA"),
        ((root,), "CA"),
        ((leaf,), "does not lead"),
        ((leaf, leaf, device, provisioner, identity, root), "no CA's"),
        ((leaf, device, device, provisioner, identity, root), "not signed by the next"),
        ((leaf, device, provisioner, device, provisioner, identity, root), "not signed"),
        ((leaf, device, identity, provisioner, root), "not signed by the next"),
        ((leaf, device, provisioner, identity, root, root), "after the root"),
        ((leaf, device, provisioner), "does not lead"),
    ):
        assert words in failure(*chain), chain
    for moment in (0, 1 << 33):
        assert "not in force" in failure(leaf, device, provisioner, identity, root, moment=moment)
    assert chain_failure(gpus.chain(0), (), at) != ""
    wrong = signature_holds(leaf.public_key(), bytes(96), b"")
    assert not wrong
    assert not signature_holds(p256("x").public_key(), bytes(96), b"")


@pytest.mark.parametrize("is_ca", [True, False])
@pytest.mark.parametrize("signs", [True, False])
def test_a_ca_says_that_it_is_one_and_that_its_key_signs_certificates(
    *, is_ca: bool, signs: bool
) -> None:
    leaf, device, *above = Gpus(count=1, now=0).chain(0)
    builder = (
        CertificateBuilder(device.issuer, device.subject, device.public_key(), 1)
        .not_valid_before(device.not_valid_before_utc)
        .not_valid_after(device.not_valid_after_utc)
        .add_extension(BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(key_usage(is_ca=signs), critical=True)
    )
    likeness = builder.sign(p384("provisioner"), SHA384())
    root = TrustAnchor(use="", spki=spki_digest(above[-1]), certificate="", source="", date="")
    found = chain_failure((leaf, likeness, *above), (root,), 1_781_524_800)
    assert found == ("" if is_ca and signs else "certificate 1 is issued by one that is no CA's")


@pytest.mark.parametrize(
    ("age", "service", "issuer", "status"),
    [
        (60, "service", "https://nras.attestation.nvidia.com", Status.PASS),
        (60, "service", "https://nras.example", Status.WARN),
        (7200, "service", "https://nras.attestation.nvidia.com", Status.WARN),
        (-7200, "service", "https://nras.attestation.nvidia.com", Status.WARN),
        (60, "attacker", "https://nras.attestation.nvidia.com", Status.WARN),
    ],
    ids=["honest", "issuer", "old", "to-come", "forged"],
)
def test_a_verdict_counts_by_its_signer_its_issuer_and_its_time(
    world: Audited, age: int, service: str, issuer: str, status: Status
) -> None:
    gpus = replace(world.world.gpus, service=service, issuer=issuer)
    assert result(world, judged(world.world, gpus, age=age)).status is status


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"provider": "nvidia", "cc_mode": "on", "devtools": False}, Status.WARN),
        ({"provider": "nvidia", "cc_mode": "on", "devtools": True}, Status.SKIP),
    ],
    ids=["confidential", "tools"],
)
def test_what_the_guest_measured_when_it_booted_is_a_doubt_less(
    payload: object, status: Status
) -> None:
    raw = json.dumps(payload).encode()
    edit = before_ready("gpu-attestation", raw)
    found = result(audit(replace(WITH_GPUS, version="0.6.0", edit_events=edit)))
    assert found.status is status


def test_what_an_image_that_nobody_knows_measured_is_no_doubt_less() -> None:
    payload = {"provider": "nvidia", "cc_mode": "on", "devtools": False}
    edit = before_ready("gpu-attestation", json.dumps(payload).encode())
    known = audit(replace(WITH_GPUS, version="0.6.0", edit_events=edit))
    unknown = known.again(reference=replace(known.question.reference, os_images=()))
    assert (result(known).status, result(unknown).status) == (Status.WARN, Status.SKIP)


def test_what_is_false_counts_before_what_nobody_can_read(world: Audited) -> None:
    foreign = world.world.gpus.payload(nonce_of(world.world))
    unread = (Kind.GPU_EVIDENCE, foreign[: len(foreign) // 2])
    assert result(world, (*honest(world.world), unread)).status is Status.ERROR
    forged = with_payload(world, unread, gpus=replace(world.world.gpus, root="attacker"))
    assert result(world, forged).status is Status.FAIL


def test_a_verdict_of_failure_fails_whichever_gpus_it_names(
    world: Audited, honest_world: Audited
) -> None:
    gpus = replace(world.world.gpus, label="other gpu")
    keys = (Kind.GPU_VERDICT_KEYS, gpus.key_set())
    for given in (world, honest_world):
        failure = (Kind.GPU_VERDICT, gpus.verdict(bytes(31) + b"\1", success=False))
        assert result(given, (failure, keys)).status is Status.FAIL
