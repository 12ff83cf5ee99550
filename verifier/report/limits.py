"""What no attestation proves, however well it verifies. Every report ends with these."""

from typing import Final

LIMITS: Final = (
    "That the app's code is honest or free of flaws: attestation says which code runs, no more.",
    "That anyone has read the code behind a hash: equal hashes mean equal bytes, nothing else.",
    (
        "That the guest which made the quote is the one that answers you: only a TLS key that is "
        "bound to the quote, and that you check yourself, ties the two together."
    ),
    (
        "That nobody reads your traffic outside the audited guest: a gateway, proxy or other "
        "service that terminates TLS sees it in clear text."
    ),
    (
        "That the hardware keeps its secrets against side channels, physical attacks or flaws in "
        "CPU and firmware: Intel's root is trusted here, not examined."
    ),
    (
        "That it stays so: whoever may change the app can do it after this audit, and nothing here "
        "promises that the service stays available or that its stored state is not rolled back."
    ),
)
