"""NVIDIA root → GPU report: whether the GPUs beside a TD are genuine, and answer its challenge."""

from typing import Final

from verifier.checks.boot.machine import measured_shape
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, not_applicable
from verifier.errors import MissingEvidence
from verifier.evidence.bundle import Kind

ATTACHED: Final = "attached"
"""The field of `actual` that says whether the quote commits to the nonce of every report."""

COMPLETE: Final = "complete"
"""The field of `actual` that says whether every port of the measured machine is accounted for."""

_GPU_IMAGE: Final = "nvidia"


@check("hardware.gpu", "Every GPU of the machine is genuine and answers the quote's challenge")
def gpu(case: Case) -> Outcome:
    """Each GPU report in the evidence is signed by a key that NVIDIA certified for the firmware
    that the report names; no GPU stands there twice, and as many as the measured machine has ports
    for. All answer one nonce, which the TD quote's report data carries: GPU evidence beside a quote
    that does not commit to its nonce says nothing about that TD. Driver and VBIOS are compared with
    NVIDIA's signed manifests (RIM), or by a verdict of NVIDIA's service over the same nonce, where
    they are in the evidence; a manifest that the measurements contradict and a validly signed
    verdict of failure fail, whatever else there is. A manifest or verdict that NVIDIA did not sign,
    or that is not in force, is set aside. Revocation is not asked. An operator can ask any genuine
    GPU over the same nonce, so that it is this machine's rests on the guest's code, which asked it.
    Without GPU evidence the check does not apply, unless the measured machine has ports for GPUs,
    or the image is one for them."""
    malformed = [error for item, error in case.evidence.malformed if item.kind is Kind.GPU_EVIDENCE]
    if malformed:
        raise malformed[0]
    if not (case.evidence.gpus or case.evidence.gpu_verdicts):
        return _none(case)
    from verifier.checks.hardware.gpu_reports import judge  # noqa: PLC0415 - only where a GPU is

    return judge(case)


def _none(case: Case) -> Outcome:
    """What is said where there is no GPU evidence."""
    shape, image = measured_shape(case), case.os_image if case.evidence.quotes else None
    hint = "ask the guest for its GPU evidence (nvidia_payload) and import it with its quote"
    if shape is not None and shape.ports:
        ports = f"{shape.ports} port{'s' if shape.ports > 1 else ''}"
        raise MissingEvidence(
            f"the measured machine has {ports} for GPUs, and none gave evidence", hint=hint
        )
    if shape is None and image is not None and _GPU_IMAGE in image.release:
        raise MissingEvidence("the image is one for GPUs, and none gave evidence", hint=hint)
    return not_applicable(
        "the measured machine has no port for a GPU"
        if shape is not None
        else "there is no evidence of a GPU, and nothing measured says that there is one"
    )


CHECKS: Final = (gpu,)
