"""Event logs and OS images of simulated guests.

Boot events (RTMR0-2) have the order, types and payloads that TDVF and Linux write. Digests of RTMR0
are those that the firmware measures on the guest's machine; elsewhere a digest that is that of the
payload (separators, EFI actions) is computed, and others follow from a label.
Runtime events (RTMR3) are those of each dstack release: Dstack-TEE/dstack dstack-util
src/system_setup.rs, earlier tdxctl.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import rfc8785
from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.machine.firmware import layout_from_witness, rtmr0_digests
from verifier.machine.shape import parse_vm_config

RUNTIME_EVENT_TYPE: Final = 0x08000001
MACHINE: Final[JsonObject] = {
    "cpu_count": 2,
    "memory_size": 4 << 30,
    "qemu_version": "9.2.1",
}
"""The machine of a guest, as its vm_config states it."""

FIRMWARE: Final = layout_from_witness(
    bytes.fromhex("80100904000609020b021010"), keys.labelled("configuration volume", 48)
)
"""The firmware of simulated images: it accepts the memory that dstack's does."""

LOCAL_SGX_MRENCLAVE: Final = keys.labelled("local key provider mrenclave", 32)

_GLOBAL_VARIABLE: Final = "61dfe48bca93d211aa0d00e098032b8c"
_IMAGE_SECURITY_DATABASE: Final = "cbb219d73a3d9645a3bcdad00e67656f"

Stripping = Literal["full", "app-key", "certificate"]


class Event(Struct, frozen=True):
    """One measured entry.

    imr         the register that it extends, 0 to 3
    event_type  u32
    digest      what extends the register, 48 bytes
    name        the event's name
    payload     bytes of any number
    version     the version of its digest, 1 or 2
    """

    imr: int
    event_type: int
    digest: bytes
    name: str
    payload: bytes
    version: int = 1

    def to_json(self) -> JsonObject:
        """The entry as every channel that shows the full log writes it."""
        entry: JsonObject = {
            "imr": self.imr,
            "event_type": self.event_type,
            "digest": self.digest.hex(),
            "event": self.name,
            "event_payload": self.payload.hex(),
        }
        if self.version != 1:
            entry |= {"version": self.version, "preimage": _preimage(self).hex()}
        return entry


def runtime_event(name: str, payload: bytes, version: int = 1) -> Event:
    """A dstack event of imr 3.

    V1 digest: sha384(u32le(type) || ":" || name || ":" || payload). V2: sha384 of the canonical
    JSON `{"name", "payload", "type"}`.
    """
    blank = Event(3, RUNTIME_EVENT_TYPE, b"", name, payload, version)
    return Event(
        3, RUNTIME_EVENT_TYPE, hashlib.sha384(_preimage(blank)).digest(), name, payload, version
    )


def _preimage(event: Event) -> bytes:
    if event.version == 1:
        kind = struct.pack("<I", event.event_type)
        return b":".join((kind, event.name.encode(), event.payload))
    return rfc8785.dumps(
        {"name": event.name, "payload": event.payload.hex(), "type": event.event_type}
    )


def replay(events: Iterable[Event]) -> tuple[bytes, bytes, bytes, bytes]:
    """RTMR0-3 after the events: `mr = sha384(mr || digest)` from 48 zero bytes."""
    registers = [bytes(48)] * 4
    for event in events:
        registers[event.imr] = hashlib.sha384(registers[event.imr] + event.digest).digest()
    return registers[0], registers[1], registers[2], registers[3]


class OsImage(Struct, frozen=True):
    """A made-up OS image, known by its label."""

    label: str

    @property
    def os_image_hash(self) -> bytes:
        """sha256 that stands for its checksum file."""
        return keys.labelled(f"os image {self.label}", 32)

    @property
    def mrtd(self) -> bytes:
        """MRTD: its firmware."""
        return keys.labelled(f"mrtd {self.label}", 48)

    def boot_events(self, machine: JsonObject = MACHINE) -> list[Event]:
        """The boot events on a machine (a vm_config), in the order in which they are logged."""

        def event(imr: int, event_type: int, payload: bytes, label: str = "") -> Event:
            digest = (
                keys.labelled(f"{self.label}: {label}", 48)
                if label
                else hashlib.sha384(payload).digest()
            )
            return Event(imr, event_type, digest, "", payload)

        separator = bytes(4)
        configuration, options = _firmware_events(machine)
        return [
            *configuration,
            event(1, 0x80000003, keys.labelled("kernel device path", 72), "kernel"),
            *options,
            event(1, 0x80000007, b"Calling EFI Application from Boot Option"),
            event(1, 4, separator),
            event(2, 6, bytes.fromhex("ed223b8f1a000000") + b"LOADED_IMAGE::LoadOptions\0", "cmd"),
            event(2, 6, bytes.fromhex("ec223b8f0d000000") + b"Linux initrd\0", "initrd"),
            event(1, 0x80000007, b"Exit Boot Services Invocation"),
            event(1, 0x80000007, b"Exit Boot Services Returned with Success"),
        ]


def _firmware_events(machine: JsonObject) -> tuple[list[Event], list[Event]]:
    """The events of RTMR0 on a machine: those of the configuration, and the two boot options."""
    table = bytes.fromhex("095464785461626c6500") + struct.pack("<Q", 1)
    shown = [
        (0x8000000B, table),
        (0x8000000A, b")Fv(simulated)" + bytes(16)),
        *((0x80000001, _variable(_GLOBAL_VARIABLE, name)) for name in ("SecureBoot", "PK", "KEK")),
        *((0x80000001, _variable(_IMAGE_SECURITY_DATABASE, name)) for name in ("db", "dbx")),
        (4, bytes(4)),
        *((10, b"ACPI DATA") for _ in range(3)),
        (0x80000002, _variable(_GLOBAL_VARIABLE, "BootOrder", b"\0\0")),
        (0x80000002, _variable(_GLOBAL_VARIABLE, "Boot0000", b"UiApp")),
    ]
    digests = rtmr0_digests(parse_vm_config(machine), FIRMWARE)
    events = [
        Event(0, event_type, digest, "", payload)
        for (event_type, payload), digest in zip(shown, digests, strict=True)
    ]
    return events[:-2], events[-2:]


def _variable(namespace: str, name: str, value: bytes = b"") -> bytes:
    """UEFI_VARIABLE_DATA (TCG PC Client Platform Firmware Profile, 10.2.6)."""
    return (
        bytes.fromhex(namespace)
        + struct.pack("<QQ", len(name), len(value))
        + name.encode("utf-16-le")
        + value
    )


def release(version: str) -> tuple[int, ...]:
    """`0.5.8` as (0, 5, 8), for comparison."""
    return tuple(int(part) for part in version.split("."))


class Identity(Struct, frozen=True, kw_only=True):
    """What a guest measures about itself.

    app_id              20 bytes
    compose_hash        32 bytes
    instance_id         20 bytes; b"" for an app without instance ids
    key_provider        the payload of the key-provider event, JSON
    mr_kms              the build of the KMS, 32 bytes; b"" where no KMS gave it keys
    os_image_hash       32 bytes
    init_script_hashes  32 bytes each; () for no scripts
    """

    app_id: bytes
    compose_hash: bytes
    instance_id: bytes
    key_provider: bytes
    mr_kms: bytes
    os_image_hash: bytes
    init_script_hashes: tuple[bytes, ...] = ()


def runtime_events(version: str, identity: Identity, log_version: int = 1) -> list[Event]:
    """The RTMR3 events of one dstack release, in order."""
    number = release(version)
    if number < (0, 4):
        pairs = _events_03(number, identity)
    elif number < (0, 6):
        pairs = _events_05(number, identity)
    else:
        pairs = _events_06(identity)
    return [runtime_event(name, payload, log_version) for name, payload in pairs]


def _events_03(number: tuple[int, ...], identity: Identity) -> Sequence[tuple[str, bytes]]:
    second = "upgraded-app-id" if number < (0, 3, 3) else "compose-hash"
    value = identity.app_id if number < (0, 3, 3) else identity.compose_hash
    return (
        ("rootfs-hash", identity.os_image_hash),
        ("app-id", identity.app_id),
        (second, value),
        ("ca-cert-hash", hashlib.sha256(b"").digest()),
        ("instance-id", identity.instance_id),
    )


def _events_05(number: tuple[int, ...], identity: Identity) -> Sequence[tuple[str, bytes]]:
    by_kms = bool(identity.mr_kms)
    pairs = [
        ("system-preparing", b""),
        ("app-id", identity.app_id),
        ("compose-hash", identity.compose_hash),
        ("instance-id", identity.instance_id),
        ("boot-mr-done", b""),
    ]
    if number < (0, 4, 2):
        pairs.insert(1, ("rootfs-hash", identity.os_image_hash))
    elif by_kms:
        pairs.append(("mr-kms", identity.mr_kms))
    if number >= (0, 5, 1) and by_kms:
        pairs.append(("os-image-hash", identity.os_image_hash))
    pairs.append(("key-provider", identity.key_provider))
    if number >= (0, 5, 5):
        pairs.append(("storage-fs", b"zfs"))
    return [*pairs, ("system-ready", b"")]


def _events_06(identity: Identity) -> Sequence[tuple[str, bytes]]:
    pairs = [
        ("system-preparing", b""),
        ("app-id", identity.app_id),
        ("compose-hash", identity.compose_hash),
        *(("init-script-hash", item) for item in identity.init_script_hashes),
        ("gpu-policy-hash", hashlib.sha256(b"{}").digest()),
        ("instance-id", identity.instance_id),
        ("boot-mr-done", b""),
    ]
    if identity.mr_kms:
        pairs.append(("os-image-hash", identity.os_image_hash))
    return [
        *pairs,
        ("key-provider", identity.key_provider),
        ("storage-fs", b"zfs"),
        ("system-ready", b""),
    ]


def strip(log: Iterable[JsonObject], how: Stripping, version: str) -> list[JsonObject]:
    """The log as a channel shows it.

    `app-key` (answers with a quote, 0.5.6 and later): boot payloads emptied, except those of the
    ACPI events of 0.6.0. `certificate` (the attestation extension): imr 3 only.
    """
    if how == "full":
        return list(log)
    if how == "certificate":
        return [entry for entry in log if entry.get("imr") == 3]  # noqa: PLR2004 - RTMR3
    return [
        entry
        if entry.get("imr") == 3  # noqa: PLR2004 - RTMR3
        or (release(version) >= (0, 6) and entry.get("event_type") == 10)  # noqa: PLR2004 - ACPI
        else {**entry, "event_payload": ""}
        for entry in log
    ]
