"""Changes that no test of the four rooms notices, and what each means."""

from typing import Final

_SLICE: Final = "asked were the tests of timeline and chain alone"
_SINCE: Final = "a test that notices it was added since"

LISTED: Final[dict[str, str]] = {
    "verifier/timeline/creation.py find_creation: False → True": _SLICE,
    "verifier/timeline/exposures.py _before_seen: ended is None or ended <= first → ended is None "
    "and ended <= first": _SINCE,
    "verifier/timeline/exposures.py _single_key: item.role is Role.APP → item.role is not "
    "Role.APP": "words",
    "verifier/timeline/exposures.py _single_key: item.since_time is not None and until is not None "
    "→ item.since_time is not None": _SINCE,
    "verifier/timeline/fold.py fold: contract.begins is not None and no_proxy and (not "
    "constructed) → contract.begins is not None and no_proxy": _SLICE,
    "verifier/timeline/fold.py fold: role is Role.APP → role is not Role.APP": _SLICE,
    "verifier/timeline/governance.py MAX_RULES: 256 → 257": "the boundary of a limit",
    "verifier/timeline/history.py History.owner_streams: self._code(owner) and owner.lower() not "
    "in (self.app.lower(), self.plan.kms.lower()) → owner.lower() not in (self.app.lower(), "
    "self.plan.kms.lower())": "the logs of more accounts are asked for",
    "verifier/timeline/history.py _first_owned: event.name == 'OwnershipTransferred' and owner != "
    "ZERO_ADDRESS → owner != ZERO_ADDRESS": "the code of more accounts is asked for",
    "verifier/timeline/pending.py pending_call: call is None → call is not None": _SLICE,
}
"""The name of a change (`Point.name`) → why no test has to notice it, or what is known of it."""
