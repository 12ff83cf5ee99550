"""secretvm-verify: quotes. It fetches collateral and pins Intel's root; both are replaced here by
what the vector holds, and its own code decides."""

from folder import Folder, say
from secretvm.verify import tdx

folder = Folder()
if folder.link != "quote":
    say("unsupported")
held = folder.collateral
lists = {name: bytes.fromhex(held[name]) for name in ("root_ca_crl", "pck_crl")}
signed = {
    name: bytes.fromhex(held[name]) for name in ("tcb_info_signature", "qe_identity_signature")
}
collateral = tdx.dcap_qvl.QuoteCollateralV3(**{**held, **lists, **signed})


async def verified(raw: bytes) -> object:
    return tdx.dcap_qvl.verify_with_root_ca(raw, collateral, folder.root, folder.at)


tdx._tdx_dcap_verify_async = verified  # noqa: SLF001 - see above
say("accept" if tdx.check_tdx_cpu_attestation(folder.quote.hex()).valid else "reject")
