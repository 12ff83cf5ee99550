"""AMD root → chip → SEV-SNP report: whether a guest on another platform is genuine."""

from functools import partial
from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import (
    Outcome,
    badness,
    check,
    not_applicable,
    tried,
    unreadable,
)
from verifier.evidence.bundle import Kind
from verifier.evidence.platforms.envelope import Platform


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
    at run time: what the event log says is nobody's word. Whether the image is a released one is
    not asked. AMD publishes no list of firmware versions with holes as Intel does: a policy can set
    the least version of each part, of which none may be older, at launch or now. It does not apply
    where no attestation is AMD's; beside a TD quote, it says nothing about that TD."""
    unread = [
        unreadable(error)
        for item, error in case.evidence.malformed
        if item.kind is Kind.PLATFORM_ATTESTATION
    ]
    found = [item for item in case.evidence.platforms if item.value.platform is Platform.SEV_SNP]
    if not found and not unread:
        return not_applicable("no attestation is of AMD SEV-SNP")
    from verifier.checks.hardware.snp_report import judge  # noqa: PLC0415 - only for such a guest

    judged = [tried(partial(judge, case, item)) for item in found]
    return max((*unread, *judged), key=badness)


CHECKS: Final = (snp,)
