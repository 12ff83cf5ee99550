"""An AMD SEV-SNP guest of our own making: its report, the certificates above it, its attestation.

    root (ARK) ── SEV key (ASK) ── chip (VCEK)      signs reports

AMD's root and SEV key are RSA; these are P-384, since nothing else has deterministic keys here.
"""

import hashlib
import json
from functools import cache
from typing import Final

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec import Struct, field

from verifier.evidence.codec import JsonObject
from verifier.evidence.platforms.snp_launch import launch_measurement, parse_launch
from verifier.lab import keys
from verifier.lab.pki import DAY, ORGANISATION, key_usage, moment, serial

CHIP_ID: Final = keys.labelled("snp chip", 64)
TCB: Final = bytes.fromhex("04000000000018d5")
APP_ID: Final = keys.labelled("snp app", 20)
LAUNCHED: Final[JsonObject] = {
    "ovmf_hash": keys.labelled("snp firmware", 48).hex(),
    "kernel_hash": keys.labelled("snp kernel", 32).hex(),
    "initrd_hash": keys.labelled("snp initrd", 32).hex(),
    "base_cmdline": "console=ttyS0 init=/init",
    "sev_hashes_table_gpa": 0x811400,
    "sev_es_reset_eip": 0x80B004,
    "ovmf_sections": [
        {"gpa": 0x800000, "size": 0x3000, "section_type": 1},
        {"gpa": 0x80D000, "size": 0x1000, "section_type": 2},
        {"gpa": 0x80E000, "size": 0x1000, "section_type": 3},
        {"gpa": 0x811000, "size": 0x1000, "section_type": 16},
    ],
    "vcpus": 2,
    "vcpu_type": "EPYC-v4",
    "guest_features": 1,
}
"""What a VMM launches, as vm_config states it."""

_OIDS: Final = "1.3.6.1.4.1.3704.1."
_PARTS: Final = {"3.1": TCB[0], "3.2": TCB[1], "3.3": TCB[6], "3.8": TCB[7]}
_NAMES: Final = {"ark": "ARK-Milan", "ask": "SEV-Milan", "vcek": "SEV-VCEK"}
_START: Final = 1577836800
_LIFE: Final = 60 * 365 * DAY
_PREFIX: Final = b"dstack-mr-config-v3:\0"


class Snp(Struct, frozen=True, kw_only=True):
    """One guest.

    policy       the field of the report, u64
    vmpl         the field of the report, u32
    key          the field of the report, u32
    root         the label of the root's key
    chip_id      what the report says, 64 bytes
    tcb          the reported TCB, 8 bytes
    launch_tcb   the TCB at launch, 8 bytes
    app          the app id that the host data is of, 20 bytes
    stated_app   the app id in the configuration beside the report, 20 bytes; None for the same
    endorsed     whether certificates come with it
    report_data  64 bytes
    launched     what its VMM launched, as vm_config states it
    stated       what the VMM says that it launched; None for what it did
    """

    policy: int = 0x30000
    vmpl: int = 0
    key: int = 0
    root: str = "snp root"
    chip_id: bytes = CHIP_ID
    tcb: bytes = TCB
    launch_tcb: bytes = TCB
    app: bytes = APP_ID
    stated_app: bytes | None = None
    endorsed: bool = True
    report_data: bytes = bytes(64)
    launched: JsonObject = field(default_factory=lambda: dict(LAUNCHED))
    stated: JsonObject | None = None

    def report(self) -> bytes:
        """The signed report."""
        body = bytearray(672)
        fields: dict[int, bytes] = {
            0: (3).to_bytes(4, "little"),
            8: self.policy.to_bytes(8, "little"),
            48: self.vmpl.to_bytes(4, "little"),
            52: (1).to_bytes(4, "little"),
            56: TCB,
            72: self.key.to_bytes(4, "little"),
            80: self.report_data,
            144: _measured(self.launched),
            192: hashlib.sha256(_PREFIX + mr_config(self.app).encode()).digest(),
            384: self.tcb,
            416: self.chip_id,
            480: TCB,
            496: self.launch_tcb,
        }
        for at, value in fields.items():
            body[at : at + len(value)] = value
        signature = keys.sign_p384(keys.p384("snp chip"), bytes(body))
        halves = (signature[:48][::-1], signature[48:][::-1])
        return bytes(body) + b"".join(half.ljust(72, b"\0") for half in halves) + bytes(368)

    def attestation(self) -> bytes:
        """The attestation of this guest, in the envelope's version 0."""
        chain = [
            _issue("ask", "snp ask", "ark", self.root),
            _issue("vcek", "snp chip", "ask", "snp ask"),
        ]
        listed = [item.public_bytes(Encoding.PEM) for item in chain] if self.endorsed else []
        return b"".join(
            (
                b"\0\3",
                _blob(self.report()),
                _compact(len(listed)),
                *(_blob(item) for item in listed),
                _blob(mr_config(self.app if self.stated_app is None else self.stated_app).encode()),
                _compact(0),
                bytes(64),
                _blob(config(self.launched if self.stated is None else self.stated).encode()),
            )
        )


def chain(
    chip: str = "snp chip", *stated: tuple[str, bytes]
) -> tuple[x509.Certificate, x509.Certificate]:
    """The certificates of a chip whose key has this label, and of the SEV key above it. `stated`
    are extensions of the first that say something else: the end of an OID, and its value."""
    return (
        _issue("vcek", chip, "ask", "snp ask", stated),
        _issue("ask", "snp ask", "ark", "snp root"),
    )


def config(launched: JsonObject) -> str:
    """The vm_config of a guest whose VMM says that it launched this."""
    stated = {"sev_snp_measurement": json.dumps(launched)} if launched else {}
    return json.dumps({"os_image_hash": "00" * 32, **stated})


def _measured(launched: JsonObject) -> bytes:
    launch = parse_launch(config(launched), "lab launch")
    return launch_measurement(launch) if launch is not None else bytes(48)


def mr_config(app_id: bytes) -> str:
    """The configuration document of a guest of an app."""
    document = {
        "app_id": app_id.hex(),
        "compose_hash": "11" * 32,
        "key_provider": "kms",
    }
    return rfc8785.dumps({**document, "version": 3}).decode()


def trust_anchor() -> x509.Certificate:
    """The root that a relying party of a simulated world trusts."""
    return _issue("ark", "snp root", "ark", "snp root")


def _blob(raw: bytes) -> bytes:
    return _compact(len(raw)) + raw


def _compact(number: int) -> bytes:
    """A SCALE-compact number below 2^30."""
    for size, mode in ((1, 0), (2, 1), (4, 2)):
        if number < 1 << 8 * size - 2:
            return (number << 2 | mode).to_bytes(size, "little")
    raise ValueError(number)


@cache
def _issue(
    role: str,
    key_label: str,
    issuer_role: str,
    issuer_label: str,
    stated: tuple[tuple[str, bytes], ...] = (),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(role))
        .issuer_name(_name(issuer_role))
        .public_key(keys.p384(key_label).public_key())
        .serial_number(serial(f"{role} {key_label}"))
        .not_valid_before(moment(_START))
        .not_valid_after(moment(_START + _LIFE))
    )
    if role == "vcek":
        extensions = {
            "2": b"\x16\x08Milan-B0",
            "4": CHIP_ID,
            **{oid: _integer(value) for oid, value in _PARTS.items()},
            **dict(stated),
        }
        for oid, value in extensions.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(_OIDS + oid), value)
            builder = builder.add_extension(extension, critical=False)
    else:
        builder = builder.add_extension(key_usage(is_ca=True), critical=True).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
    return builder.sign(keys.p384(issuer_label), hashes.SHA384(), ecdsa_deterministic=True)


def _integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes((len(raw),)) + raw


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, _NAMES[role]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
        ]
    )
