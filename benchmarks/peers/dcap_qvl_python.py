"""dcap-qvl (Python): quotes. Only UpToDate is accepted, as its README advises."""

import dcap_qvl
from folder import Folder, say

folder = Folder()
if folder.link != "quote":
    say("unsupported")
held = folder.collateral
lists = {name: bytes.fromhex(held[name]) for name in ("root_ca_crl", "pck_crl")}
signed = {
    name: bytes.fromhex(held[name]) for name in ("tcb_info_signature", "qe_identity_signature")
}
collateral = dcap_qvl.QuoteCollateralV3(**{**held, **lists, **signed})
try:
    report = dcap_qvl.verify_with_root_ca(folder.quote, collateral, folder.root, folder.at)
except ValueError:
    say("reject")
say("accept" if report.status == "UpToDate" else "reject")
