"""Who may sign TCB info and QE identity: the one certificate that the root issued for it."""

from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Final, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.checks.hardware.endorsements import (
    TCB_SIGNING_NAME,
    _Chooser,
    _signed_list,
    _UnfitError,
)
from verifier.errors import EvidenceError
from verifier.evidence.td.collateral import CollateralParts, Part, RevocationList, SignedDocument
from verifier.model.result import EvidenceRef

BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = int((BEGUN + timedelta(1)).timestamp())
ROOT: Final = "Intel SGX Root CA"
TEXT: Final = "{}"


@cache
def key(label: str) -> ec.EllipticCurvePrivateKey:
    assert label
    return ec.generate_private_key(ec.SECP256R1())


def certificate(name: str, issuer: str) -> x509.Certificate:
    theirs, own = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (issuer, name)
    )
    builder = (
        x509.CertificateBuilder()
        .issuer_name(theirs)
        .subject_name(own)
        .public_key(key(name).public_key())
        .serial_number(1)
        .not_valid_before(BEGUN)
        .not_valid_after(BEGUN + timedelta(2))
    )
    return builder.sign(key(issuer), SHA256())


def refusal(part: Part, name: str, issuer: str = ROOT, signer: str = "") -> str:
    """Why a document that a certificate vouches for is refused; "" where it is taken."""
    r, s = decode_dss_signature(key(signer or name).sign(TEXT.encode(), ec.ECDSA(SHA256())))
    root = certificate(ROOT, ROOT)
    document = SignedDocument(
        part=part,
        text=TEXT,
        signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        chain=(certificate(name, issuer), root),
        id="",
        fmspc="",
        evaluation_number=1,
        issued=NOW,
        next_update=NOW + 1,
        evidence=EvidenceRef(""),
    )
    chooser = _Chooser(
        cast("CollateralParts", SimpleNamespace(unreadable=())),
        root.public_bytes(Encoding.PEM),
        root.public_bytes(Encoding.DER),
        NOW,
    )
    try:
        chooser._check_signer(document, [])  # noqa: SLF001 - one rule of the choice
    except _UnfitError as error:
        return str(error)
    return ""


def test_what_is_no_certificate_is_unreadable_and_no_ones() -> None:
    root = certificate(ROOT, ROOT)
    parts = cast("CollateralParts", SimpleNamespace(unreadable=()))
    pem, der = root.public_bytes(Encoding.PEM), root.public_bytes(Encoding.DER)
    for chain in (b"", b"no PEM", pem[:-40], pem.replace(b"MII", b"MIJ", 1)):
        with pytest.raises(EvidenceError, match="no readable PCK certificate chain"):
            _Chooser(parts, chain, der, NOW)
    with pytest.raises(EvidenceError, match="trust anchor"):
        _Chooser(parts, pem, pem, NOW)


@pytest.mark.parametrize("part", [Part.TCB_INFO, Part.QE_IDENTITY])
def test_it_is_the_certificate_that_the_root_issued_for_it(part: Part) -> None:
    assert refusal(part, TCB_SIGNING_NAME) == ""
    assert "not signed by a certificate" in refusal(part, TCB_SIGNING_NAME, issuer="Another CA")
    assert "does not verify" in refusal(part, TCB_SIGNING_NAME, signer="another key")
    platform_ca = "Intel SGX PCK Platform CA"
    assert f"signed by '{platform_ca}', not by" in refusal(part, platform_ca)


def test_a_list_of_a_ca_whose_key_signs_nothing_is_signed_by_nobody() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ROOT)])
    crl = (
        x509.CertificateRevocationListBuilder(name)
        .last_update(BEGUN)
        .next_update(BEGUN + timedelta(2))
        .sign(key(ROOT), SHA256())
    )
    listed = RevocationList(
        der=b"", crl=crl, issuer=name, issued=0, next_update=1, evidence=EvidenceRef("")
    )
    own = certificate(ROOT, ROOT)
    agreeing = (
        x509.CertificateBuilder(name, name, X25519PrivateKey.generate().public_key(), 1)
        .not_valid_before(BEGUN)
        .not_valid_after(BEGUN + timedelta(2))
        .sign(key(ROOT), SHA256())
    )
    assert [_signed_list(listed, issuer) for issuer in (own, agreeing)] == [True, False]
