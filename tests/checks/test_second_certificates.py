"""What the second verifier of quotes takes for a certificate of Intel's, to the second and byte."""

from datetime import datetime
from functools import cache
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.checks.second_opinion.certificates import Authority, Platform, platform_of
from verifier.checks.second_opinion.refusal import RefusedError
from verifier.lab import keys
from verifier.lab.knobs import DAY, DEFAULT_NOW
from verifier.lab.pki import Pki, PkiOptions, build_pki, moment, tlv

SGX: Final = x509.ObjectIdentifier("1.2.840.113741.1.13.1")


@cache
def world(issued: int = DEFAULT_NOW - DAY, expires: int = DEFAULT_NOW + DAY) -> Pki:
    return build_pki(
        PkiOptions(now=DEFAULT_NOW, platform="a host", crl_issued=issued, crl_expires=expires)
    )


def seconds(when: datetime) -> int:
    return int(when.timestamp())


def is_in_force(pki: Pki, at: int) -> bool:
    """Whether the root's list and the certificate for TCB info count at a time."""
    try:
        Authority(pki.root, pki.root_ca_crl, at).need_issued(pki.tcb_signing, is_ca=False)
    except RefusedError as error:
        return "is not in force" not in str(error)
    return True


def test_a_certificate_is_in_force_from_its_first_second_to_its_last() -> None:
    leaf = world().tcb_signing
    first, last = seconds(leaf.not_valid_before_utc), seconds(leaf.not_valid_after_utc)
    always = world(first - DAY, last + DAY)
    asked = (first - 1, first, last, last + 1)
    assert [is_in_force(always, at) for at in asked] == [False, True, True, False]


def test_a_revocation_list_is_in_force_until_the_next_one_is_due() -> None:
    first, due = DEFAULT_NOW - DAY, DEFAULT_NOW + DAY
    asked = (first - 1, first, due - 1, due)
    assert [is_in_force(world(first, due), at) for at in asked] == [False, True, True, False]


def with_extension(raw: bytes) -> x509.Certificate:
    """A certificate whose platform's extension is this."""
    name, key = x509.Name([]), keys.p256("a key")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(moment(0)).not_valid_after(moment(DAY))
    builder = builder.add_extension(x509.UnrecognizedExtension(SGX, raw), critical=False)
    return builder.sign(key, hashes.SHA256())


def honest() -> bytes:
    found = world().pck.extensions.get_extension_for_oid(SGX).value
    assert isinstance(found, x509.UnrecognizedExtension)
    return found.value


def with_field(length: bytes, octets: bytes) -> bytes:
    """The honest extension, with one more field, whose length is spelled so."""
    identifier = tlv(0x06, bytes.fromhex("2a864886f84d010d0108"))
    return tlv(0x30, honest()[4:] + tlv(0x30, identifier + b"\x04" + length + octets))


def test_a_field_that_is_larger_than_any_of_a_platform_is_refused() -> None:
    inside = with_field(b"\x82\xf0\0", bytes(0xF000))
    assert platform_of(with_extension(inside)) == platform_of(world().pck)
    with pytest.raises(RefusedError, match="no DER length"):
        platform_of(with_extension(with_field(b"\x83\1\0\0", bytes(1 << 16))))


@pytest.mark.parametrize(
    ("size", "only", "others"),
    [
        (0, b"\0", (b"\x80", b"\x81\0")),
        (1, b"\1", (b"\x81\1", b"\x82\0\1")),
        (127, b"\x7f", (b"\x81\x7f",)),
        (128, b"\x81\x80", (b"\x80", b"\x82\0\x80")),
        (256, b"\x82\1\0", (b"\x83\0\1\0",)),
    ],
)
def test_a_length_has_one_spelling(size: int, only: bytes, others: tuple[bytes, ...]) -> None:
    assert platform_of(with_extension(with_field(only, bytes(size)))) == platform_of(world().pck)
    for other in others:
        with pytest.raises(RefusedError, match="no DER length"):
            platform_of(with_extension(with_field(other, bytes(size))))


Fields = dict[tuple[int, ...], bytes]
"""The end of each field's identifier below the extension's own → its value (DER)."""


def sequence(fields: Fields) -> bytes:
    prefix = bytes.fromhex("2a864886f84d010d01")
    pairs = (tlv(0x06, prefix + bytes(name)) + value for name, value in fields.items())
    return tlv(0x30, b"".join(tlv(0x30, pair) for pair in pairs))


def platform(changes: Fields) -> Platform:
    """What is read of a platform's extension with some fields of other values."""
    tcb: Fields = {(2, place): tlv(0x02, b"\1") for place in range(1, 18)}
    tcb |= {(2, 18): tlv(0x04, bytes(16))}
    fields: Fields = {
        (1,): tlv(0x04, bytes(16)),
        (2,): sequence({name: changes.get(name, value) for name, value in tcb.items()}),
        (3,): tlv(0x04, bytes(2)),
        (4,): tlv(0x04, bytes(6)),
        (5,): tlv(0x0A, b"\2"),
        (6,): tlv(0x04, bytes(16)),
        (7,): sequence({(7, 1): changes.get((7, 1), tlv(0x01, b"\xff"))}),
    }
    raw = sequence({name: changes.get(name, value) for name, value in fields.items()})
    return platform_of(with_extension(raw))


@pytest.mark.parametrize(
    ("name", "tag", "size"),
    [((1,), 4, 16), ((2, 18), 4, 16), ((3,), 4, 2), ((4,), 4, 6), ((5,), 10, 1), ((6,), 4, 16),
     ((7, 1), 1, 1)],
)  # fmt: skip
def test_a_field_is_of_one_kind_and_size(name: tuple[int, ...], tag: int, size: int) -> None:
    assert platform({name: tlv(tag, bytes(size))}) == platform({})
    for other in (tlv(0x02, bytes(size)), tlv(tag, bytes(size - 1)), tlv(tag, bytes(size + 1))):
        with pytest.raises(RefusedError, match="is not readable"):
            platform({name: other})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"\2\1\0", 0),
        (b"\2\1\x7f", 127),
        (b"\2\2\0\x80", 128),
        (b"\2\1\x80", None),
        (b"\2\1\xff", None),
        (b"\2\0", None),
        (b"\x0a\1\1", None),
    ],
)
def test_a_version_is_a_number_that_is_not_negative(value: bytes, number: int | None) -> None:
    if number is not None:
        assert platform({(2, 1): value, (2, 17): value}).components == (number, *(1,) * 15)
        assert platform({(2, 17): value}).pce_svn == number
        return
    for name in ((2, 1), (2, 17)):
        with pytest.raises(RefusedError, match=r"is no number|is not readable"):
            platform({name: value})


def reissued(of: x509.Certificate, usage: x509.KeyUsage) -> x509.Certificate:
    """A certificate that the root issued for another use of the same key."""
    builder = (
        x509.CertificateBuilder(of.issuer, of.subject, of.public_key(), of.serial_number)
        .not_valid_before(of.not_valid_before_utc)
        .not_valid_after(of.not_valid_after_utc)
    )
    for item in of.extensions:
        value = usage if isinstance(item.value, x509.KeyUsage) else item.value
        builder = builder.add_extension(value, critical=item.critical)
    return builder.sign(keys.p256("root"), hashes.SHA256())


@pytest.mark.parametrize("certificates", [True, False])
@pytest.mark.parametrize("lists", [True, False])
def test_a_ca_signs_certificates_and_lists(*, certificates: bool, lists: bool) -> None:
    pki = world()
    usage = x509.KeyUsage(False, False, False, False, False, certificates, lists, False, False)  # noqa: FBT003 - in the order of RFC 5280
    root = Authority(pki.root, pki.root_ca_crl, DEFAULT_NOW)
    root.need_issued(pki.platform_ca, is_ca=True)
    ca = reissued(pki.platform_ca, usage)
    if certificates and lists:
        root.need_issued(ca, is_ca=True)
        return
    with pytest.raises(RefusedError, match="is for something else"):
        root.need_issued(ca, is_ca=True)


def test_a_list_is_signed_by_its_ca_and_by_one_algorithm() -> None:
    pki = world()
    lists = x509.load_der_x509_crl(pki.root_ca_crl)
    builder = (
        x509.CertificateRevocationListBuilder(lists.issuer)
        .last_update(lists.last_update_utc)
        .next_update(moment(DEFAULT_NOW + DAY))
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for signer, algorithm, holds in (
        ("root", hashes.SHA256(), True),
        ("root", hashes.SHA384(), False),
        ("rogue", hashes.SHA256(), False),
    ):
        crl = builder.sign(keys.p256(signer), algorithm).public_bytes(Encoding.DER)
        if holds:
            Authority(pki.root, crl, DEFAULT_NOW)
            continue
        with pytest.raises(RefusedError, match="the signature does not hold"):
            Authority(pki.root, crl, DEFAULT_NOW)
