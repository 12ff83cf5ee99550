"""AMD root → chip → SEV-SNP report: whether a guest on another platform is genuine."""

from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, not_applicable
from verifier.errors import MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.platforms.envelope import Platform
from verifier.model.result import Status

_ORDER: Final = (Status.FAIL, Status.WARN, Status.PASS)


@check("hardware.snp", "The SEV-SNP report is that of a genuine guest with this configuration")
def snp(case: Case) -> Outcome:
    """The report is signed by the chip's own key (VCEK), whose certificate leads to AMD's root and
    names this chip and the TCB that the report says; debugging and migration are off, it is about
    the guest itself (VMPL 0), and the chip says which it is. Its report data is the attestation's,
    and its host data the digest of the configuration document beside it, which names the app and
    its manifest; one that names another app than was asked for is a warning. Its launch
    measurement is recomputed, page by page, from what the VMM says that it launched: firmware,
    kernel, initrd, command line and CPUs; where nobody says, or the CPU model is not known, that
    is a warning. Platform firmware of several versions at once is one, too. There is no register
    at run time: what the event log says is nobody's word. Whether the image is a released one, and
    whether AMD knows of holes in this firmware, is not asked. It does not apply where no
    attestation is AMD's; beside a TD quote, it says nothing about that TD."""
    malformed = [
        error for item, error in case.evidence.malformed if item.kind is Kind.PLATFORM_ATTESTATION
    ]
    if malformed:
        raise malformed[0]
    found = [item for item in case.evidence.platforms if item.value.platform is Platform.SEV_SNP]
    if not found:
        return not_applicable("no attestation is of AMD SEV-SNP")
    from verifier.checks.hardware.snp_report import judge  # noqa: PLC0415 - only for such a guest

    outcomes, lacking = list[Outcome](), list[MissingEvidence]()
    for item in found:
        try:
            outcomes.append(judge(case, item))
        except MissingEvidence as error:
            lacking.append(error)
    worst = min(outcomes, key=lambda outcome: _ORDER.index(outcome.status), default=None)
    if worst is None or (lacking and worst.status is not Status.FAIL):
        raise lacking[0]
    return worst


CHECKS: Final = (snp,)
