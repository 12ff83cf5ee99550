"""RA-TLS certificate chains and versioned attestations of simulated guests.

    leaf CN=demo-cert ── O=Dstack,CN=Dstack App CA ── O=Dstack,CN=Dstack KMS CA     key provider kms
    leaf CN=demo-cert ── CN=App Root Cert                                           every other

Extensions 1.3.6.1.4.1.62397.1.N, each a DER OCTET STRING inside the extension value: 1 quote,
2 event log, 3 app id, 4 usage, 8 versioned attestation (Dstack-TEE/dstack ra-tls/src/oids.rs).
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgpack
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.events import release
from verifier.lab.pki import DAY, key_usage, moment, pem_chain, serial, tlv

OID_PREFIX: Final = "1.3.6.1.4.1.62397.1"
QUOTE, EVENT_LOG, APP_ID, USAGE, ATTESTATION = 1, 2, 3, 4, 8
_NOT_BEFORE: Final = datetime(1975, 1, 1, tzinfo=UTC)
_TEN_YEARS: Final = 3650 * DAY

AttestationForm = Literal["quote", "scale-v0", "msgpack-v1", "none"]


class Attestation(Struct, frozen=True, kw_only=True):
    """What a guest can show with a certificate: `log` is the full log as JSON entries."""

    quote: bytes
    log: Sequence[JsonObject]
    report_data: bytes
    vm_config: str


class CertOptions(Struct, frozen=True, kw_only=True):
    """How the chain is made.

    version     the dstack release of the guest
    subject     the name of the leaf, which also labels its key
    app_id      20 bytes
    issued      when it begins, Unix seconds
    ca          the label of the KMS whose CA tops it; "" for a root of its own
    form        how the leaf holds the attestation
    forged      whether another key than the CA's signed below it
    usage       the usage that the leaf states
    leaf_is_ca  whether the leaf says that it is a CA
    leaf_app    the app id that the leaf states, 20 bytes; b"" for that of the CA above it
    """

    version: str
    subject: str
    app_id: bytes
    issued: int
    ca: str
    form: AttestationForm
    forged: bool = False
    usage: str = "app:custom"
    leaf_is_ca: bool = False
    leaf_app: bytes = b""


def kms_ca_key(kms: str) -> ec.EllipticCurvePrivateKey:
    """The CA key of a labelled KMS."""
    return keys.p256(f"kms {kms} CA")


def kms_ca(kms: str, issued: int) -> x509.Certificate:
    """The self-signed CA certificate of a labelled KMS."""
    key = kms_ca_key(kms)
    name = _name("Dstack KMS CA", "Dstack")
    builder = _builder(name, name, key, f"kms {kms}", issued)
    for extension, critical in _ca_extensions(key, path_length=1):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)


class RpcOptions(Struct, frozen=True, kw_only=True):
    """How a KMS makes the certificate of its own address.

    signer       the label of the KMS whose CA signs it; "" for its own
    usage        the usage that the certificate states
    app_id       the app id that it states, 20 bytes; b"" for none
    is_ca        whether it says that it is a CA
    report_data  what the quote in it binds, 64 bytes; None for the certificate's key
    attested     whether there is a quote in it
    """

    signer: str = ""
    usage: str = "kms:rpc"
    app_id: bytes = b""
    is_ca: bool = False
    report_data: bytes | None = None
    attested: bool = True


def rpc_key(kms: str) -> ec.EllipticCurvePrivateKey:
    """The key of a labelled KMS's own address."""
    return keys.p256(f"kms {kms} rpc")


def rpc_report_data(kms: str) -> bytes:
    """What the quote in that certificate binds."""
    return hashlib.sha512(b"ratls-cert:" + keys.spki(rpc_key(kms))).digest()


def rpc_cert(
    kms: str, options: RpcOptions, attestation: Attestation, issued: int, *, blob: bool
) -> x509.Certificate:
    """The certificate that a labelled KMS shows at its own address, directly under its CA; with
    `blob`, its attestation is a versioned one."""
    key, host = rpc_key(kms), _name("kms.gw.lab.invalid")
    issuer = _name("Dstack KMS CA", "Dstack")
    builder = _builder(host, issuer, key, f"kms {kms} rpc", issued)
    if options.is_ca:
        for extension, critical in _ca_extensions(key, path_length=0):
            builder = builder.add_extension(extension, critical)
    log = json.dumps(attestation.log, separators=(",", ":")).encode()
    evidence = [(ATTESTATION, scale_v0(attestation))]
    if not blob:
        evidence = [(QUOTE, attestation.quote), (EVENT_LOG, log)]
    identity = [(USAGE, options.usage.encode())]
    if options.app_id:
        identity.append((APP_ID, options.app_id))
    for number, value in (*identity, *(evidence if options.attested else ())):
        builder = builder.add_extension(_extension(number, value), critical=False)
    signer = kms_ca_key(options.signer or kms)
    return builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)


def leaf_key(options: CertOptions) -> ec.EllipticCurvePrivateKey:
    """The key of the leaf, which the quote's report data binds."""
    return keys.p256(f"app certificate {options.subject}")


def report_data(options: CertOptions) -> bytes:
    """sha512("ratls-cert:" || SubjectPublicKeyInfo of the leaf)."""
    return hashlib.sha512(b"ratls-cert:" + keys.spki(leaf_key(options))).digest()


def app_cert(options: CertOptions, attestation: Attestation) -> str:
    """The chain as PEM, leaf first, blocks separated by an empty line."""
    if not options.ca:
        root_key = keys.p256(f"app root {options.subject}")
        root_name = _name("App Root Cert")
        label = f"root {options.subject}"
        builder = _builder(root_name, root_name, root_key, label, options.issued)
        for extension, critical in _ca_extensions(root_key, path_length=1):
            builder = builder.add_extension(extension, critical)
        root = builder.sign(root_key, hashes.SHA256(), ecdsa_deterministic=True)
        chain = [_leaf(options, attestation, root_name, root_key), root]
    else:
        ca_key = keys.p256("forged KMS CA") if options.forged else kms_ca_key(options.ca)
        app_key = keys.p256(f"app CA {options.ca} {options.app_id.hex()}")
        app_name = _name("Dstack App CA", "Dstack")
        issuer = _name("Dstack KMS CA", "Dstack")
        builder = _builder(app_name, issuer, app_key, f"app CA {options.subject}", options.issued)
        for extension, critical in _ca_extensions(app_key, path_length=0):
            builder = builder.add_extension(extension, critical)
        for number, value in ((APP_ID, options.app_id), (USAGE, b"app:ca")):
            builder = builder.add_extension(_extension(number, value), critical=False)
        app_ca = builder.sign(ca_key, hashes.SHA256(), ecdsa_deterministic=True)
        leaf = _leaf(options, attestation, app_name, app_key)
        chain = [leaf, app_ca, kms_ca(options.ca, options.issued)]
    return "\n".join(pem_chain([item]).decode() for item in chain)


def scale_v0(attestation: Attestation, *, tpm: bool = False) -> bytes:
    """The SCALE form: `00 | 00 | quote | event log | runtime events | report data | config`; with a
    TPM, as on Google Cloud, `00 | 01 | quote | event log | TPM quote | …`."""
    log = [
        struct.pack("<II", _int(entry["imr"]), _int(entry["event_type"]))
        + _vector(_bytes(entry["digest"]))
        + _vector(str(entry["event"]).encode())
        + _vector(_bytes(entry["event_payload"]))
        for entry in attestation.log
    ]
    runtime = [
        _vector(str(entry["event"]).encode()) + _vector(_bytes(entry["event_payload"]))
        for entry in _runtime(attestation)
    ]
    return b"".join(
        (
            b"\0\1" if tpm else b"\0\0",
            _vector(attestation.quote),
            _compact(len(log)),
            *log,
            _TPM_QUOTE if tpm else b"",
            _compact(len(runtime)),
            *runtime,
            attestation.report_data,
            _vector(attestation.vm_config.encode()),
        )
    )


def msgpack_v1(attestation: Attestation, *, tpm: bool = False) -> bytes:
    """The msgpack form: named maps; quote and report data as arrays, log fields as bin."""
    log: list[dict[str, Any]] = [
        {
            "imr": entry["imr"],
            "event_type": entry["event_type"],
            "digest": _bytes(entry["digest"]),
            "event": entry["event"],
            "event_payload": _bytes(entry["event_payload"]),
            **_version(entry),
        }
        for entry in attestation.log
    ]
    runtime = [
        {"event": entry["event"], "payload": _bytes(entry["event_payload"]), **_version(entry)}
        for entry in _runtime(attestation)
    ]
    document = {
        "version": 1,
        "platform": {
            "kind": "gcp-tdx" if tpm else "tdx",
            "data": {
                "quote": list(attestation.quote),
                "event_log": log,
                **({"tpm_quote": {}} if tpm else {}),
            },
        },
        "stack": {
            "kind": "dstack",
            "data": {
                "report_data": list(attestation.report_data),
                "runtime_events": runtime,
                "config": attestation.vm_config,
            },
        },
    }
    packed: bytes = msgpack.packb(document)
    return packed


def _version(entry: JsonObject) -> dict[str, Any]:
    return {"version": entry["version"]} if "version" in entry else {}


def _leaf(
    options: CertOptions,
    attestation: Attestation,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    key = leaf_key(options)
    label = f"leaf {options.subject}"
    builder = _builder(_name("demo-cert"), issuer, key, label, options.issued)
    if options.leaf_is_ca:
        for extension, critical in _ca_extensions(key, path_length=0):
            builder = builder.add_extension(extension, critical)
    else:
        builder = builder.add_extension(key_usage(is_ca=False), critical=True)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    for number, value in _leaf_values(options, attestation):
        builder = builder.add_extension(_extension(number, value), critical=False)
    return builder.sign(issuer_key, hashes.SHA256(), ecdsa_deterministic=True)


def _leaf_values(options: CertOptions, attestation: Attestation) -> list[tuple[int, bytes]]:
    """Extensions in the order of the release: evidence first up to 0.5.5, identity first later."""
    if options.form == "quote":
        log = json.dumps(attestation.log, separators=(",", ":")).encode()
        evidence = [(QUOTE, attestation.quote), (EVENT_LOG, log)]
    elif options.form == "scale-v0":
        evidence = [(ATTESTATION, scale_v0(attestation))]
    elif options.form == "none":
        evidence = []
    else:
        evidence = [(ATTESTATION, msgpack_v1(attestation))]
    if not options.ca:
        return evidence
    app_id = options.leaf_app or options.app_id
    identity = [(APP_ID, app_id), (USAGE, options.usage.encode())]
    return identity + evidence if release(options.version) >= (0, 5, 6) else evidence + identity


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    label: str,
    issued: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial(label))
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(moment(issued + _TEN_YEARS))
    )


def _ca_extensions(
    key: ec.EllipticCurvePrivateKey, path_length: int
) -> list[tuple[x509.ExtensionType, bool]]:
    identifier = hashlib.sha256(keys.spki(key)).digest()[:20]
    return [
        (key_usage(is_ca=True, signature=True), True),
        (x509.SubjectKeyIdentifier(identifier), False),
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
    ]


def _extension(number: int, value: bytes) -> x509.UnrecognizedExtension:
    oid = x509.ObjectIdentifier(f"{OID_PREFIX}.{number}")
    return x509.UnrecognizedExtension(oid, tlv(0x04, value))


def _name(common_name: str, organization: str = "") -> x509.Name:
    named = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        named.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(named)


def _runtime(attestation: Attestation) -> list[JsonObject]:
    return [entry for entry in attestation.log if entry["imr"] == 3]  # noqa: PLR2004 - RTMR3


def _compact(value: int) -> bytes:
    """A SCALE compact integer below 2^30."""
    if value < 1 << 6:
        return bytes([value << 2])
    if value < 1 << 14:
        return struct.pack("<H", value << 2 | 1)
    return struct.pack("<I", value << 2 | 2)


def _vector(value: bytes) -> bytes:
    return _compact(len(value)) + value


def _bytes(value: object) -> bytes:
    return bytes.fromhex(str(value))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


_TPM_QUOTE: Final = b"".join(
    (
        _vector(b"message"),
        _vector(b"signature"),
        _compact(1),
        struct.pack("<I", 14) + _vector(b"sha256") + _vector(bytes(32)),
        _vector(b"certificate"),
        b"\1",
        _compact(1),
        struct.pack("<I", 14) + _vector(bytes(32)),
    )
)
"""A TPM quote in the form of dstack's tpm-types: message, signature, one PCR value, certificate,
platform, one event. Nothing in it is signed: what is judged is the TD quote beside it."""
