"""MRTD and RTMR0-2 → the OS image that booted. Only a known OS gives RTMR3 its meaning."""

from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, not_applicable, passed, warned
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.event_log import Event, replay
from verifier.model.result import JsonValue

_BOOT_REGISTERS: Final = 3
_ACPI_TYPE: Final = 10
_ACPI_NAMES: Final = ("acpi-loader", "acpi-rsdp", "acpi-tables")
"""What dstack 0.6.0 leaves of the boot log: type and names of the three events of RTMR0 that QEMU's
ACPI tables give (Dstack-TEE/dstack dstack-attest/src/v1.rs, strip_tdx_lite_event_log)."""

_FROM_FILES: Final = ("recomputed", "measured")
"""Origins of a row whose registers follow from files that hash to the image's hash."""


@check("boot.registers", "RTMR0-2 replay from the event log", requires=("hardware.quote",))
def registers(case: Case) -> Outcome:
    """Extending the digests of the event log's boot entries, in order, gives the quote's RTMR0,
    RTMR1 and RTMR2. Names and payloads of those entries mean nothing here: only their digests are
    bound. Channels that strip the boot log leave nothing to replay: no boot event, none with a
    digest, or the three of the ACPI tables alone. Then the registers stand on their own, and
    `boot.image` judges them. A log that is stripped in any other way fails: whoever cut it chose
    what is to be seen."""
    boot_events = [event for event in case.events if event.imr < _BOOT_REGISTERS]
    if _is_stripped(boot_events):
        return not_applicable(
            f"the {case.source.channel} strips boot events from its log; "
            "the registers themselves are signed"
        )
    if any(event.digest is None for event in boot_events):
        return failed(
            "the event log has the digests of some boot events, and lacks others",
            evidence=tuple(filter(None, (case.source.log_evidence,))),
            remediation="no channel of dstack strips a log in part: collect it again",
        )
    digests: list[list[bytes]] = [[], [], []]
    for event in boot_events:
        digests[event.imr].append(event.digest or b"")
    wrong = {
        f"rtmr{index}": replay(digests[index]).hex()
        for index in range(_BOOT_REGISTERS)
        if replay(digests[index]) != case.quote.rtmrs[index]
    }
    evidence = tuple(filter(None, (case.source.log_evidence, case.source.evidence)))
    if wrong:
        return failed(
            f"the event log does not replay to {', '.join(sorted(wrong))}",
            expected={name: case.quote.rtmrs[int(name[-1])].hex() for name in wrong},
            actual=dict(wrong),
            evidence=evidence,
            remediation="the log is not that of this boot: collect quote and log together",
        )
    return passed(f"{len(boot_events)} boot events replay to RTMR0-2", evidence=evidence)


@check("boot.image", "The OS image is an identified production image", requires=("hardware.quote",))
def image(case: Case) -> Outcome:
    """MRTD, RTMR1 and RTMR2 are those of a production image of dstack that the reference values
    know, and RTMR0 is one that the image gives on a known machine shape. An image known only from
    others' quotes, or an RTMR0 that was not reproduced, is a warning; a development image (its
    operator has a root shell) fails; an unknown image is missing evidence, since whoever built it
    decides what RTMR3 says."""
    quote, row = case.quote, case.os_image
    actual: dict[str, JsonValue] = {
        "mrtd": quote.mr_td.hex(),
        **{f"rtmr{index}": quote.rtmrs[index].hex() for index in range(_BOOT_REGISTERS)},
    }
    denied = case.reference.is_denied("mrtd", quote.mr_td.hex())
    if denied:
        return failed(f"denied: {denied.why}", actual=actual, evidence=(case.source.evidence,))
    if row is None or row.kind == "unknown":
        raise MissingEvidence(
            "the OS image is not among the known ones"
            + (" (its registers were seen before, its origin was not)" if row else "")
            + f": MRTD {quote.mr_td.hex()[:16]}…, RTMR1 {quote.rtmrs[1].hex()[:16]}…, "
            f"RTMR2 {quote.rtmrs[2].hex()[:16]}…",
            hint="rebuild the image from its release and compare its measurements",
        )
    name = f"dstack {row.release}".strip()
    if row.kind == "development":
        return failed(
            f"{name} is a development image: its operator can log in as root",
            expected="a production image",
            actual={"os_image_hash": row.os_image_hash, **actual},
            evidence=(case.source.evidence,),
            remediation="run the app on a production image",
        )
    measured = _measured_image(case)
    if row.os_image_hash and measured is not None and measured.hex() != row.os_image_hash:
        return failed(
            f"the registers are those of {name}, the os-image-hash event names another image",
            expected=row.os_image_hash,
            actual=measured.hex(),
            evidence=(case.source.evidence,),
        )
    doubts = [
        text
        for text, bad in (
            ("its measurements are known from others' quotes only", row.origin not in _FROM_FILES),
            ("RTMR0 was not reproduced", actual["rtmr0"] not in row.rtmr0),
        )
        if bad
    ]
    details = f"{name}, image hash {row.os_image_hash}"
    if doubts:
        return warned(
            f"{details}; {'; '.join(doubts)}",
            expected="measurements recomputed from the published image",
            actual=actual,
            evidence=(case.source.evidence,),
            remediation="rebuild the image and compare its measurements",
        )
    return passed(details, actual=actual, evidence=(case.source.evidence,))


def _is_stripped(boot_events: list[Event]) -> bool:
    """Whether a channel left of the boot log what channels leave, which is nothing to replay."""
    if all(event.digest is None for event in boot_events):
        return True
    acpi = [(0, _ACPI_TYPE, name) for name in _ACPI_NAMES]
    return [(event.imr, event.event_type, event.name) for event in boot_events] == acpi


def _measured_image(case: Case) -> bytes | None:
    """What the os-image-hash event says; a log that cannot be read is for runtime.replay to say."""
    try:
        return case.identity.os_image_hash
    except (EvidenceError, MissingEvidence):
        return None


CHECKS: Final = (registers, image)
