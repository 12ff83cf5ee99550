"""What an SEV-SNP attestation proves, alone and beside the certificates of its chip."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.import_files import import_files
from verifier.evidence.td.ra_tls import OID_PREFIX
from verifier.lab.cert import msgpack_v1, scale_v0
from verifier.lab.keys import p256
from verifier.lab.knobs import Knobs
from verifier.lab.pki import moment, pem_chain, tlv
from verifier.lab.snp import LAUNCHED, TCB, Snp
from verifier.model.result import CheckResult, SkipKind, Status, Verdict


@pytest.mark.parametrize(
    ("least", "said"),
    [
        ("microcode = 213", ""),
        ("boot_loader = 4, tee = 0, snp = 24, microcode = 213", ""),
        ("microcode = 214", "its platform has microcode 213, the policy demands 214"),
        ("boot_loader = 5", "its platform has boot_loader 4, the policy demands 5"),
        ("fmc = 0", "its chip has no fmc, of which the policy demands 0"),
    ],
)
def test_a_policy_sets_the_least_firmware(world: Audited, least: str, said: str) -> None:
    audited = alone(world, own(world).attestation()).under(f"[snp]\nmin_tcb = {{ {least} }}")
    (found,) = audited.check("hardware.snp")
    assert found.status is (Status.FAIL if said else Status.PASS)
    assert said in found.summary


@pytest.fixture(scope="module")
def world() -> Audited:
    return audit(Knobs())


def alone(world: Audited, raw: bytes) -> Audited:
    return world.again(import_files([("attestation", raw)], collected_at=world.world.now))


def own(world: Audited, **changes: object) -> Snp:
    """A guest of the app that is asked for."""
    return Snp(app=bytes.fromhex(world.world.app_id), **changes)  # type: ignore[arg-type]


def result(world: Audited, guest: Snp) -> CheckResult:
    return alone(world, guest.attestation()).check("hardware.snp")[0]


def test_an_honest_report_binds_its_configuration_and_no_verdict(world: Audited) -> None:
    audited = alone(world, own(world).attestation())
    (found,) = audited.check("hardware.snp")
    assert found.status is Status.PASS
    assert found.actual["app_id"] == world.world.app_id  # type: ignore[index, call-overload]
    assert audited.report.verdict is Verdict.NONE
    (quote,) = audited.check("hardware.quote")
    assert quote.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "AMD SEV-SNP" in quote.summary
    assert [gap for gap in audited.report.gaps if "AMD SEV-SNP" in gap]


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        (Snp(policy=0x30000 | 1 << 18), "migration"),
        (Snp(vmpl=1), "VMPL 1"),
        (Snp(key=2), "which it is"),
        (Snp(chip_id=bytes(64)), "which it is"),
        (Snp(key=1 << 2), "VLEK"),
        (Snp(chip_id=b"\1" * 64), "another chip"),
        (Snp(tcb=b"\5" + TCB[1:]), "another TCB"),
        (Snp(report_data=b"\1" * 64), "report data"),
        (Snp(stated={**LAUNCHED, "base_cmdline": "init=/bin/sh"}), "launch measurement"),
        (Snp(endorsed=False, policy=0x30000 | 1 << 19), "debug is on"),
    ],
    ids=[
        "moved",
        "vmpl",
        "masked",
        "no-chip",
        "vlek",
        "chip",
        "tcb",
        "report-data",
        "launch",
        "debug",
    ],
)
def test_a_report_that_no_genuine_guest_gives_fails(world: Audited, guest: Snp, words: str) -> None:
    found = result(world, guest)
    assert found.status is Status.FAIL
    assert words in found.summary


def test_a_changed_report_fails_and_mixed_firmware_is_a_doubt(world: Audited) -> None:
    raw = Snp().attestation()
    measured = raw.index(Snp().report()[144:192])
    changed = raw[:measured] + bytes(48) + raw[measured + 48 :]
    assert alone(world, changed).check("hardware.snp")[0].status is Status.FAIL
    assert result(world, Snp(launch_tcb=bytes(8))).status is Status.WARN


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({}, "nobody says what was launched"),
        ({**LAUNCHED, "vcpu_type": "qemu64"}, "CPU model"),
        ({**LAUNCHED, "ovmf_sections": [{"gpa": 1, "size": 4096, "section_type": 1}]}, "pages"),
        ({**LAUNCHED, "ovmf_sections": [{"gpa": 0, "size": 1 << 30, "section_type": 1}]}, "larger"),
        ({**LAUNCHED, "vcpus": 1 << 20}, "vcpus"),
    ],
    ids=["nothing", "cpu", "part-of-a-page", "huge", "cpus"],
)
def test_what_nobody_can_recompute_is_a_doubt(
    world: Audited, stated: JsonObject, words: str
) -> None:
    found = result(world, Snp(stated=stated))
    assert found.status is Status.WARN
    assert words in found.summary


def test_a_turin_chip_names_its_tcb_in_another_order() -> None:
    from verifier.checks.hardware.snp_report import _certified_tcb  # noqa: PLC0415

    oid = "1.3.6.1.4.1.3704.1."
    parts = {"3.9": 1, "3.1": 2, "3.2": 3, "3.3": 4, "3.8": 5}
    extensions = {oid + name: bytes((2, 1, value)) for name, value in parts.items()}
    named = {**extensions, f"{oid}2": b"\x16\x08Turin-B0"}
    assert _certified_tcb(named) == bytes((1, 2, 3, 4, 0, 0, 0, 5))
    assert _certified_tcb({**named, f"{oid}3.9": b""}) == b""
    assert _certified_tcb(extensions) == bytes((2, 3, 0, 0, 0, 0, 4, 5))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\2\1\0", 0),
        (b"\2\1\x7f", 127),
        (b"\2\2\0\xff", 255),
        (b"\4\1\1", None),
        (b"\2\0", None),
        (b"\2\2\1", None),
        (b"\2\1\1\1", None),
        (b"\2\1\xff", None),
        (b"\2\2\1\0", None),
        (b"", None),
    ],
)
def test_a_part_of_the_tcb_is_an_integer_of_one_byte(raw: bytes, value: int | None) -> None:
    from verifier.checks.hardware.snp_report import _certified_tcb  # noqa: PLC0415

    oid = "1.3.6.1.4.1.3704.1.3."
    parts = {f"{oid}{place}": b"\2\1\1" for place in (1, 2, 3, 8)}
    found = _certified_tcb({**parts, f"{oid}8": raw})
    assert found == (b"" if value is None else bytes((1, 1, 0, 0, 0, 0, 1, value)))


def test_certificates_may_come_beside_the_report(world: Audited) -> None:
    bare, endorsed = own(world, endorsed=False), own(world)
    assert result(world, bare).skip_kind is SkipKind.MISSING_EVIDENCE
    raw = endorsed.attestation()
    pem = raw[raw.index(b"-----BEGIN") : raw.rindex(b"-----END CERTIFICATE-----\n") + 26]
    parts = [
        f"-----BEGIN{part.partition(b'-----END')[0].decode()}"
        for part in pem.split(b"-----BEGIN")[1:]
    ]
    chain = "".join(f"{part}-----END CERTIFICATE-----\n" for part in parts).encode()
    given = [(Kind.PLATFORM_ATTESTATION, bare.attestation()), (Kind.PLATFORM_CERT, chain)]
    assert world.handing_over(given).check("hardware.snp")[0].status is Status.PASS
    other = replace(bare, root="attacker")
    assert result(world, other).skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize("encode", [scale_v0, msgpack_v1], ids=["SCALE", "msgpack"])
def test_a_td_on_google_cloud_is_judged_and_its_tpm_is_a_gap(
    world: Audited, encode: Callable[..., bytes]
) -> None:
    attestation = world.world.guest.attestation(bytes(64))
    for tpm in (True, False):
        audited = alone(world, encode(attestation, tpm=tpm))
        assert audited.check("runtime.replay")[0].status is not Status.ERROR
        assert audited.check("hardware.snp")[0].skip_kind is SkipKind.NOT_APPLICABLE
        assert bool([gap for gap in audited.report.gaps if "Google Cloud" in gap]) is tpm


def test_an_attestation_in_a_certificate_is_named_too(world: Audited) -> None:
    leaf = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
    extension = x509.UnrecognizedExtension(
        x509.ObjectIdentifier(f"{OID_PREFIX}8"), tlv(0x04, own(world).attestation())
    )
    certificate = (
        leaf.public_key(p256("snp leaf").public_key())
        .serial_number(1)
        .not_valid_before(moment(0))
        .not_valid_after(moment(1 << 31))
        .add_extension(extension, critical=False)
        .sign(p256("snp leaf"), hashes.SHA256(), ecdsa_deterministic=True)
    )
    (found,) = alone(world, pem_chain([certificate])).check("hardware.snp")
    assert found.status is Status.PASS


def test_one_that_fails_is_not_hidden_by_one_that_lacks_evidence(world: Audited) -> None:
    bare, bad = own(world, endorsed=False), own(world, policy=0x30000 | 1 << 19)
    for guests in ((bare, bad), (bad, bare)):
        given = [(Kind.PLATFORM_ATTESTATION, guest.attestation()) for guest in guests]
        assert world.handing_over(given).check("hardware.snp")[0].status is Status.FAIL


def test_what_is_false_counts_before_what_nobody_can_read(world: Audited) -> None:
    for guest, status in ((own(world), Status.ERROR), (own(world, root="attacker"), Status.FAIL)):
        raw = guest.attestation()
        unread = (Kind.PLATFORM_ATTESTATION, raw[: len(raw) // 2])
        audited = world.handing_over([(Kind.PLATFORM_ATTESTATION, raw), unread])
        assert audited.check("hardware.snp")[0].status is status
