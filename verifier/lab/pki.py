"""A PKI in the shape of Intel's, with a root of our own.

    root ── platform CA ── PCK leaf (SGX extension)       signs QE reports
      └──── TCB signing                                   signs TCB info and QE identity

Names follow Intel's common names, because verifiers read them; the organisation says what this is.
Shapes: Intel SGX PCK Certificate and CRL Profile Specification; RFC 5280.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from verifier.lab import keys

ORGANISATION: Final = "dstack-audit simulated PKI"
SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
FMSPC: Final = bytes.fromhex("1abc0de00000")
PCE_SVN: Final = 13
CPU_SVN: Final = bytes.fromhex("03030202040100050000000000000000")
CRL_URL: Final = "https://pcs.lab.invalid/crl/root.der"
DAY: Final = 86400

_COMMON_NAMES: Final = {
    "root": "Intel SGX Root CA",
    "platform-ca": "Intel SGX PCK Platform CA",
    "pck": "Intel SGX PCK Certificate",
    "tcb-signing": "Intel SGX TCB Signing",
}
_ISSUERS: Final = {
    "root": "root",
    "platform-ca": "root",
    "pck": "platform-ca",
    "tcb-signing": "root",
}
_YEARS: Final = {"root": (9, 31), "platform-ca": (9, 15)}
"""Age and lifetime of the CAs."""


class PkiOptions(Struct, frozen=True, kw_only=True):
    """What one PKI looks like.

    now          when the world is observed, Unix seconds
    platform     the label of the platform
    root         the label of the trust anchor's key
    rogue        certificates and CRLs that somebody else's key signs (root-ca-crl, pck-crl,
                 platform-ca, pck, tcb-signing)
    revoked      certificates that are on their issuer's CRL (platform-ca, pck, tcb-signing)
    expired      certificates whose time is over
    fmspc        the platform's family, 6 bytes
    pce_svn      the version of its PCE
    cpu_svn      the versions of its TCB components, 16 bytes
    crl_issued   when the CRLs were issued, Unix seconds
    crl_expires  when the CRLs expire, Unix seconds
    """

    now: int
    platform: str
    root: str = "root"
    rogue: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()
    expired: frozenset[str] = frozenset()
    fmspc: bytes = FMSPC
    pce_svn: int = PCE_SVN
    cpu_svn: bytes = CPU_SVN
    crl_issued: int
    crl_expires: int


class Pki(Struct, frozen=True, kw_only=True):
    """The certificates and CRLs of one platform.

    root         the trust anchor
    platform_ca  issued by the root
    pck          the leaf that vouches for the platform, issued by the platform CA
    tcb_signing  the leaf that signs TCB info and QE identity, issued by the root
    root_ca_crl  the root's CRL, DER
    pck_crl      the platform CA's CRL, DER
    pck_key      the private key of `pck`
    tcb_key      the private key of `tcb_signing`
    """

    root: x509.Certificate
    platform_ca: x509.Certificate
    pck: x509.Certificate
    tcb_signing: x509.Certificate
    root_ca_crl: bytes
    pck_crl: bytes
    pck_key: ec.EllipticCurvePrivateKey
    tcb_key: ec.EllipticCurvePrivateKey

    @property
    def root_der(self) -> bytes:
        """The trust anchor (DER)."""
        return der(self.root)

    @property
    def quote_chain(self) -> bytes:
        """PCK leaf, platform CA, root: the PEM chain in the certification data of a quote."""
        return pem_chain([self.pck, self.platform_ca, self.root])

    @property
    def tcb_chain(self) -> str:
        """TCB signing leaf and root as PEM."""
        return pem_chain([self.tcb_signing, self.root]).decode()

    @property
    def crl_chain(self) -> str:
        """Platform CA and root as PEM."""
        return pem_chain([self.platform_ca, self.root]).decode()


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's DER bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem_chain(chain: Sequence[x509.Certificate]) -> bytes:
    """Certificates as PEM, one after another."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in chain)


def moment(seconds: int) -> datetime:
    """Unix seconds as an aware UTC time."""
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def serial(label: str) -> int:
    """A positive serial number of at most 20 octets (RFC 5280 4.1.2.2)."""
    return int.from_bytes(keys.labelled(f"serial {label}", 20), "big") >> 2


def device_ppid(platform: str) -> bytes:
    """The platform provisioning id (16 bytes) of a platform."""
    return keys.labelled(f"ppid {platform}", 16)


@cache
def build_pki(options: PkiOptions) -> Pki:
    """All certificates and CRLs that `options` describe."""
    signing = {
        "root": keys.p256(options.root),
        "platform-ca": keys.p256("platform CA"),
        "pck": keys.p256(f"pck {options.platform}"),
        "tcb-signing": keys.p256("tcb signing"),
    }
    issued = {role: _issue(role, signing, options) for role in signing}
    revoked = {
        issuer: [issued[role] for role in sorted(options.revoked) if _ISSUERS[role] == issuer]
        for issuer in ("root", "platform-ca")
    }
    return Pki(
        root=issued["root"],
        platform_ca=issued["platform-ca"],
        pck=issued["pck"],
        tcb_signing=issued["tcb-signing"],
        root_ca_crl=_crl("root-ca-crl", issued["root"], signing["root"], revoked["root"], options),
        pck_crl=_crl(
            "pck-crl",
            issued["platform-ca"],
            signing["platform-ca"],
            revoked["platform-ca"],
            options,
        ),
        pck_key=signing["pck"],
        tcb_key=signing["tcb-signing"],
    )


def _issue(
    role: str, signing: Mapping[str, ec.EllipticCurvePrivateKey], options: PkiOptions
) -> x509.Certificate:
    issuer = _ISSUERS[role]
    age, lifetime = _YEARS.get(role, (1, 7))
    start = options.now - age * 365 * DAY
    end = options.now - DAY if role in options.expired else start + lifetime * 365 * DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(_COMMON_NAMES[role]))
        .issuer_name(_name(_COMMON_NAMES[issuer]))
        .public_key(signing[role].public_key())
        .serial_number(serial(f"{role} {options.platform if role == 'pck' else ''}"))
        .not_valid_before(moment(start))
        .not_valid_after(moment(end))
    )
    for extension, critical in _extensions(role, signing[role], signing[issuer]):
        builder = builder.add_extension(extension, critical)
    if role == "pck":
        builder = builder.add_extension(_sgx_extension(options), critical=False)
    signer = keys.p256("rogue") if role in options.rogue else signing[issuer]
    return builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Nowhere"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "NA"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
        ]
    )


def _extensions(
    role: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = role in {"root", "platform-ca"}
    path_length = {"root": 1, "platform-ca": 0}.get(role)
    point = x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(CRL_URL)],
        relative_name=None,
        reasons=None,
        crl_issuer=None,
    )
    return [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
        (x509.CRLDistributionPoints([point]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (key_usage(is_ca=is_ca, commitment=not is_ca), True),
        (x509.BasicConstraints(ca=is_ca, path_length=path_length), True),
    ]


def key_usage(
    *, is_ca: bool, commitment: bool = False, signature: bool | None = None
) -> x509.KeyUsage:
    """Certificates and CRLs for a CA; digitalSignature for a leaf, or as `signature` says."""
    return x509.KeyUsage(
        digital_signature=not is_ca if signature is None else signature,
        content_commitment=commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _crl(
    role: str,
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Sequence[x509.Certificate],
    options: PkiOptions,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(moment(options.crl_issued))
        .next_update(moment(options.crl_expires))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    for item in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(item.serial_number)
            .revocation_date(moment(options.crl_issued))
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
    signer = keys.p256("rogue") if role in options.rogue else key
    crl = builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    return crl.public_bytes(serialization.Encoding.DER)


def _sgx_extension(options: PkiOptions) -> x509.UnrecognizedExtension:
    """The SGX extension of a PCK leaf (Intel SGX PCK Certificate Profile, 1.3.5)."""
    components = [
        _pair(f"{SGX_EXTENSION}.2.{index + 1}", _integer(value))
        for index, value in enumerate(options.cpu_svn)
    ]
    tcb = [
        *components,
        _pair(f"{SGX_EXTENSION}.2.17", _integer(options.pce_svn)),
        _pair(f"{SGX_EXTENSION}.2.18", tlv(0x04, options.cpu_svn)),
    ]
    flags = [_pair(f"{SGX_EXTENSION}.7.{index}", tlv(0x01, b"\xff")) for index in (1, 2, 3)]
    instance = keys.labelled(f"platform instance {options.platform}", 16)
    content = [
        _pair(f"{SGX_EXTENSION}.1", tlv(0x04, device_ppid(options.platform))),
        _pair(f"{SGX_EXTENSION}.2", tlv(0x30, b"".join(tcb))),
        _pair(f"{SGX_EXTENSION}.3", tlv(0x04, bytes(2))),
        _pair(f"{SGX_EXTENSION}.4", tlv(0x04, options.fmspc)),
        _pair(f"{SGX_EXTENSION}.5", tlv(0x0A, b"\x01")),
        _pair(f"{SGX_EXTENSION}.6", tlv(0x04, instance)),
        _pair(f"{SGX_EXTENSION}.7", tlv(0x30, b"".join(flags))),
    ]
    return x509.UnrecognizedExtension(
        x509.ObjectIdentifier(SGX_EXTENSION), tlv(0x30, b"".join(content))
    )


def tlv(tag: int, content: bytes) -> bytes:
    """One DER element (X.690 8.1)."""
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - the short form of a length
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _pair(oid: str, value: bytes) -> bytes:
    return tlv(0x30, _oid(oid) + value)


@cache
def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytes([40 * first + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    return tlv(0x06, content)


def _integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
