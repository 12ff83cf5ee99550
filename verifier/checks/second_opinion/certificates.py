"""Intel's certificates and revocation lists, and what a PCK certificate says of its platform.

    root ── platform or processor CA ── PCK       the root's list revokes CAs and signing
      └──── TCB signing                           certificates, the CA's list PCKs

Shapes: SGX PCK Certificate and CRL Profile Specification. A chain is exactly as long as that.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID
from msgspec import Struct

from verifier.checks.second_opinion.refusal import RefusedError, need

_CRITICAL: Final = (x509.BasicConstraints, x509.KeyUsage)
"""The critical extensions of Intel's certificates; its revocation lists have none."""

_PLATFORM: Final = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_SEQUENCE, _INTEGER, _OCTETS, _OID = 0x30, 0x02, 0x04, 0x06
_BOOLEAN, _ENUMERATED = 0x01, 0x0A
_LONG: Final = 0x80
_COMPONENTS: Final = 16

Window = tuple[int, int]
"""First and last Unix second of something."""


class Platform(Struct, frozen=True, kw_only=True):
    """What a PCK certificate says of its platform.

    ppid        its provisioning id
    components  the security versions of its 16 TCB components
    pce_svn     that of its provisioning certification enclave
    pce_id      which provisioning certification enclave it is, 2 bytes
    fmspc       its family, 6 bytes
    """

    ppid: bytes
    components: tuple[int, ...]
    pce_svn: int
    pce_id: bytes
    fmspc: bytes


class Authority:
    """A CA, and what it revoked. `windows` is when what was verified under it is in force."""

    def __init__(self, certificate: x509.Certificate, crl: bytes, at: int) -> None:
        """Raises RefusedError where the list is not this CA's, or not in force."""
        self.certificate, self._at = certificate, at
        self._crl = x509.load_der_x509_crl(crl)
        who = common_name(certificate)
        need(self._crl.issuer == certificate.subject, f"a revocation list that is not of {who!a}")
        need(
            self._crl.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256
            and self._crl.is_signature_valid(certificate.public_key()),  # type: ignore[arg-type]
            f"the revocation list of {who!a}: the signature does not hold",
        )
        for found in (self._crl.extensions, *(entry.extensions for entry in self._crl)):
            _need_known(found, (), f"the revocation list of {who!a}")
        self._crl.extensions.get_extension_for_class(x509.CRLNumber)
        until = self._crl.next_update_utc
        need(until, f"the revocation list of {who!a} never ends")
        assert until is not None  # noqa: S101 - for the type checker
        begins, ends = int(self._crl.last_update_utc.timestamp()), int(until.timestamp())
        need(begins <= at < ends, f"the revocation list of {who!a} is not in force")
        self.windows: list[Window] = [(begins, ends)]

    def need_issued(self, certificate: x509.Certificate, *, is_ca: bool) -> None:
        """Raises RefusedError unless this CA issued a certificate, of a CA or of none, that is in
        force and that it did not revoke."""
        who = common_name(certificate)
        need(
            certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256,
            f"the certificate of {who!a} is signed by another algorithm",
        )
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, TypeError, ValueError) as error:
            issuer = common_name(self.certificate)
            raise RefusedError(f"the certificate of {who!a} is not issued by {issuer!a}") from error
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        need(basic.ca == is_ca, f"{who!a} is {'no' if is_ca else 'a'} CA")
        needed = usage.key_cert_sign and usage.crl_sign if is_ca else usage.digital_signature
        need(needed, f"the key of {who!a} is for something else")
        _need_known(certificate.extensions, _CRITICAL, f"the certificate of {who!a}")
        window = (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )
        need(window[0] <= self._at <= window[1], f"the certificate of {who!a} is not in force")
        revoked = self._crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        need(revoked is None, f"the certificate of {who!a} is revoked")
        self.windows.append(window)


def root_authority(root: bytes, crl: bytes, at: int) -> Authority:
    """The root that is trusted, which issues itself. Raises RefusedError."""
    certificate = x509.load_der_x509_certificate(root)
    found = Authority(certificate, crl, at)
    found.need_issued(certificate, is_ca=True)
    _need_name(certificate, "SGX Root CA")
    return found


def pck_certificate(pem: bytes, root: Authority, crl: bytes, at: int) -> x509.Certificate:
    """The PCK certificate of a chain, leaf first, under the root; the CA's list is given. What it
    rests on is added to the root's windows. Raises RefusedError."""
    leaf, *above = _chain(pem)
    issuers = [item for item in above if item.subject == leaf.issuer]
    need(len(issuers) == 1, "not one certificate of the PCK's issuer")
    root.need_issued(issuers[0], is_ca=True)
    _need_name(issuers[0], "CA")
    authority = Authority(issuers[0], crl, at)
    authority.need_issued(leaf, is_ca=False)
    _need_name(leaf, "SGX PCK Certificate")
    root.windows.extend(authority.windows)
    return leaf


def tcb_signer(pem: str, root: Authority) -> x509.Certificate:
    """The certificate, first of a chain, that signs TCB info and QE identity. Raises
    RefusedError."""
    leaf = _chain(pem.encode())[0]
    root.need_issued(leaf, is_ca=False)
    _need_name(leaf, "SGX TCB Signing")
    return leaf


def common_name(certificate: x509.Certificate) -> str:
    """The common name of whom a certificate is about, "" for none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def platform_of(certificate: x509.Certificate) -> Platform:
    """What a PCK certificate says of its platform. Raises RefusedError."""
    extension = certificate.extensions.get_extension_for_oid(_PLATFORM).value
    need(isinstance(extension, x509.UnrecognizedExtension), "the platform's extension is another")
    assert isinstance(extension, x509.UnrecognizedExtension)  # noqa: S101 - for the type checker
    fields = _fields(extension.value)
    tcb = _fields(_as(_SEQUENCE, fields, "2"), whole=False)
    _need_readable(fields, tcb)
    return Platform(
        ppid=_as(_OCTETS, fields, "1", 16),
        components=tuple(_number(tcb, f"2.{place + 1}") for place in range(_COMPONENTS)),
        pce_svn=_number(tcb, "2.17"),
        pce_id=_as(_OCTETS, fields, "3", 2),
        fmspc=_as(_OCTETS, fields, "4", 6),
    )


def _need_readable(fields: dict[str, tuple[int, bytes]], tcb: dict[str, tuple[int, bytes]]) -> None:
    """Raises RefusedError unless the fields that decide nothing are as the profile has them: the
    CPUSVN, the kind of platform, and where they stand, its instance and configuration."""
    _as(_OCTETS, tcb, "2.18", 16)
    need(_as(_ENUMERATED, fields, "5", 1) <= b"\2", "the platform's field 5 is of no known kind")
    if "6" in fields:
        _as(_OCTETS, fields, "6", 16)
    if "7" in fields:
        flags = _fields(_as(_SEQUENCE, fields, "7"), whole=False)
        for name in flags:
            flag = _as(_BOOLEAN, flags, name, 1)
            need(flag in (b"\0", b"\xff"), f"the platform's field {name} is no flag")


def _chain(pem: bytes) -> Sequence[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.rstrip(b"\0"))


def _need_name(certificate: x509.Certificate, phrase: str) -> None:
    found = common_name(certificate)
    need(phrase in found, f"{found!a} is no {phrase!r}")


def _need_known(found: x509.Extensions, known: tuple[type, ...], what: str) -> None:
    for item in found:
        need(
            not item.critical or isinstance(item.value, known),
            f"{what} has the critical extension {item.oid.dotted_string}",
        )


def _fields(raw: bytes, *, whole: bool = True) -> dict[str, tuple[int, bytes]]:
    """What a sequence of (identifier, value) holds: the identifier's end → tag and content."""
    if whole:
        ((tag, raw),) = _elements(raw)
        need(tag == _SEQUENCE, "the platform's extension is no sequence")
    found: dict[str, tuple[int, bytes]] = {}
    for tag, pair in _elements(raw):
        need(tag == _SEQUENCE, "the platform's extension has a field that is no pair")
        (kind, identifier), value = _elements(pair)
        name = _suffix(identifier)
        need(kind == _OID and name not in found, "the platform's extension has a field twice")
        found[name] = value
    return found


def _suffix(identifier: bytes) -> str:
    """The end of an object identifier below the extension's own; each arc is one byte."""
    prefix = bytes.fromhex("2a864886f84d010d01")
    need(identifier.startswith(prefix), "the platform's extension has a field of another kind")
    return ".".join(map(str, identifier[len(prefix) :]))


def _elements(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element."""
    place = 0
    while place < len(raw):
        need(place + 2 <= len(raw), "DER that ends too early")
        tag, size, place = raw[place], raw[place + 1], place + 2
        if size & _LONG:
            count = size & ~_LONG
            size = int.from_bytes(raw[place : place + count], "big")
            need(1 <= count <= 2 and size >= _LONG and size >> 8 * (count - 1), "no DER length")  # noqa: PLR2004
            place += count
        need(place + size <= len(raw), "DER that ends too early")
        yield tag, raw[place : place + size]
        place += size


def _as(
    tag: int, fields: dict[str, tuple[int, bytes]], name: str, size: int | None = None
) -> bytes:
    kind, content = fields.get(name, (0, b""))
    need(
        kind == tag and size in (None, len(content)), f"the platform's field {name} is not readable"
    )
    return content


def _number(fields: dict[str, tuple[int, bytes]], name: str) -> int:
    content = _as(_INTEGER, fields, name)
    need(content and content[0] < _LONG, f"the platform's field {name} is no number")
    return int.from_bytes(content, "big")
