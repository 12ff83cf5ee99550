"""Changes that no test of the four rooms notices, and what each means."""

from typing import Final

LISTED: Final[dict[str, str]] = {
    "verifier/timeline/governance.py MAX_RULES: 256 → 257": "the boundary of a limit",
    "verifier/timeline/history.py _first_owned: event.name == 'OwnershipTransferred' and owner != "
    "ZERO_ADDRESS → owner != ZERO_ADDRESS": "the code of more accounts is asked for",
}
"""The name of a change (`Point.name`) → why no test has to notice it."""
