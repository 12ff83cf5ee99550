"""Who may have issued what: CAs, the keys of issuers, and chains of names that others bear too."""

from dataclasses import dataclass
from typing import Any, Final, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from verifier.checks.hardware.anchors import _is_ca
from verifier.checks.hardware.endorsements import _signed_list, _signed_text
from verifier.checks.hardware.snp_report import _upwards
from verifier.evidence.td.collateral import Part, RevocationList, SignedDocument
from verifier.lab.keys import p256
from verifier.lab.knobs import Knobs
from verifier.lab.pki import key_usage, moment
from verifier.lab.world import build
from verifier.model.result import EvidenceRef

WORLD: Final = build(Knobs())
PLACE: Final = EvidenceRef("00" * 32)


def certificate(*extensions: x509.ExtensionType, key: Any = None) -> x509.Certificate:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key or p256("subject").public_key(), 1)
    builder = builder.not_valid_before(moment(0)).not_valid_after(moment(1))
    for item in extensions:
        builder = builder.add_extension(item, critical=True)
    return builder.sign(p256("issuer"), hashes.SHA256(), ecdsa_deterministic=True)


def test_a_ca_is_one_by_its_constraints_and_by_the_use_of_its_key() -> None:
    ca, no_ca = (x509.BasicConstraints(ca=item, path_length=None) for item in (True, False))
    signs, other = (key_usage(is_ca=item) for item in (True, False))
    assert _is_ca(certificate(ca, signs))
    for extensions in ((ca, other), (no_ca, signs), (no_ca, other), (ca,), (signs,), ()):
        assert not _is_ca(certificate(*extensions))


OTHER_KEYS: Final = (
    p256("another").public_key(),
    Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key(),
    X25519PrivateKey.from_private_bytes(b"\1" * 32).public_key(),
)


def test_a_revocation_list_is_signed_by_a_key_that_can_sign_one() -> None:
    crl = x509.load_der_x509_crl(WORLD.pki.root_ca_crl)
    listed = RevocationList(
        der=WORLD.pki.root_ca_crl,
        crl=crl,
        issuer=crl.issuer,
        issued=0,
        next_update=1,
        evidence=PLACE,
    )
    assert _signed_list(listed, WORLD.pki.root)
    for key in OTHER_KEYS:
        assert not _signed_list(listed, certificate(key=key))


def test_a_document_is_signed_by_a_key_that_can_sign_one() -> None:
    given = WORLD.collateral.document()
    document = SignedDocument(
        part=Part.TCB_INFO,
        text=str(given["tcb_info"]),
        signature=bytes.fromhex(str(given["tcb_info_signature"])),
        chain=(),
        id="TDX",
        fmspc="",
        evaluation_number=0,
        issued=0,
        next_update=1,
        evidence=PLACE,
    )
    assert _signed_text(document, WORLD.pki.tcb_signing)
    for key in OTHER_KEYS:
        assert not _signed_text(document, certificate(key=key))


@dataclass(frozen=True)
class Named:
    """A certificate by the names in it, told by its number from others of the same names."""

    subject: str
    issuer: str
    number: int = 0


CHIP, ASK, ARK = Named("VCEK", "ASK"), Named("ASK", "ARK"), Named("ARK", "ARK")


@pytest.mark.parametrize(
    ("given", "chains"),
    [
        ((CHIP,), [(CHIP,)]),
        ((CHIP, ARK), [(CHIP,)]),
        ((CHIP, ASK), [(CHIP,), (CHIP, ASK)]),
        ((CHIP, ASK, ARK), [(CHIP,), (CHIP, ASK), (CHIP, ASK, ARK)]),
        ((CHIP, Named("ASK", "ASK")), [(CHIP,), (CHIP, Named("ASK", "ASK"))]),
        (
            (CHIP, ASK, Named("ASK", "ARK", 1), ARK),
            [
                (CHIP,),
                (CHIP, ASK),
                (CHIP, ASK, ARK),
                (CHIP, Named("ASK", "ARK", 1)),
                (CHIP, Named("ASK", "ARK", 1), ARK),
            ],
        ),
        ((CHIP, ASK, Named("ARK", "X"), Named("X", "X")), [(CHIP,), (CHIP, ASK),
                                                           (CHIP, ASK, Named("ARK", "X"))]),
    ],
)  # fmt: skip
def test_every_chain_goes_up_and_stands_once(
    given: tuple[Named, ...], chains: list[tuple[Named, ...]]
) -> None:
    """Their number is limited: what leads nowhere new would take the place of what does."""
    found = _upwards(cast("Any", (CHIP,)), cast("Any", given))
    assert list(found) == chains
