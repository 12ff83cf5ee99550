"""What guests of an OS image measure, as one document: written by `verify image`, read by --image.

    {"schema": "dstack-audit/image/v1", "os_image_hash", "release", "kind",
     "mrtd_two_pass", "mrtd_single_pass",
     "rtmr1": [{"kernel": …, "memory": …, "rtmr1": …}], "rtmr2",
     "firmware": {"witness", "volume"}, "files": {name: sha256},
     "machine": {…, "mrtd", "rtmr0", "rtmr0_events": [{"event", "digest"}]}}

Digests are lower-case hex. `machine` is there where a vm_config was given.
"""

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.evidence.td.event_log import replay
from verifier.image.files import ImageFiles
from verifier.image.kernel import as_patched, command_line_digest, is_stable, kernel_events
from verifier.image.tdvf import Firmware, measure_firmware
from verifier.machine.firmware import EVENTS, layout_from_witness, rtmr0_digests, witness_of
from verifier.machine.shape import LOW_MEMORY, MachineShape
from verifier.reference import values

SCHEMA: Final = "dstack-audit/image/v1"
_REGISTER: Final = 48
_TWO_PASS_UNTIL: Final = (9, 0, 0)


class KernelCase(StrEnum):
    """How the firmware gets the kernel."""

    SHIPPED = "as shipped: QEMU 10.2 and later"
    NORMALIZED = "as shipped: its header was written when the image was built"
    PATCHED = "header written by QEMU up to 10.1"


class KernelMeasurement(Struct, frozen=True, kw_only=True):
    """RTMR1 in one of these cases; `memory` says of which guests."""

    case: KernelCase
    memory: str
    rtmr1: bytes


class ImageMeasurement(Struct, frozen=True, kw_only=True):
    """The registers of an image.

    os_image_hash  sha256 of its list of checksums, lower-case hex
    release        the release that its own metadata names, with `dev-` before it for a development
                   image
    kind           `production` or `development`, by its own metadata
    firmware       MRTD, and what shows in RTMR0
    rtmr1          the kernel, 48 bytes for each way in which the firmware may get it
    rtmr2          command line and initrd, 48 bytes
    files          (name, sha256 in lower-case hex) of the files that the list covers, by name
    """

    os_image_hash: str
    release: str
    kind: str
    firmware: Firmware
    rtmr1: tuple[KernelMeasurement, ...]
    rtmr2: bytes
    files: tuple[tuple[str, str], ...]


def measure_image(image: ImageFiles, machine: MachineShape | None = None) -> ImageMeasurement:
    """Measure an image; for a machine with little memory, its own RTMR1 too.

    Raises EvidenceError for files that are not those of an image.
    """
    metadata = image.metadata
    bios, kernel, initrd = (_listed(image, name) for name in ("bios", "kernel", "initrd"))
    is_dev = metadata.get("is_dev", False)
    if not isinstance(is_dev, bool):
        raise EvidenceError("metadata.json: is_dev is neither true nor false")
    command_line = codec.text_field(metadata, "cmdline", "metadata.json")
    rtmr2 = replay((command_line_digest(command_line), image.sha384[initrd]))
    return ImageMeasurement(
        os_image_hash=image.os_image_hash,
        release=("dev-" if is_dev else "") + codec.text_field(metadata, "version", "metadata.json"),
        kind="development" if is_dev else "production",
        firmware=measure_firmware(image.files[bios]),
        rtmr1=tuple(_kernels(image, image.files[kernel], len(image.files[initrd]), machine)),
        rtmr2=rtmr2,
        files=tuple(sorted(image.digests.items())),
    )


def _listed(image: ImageFiles, field: str) -> str:
    """The name of a file that metadata.json names, and that the checksum list covers."""
    name = codec.text_field(image.metadata, field, "metadata.json")
    if name not in image.files:
        raise EvidenceError(
            f"metadata.json: {field} is {name[:80]!a}, which the checksum list does not cover"
        )
    return name


def _kernels(
    image: ImageFiles, kernel: bytes, initrd_size: int, machine: MachineShape | None
) -> Iterator[KernelMeasurement]:
    """RTMR1 for each way in which QEMU serves the kernel."""
    normalized = image.metadata.get("kernel_header_normalized") is True
    shipped = KernelCase.NORMALIZED if normalized else KernelCase.SHIPPED
    yield KernelMeasurement(case=shipped, memory="any", rtmr1=replay(kernel_events(kernel)))
    sizes = {LOW_MEMORY: "2 GiB, or 2816 MiB and more"}
    if machine is not None and not is_stable(machine.memory):
        sizes[machine.memory] = f"{machine.memory >> 20} MiB"
    for size, words in sizes.items():
        patched = replay(kernel_events(as_patched(kernel, initrd_size, size)))
        yield KernelMeasurement(case=KernelCase.PATCHED, memory=words, rtmr1=patched)


def to_json(found: ImageMeasurement, machine: MachineShape | None = None) -> JsonObject:
    """The document of a measurement, and what it gives on a machine."""
    firmware = found.firmware
    document: JsonObject = {
        "schema": SCHEMA,
        "os_image_hash": found.os_image_hash,
        "release": found.release,
        "kind": found.kind,
        "mrtd_two_pass": firmware.mrtd_two_pass.hex(),
        "mrtd_single_pass": firmware.mrtd_single_pass.hex(),
        "rtmr1": [
            {"kernel": item.case.value, "memory": item.memory, "rtmr1": item.rtmr1.hex()}
            for item in found.rtmr1
        ],
        "rtmr2": found.rtmr2.hex(),
        "firmware": {
            "witness": witness_of(firmware.layout).hex(),
            "volume": firmware.layout.volume.hex(),
        },
        "files": dict(found.files),
    }
    if machine is not None:
        document["machine"] = _on_machine(firmware, machine)
    return document


def _on_machine(firmware: Firmware, machine: MachineShape) -> JsonObject:
    digests = rtmr0_digests(machine, firmware.layout)
    two_pass = machine.qemu < _TWO_PASS_UNTIL if machine.two_passes is None else machine.two_passes
    mrtd = firmware.mrtd_two_pass if two_pass else firmware.mrtd_single_pass
    return {
        "mrtd": mrtd.hex(),
        "rtmr0": replay(digests).hex(),
        "rtmr0_events": [
            {"event": name, "digest": digest.hex()}
            for name, digest in zip(EVENTS, digests, strict=True)
        ],
    }


def read_measurement(raw: bytes, what: str) -> tuple[tuple[values.OsImage, ...], values.Firmware]:
    """The reference rows that a document of `to_json` gives: one for each pair of MRTD and RTMR1.

    Their origin is `rebuilt`: the user who names the document vouches for it. Raises EvidenceError.
    """
    document = codec.parse_json_object(raw, what)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(
            f"{what}: schema is not {SCHEMA!r}", hint="write one with `verify image DIR -o FILE`"
        )
    kind = codec.text_field(document, "kind", what)
    if kind not in ("production", "development"):
        raise EvidenceError(f"{what}: kind is neither production nor development")
    mrtds = tuple(
        _register(document, f"mrtd_{order}", what) for order in ("two_pass", "single_pass")
    )
    kernels = [
        _register(codec.as_object(item, f"{what}: rtmr1"), "rtmr1", f"{what}: rtmr1")
        for item in codec.as_list(document.get("rtmr1"), f"{what}: rtmr1")
    ]
    if not kernels:
        raise EvidenceError(f"{what}: rtmr1 is empty")
    images = tuple(
        values.OsImage(
            os_image_hash=_hex(document, "os_image_hash", 32, what),
            release=codec.text_field(document, "release", what),
            kind=kind,
            origin=values.Origin.REBUILT,
            mrtd=mrtd,
            rtmr1=rtmr1,
            rtmr2=_register(document, "rtmr2", what),
            source=f"--image, sha256 {hashlib.sha256(raw).hexdigest()}",
            date="",
        )
        for mrtd in dict.fromkeys(mrtds)
        for rtmr1 in dict.fromkeys(kernels)
    )
    return images, _firmware(document, mrtds, what)


def _firmware(document: JsonObject, mrtds: tuple[str, ...], what: str) -> values.Firmware:
    stated = codec.as_object(document.get("firmware"), f"{what}: firmware")
    witness = codec.text_field(stated, "witness", f"{what}: firmware")
    volume = _register(stated, "volume", f"{what}: firmware")
    layout_from_witness(codec.parse_hex(witness, f"{what}: witness", lower=True), bytes(_REGISTER))
    return values.Firmware(
        name="", mrtd=mrtds, witness=witness, volume=volume, source="--image", date=""
    )


def _register(document: JsonObject, name: str, what: str) -> str:
    return _hex(document, name, _REGISTER, what)


def _hex(document: JsonObject, name: str, size: int, what: str) -> str:
    raw = codec.parse_hex(document.get(name), f"{what}: {name}", lower=True)
    if len(raw) != size:
        raise EvidenceError(f"{what}: {name} has {len(raw)} bytes, not {size}")
    return raw.hex()
