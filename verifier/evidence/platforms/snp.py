"""AMD SEV-SNP attestation reports, to the byte.

Offsets, little endian (AMD 56860, SEV-SNP ABI 1.58, table 23):

    0 version u32      8 policy u64     48 vmpl u32       52 signature algorithm u32
    56 current TCB u64      64 platform u64     72 key u32: mask bit 1, signing key bits 2 to 4
    80 report data 64       144 measurement 48  192 host data 32
    384 reported TCB u64    416 chip id 64      480 committed TCB u64   496 launch TCB u64
    672 r 72, s 72          of ECDSA P-384 over SHA-384 of bytes 0 to 671; zero padded
"""

import hashlib
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.certificates import parse_pem_chain

AMD: Final = "Advanced Micro Devices"
"""The organisation that AMD's certificates name."""

REPORT_BYTES: Final = 1184
VERSIONS: Final = (2, 3, 5)
_SIGNED: Final = 672
_HALF: Final = 72
_SCALAR: Final = 48
_DEBUG: Final = 1 << 19
_MIGRATION_AGENT: Final = 1 << 18
_MASKED: Final = 1 << 1
_ECDSA_P384_SHA384: Final = 1


class SnpReport(Struct, frozen=True, kw_only=True):
    """A report, read and not verified.

    version        of the report
    policy         bits, u64: what the owner lets the host do
    vmpl           the privilege level that asked for it, u32; 0 is the highest
    key            bits, u32: which key signed, and whether the chip is masked
    current_tcb    versions of the platform as it runs, 8 bytes
    reported_tcb   versions that the signing key vouches for, 8 bytes
    committed_tcb  versions below which the platform cannot go back, 8 bytes
    launch_tcb     versions when the guest began, 8 bytes
    report_data    64 bytes that the guest chose
    measurement    what the guest began with, 48 bytes
    host_data      32 bytes that the host chose when the guest began
    chip_id        64 bytes; zeros where the chip is masked
    signed         what the signature is over
    signature      r || s, big endian, 96 bytes
    """

    version: int
    policy: int
    vmpl: int
    key: int
    current_tcb: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    report_data: bytes
    measurement: bytes
    host_data: bytes
    chip_id: bytes
    signed: bytes
    signature: bytes

    @property
    def debug(self) -> bool:
        """Whether the host may read the guest's memory."""
        return bool(self.policy & _DEBUG)

    @property
    def migratable(self) -> bool:
        """Whether a migration agent may take the guest elsewhere."""
        return bool(self.policy & _MIGRATION_AGENT)

    @property
    def masked(self) -> bool:
        """Whether the chip does not say which it is."""
        return bool(self.key & _MASKED) or not any(self.chip_id)

    @property
    def signing_key(self) -> int:
        """Which key signed: 0 the chip's own (VCEK), 1 one of a cloud's (VLEK)."""
        return self.key >> 2 & 7


def is_amds(pem: bytes, what: str) -> bool:
    """Whether the first certificate of a PEM file is one of AMD's, such as a chip's (VCEK)."""
    from cryptography.x509 import NameOID  # noqa: PLC0415 - only where a certificate is

    try:
        first = parse_pem_chain(pem, what)[0]
    except (EvidenceError, IndexError):
        return False
    named = first.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [str(item.value) for item in named] == [AMD]


def host_data_of(mr_config: str) -> bytes:
    """The host data (32 bytes) of a guest with this configuration document (canonical JSON)."""
    return hashlib.sha256(b"dstack-mr-config-v3:\0" + mr_config.encode("utf-8")).digest()


def parse_snp_report(raw: bytes, what: str) -> SnpReport:
    """Parse a report. Nothing about it is verified. Raises EvidenceError."""
    if len(raw) != REPORT_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes, a SEV-SNP report has {REPORT_BYTES}")

    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(raw[at : at + size], "little")

    if number(0) not in VERSIONS or number(52) != _ECDSA_P384_SHA384:
        raise EvidenceError(
            f"{what}: version {number(0)} or signature algorithm {number(52)} is not known"
        )
    halves = [raw[_SIGNED + at : _SIGNED + at + _HALF] for at in (0, _HALF)]
    if any(any(half[_SCALAR:]) for half in halves):
        raise EvidenceError(f"{what}: its signature is longer than P-384 has")
    return SnpReport(
        version=number(0),
        policy=number(8, 8),
        vmpl=number(48),
        key=number(72),
        current_tcb=raw[56:64],
        reported_tcb=raw[384:392],
        committed_tcb=raw[480:488],
        launch_tcb=raw[496:504],
        report_data=raw[80:144],
        measurement=raw[144:192],
        host_data=raw[192:224],
        chip_id=raw[416:480],
        signed=raw[:_SIGNED],
        signature=b"".join(half[:_SCALAR][::-1] for half in halves),
    )
