"""NVIDIA root → GPU report: whether the GPUs beside a TD are genuine, and answer its challenge."""

from contextlib import suppress
from typing import Final

from verifier.checks import boot, runtime
from verifier.checks.boot.machine import measured_shape
from verifier.checks.case import Case
from verifier.checks.engine import (
    Outcome,
    badness,
    check,
    holds,
    not_applicable,
    tried,
    unreadable,
    warned,
)
from verifier.checks.hardware import quote
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.td.event_log import system_events

ATTACHED: Final = "attached"
"""The field of `actual` that says whether the quote commits to the nonce of every report."""

COMPLETE: Final = "complete"
"""The field of `actual` that says whether every port of the measured machine is accounted for."""

_GPU_IMAGE: Final = "nvidia"
_BOOT_EVENT: Final = "gpu-attestation"


@check("hardware.gpu", "Every GPU of the machine is genuine and answers the quote's challenge")
def gpu(case: Case) -> Outcome:
    """Each GPU report in the evidence is signed by a key that NVIDIA certified for the firmware
    that the report names; no GPU stands there twice, and as many as the measured machine has ports
    for. All answer one nonce, which the TD quote's report data carries: GPU evidence beside a quote
    that does not commit to its nonce says nothing about that TD. Driver and VBIOS are compared with
    NVIDIA's signed manifests (RIM), or by a verdict of NVIDIA's service over the same nonce, where
    they are in the evidence; a manifest that the measurements contradict and a validly signed
    verdict of failure fail, whatever else there is and whichever GPUs it names. A manifest or
    verdict that NVIDIA did not sign, or that is not in force, is set aside. Revocation is not
    asked. An operator can ask any genuine GPU over the same nonce, so that it is this machine's
    rests on the guest's code, which asked it.
    Without GPU evidence the check does not apply, unless the measured machine has ports for GPUs,
    or the image is one for them; then that a known image measured, when it booted, that it attested
    its GPUs and found them confidential is a warning: their reports are not there."""
    unread = [
        unreadable(error)
        for item, error in case.evidence.malformed
        if item.kind is Kind.GPU_EVIDENCE
    ]
    return max((*unread, tried(lambda: _judged(case))), key=badness)


def _judged(case: Case) -> Outcome:
    """What is said of the evidence about GPUs that can be read."""
    if not (case.evidence.gpus or case.evidence.gpu_verdicts):
        return without_evidence(case)
    from verifier.checks.hardware.gpu_reports import judge  # noqa: PLC0415 - only where a GPU is

    return judge(case)


def without_evidence(case: Case) -> Outcome:
    """What is said where there is no GPU evidence. Raises MissingEvidence where there should be."""
    shape, image = measured_shape(case), case.os_image if case.evidence.quotes else None
    hint = "ask the guest for its GPU evidence (nvidia_payload) and import it with its quote"
    expected = ""
    if shape is not None and shape.ports:
        ports = f"{shape.ports} port{'s' if shape.ports > 1 else ''}"
        expected = f"the measured machine has {ports} for GPUs"
    elif shape is None and image is not None and _GPU_IMAGE in image.release:
        expected = "the image is one for GPUs"
    if expected and _attested_at_boot(case):
        return warned(
            f"{expected}; the guest measured that it attested them when it booted, and no report "
            "is in the evidence",
            evidence=tuple(filter(None, (case.presented.log_evidence,))),
            remediation=hint,
        )
    if expected:
        raise MissingEvidence(f"{expected}, and none gave evidence", hint=hint)
    return not_applicable(
        "the measured machine has no port for a GPU"
        if shape is not None
        else "there is no evidence of a GPU, and nothing measured says that there is one"
    )


def _attested_at_boot(case: Case) -> bool:
    """Whether a known image measured that it attested its GPUs before it asked for its keys, and
    found them confidential and without developers' tools (dstack-util system_setup.rs, 0.6.0)."""
    if not all(holds(spec, case) for spec in (quote.quote, boot.image, *runtime.CHECKS)):
        return False
    for event in system_events(case.events):
        if event.name == _BOOT_EVENT:
            with suppress(EvidenceError):
                found = codec.parse_json_object(event.payload, f"event {_BOOT_EVENT}")
                plain = found.get("devtools") in (None, False, "off")
                return found.get("provider") == "nvidia" and found.get("cc_mode") == "on" and plain
    return False


CHECKS: Final = (gpu,)
