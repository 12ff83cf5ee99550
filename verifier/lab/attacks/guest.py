"""Attacks on what booted, and on the log of what it measured."""

from collections.abc import Iterator

from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import host
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.knobs import Knobs


def boot() -> Iterator[Attack]:
    """Other images than the log tells, and images that nobody should trust."""
    check = "boot.registers"
    title = "shows a boot log with another digest"
    yield refused("boot-log-digest", check, title, Knobs(edit_log=forge.boot_digest))
    title = "shows a boot log that lacks an entry"
    yield refused("boot-log-dropped", check, title, Knobs(edit_log=forge.boot_entry_dropped))
    for name, title, strip in (
        ("boot-log-stripped-in-part", "strips the boot log except RTMR1", forge.stripped_to(1, 3)),
        ("boot-log-kernel-hidden", "strips the events of the kernel", forge.stripped_to(0, 2, 3)),
        ("boot-digest-hidden", "shows one boot event without its digest", forge.digest_hidden),
    ):
        twin = Knobs(edit_log=forge.stripped_to_acpi)
        yield refused(name, check, title, Knobs(edit_log=strip), twin=twin)
    check = "boot.image"
    title = "boots the development image of a real release, which has a root shell"
    yield refused("development-image", check, title, Knobs(os_image="development"))
    denied = forge.denying("mrtd", lambda world: world.guest.image.mrtd.hex())
    title = "boots the image of a public simulator"
    yield refused("simulator-image", check, title, HONEST, denied=denied)
    edit = forge.measured_as("os-image-hash", forge.OTHER_HASH)
    title = "lets the log name another image than the registers show"
    yield refused("image-hash-event", check, title, Knobs(edit_events=edit))
    yield missing(
        "self-built-image",
        check,
        "boots an image of its own, which writes into RTMR3 what it likes",
        Knobs(os_image="mine"),
        "an unknown image may be a good one; until somebody rebuilds it, nothing follows from it",
    )
    yield from _machine()


def _machine() -> Iterator[Attack]:
    """Firmware that the host configured, and tables that the host wrote."""
    check = "boot.machine"
    larger: JsonObject = {
        "cpu_count": 64,
        "memory_size": 1 << 40,
        "qemu_version": "9.2.1",
        "pci_hole64_size": 1 << 50,
        "hotplug_off": True,
    }
    for name, title, edit in (
        (
            "memory-map",
            "hands over a memory map of no memory size",
            host.firmware_event(0, "memory map"),
        ),
        (
            "firmware-volume",
            "sets variables in the firmware's configuration volume",
            host.firmware_event(1, "volume"),
        ),
        ("secure-boot-keys", "enrols a Secure Boot key of its own", host.firmware_event(5, "db")),
        ("boot-order", "changes the boot order", host.firmware_event(11, "order")),
        ("boot-option-added", "adds a boot option", host.firmware_event_added),
        ("boot-option-dropped", "takes a boot option away", host.firmware_event_dropped),
    ):
        twin = Knobs(machine=larger)
        yield refused(name, check, title, Knobs(edit_events=edit), twin=twin)
    yield warned(
        "own-acpi-tables",
        check,
        "puts code for the guest's kernel into the ACPI tables",
        Knobs(edit_events=host.acpi_tables("own")),
        "nobody knows what unknown tables do: a doubt about this host, not a forgery",
        twin=Knobs(stated_machine={"cpu_count": "many"}),
    )
    hidden = Knobs(
        edit_events=host.firmware_event(5, "db"), edit_log=host.without_boot, stated_machine={}
    )
    yield missing(
        "firmware-hidden",
        check,
        "enrols a Secure Boot key of its own, and strips the log of the boot",
        hidden,
        "the register shows that some event differs, and no longer which",
        twin=Knobs(edit_log=host.without_boot),
    )


def runtime() -> Iterator[Attack]:
    """Event logs that hide or invent what was measured."""
    check = "runtime.replay"
    for name, digest, recomputed in (
        ("payload-changed", "the old digest", False),
        ("payload-and-digest-changed", "the digest that goes with it", True),
    ):
        shown = forge.shown_as("compose-hash", forge.FORGED_HASH, recomputed=recomputed)
        title = f"shows a manifest of its own, and its compose-hash with {digest}"
        knobs = Knobs(edit_log=shown, edit_served_manifest=lambda _: forge.FORGED_MANIFEST)
        yield refused(name, check, title, knobs)
    edits: tuple[tuple[str, str, forge.LogEdit], ...] = (
        ("event-dropped", "leaves an event out of the log", forge.shown_without("storage-fs")),
        ("events-reordered", "shows two events in each other's place", forge.shown_swapped),
        ("two-boots-merged", "appends the events of another boot", forge.with_another_boot),
        ("log-cut", "cuts the log before system-ready", forge.shown_without(forge.READY)),
    )
    for name, title, edit in edits:
        yield refused(name, check, title, Knobs(edit_log=edit))
    for name, title, field, respell in (
        ("imr-true", "writes an imr as true", "imr", lambda _: True),
        ("imr-text", "writes an imr as text", "imr", str),
        ("imr-float", "writes an imr as 3.0", "imr", float),
        ("digest-short", "shows a digest of 47 bytes", "digest", lambda text: text[2:]),
        ("hex-upper", "writes hex in upper case", "event_payload", str.upper),
        ("hex-spaced", "writes hex with spaces", "digest", lambda text: text[:2] + " " + text[2:]),
        ("hex-unicode", "writes hex in other digits", "digest", forge.arabic_digits),
    ):
        respelled = forge.respelled("compose-hash", field, respell)
        yield refused(name, check, title, Knobs(edit_log=respelled))
    yield from _events()


def _events() -> Iterator[Attack]:
    """Events that were measured, and should not have been."""
    check = "runtime.events"
    title = "moves the colon between name and payload, so that key-provider vanishes"
    edit = forge.split_elsewhere("key-provider")
    yield refused("event-split-elsewhere", check, title, Knobs(edit_log=edit))
    for name, payload in (
        ("compose-hash", forge.OTHER_HASH),
        ("app-id", forge.OTHER_APP),
        ("key-provider", b'{"name":"none","id":""}'),
    ):
        twin = Knobs(edit_events=forge.after_ready(name, payload))
        knobs = Knobs(edit_events=forge.before_ready(name, payload))
        title = f"measures a second {name} before system-ready"
        yield refused(f"second-{name}", check, title, knobs, twin=twin)
    yield refused(
        "kms-after-key-provider",
        check,
        "measures another KMS once the key provider is measured",
        Knobs(edit_events=forge.kms_asked_again("key-provider")),
        twin=Knobs(edit_events=forge.kms_asked_again()),
    )
    yield refused(
        "encrypted-twice",
        check,
        "measures twice whether its disk is encrypted",
        Knobs(edit_events=_both(forge.before_ready("storage-encrypted", b"1"),
                                forge.before_ready("storage-encrypted", b"0"))),
        twin=Knobs(edit_events=forge.before_ready("storage-encrypted", b"1")),
    )  # fmt: skip
    measured: tuple[tuple[str, str, forge.EventsEdit], ...] = (
        ("no-key-provider", "never measures a key provider",
         forge.measured_without("key-provider")),
        ("no-system-ready", "never ends its boot", forge.measured_without(forge.READY)),
        ("identity-out-of-order", "measures its identity in another order",
         forge.measured_swapped("app-id", "compose-hash")),
        ("foreign-event-type", "measures an event of another type into RTMR3", forge.foreign_type),
        ("app-id-short", "measures an app id of 19 bytes", forge.measured_as("app-id", bytes(19))),
        ("provider-twice", "names two key providers in one event",
         forge.measured_as("key-provider", b'{"name":"kms","name":"none","id":""}')),
    )  # fmt: skip
    for name, title, measure in measured:
        yield refused(name, check, title, Knobs(edit_events=measure))


def _both(first: forge.EventsEdit, second: forge.EventsEdit) -> forge.EventsEdit:
    return lambda events: second(first(events))
