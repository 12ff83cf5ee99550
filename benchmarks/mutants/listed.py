"""Changes that no test of the four rooms was seen to notice, and what each means."""

from typing import Final

_SLICE: Final = "asked were the tests of timeline and chain alone"
_SINCE: Final = "a test that notices it was added since"
_LATE: Final = "the time was up before the test that notices it"

LISTED: Final[dict[str, str]] = {
    "verifier/checks/application/app_certificate.py _named: case.identity.compose_hash or b'' → "
    "case.identity.compose_hash": "nobody names a manifest that is not known",
    "verifier/checks/claims.py make_claims: _rank(claim) < _rank(rival) → _rank(claim) <= "
    "_rank(rival)": "of two claims that are as well supported, either will do",
    "verifier/checks/endpoint/domain.py _others: item.parameters or {} → item.parameters": (
        "records of malformed parameters are left out before"
    ),
    "verifier/checks/instances.py allowed_manifests: item in texts → item not in texts": _LATE,
    "verifier/checks/key_management/keys.py _FIRST_TO_MEASURE: 4 → 5": _LATE,
    "verifier/checks/key_management/keys.py _FIRST_TO_MEASURE: 0 → 1": _LATE,
    "verifier/checks/presented.py _tcb: 0 → 1": "what verifies meets a level that has a date",
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
    "verifier/checks/hardware/snp_report.py _certified_tcb: raw[:1] != b'\\x02' or len(raw) < "
    "3 or raw[1] != len(raw) - 2 → len(raw) < 3 or raw[1] != len(raw) - 2": _SINCE,
    "verifier/checks/second_opinion/certificates.py Authority.need_issued: window[0] <= "
    "self._at <= window[1] → window[0] <= self._at < window[1]": _SINCE,
    "verifier/checks/hardware/endorsements.py _Chooser.__init__: malformed(…) → warned(…)": _SINCE,
    "verifier/checks/endpoint/gateway.py judge_gateway: 0 → 1": _SINCE,
    "verifier/checks/second_opinion/certificates.py (_BOOLEAN, _ENUMERATED): 1 → 2": _SINCE,
    "verifier/checks/second_opinion/levels.py platform_level: 1 → 2": _SINCE,
    "verifier/checks/second_opinion/levels.py relaunched: 'Configuration' in launch or "
    "'Configuration' in current → 'Configuration' in current": _SINCE,
    "verifier/policy/appraisal.py _expect: DECIDED_BY[name] == result.id and name not in "
    "_COMPARED → name not in _COMPARED": _SINCE,
    "verifier/checks/instances.py allowed_manifests: claim.name == 'compose_hash' and "
    "claim.basis is Basis.MEASURED → claim.name == 'compose_hash'": _SINCE,
    "verifier/checks/second_opinion/certificates.py _elements: 1 <= count <= 2 and size >= "
    "_LONG and size >> 8 * (count - 1) → 1 <= count <= 2 and size >> 8 * (count - 1)": _SINCE,
    "verifier/checks/case.py Case._verify: start <= at <= end → start <= at < end": _LATE,
    "verifier/checks/case.py Case.kms_contract: plan is None or record is None → plan is None": (
        "a plan is made of a record"
    ),
}
"""The name of a change (`Point.name`) → why no test has to notice it, or what is known of it."""
