"""What an audit loads before it has seen any evidence: libraries wait for their turn."""

import subprocess
import sys

WAITING = (
    *("Crypto", "bs4", "dcap_qvl", "dns", "eth_abi", "eth_keys", "httpx", "requests", "rich"),
    *("sigstore", "web3"),
)
PROGRAM = f"""
import sys, verifier.api, verifier.report.audit.json
print(*sorted(set({WAITING!r}) & set(sys.modules)))
"""


def test_no_library_is_loaded_before_evidence_asks_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stdout.split()
