"""The launch measurement of a SEV-SNP guest, from what its VMM says that it put into memory.

    vm_config.sev_snp_measurement, JSON text, in one of two forms:
      {ovmf_hash, kernel_hash, initrd_hash, base_cmdline, sev_hashes_table_gpa, sev_es_reset_eip,
       ovmf_sections[{gpa, size, section_type}], vcpus, vcpu_type, guest_features}
      {checksum_file, measurement, vcpus, vcpu_type, guest_features}: both in base64; the checksum
       file is a line `sha256  measurement.snp.cbor`, its own sha256 is the image's hash, and the
       CBOR map holds the rest under shorter names

The measurement is a chain of SHA-384 over pages, which begins at `ovmf_hash`, the chain after the
firmware's own pages. Sources: AMD 56860 8.17.2 (page information); AMD 24593 B.4 (save area); QEMU
target/i386/sev.c (table of kernel hashes, reset state); Dstack-TEE/dstack dstack-mr/src/sev.rs.
"""

import hashlib
import struct
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.platforms.cbor import parse_cbor
from verifier.model.result import JsonValue

_PAGE: Final = 4096
_NORMAL, _SAVE_AREA, _ZERO, _SECRETS, _CPUID = 1, 2, 3, 5, 6
_SAVE_AREA_GPA: Final = 0xFFFFFFFFF000
_BOOT_EIP: Final = 0xFFFFFFF0
_KERNEL_HASHES: Final = 16
_FILLED: Final = {1: _ZERO, 2: _SECRETS, 3: _CPUID, 4: _ZERO}
"""Which kind of page the firmware's section of a type is measured as."""

_MAX_SECTIONS: Final = 64
_MAX_PAGES: Final = 1 << 16
_MAX_CPUS: Final = 512
_SIGNATURES: Final = (
    ("EPYC-Genoa", 0xA10F10),
    ("EPYC-Milan", 0xA00F11),
    ("EPYC-Rome", 0x830F10),
    ("EPYC", 0x800F12),
)
"""What RDX holds at reset: CPUID's signature of QEMU's models (target/i386/cpu.c)."""

_TABLE: Final = bytes.fromhex("06d63894224fc94cb479a793d411fd21")
_CMDLINE: Final = bytes.fromhex("d82dd09720bd944caa78e7714d36ab2a")
_INITRD: Final = bytes.fromhex("31f7ba442f3ad74b9af141e29169781d")
_KERNEL: Final = bytes.fromhex("3794e74dd2ab7f42b835d5b172d2045b")
"""Names of the table of kernel hashes and of its entries, as they stand in memory."""


class Launch(Struct, frozen=True, kw_only=True):
    """What a VMM says that it launched.

    image_hash   hash of the checksum file that names the image's measurement, 32 bytes; b"" where
                 none came
    ovmf_hash    the chain of SHA-384 after the firmware's own pages, 48 bytes
    kernel_hash  sha256, 32 bytes
    initrd_hash  sha256, 32 bytes
    cmdline      the kernel's command line
    hashes_gpa   the address of the table of kernel hashes
    reset_eip    where all CPUs except the first begin
    sections     (address, bytes, type) of those that the firmware lists
    cpus         how many virtual CPUs
    cpu_type     QEMU's model of them, such as `EPYC-v4`
    features     bits, u64: SEV features of the guest
    """

    image_hash: bytes
    ovmf_hash: bytes
    kernel_hash: bytes
    initrd_hash: bytes
    cmdline: str
    hashes_gpa: int
    reset_eip: int
    sections: tuple[tuple[int, int, int], ...]
    cpus: int
    cpu_type: str
    features: int


def parse_launch(config: str, what: str) -> Launch | None:
    """What an attestation's configuration says was launched; None where it does not say. Raises
    EvidenceError."""
    document = codec.parse_json_object(config, what) if config else {}
    if isinstance(document.get("vm_config"), str):
        document = codec.parse_json_object(codec.text_field(document, "vm_config", what), what)
    text = codec.text_field(document, "sev_snp_measurement", what)
    if not text:
        return None
    stated = codec.parse_json_object(text, f"{what}: sev_snp_measurement")
    packed = "measurement" in stated
    image_hash, image = _image_document(stated, what) if packed else (b"", stated)
    return _launch(image_hash, {**_renamed(image), **_machine(stated)}, what)


def launch_measurement(launch: Launch) -> bytes:
    """The measurement (48 bytes) of what was launched. Raises EvidenceError for a CPU model that is
    not known."""
    signature = next(
        (value for name, value in _SIGNATURES if launch.cpu_type.startswith(name)), None
    )
    if signature is None:
        raise EvidenceError(f"SEV-SNP launch: the CPU model {launch.cpu_type[:24]!a} is not known")
    digest = launch.ovmf_hash
    for gpa, size, kind in launch.sections:
        if kind == _KERNEL_HASHES:
            page = hashlib.sha384(_hashes_page(launch)).digest()
            digest = _extended(digest, _NORMAL, gpa, page)
            continue
        for at in range(0, size, _PAGE):
            digest = _extended(digest, _FILLED[kind], gpa + at, bytes(48))
    for cpu in range(launch.cpus):
        area = _save_area(launch.reset_eip if cpu else _BOOT_EIP, launch.features, signature)
        digest = _extended(digest, _SAVE_AREA, _SAVE_AREA_GPA, hashlib.sha384(area).digest())
    return digest


def _image_document(stated: codec.JsonObject, what: str) -> tuple[bytes, codec.JsonObject]:
    where = f"{what}: measurement of the image"
    listed = codec.parse_base64(codec.text_field(stated, "checksum_file", what), where)
    raw = codec.parse_base64(codec.text_field(stated, "measurement", what), where)
    lines = codec.parse_utf8(listed, where).splitlines()
    named = [line.split() for line in lines if line.endswith("measurement.snp.cbor")]
    if [item[:1] for item in named] != [[hashlib.sha256(raw).hexdigest()]]:
        raise EvidenceError(f"{where}: is not the one that its checksum file names")
    document = parse_cbor(raw, where)
    if not isinstance(document, dict):
        raise EvidenceError(f"{where}: is no map")
    return hashlib.sha256(listed).digest(), document


def _renamed(image: codec.JsonObject) -> codec.JsonObject:
    names = {
        "cmdline": "base_cmdline",
        "hashes_table_gpa": "sev_hashes_table_gpa",
        "reset_eip": "sev_es_reset_eip",
    }
    return {names.get(name, name): value for name, value in image.items()}


def _machine(stated: codec.JsonObject) -> codec.JsonObject:
    return {name: stated.get(name) for name in ("vcpus", "vcpu_type", "guest_features")}


def _launch(image_hash: bytes, fields: codec.JsonObject, what: str) -> Launch:
    def number(name: str, most: int) -> int:
        value = codec.as_int(fields.get(name), f"{what}: {name}")
        if not 0 <= value <= most:
            raise EvidenceError(f"{what}: {name} is {value}")
        return value

    def digest(name: str, size: int) -> bytes:
        return codec.parse_hex(fields.get(name), f"{what}: {name}", length=size)

    return Launch(
        image_hash=image_hash,
        ovmf_hash=digest("ovmf_hash", 48),
        kernel_hash=digest("kernel_hash", 32),
        initrd_hash=digest("initrd_hash", 32),
        cmdline=codec.as_str(fields.get("base_cmdline"), f"{what}: base_cmdline"),
        hashes_gpa=number("sev_hashes_table_gpa", 1 << 32),
        reset_eip=number("sev_es_reset_eip", (1 << 32) - 1),
        sections=_sections(fields.get("ovmf_sections"), f"{what}: ovmf_sections"),
        cpus=number("vcpus", _MAX_CPUS),
        cpu_type=codec.as_str(fields.get("vcpu_type"), f"{what}: vcpu_type"),
        features=number("guest_features", (1 << 64) - 1),
    )


def _sections(value: JsonValue, what: str) -> tuple[tuple[int, int, int], ...]:
    found = []
    for item in codec.as_list(value, what):
        section = codec.as_object(item, what)
        gpa, size = (codec.as_int(section.get(name), what) for name in ("gpa", "size"))
        kind = codec.as_int(section.get("section_type", section.get("type")), what)
        if gpa < 0 or gpa + size >= 1 << 40 or size <= 0 or gpa % _PAGE or size % _PAGE:
            raise EvidenceError(f"{what}: a section of {size} bytes at {gpa} is not of whole pages")
        if kind not in {*_FILLED, _KERNEL_HASHES}:
            raise EvidenceError(f"{what}: a section has the unknown type {kind}")
        found.append((gpa, size, kind))
    if len(found) > _MAX_SECTIONS or sum(size for _, size, _ in found) > _MAX_PAGES * _PAGE:
        raise EvidenceError(f"{what}: more, or larger, sections than any firmware has")
    return tuple(found)


def _extended(digest: bytes, kind: int, gpa: int, contents: bytes) -> bytes:
    """The chain after one page: 112 bytes of page information, hashed."""
    page = struct.pack("<HBBBBBBQ", 112, kind, 0, 0, 0, 0, 0, gpa)
    return hashlib.sha384(digest + contents + page).digest()


def _hashes_page(launch: Launch) -> bytes:
    """The page with the table of kernel hashes, at its place in it."""
    cmdline = hashlib.sha256(launch.cmdline.encode("utf-8") + b"\0").digest()
    entries = b"".join(
        name + struct.pack("<H", 50) + digest
        for name, digest in (
            (_CMDLINE, cmdline),
            (_INITRD, launch.initrd_hash),
            (_KERNEL, launch.kernel_hash),
        )
    )
    table = (_TABLE + struct.pack("<H", 168) + entries).ljust(176, b"\0")
    at = launch.hashes_gpa % _PAGE
    return (bytes(at) + table).ljust(_PAGE, b"\0")[:_PAGE]


def _save_area(eip: int, features: int, signature: int) -> bytes:
    """The state of a virtual CPU at reset, as KVM and QEMU set it: what is not named is zero."""
    area = bytearray(_PAGE)
    data = (0, 0x93, 0xFFFF, 0)
    segments = {
        0x00: data,
        0x10: (0xF000, 0x9B, 0xFFFF, eip & 0xFFFF0000),
        **dict.fromkeys((0x20, 0x30, 0x40, 0x50), data),
        0x60: (0, 0, 0xFFFF, 0),
        0x70: (0, 0x82, 0xFFFF, 0),
        0x80: (0, 0, 0xFFFF, 0),
        0x90: (0, 0x8B, 0xFFFF, 0),
    }
    registers = {
        0xD0: 0x1000,
        0x148: 0x40,
        0x158: 0x10,
        0x160: 0x400,
        0x168: 0xFFFF0FF0,
        0x170: 2,
        0x178: eip & 0xFFFF,
        0x268: 0x0007040600070406,
        0x310: signature,
        0x3B0: features,
        0x3E8: 1,
    }
    for at, segment in segments.items():
        struct.pack_into("<HHIQ", area, at, *segment)
    for at, value in registers.items():
        struct.pack_into("<Q", area, at, value)
    struct.pack_into("<I", area, 0x408, 0x1F80)
    struct.pack_into("<H", area, 0x410, 0x37F)
    return bytes(area)
