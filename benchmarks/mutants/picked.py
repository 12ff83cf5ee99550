# ruff: noqa: E501 - lines of other files
"""Edits of judging lines, picked by hand: what a verifier so broken would accept, or refuse. Each
has to be noticed by the tests named beside it, which say why, and not by a report that merely
differs."""

from typing import Final

from msgspec import Struct


class Edit(Struct, frozen=True):
    """One edit of one file: its text `old`, which stands there once, becomes `new`; the tests `by`
    notice it, and `why` is what went unnoticed otherwise."""

    file: str
    old: str
    new: str
    by: str
    why: str

    def changed(self, source: str) -> str:
        """The file with this edit."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file} does not hold once: {self.old}")
        return source.replace(self.old, self.new)


PICKED: Final = (
    Edit(
        "verifier/chain/view.py",
        "        if number != self.number:",
        "        if False:",
        "tests/chain/test_header.py",
        "the hash and time of another block",
    ),
    Edit(
        "verifier/checks/application/app_certificate.py",
        "path_length < place - 1",
        "path_length < place - 2",
        "tests/checks/test_other_evidence.py",
        "a certificate chain one longer than its CA allows",
    ),
    Edit(
        "verifier/checks/application/consistency.py",
        "if shared >= boot and measured",
        "if measured",
        "tests/checks/test_other_evidence.py",
        "a log cut before system-ready, as vouching for another RTMR3",
    ),
    Edit(
        "verifier/checks/application/consistency.py",
        "(other.td_state, other.user_data) != (case.quote.td_state, case.quote.user_data)",
        "other.td_state != case.quote.td_state",
        "tests/checks/test_other_evidence.py",
        "a second quote of another device",
    ),
    Edit(
        "verifier/checks/application/consistency.py",
        "    if not all(event.is_runtime for event in found):",
        "    if not any(event.is_runtime for event in found):",
        "tests/checks/test_other_evidence.py",
        "a foreign entry of RTMR3 in a second log",
    ),
    Edit(
        "verifier/checks/application/identity.py",
        'config_id[:1] == b"\\x03" and',
        "False and",
        "tests/checks/test_td_fields.py",
        "no MRCONFIGID of version 3",
    ),
    Edit(
        "verifier/checks/application/identity.py",
        "        measured.init_script_hashes,\n",
        "        (),\n",
        "tests/checks/test_td_fields.py",
        "no MRCONFIGID of version 3 with init scripts",
    ),
    Edit(
        "verifier/checks/authorization/history.py",
        "view.single_source or agreed.pieced or agreed.cached > 0",
        "view.single_source or agreed.cached > 0",
        "tests/checks/test_contract_reads.py",
        "an accusation by a history pieced together from halves",
    ),
    Edit(
        "verifier/checks/authorization/contract.py",
        "MAX_BLOCK_AGE: Final = 3600",
        "MAX_BLOCK_AGE: Final = 3599",
        "tests/checks/test_contract_reads.py",
        "no block that is exactly as old as one may be",
    ),
    Edit(
        "verifier/checks/case.py",
        "named is not None and (not rows or named in rows) and",
        "named is not None and (not rows and named in rows) and",
        "tests/worlds/test_key_holder.py",
        "no KMS that the relying party names itself",
    ),
    Edit(
        "verifier/checks/case.py",
        "named is not None and (not rows or named in rows) and",
        "named is not None and",
        "tests/worlds/test_key_holder.py",
        "a named KMS in the place of the known one whose CA key it is",
    ),
    Edit(
        "verifier/checks/case.py",
        'named.ca_spki in ("", spki)',
        "True",
        "tests/checks/test_kms_record.py",
        "a named KMS with another CA key than the measured one",
    ),
    Edit(
        "verifier/checks/dcap.py",
        'return "" if certificate.issuer == certificate.subject else "the trust anchor is not a root"',
        'return ""',
        "tests/worlds/test_collateral.py::test_a_trust_anchor_is_checked_before_the_library_sees_it",
        "a trust anchor that does not issue itself",
    ),
    Edit(
        "verifier/checks/hardware/endorsements.py",
        "        leaf = item.chain[0]\n        if not _issued",
        "        leaf = item.chain[0]\n        if item.part is Part.QE_IDENTITY:\n            return\n        if not _issued",
        "tests/checks/test_tcb_signer.py",
        "a QE identity that a PCK certificate signed",
    ),
    Edit(
        "verifier/checks/hardware/endorsements.py",
        "        leaf = item.chain[0]\n        if not _issued",
        "        leaf = item.chain[0]\n        if item.part is Part.TCB_INFO:\n            return\n        if not _issued",
        "tests/checks/test_tcb_signer.py",
        "TCB info that a PCK certificate signed",
    ),
    Edit(
        "verifier/checks/hardware/endorsements.py",
        "        if name != TCB_SIGNING_NAME:",
        "        if False:",
        "tests/checks/test_tcb_signer.py",
        "TCB info signed by a certificate that the root issued for something else",
    ),
    Edit(
        "verifier/checks/hardware/freshness.py",
        "if independent and not agreed.pieced and not agreed.problems else ()",
        "if independent else ()",
        "tests/checks/test_quote_age.py",
        "a quote's age by logs that are pieced together or contradicted",
    ),
    Edit(
        "verifier/checks/hardware/freshness.py",
        "if first is not None and first <= case.question.at else None",
        "if first is not None else None",
        "tests/checks/test_quote_age.py",
        "a quote's age by an authorization from after the audit",
    ),
    Edit(
        "verifier/checks/hardware/quote.py",
        "any(body.mr_signer_seam)",
        "all(body.mr_signer_seam)",
        "tests/checks/test_td_fields.py",
        "a TDX module whose signer has one byte set",
    ),
    Edit(
        "verifier/checks/hardware/quote.py",
        "any(body.service_tds)",
        'all(body.service_tds or b"\\0")',
        "tests/checks/test_td_fields.py",
        "a service TD whose measurement has a zero byte",
    ),
    Edit(
        "verifier/checks/hardware/quote.py",
        "    if not dated:\n        return warned(",
        "    if not dated:\n        return passed(",
        "tests/worlds/test_collateral.py::test_without_a_dated_evaluation_the_tcb_is_a_warning",
        "a TCB for whose time no reference knows the evaluation in force",
    ),
    Edit(
        "verifier/checks/hardware/quote.py",
        "rejected = sorted(set(verified.advisory_ids) & set(demands.reject_advisories))",
        "rejected = list[str]()",
        "tests/worlds/test_collateral.py::test_an_advisory_that_the_policy_rejects",
        "an advisory that the policy rejects",
    ),
    Edit(
        "verifier/checks/hardware/quote.py",
        "_KNOWN_ATTRIBUTES: Final = SEPT_VE_DISABLE_BIT | 1 << 30 | 1 << 31",
        "_KNOWN_ATTRIBUTES: Final = SEPT_VE_DISABLE_BIT | 1 << 30 | 1 << 31 | 1 << 60",
        "tests/checks/test_td_fields.py",
        "a TD attribute, of the upper half, that nobody knows",
    ),
    Edit(
        "verifier/checks/key_management/keys.py",
        "    if info.value.ca_pubkey != measured:",
        "    if False:",
        "tests/worlds/test_one_operator.py",
        "a named KMS whose contract holds another CA key",
    ),
    Edit(
        "verifier/checks/key_management/keys.py",
        "    if not info.value.ca_pubkey:",
        "    if False:",
        "tests/worlds/test_catalogue.py::test_the_named_check_notices_and_nothing_is_affirmed[ca-key-empty]",
        "a contract without a CA key, as one that names another",
    ),
    Edit(
        "verifier/checks/key_management/keys.py",
        "for digest, signature in signed:",
        "for digest, signature in signed[:1]:",
        "tests/worlds/test_undated_env_key.py",
        "a time that the KMS did not sign, beside an older signature",
    ),
    Edit(
        "verifier/checks/key_management/signers.py",
        "chain.kms_root_address and chain",
        "False and chain",
        "tests/checks/test_signers.py",
        "a key chain that claims another root address",
    ),
    Edit(
        "verifier/checks/manifest/context.py",
        "    timeline = _tried(lambda: timeline_of(case))\n    if timeline is None:",
        "    timeline = None\n    if timeline is None:",
        "tests/policy/test_stage.py::test_each_requirement_is_missed_for_its_own_reason[notice]",
        "rules of the manifest that are told nothing of the history",
    ),
    Edit(
        "verifier/checks/manifest/rules.py",
        "(Kind.DIGEST, Kind.TAG, Kind.ROLLING, Kind.UNTAGGED)",
        "(Kind.DIGEST, Kind.TAG, Kind.UNTAGGED)",
        "tests/policy/test_manifest_rules.py",
        "no rolling tag of an allowed registry",
    ),
    Edit(
        "verifier/checks/provenance/check.py",
        "config.source)[:1]",
        "config.source)[:2]",
        "tests/checks/provenance/test_check.py",
        "an image signed by the repository that its path names, and its label does not",
    ),
    Edit(
        "verifier/checks/provenance/source_link.py",
        "_UNSEEN: Final = (Tie.UNKNOWN, Tie.UNREACHABLE, Tie.MISSING, Tie.PRIVATE)",
        "_UNSEEN: Final = (Tie.UNKNOWN, Tie.UNREACHABLE)",
        "tests/checks/provenance/test_check.py",
        "an image that its registry does not show, as contradicted",
    ),
    Edit(
        "verifier/checks/provenance/source_link.py",
        'self.reference.partition("@")[0]}',
        'self.reference.partition("@")[1]}',
        "tests/checks/provenance/test_check.py",
        "no expected image by its repository and tag",
    ),
    Edit(
        "verifier/evidence/td/event_log.py",
        "if event.version == 2 and event.preimage not in",
        "if event.version != 2 and event.preimage not in",
        "tests/checks/test_runtime_digests.py",
        "a preimage of an event that is not canonical",
    ),
    Edit(
        "verifier/evidence/td/event_log.py",
        '            raise EvidenceError(f"event {event.name!r}: no digest, and none can be recomputed")',
        '            return b""',
        "tests/checks/test_runtime_digests.py",
        "a foreign entry of RTMR3 without a digest",
    ),
    Edit(
        "verifier/policy/appraisal.py",
        "or not _is_proven(app_id):",
        "or False:",
        "tests/policy/test_waivers.py",
        "a waiver for an app that the evidence only says it is",
    ),
    Edit(
        "verifier/policy/appraisal.py",
        "        result.id in decided and result.status is Status.FAIL\n",
        "        result.status is Status.FAIL\n",
        "tests/policy/test_waivers.py",
        "no waiver of any failure",
    ),
    Edit(
        "verifier/policy/appraisal.py",
        "contradicts = as_expected.status is not Status.PASS or (",
        "contradicts = False and (",
        "tests/policy/test_waivers.py",
        "a waiver of what contradicts an expected value",
    ),
    Edit(
        "verifier/policy/document.py",
        '        raise PolicyError(f"policy {where}: [{name}] is not a table")',
        "        return {}",
        "tests/policy/test_policy_document.py",
        "a policy whose table is a number",
    ),
    Edit(
        "verifier/policy/stage.py",
        "_BREAKS: Final = (Severity.CRITICAL, Severity.HIGH)",
        "_BREAKS: Final = ()",
        "tests/policy/test_stage.py",
        "stage 1 beside a grave finding",
    ),
    Edit(
        "verifier/policy/stage.py",
        "_BREAKS: Final = (Severity.CRITICAL, Severity.HIGH)",
        "_BREAKS: Final = (Severity.CRITICAL,)",
        "tests/policy/test_stage.py",
        "stage 1 beside a finding of high severity",
    ),
    Edit(
        "verifier/policy/stage.py",
        "is REQUIREMENTS[-1] and rule and severity",
        "is REQUIREMENTS[-1] and severity",
        "tests/policy/test_stage.py",
        "a critical finding of no rule of the catalogue, as a backdoor",
    ),
    Edit(
        "verifier/timeline/completeness.py",
        "        found.problems.extend(_impossible(history))\n",
        "",
        "tests/timeline/test_coverage.py",
        "a history that no chain has: one block with two hashes",
    ),
    Edit(
        "verifier/timeline/completeness.py",
        "if event.transaction == first.transaction}\n    kind",
        "if True}\n    kind",
        "tests/timeline/test_coverage.py",
        "a history that begins late, by a later upgrade that looks like a creation",
    ),
    Edit(
        "verifier/timeline/completeness.py",
        "operators=1 if agreed.pieced else reader",
        "operators=reader",
        "tests/timeline/test_coverage.py",
        "a history pieced together from halves, as that of two operators",
    ),
    Edit(
        "verifier/timeline/completeness.py",
        '("admin", calls.ADMIN_SLOT), ("beacon", calls.BEACON_SLOT)',
        '("admin", calls.ADMIN_SLOT),',
        "tests/timeline/test_coverage.py",
        "a beacon proxy, whose code changes without its owner",
    ),
    Edit(
        "verifier/timeline/completeness.py",
        "    if proof not in (None, actual):",
        "    if False:",
        "tests/timeline/test_coverage.py",
        "endpoints that a proof against the state root contradicts",
    ),
)
