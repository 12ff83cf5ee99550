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
    "verifier/checks/endpoint/logged.py _SHOWN: 4 → 5": _LATE,
    "verifier/checks/hardware/gpu.py without_evidence: shape is None and image is not None and "
    "(_GPU_IMAGE in image.release) → image is not None and _GPU_IMAGE in image.release": _LATE,
    "verifier/checks/manifest/context.py _dates_keys: not case.question.trusted or not "
    "case.evidence.env_keys → not case.question.trusted": _LATE,
    "verifier/checks/application/consistency.py consistency: not statements and (not images) → "
    "not statements": _LATE,
    "verifier/checks/application/consistency.py consistency: measured is not None and any((value "
    "!= measured.hex() for value, _ in images)) → any((value != measured.hex() for value, _ in "
    "images))": _LATE,
    "verifier/checks/application/consistency.py _since_0_4: name not in hidden → name in hidden": (
        _LATE
    ),
    "verifier/checks/provenance/check.py _Examination._objection: trusted and repository in own "
    "and (signer.ref != ref) → trusted and signer.ref != ref": _LATE,
    "verifier/checks/presented.py choose_quote: met or best → best": _LATE,
    "verifier/checks/boot/machine.py _words: 1 → 2": _LATE,
    "verifier/checks/application/app_certificate.py certificates: len(found) == 1 → len(found) != "
    "1": _LATE,
    "verifier/checks/application/consistency.py _other_quotes: actual != expected[name] and (not "
    "(name == 'rtmr3' and actual in same_boot)) → actual != expected[name]": _SINCE,
    "verifier/policy/checklist.py images_pinned: finding.rule.startswith('IMG-') and "
    "_counts(finding) → finding.rule.startswith('IMG-')": _SINCE,
    "verifier/policy/reviews.py _review: type(number) is not int or not 1 <= number <= "
    "REQUIREMENTS → not 1 <= number <= REQUIREMENTS": _SINCE,
    "verifier/checks/application/proof.py _key_holder: record is not None and meant and (record "
    "not in meant) → meant and record not in meant": _SINCE,
    "verifier/checks/key_management/keys.py _on_chain_keys: warned(…) → passed(…)": _SINCE,
    "verifier/checks/provenance/check.py _Examination._verified: identity.issuer != GITHUB_ISSUER "
    "→ identity.issuer == GITHUB_ISSUER": _SINCE,
    "verifier/checks/key_management/attestation.py _allowed: warned(…) → passed(…)": _SINCE,
    "verifier/checks/key_management/attestation.py _is_met: guest.genuine and "
    "case.identity.mr_kms in guest.builds → guest.genuine": _SINCE,
    "verifier/checks/key_management/keys.py _signatures: key and signature → key or signature": (
        _SINCE
    ),
    "verifier/checks/key_management/signers.py _rooted: failed(…) → warned(…)": _SINCE,
    "verifier/policy/waivers.py _waiver: not isinstance(name, str) or not _ID.fullmatch(name) → "
    "not isinstance(name, str)": _SINCE,
    "verifier/checks/manifest/rules.py _judge: severity in _COUNTED and (not (waiver and "
    "waiver.holds(now))) → not (waiver and waiver.holds(now))": _SINCE,
    "verifier/checks/application/identity.py _config_id: measured.instance_id or b'' → "
    "measured.instance_id": _SINCE,
    "verifier/checks/endpoint/names.py _routed: failed(…) → warned(…)": _SINCE,
    "verifier/checks/hardware/gpu.py _attested_at_boot: False → True": _SINCE,
    "verifier/checks/manifest/context.py _chain: read is None or timeline is None → timeline is "
    "None": "the code asks it once since",
    "verifier/checks/application/app_certificate.py _check_place: 0 → 1": (
        "the code asks it once since"
    ),
    "verifier/checks/application/identity.py _config_id: config_id[:1] == b'\\x02' and config_id "
    "== mr_config_id_v2(compose_hash, measured.app_id, provider, measured.provider_id) → config_id "
    "== mr_config_id_v2(compose_hash, measured.app_id, provider, measured.provider_id)": (
        "the value begins so of itself"
    ),
    "verifier/policy/platform.py least_tcb: 0 → 1": "the part is there: no default is taken",
    "verifier/checks/key_management/attestation.py _rules: len(counted) > 1 → len(counted) >= 1": (
        "words"
    ),
    "verifier/policy/checklist.py staging_access: kind == 'development' → kind != 'development'": (
        "words"
    ),
    "verifier/checks/second_opinion/layout.py read_quote: 600 → 601": (
        "the byte behind the sixteen is of no component"
    ),
    "verifier/policy/document.py _read: 1 → 2": "the boundary of a limit",
    "verifier/checks/hardware/freshness.py freshness: root_age > demands.max_root_crl_age → "
    "root_age >= demands.max_root_crl_age": "the boundary of a limit",
    "verifier/checks/hardware/snp_report.py _judged: 0 < len(chains) <= MAX_CHAINS → 0 < "
    "len(chains) < MAX_CHAINS": "the boundary of a limit",
    "verifier/checks/key_management/attestation.py attestation: not guest.signed → guest.signed": (
        _SINCE
    ),
    "verifier/checks/key_management/kms_services.py _expected: isinstance(named, Mapping) and "
    "(not named.entries) → not named.entries": _SINCE,
    "verifier/checks/application/consistency.py _withheld: info.value.tcb_info or "
    "info.value.app_compose → info.value.tcb_info": _SINCE,
}
"""The name of a change (`Point.name`) → why no test has to notice it, or what is known of it."""
