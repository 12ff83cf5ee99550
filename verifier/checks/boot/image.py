"""MRTD, RTMR1 and RTMR2 → the OS image that booted, and the log that says how."""

from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import (
    Outcome,
    check,
    failed,
    missing,
    not_applicable,
    passed,
    warned,
)
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.subject import PresentedQuote
from verifier.evidence.td.event_log import Event, replay
from verifier.evidence.td.log_fit import is_stripped
from verifier.image.lite import parse_lite
from verifier.machine.shape import vm_config_of
from verifier.model.result import JsonValue
from verifier.reference.values import Origin, OsImage

_BOOT_REGISTERS: Final = 3
_MEASURE: Final = (
    "measure the release's files yourself: `verify image DIR -o IMAGE.json`, then --image "
    "IMAGE.json"
)

_WHOSE_WORD: Final = {
    Origin.REBUILT: "its files were measured by whoever runs this audit",
    Origin.MEASURED: "its files were measured by another party",
    Origin.OBSERVED: "its measurements are known from others' quotes only",
}
_FROM_FILES: Final = (Origin.REBUILT, Origin.MEASURED)
"""Origins of a row whose registers follow from files that hash to the image's hash."""


@check("boot.registers", "RTMR0-2 replay from the event log", requires=("hardware.quote",))
def registers(case: Case) -> Outcome:
    """Extending the digests of the event log's boot entries, in order, gives the quote's RTMR0,
    RTMR1 and RTMR2. Names and payloads of those entries mean nothing here: only their digests are
    bound, each entry's by its own register, whatever the log says of RTMR3. Channels that strip the
    boot log leave nothing to replay: no boot event, none with a digest, or the three of the ACPI
    tables alone. Then the registers stand on their own, and `boot.image` judges them. A log that is
    stripped in any other way fails: whoever cut it chose what is to be seen."""
    events = boot_events(case)
    if is_stripped(events):
        return not_applicable(
            f"the {case.presented.channel} strips boot events from its log; "
            "the registers themselves are signed"
        )
    digests: list[list[bytes]] = [[], [], []]
    for event in events:
        if event.digest is None:
            return failed(
                "the event log has the digests of some boot events, and lacks others",
                evidence=tuple(filter(None, (case.presented.log_evidence,))),
                remediation="no channel of dstack strips a log in part: collect it again",
            )
        digests[event.imr].append(event.digest)
    wrong = {
        f"rtmr{index}": replay(digests[index]).hex()
        for index in range(_BOOT_REGISTERS)
        if replay(digests[index]) != case.quote.rtmrs[index]
    }
    evidence = tuple(filter(None, (case.presented.log_evidence, case.presented.evidence)))
    if wrong:
        return failed(
            f"the event log does not replay to {', '.join(sorted(wrong))}",
            expected={name: case.quote.rtmrs[int(name[-1])].hex() for name in wrong},
            actual=dict(wrong),
            evidence=evidence,
            remediation="the log is not that of this boot: collect quote and log together",
        )
    return passed(f"{len(events)} boot events replay to RTMR0-2", evidence=evidence)


@check("boot.image", "The OS image is an identified production image", requires=("hardware.quote",))
def image(case: Case) -> Outcome:
    """MRTD, RTMR1 and RTMR2 are those of a production image of dstack, and the registers follow
    from files whose list hashes to the image's hash: measured by whoever runs the audit (rebuilt),
    or by another party (measured), whose word it then is; a policy can ask for the first. An image
    known only from others' quotes is a warning; a development image (its operator has a root shell)
    fails; an unknown image is missing evidence, since whoever built it decides what RTMR3 says, and
    so are registers that two images have by their rows. Nothing is taken from what a guest, a log
    or a measurement document says about its image: a lite document proves registers, and never
    which release they are of."""
    row = case.os_image
    actual: dict[str, JsonValue] = {
        "mrtd": case.quote.mr_td.hex(),
        **{f"rtmr{index}": case.quote.rtmrs[index].hex() for index in (1, 2)},
    }
    evidence = (case.presented.evidence,)
    denied = case.reference.is_denied("mrtd", case.quote.mr_td.hex())
    if denied:
        return failed(f"denied: {denied.why}", actual=actual, evidence=evidence)
    if row is None or row.kind == "unknown":
        raise _unknown(case)
    name = f"dstack {row.release}".strip()
    if row.kind == "development":
        return failed(
            f"{name} is a development image: its operator can log in as root",
            expected="a production image",
            actual={"os_image_hash": row.os_image_hash, **actual},
            evidence=evidence,
            remediation="run the app on a production image",
        )
    measured = _measured_image(case)
    if row.os_image_hash and measured is not None and measured.hex() != row.os_image_hash:
        return failed(
            f"the registers are those of {name}, the os-image-hash event names another image",
            expected=row.os_image_hash,
            actual=measured.hex(),
            evidence=evidence,
        )
    return _by_origin(case, row, {"origin": row.origin, "source": row.source, **actual})


def _by_origin(case: Case, row: OsImage, actual: dict[str, JsonValue]) -> Outcome:
    """How well it is known which image the registers are of."""
    details = f"dstack {row.release}, image hash {row.os_image_hash}"
    known = f"{details}; {_WHOSE_WORD.get(row.origin, 'its measurements are not known')}"
    if row.origin is Origin.MEASURED:
        known += f" ({row.source})"
    if case.demands.os_origin is Origin.REBUILT and row.origin is not Origin.REBUILT:
        return missing(
            f"{known}; the policy demands that you measure them yourself",
            expected="files measured by whoever runs this audit",
            actual=actual,
            evidence=(case.presented.evidence,),
            reason="nobody named a measurement of this image with --image",
            remediation=_MEASURE,
        )
    if row.origin not in _FROM_FILES:
        return warned(
            known,
            expected="registers that follow from the published image",
            actual=actual,
            evidence=(case.presented.evidence,),
            remediation=_MEASURE,
        )
    return passed(known, actual=actual, evidence=(case.presented.evidence,))


def _unknown(case: Case) -> MissingEvidence:
    """Why the registers name no image."""
    rows = case.os_images
    registers = ", ".join(
        f"{name} {value.hex()[:16]}…"
        for name, value in (
            ("MRTD", case.quote.mr_td),
            ("RTMR1", case.quote.rtmrs[1]),
            ("RTMR2", case.quote.rtmrs[2]),
        )
    )
    if rows and case.os_image is None:
        names = " and ".join(sorted(f"{row.release} ({row.kind})" for row in rows))
        return MissingEvidence(
            f"the registers are those of {names}: two names for one image ({registers})",
            hint="compare the sources of both rows; one of them is wrong",
        )
    seen = " (its registers were seen before, its origin was not)" if rows else ""
    return MissingEvidence(
        f"the OS image is not among the known ones{seen}: {registers}{_described(case)}",
        hint=_MEASURE,
    )


def _described(case: Case) -> str:
    """What the guest's own measurement document says about an image that nobody knows, in words
    for the reader: nothing follows from it."""
    said = {text for source in case.evidence.quotes if (text := _of_document(case, source))}
    return "".join(f"; {text}" for text in sorted(said))


def _of_document(case: Case, source: PresentedQuote) -> str:
    try:
        lite = parse_lite(vm_config_of(source.vm_config)) if source.vm_config else None
    except EvidenceError as error:
        return f"the guest's own measurement document cannot be read: {error.message}"
    if lite is None:
        return ""
    if not lite.describes(case.quote.mr_td, case.quote.rtmrs):
        return "the guest's own measurement document describes other registers"
    return (
        "the guest's own measurement document describes them, with the image hash "
        f"{lite.os_image_hash.hex()[:16]}…, which anybody can do"
    )


def boot_events(case: Case) -> list[Event]:
    """The entries of RTMR0-2 in the event log. Raises MissingEvidence and EvidenceError."""
    return [event for event in case.events if event.imr < _BOOT_REGISTERS]


def _measured_image(case: Case) -> bytes | None:
    """What the os-image-hash event says; a log that cannot be read is for runtime.replay to say."""
    try:
        return case.identity.os_image_hash
    except (EvidenceError, MissingEvidence):
        return None


CHECKS: Final = (registers, image)
