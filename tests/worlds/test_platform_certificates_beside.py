"""Certificates of other chips, of other TCBs and of other issuers beside those of the chip that
signed a SEV-SNP report: neither their order nor their digests decide."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.worlds.audited import Audited
from verifier.checks.hardware.snp_report import MAX_CHAINS
from verifier.evidence.bundle import Kind
from verifier.lab import keys
from verifier.lab.pki import moment, pem_chain
from verifier.lab.snp import CHIP_ID, Snp, chain
from verifier.model.result import SkipKind, Status, Verdict

CHECK = "hardware.snp"
VCEK, ASK = chain()


def likeness(of: x509.Certificate, key: str, number: int) -> x509.Certificate:
    """A certificate that says the same of another key, by a key of the attacker's."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(of.subject)
        .issuer_name(of.issuer)
        .public_key(keys.p384(key).public_key())
        .serial_number(number + 1)
        .not_valid_before(moment(1577836800))
        .not_valid_after(moment(2208988800))
    )
    for item in of.extensions:
        builder = builder.add_extension(item.value, critical=item.critical)
    return builder.sign(keys.p384(f"{key} issuer"), hashes.SHA384(), ecdsa_deterministic=True)


def of_another(what: str, number: int) -> list[x509.Certificate]:
    """What stands beside the chip's own certificate, with a digest of its own."""
    match what:
        case "chip":
            return list(chain(f"chip {number}", ("4", bytes((number,)) * len(CHIP_ID)))[:1])
        case "tcb":
            return list(chain("snp chip", ("3.8", bytes((2, 1, number))))[:1])
        case "key":
            return [likeness(VCEK, f"another chip {number}", number)]
        case "issuer":
            return [likeness(ASK, f"another ask {number}", number)]
    raise ValueError(what)


def judged(world: Audited, *given: list[x509.Certificate]) -> Audited:
    guest = Snp(app=bytes.fromhex(world.world.app_id), endorsed=False)
    return world.handing_over(
        [
            (Kind.PLATFORM_ATTESTATION, guest.attestation()),
            *((Kind.PLATFORM_CERT, pem_chain(item)) for item in given),
        ]
    )


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("what", ["chip", "tcb", "key", "issuer"])
def test_the_right_ones_count_beside_any_others(honest: Audited, what: str, number: int) -> None:
    others = of_another(what, number)
    given = (
        ([VCEK, ASK], others),
        (others, [VCEK, ASK]),
        ([*others, VCEK, ASK],),
        ([VCEK, ASK, *others],),
    )
    for certificates in given:
        audited = judged(honest, *certificates)
        assert audited.check(CHECK)[0].status is Status.PASS
        assert audited.report.verdict is Verdict.AFFIRMING


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("what", ["chip", "tcb", "key"])
def test_others_alone_show_nothing(honest: Audited, what: str, number: int) -> None:
    audited = judged(honest, [*of_another(what, number), ASK])
    assert audited.check(CHECK)[0].status is Status.FAIL
    assert judged(honest).check(CHECK)[0].skip_kind is SkipKind.MISSING_EVIDENCE


def test_more_chains_than_anybody_needs_are_an_error(honest: Audited) -> None:
    likenesses = [likeness(ASK, "another ask", number) for number in range(MAX_CHAINS)]
    files = [likenesses[at : at + 8] for at in range(0, len(likenesses), 8)]
    for given in (([VCEK, ASK], *files), (*files, [VCEK, ASK])):
        assert judged(honest, *given).check(CHECK)[0].status is Status.ERROR
