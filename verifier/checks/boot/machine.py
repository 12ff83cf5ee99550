"""RTMR0 → the machine: firmware configuration, memory map and ACPI tables, which the host wrote."""

from collections.abc import Iterator
from typing import Final

from verifier.checks.boot.image import boot_events
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.td.event_log import replay
from verifier.evidence.td.log_fit import is_stripped
from verifier.machine.firmware import FirmwareLayout
from verifier.machine.recognition import Recognition, recognize, recognize_stripped
from verifier.machine.shape import MachineShape, parse_vm_config
from verifier.model.result import EvidenceRef, JsonValue

UNEXPLAINED: Final = "unexplained"
"""The field of `actual` that lists digests (hex) which a waiver has to name."""

_RTMR0: Final = 0
_MAX_HINTS: Final = 8
_MAX_HINT_CHARS: Final = 1 << 16
_HARMLESS: Final = "host-written tables run in the guest's kernel; nobody has looked at these"


@check(
    "boot.machine",
    "RTMR0 is that of a known machine under the image's firmware",
    requires=("hardware.quote",),
)
def machine(case: Case) -> Outcome:
    """Every event of RTMR0 is recomputed for a machine: the memory map, the firmware's volume of
    variables, the Secure Boot variables, the three blobs of ACPI that QEMU builds, and the boot
    options, in the order of a boot. The machine is the one that vm_config states; where that does
    not give the register, or nobody states one, it is searched. Then the tables are QEMU's own, and
    no code of the host runs in the guest's kernel. Under a known firmware an event other than
    ACPI's that differs, one too many or one too few fails: somebody configured the firmware. ACPI
    digests that no known machine gives are a warning, since nobody knows what these tables do; a
    waiver names them. A log that cannot be read or does not replay is as none here: a stated
    machine that gives the signed register needs no log. Under an unknown firmware, and where the
    log was stripped and no stated machine gives the register, evidence is missing. What stands
    behind a port is not measured."""
    found = _recognition(case)
    if found is None:
        raise MissingEvidence(
            f"the firmware with MRTD {case.quote.mr_td.hex()[:16]}… is not known: nobody can say "
            "what it measures into RTMR0",
            hint="compute the image with `verify image DIR -o IMAGE.json`, and name that file with "
            "--image",
        )
    evidence = tuple(filter(None, (case.presented.log_evidence, case.presented.evidence)))
    rtmr0 = case.quote.rtmrs[_RTMR0].hex()
    if found.strange:
        return failed(
            f"the firmware measured what it does not measure in a known boot: "
            f"{', '.join(found.strange)}",
            expected="the events of this firmware",
            actual={"rtmr0": rtmr0, "strange": list(found.strange)},
            evidence=evidence,
            remediation="the host configured the guest's firmware: ask the operator how, and do "
            "not rely on this guest",
        )
    if found.unexplained:
        return _unexplained(found, rtmr0, evidence)
    if found.shape is None:
        raise MissingEvidence(
            "RTMR0 is not that of a machine that was stated, and the log was stripped of what "
            "would tell which event differs",
            hint="collect evidence with the whole event log, or the vm_config of this guest",
        )
    return passed(
        f"{_words(found.shape)}{'' if found.stated else ' (found by search)'}: RTMR0 follows from "
        "QEMU's own tables",
        actual={"rtmr0": rtmr0, "machine": shape_json(found.shape)},
        evidence=evidence,
    )


def measured_shape(case: Case) -> MachineShape | None:
    """The machine that RTMR0 is of, None where it is not known; nothing about the quote is judged.
    Raises EvidenceError for a log that cannot be read."""
    try:
        found = _recognition(case)
    except (Blocked, MissingEvidence):
        return None
    return None if found is None else found.shape


def _recognition(case: Case) -> Recognition | None:
    """What RTMR0 was recognised as, None under an unknown firmware."""
    firmware = case.firmware
    if firmware is None:
        return None
    return case.once(_recognition, lambda: _recognized(case, firmware, tuple(_hints(case))))


def _recognized(
    case: Case, firmware: FirmwareLayout, hints: tuple[MachineShape, ...]
) -> Recognition:
    rtmr0 = case.quote.rtmrs[_RTMR0]
    try:
        digests, stripped = _logged(case)
    except (EvidenceError, Blocked):
        found = recognize_stripped(firmware, rtmr0, [], hints)
        if found.shape is None:
            raise
        return found
    if stripped:
        return recognize_stripped(firmware, rtmr0, digests, hints)
    return recognize(firmware, digests, hints)


def _logged(case: Case) -> tuple[list[bytes], bool]:
    """The digests that the log has for RTMR0, and whether it is stripped.

    Raises EvidenceError for a log that cannot be read, Blocked for one that does not replay.
    """
    events = boot_events(case) if case.presented.has_log else []
    digests = [item.digest for item in events if item.imr == _RTMR0 and item.digest]
    stripped = is_stripped(events)
    if not stripped and replay(digests) != case.quote.rtmrs[_RTMR0]:
        raise Blocked("boot.registers")
    return digests, stripped


def _hints(case: Case) -> Iterator[MachineShape]:
    """The machines that anybody states about this guest; what nobody can read states none."""
    texts = {source.vm_config for source in case.evidence.quotes}
    texts |= {info.value.vm_config for info in case.evidence.infos}
    readable = sorted(text for text in texts if 0 < len(text) <= _MAX_HINT_CHARS)
    for text in readable[:_MAX_HINTS]:
        try:
            yield parse_vm_config(text.encode("utf-8"))
        except (EvidenceError, UnicodeEncodeError):
            continue


def _unexplained(found: Recognition, rtmr0: str, evidence: tuple[EvidenceRef, ...]) -> Outcome:
    digests = [digest.hex() for digest in found.unexplained]
    return warned(
        f"the ACPI tables are not those of a known machine: {_HARMLESS}",
        expected="the tables that QEMU builds for the machine",
        actual={"rtmr0": rtmr0, UNEXPLAINED: list[JsonValue](digests)},
        evidence=evidence,
        reason="what QEMU 8.0 to 11.1 builds for the stated machine and for the usual ones was "
        "tried; a host can put code for the guest's kernel into these tables",
        remediation="ask the operator for the vm_config and the QEMU of this guest; a waiver of "
        "boot.machine names these digests",
    )


def shape_json(shape: MachineShape) -> JsonValue:
    """What the tables say of a machine; sizes in bytes, as text. Two shapes with the same tables
    are written alike."""
    first = ".".join(str(part) for part in shape.family)
    return {
        "cpus": shape.cpus,
        "memory": str(shape.memory),
        "qemu_family": first,
        "pic": shape.pic,
        "hotplug": shape.hotplug,
        "pci_window": str(shape.window),
        "root_ports": shape.ports,
        "devices": shape.endpoints,
        "nodes": list(shape.nodes),
    }


def _words(shape: MachineShape) -> str:
    memory = shape.memory / (1 << 30)
    ports = f", {shape.ports} PCIe ports" if shape.ports else ""
    version = ".".join(str(part) for part in shape.family)
    return f"{shape.cpus} vCPU, {memory:g} GiB{ports}, QEMU of the {version} family"


CHECKS: Final = (machine,)
