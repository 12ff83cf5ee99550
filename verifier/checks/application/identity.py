"""RTMR3 → which app, which manifest, and what the quote is bound to."""

import base64
import hashlib
from typing import Final

from verifier.checks.application.app_certificate import UNTIED_HINT, vouched
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, missing, passed, warned
from verifier.checks.key_management.key_holder import (
    SELF_PROVIDERS,
    as_named,
    confirmed_kms,
    denied_holder,
)
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.subject import CHANNEL_GET_QUOTE
from verifier.evidence.td.measurements import (
    MR_CONFIG_ID_UNSET,
    mr_config_id_v1,
    mr_config_id_v2,
    mr_config_id_v3,
)
from verifier.evidence.td.ra_tls import leaf_report_data, spki
from verifier.model.identifiers import AppId
from verifier.patterns import pattern

_APP_KEY: Final = pattern(rb"dip1::(ed25519|secp256k1c)-pk:([A-Za-z0-9_-]+)\0*")
"""Report data of GetAttestationForAppKey (Dstack-TEE/dstack guest-agent/src/rpc_service.rs)."""
_KEY_SIZES: Final = (32, 33)
"""Bytes of an ed25519 key, and of a compressed secp256k1 key."""


@check(
    "application.identity",
    "The measured app id is the requested one, and is bound",
    requires=("runtime.events",),
)
def identity(case: Case) -> Outcome:
    """The app-id event equals the app id that was asked for, and something stronger than the host
    binds it: the id is the start of the manifest's hash, or a certificate under the CA of an
    identified KMS, which signs one only for what it has authorized, carries the judged quote, byte
    for byte. Where only the key-provider event names that KMS, the guest says so: it measures what
    a server of its host's choice showed it. Where the KMS is not known, what binds the id is
    missing. Anybody can start a genuine OS with any app id; an id that nothing binds is refused."""
    measured = case.identity
    app_id = measured.app_id.hex()
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    denied = case.reference.is_denied("app-id", app_id) or case.reference.is_denied(
        "rtmr3", case.quote.rtmrs[3].hex()
    )
    if denied:
        return failed(f"denied: {denied.why}", actual=app_id, evidence=evidence)
    requested = _requested(case)
    if requested != app_id:
        return failed(
            "this is another app than the one asked for",
            expected=str(requested),
            actual=app_id,
            evidence=evidence,
            remediation="the address served another app's evidence: do not use it",
        )
    named, instance = case.question.instances, measured.instance
    called = case.evidence.name.rpartition("/")[2]
    # What goes by one of several names is that one, or nothing: it lends itself to no other.
    named = (called,) if called in named else named
    if named and instance not in named:
        return failed(
            "this is another instance than the one asked for",
            expected=named[0] if len(named) == 1 else list(named),
            actual=instance,
            evidence=evidence,
        )
    return _bound(case)


def _bound(case: Case) -> Outcome:
    """What binds the app id."""
    measured, app_id = case.identity, case.identity.app_id.hex()
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    holder = denied_holder(case)
    if holder:
        return failed(f"its key holder is denied: {holder.why}", evidence=evidence)
    as_named(case)
    if measured.self_bound:
        return passed(
            "the app id is the start of the manifest's hash", actual=app_id, evidence=evidence
        )
    if measured.provider_payload is None:
        raise MissingEvidence(
            "this dstack version measures no key provider, so nothing that was measured binds this "
            "app id",
            hint="ask the operator to run the app on dstack 0.5 or later",
        )
    if measured.provider == "kms":
        return _by_kms(case)
    if measured.provider not in SELF_PROVIDERS:
        return missing(
            f"nothing known binds this app id: key provider {measured.provider} is of a kind that "
            "is not known",
            expected="an app id equal to compose_hash[:20], or an identified KMS",
            actual=app_id,
            evidence=evidence,
        )
    return failed(
        f"nothing binds this app id: key provider {measured.provider}",
        expected="an app id equal to compose_hash[:20], or an identified KMS",
        actual=app_id,
        evidence=evidence,
        remediation="whoever runs the host chose this id",
    )


def _by_kms(case: Case) -> Outcome:
    """What binds an app id that is not the start of the manifest's hash, under a KMS."""
    app_id, ca_key = case.identity.app_id.hex(), case.identity.provider_id.hex()
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    record = confirmed_kms(case)
    if record is None:
        raise MissingEvidence(
            f"the guest names a KMS that is not known, with CA key {ca_key[-16:]}: nothing known "
            "binds this app id",
            hint="whoever runs the host can choose this id; name a KMS that you trust with --kms",
        )
    words = vouched(case)
    if words:
        return passed(f"bound: {words}", actual=app_id, evidence=evidence)
    said = (
        f"the guest says that its KMS is {record.name}; no certificate under the CA of that KMS is "
        "about this quote"
    )
    if case.demands.kms_signed:
        raise MissingEvidence(said, hint=UNTIED_HINT)
    return warned(
        said,
        expected="a certificate under the KMS's CA that carries this quote",
        actual=app_id,
        evidence=evidence,
        remediation="a guest measures what a server of its host's choice showed it: ask for the "
        f"app certificate; {UNTIED_HINT}",
    )


def _requested(case: Case) -> AppId:
    """The app id that was asked for. Raises MissingEvidence where nobody asked for an app."""
    requested, app_id = case.question.app_id, case.identity.app_id.hex()
    if requested is None:
        raise MissingEvidence(
            f"no app was asked for; the evidence is about {app_id}",
            hint=f"if that is the app that you mean, name it: --expect-app-id {app_id}",
        )
    if requested == case.identity.instance:
        raise MissingEvidence(
            f"{requested} is an instance of the app {app_id}; nobody asked for that app",
            hint=f"if you mean it, name it: verify {app_id} --instance {requested}",
        )
    return requested


@check(
    "application.manifest",
    "The manifest given is the one that was measured",
    requires=("runtime.events",),
)
def manifest(case: Case) -> Outcome:
    """The sha256 of the app-compose manifest, taken over its raw bytes as received, equals the
    measured compose-hash, and MRCONFIGID, where the host set it, commits to the same manifest. The
    manifest must be strict JSON: a file that two readers read differently proves nothing."""
    measured = case.identity.compose_hash
    if measured is None:
        raise MissingEvidence("this dstack version measures no compose-hash")
    if not case.evidence.manifests:
        raise MissingEvidence(
            "the manifest was not given (the app may hide it: public_tcbinfo is false)",
            hint="ask the operator for the exact app-compose.json and import it with the bundle",
        )
    try:
        found = case.measured_manifest
    except MissingEvidence:
        manifests = case.evidence.manifests
        hashes = sorted({hashlib.sha256(item.value).hexdigest() for item in manifests})
        return failed(
            "the manifest given is not the one that was measured",
            expected=measured.hex(),
            actual=hashes[0] if len(hashes) == 1 else list(hashes),
            evidence=(case.evidence.manifests[0].artifact.ref,),
            remediation="hash the file exactly as deployed: a changed byte, a byte order mark or "
            "a new line at its end makes another manifest",
        )
    try:
        codec.parse_json_object(found.value, "app-compose")
    except EvidenceError as error:
        return failed(
            f"the measured manifest is ambiguous: {error.message}",
            reason=error.message,
            evidence=(found.artifact.ref,),
        )
    config_id = _config_id(case)
    if config_id == "":
        return failed(
            "MRCONFIGID commits to another manifest",
            expected=mr_config_id_v1(measured).hex(),
            actual=case.quote.mr_config_id.hex(),
            evidence=(case.presented.evidence,),
        )
    return passed(
        f"sha256 of {len(found.value)} bytes equals the compose-hash event and {config_id}",
        expected=measured.hex(),
        actual=measured.hex(),
        evidence=(found.artifact.ref,),
    )


@check(
    "application.binding",
    "The quote is bound to what came with it",
    requires=("hardware.quote",),
)
def binding(case: Case) -> Outcome:
    """The quote's report data commits to something that came with it: the key of the certificate it
    travels in, the app key that it names, the challenge of whoever asked, or values that the
    relying party names with the convention of the app's code. Without it the quote may have been
    made for something else. A convention that nobody named is missing evidence, not a wrong
    binding, and so are named values that no quote commits to, and a challenge that was asked and
    not answered. A bound key is vouched for by the app's code: that it never left the TD is not
    proven."""
    report_data = case.quote.report_data
    evidence = (case.presented.evidence,)
    if any(item.report_data for item in case.question.binds) and case.bound is None:
        # A challenge proves nothing about a key: the one who answers it may name another key beside
        # it.
        kinds = ", ".join(sorted({item.kind for item in case.question.binds}))
        raise MissingEvidence(
            f"no quote in the evidence commits to the values that were named ({kinds})",
            hint="check the values of --bind, or ask the app for the quote that was made over them",
        )
    if case.question.challenge:
        return _challenged(case, case.question.challenge)
    if bound := case.bound:
        formula = bound.convention.text if bound.convention else ""
        return passed(
            f"the report data commits to what was named: {bound.kind}, {formula}",
            actual=report_data.hex(),
            evidence=evidence,
        )
    if case.presented.certificate_chain is not None:
        expected = leaf_report_data(spki(case.presented.certificate_chain.certificates[0]))
        if report_data != expected:
            return failed(
                "the quote was made for another key than that of its certificate",
                expected=expected.hex(),
                actual=report_data.hex(),
                evidence=evidence,
                remediation="the quote was taken from another certificate or guest",
            )
        return passed("the report data commits to the certificate's key", evidence=evidence)
    kind, key = named_key(report_data)
    if key:
        return passed(
            f"the report data names the app's {kind} key {key.hex()}",
            actual=key.hex(),
            evidence=evidence,
        )
    raise MissingEvidence(
        f"what the report data {report_data[:16].hex()}… commits to is not known",
        hint="ask for a quote over a challenge of your own and pass it with --challenge",
    )


def _challenged(case: Case, challenge: bytes) -> Outcome:
    evidence = (case.presented.evidence,)
    if case.answers_challenge:
        return passed("the report data carries the challenge", evidence=evidence)
    if why := _unanswered(case):
        raise MissingEvidence(
            f"no quote over the challenge was collected: {why}",
            hint="check --challenge-url, and that the app answers there; then audit again",
        )
    return failed(
        "the report data does not carry the challenge",
        expected=challenge.hex(),
        actual=case.quote.report_data.hex(),
        evidence=evidence,
    )


def _unanswered(case: Case) -> str:
    """Why the challenge was asked of the app and no quote came; "" where one did, or nobody asked.
    What does not answer is no answer that is wrong."""
    if any(item.channel == CHANNEL_GET_QUOTE for item in case.evidence.quotes):
        return ""
    unread = (
        error.message for item, error in case.evidence.malformed if item.kind is Kind.GET_QUOTE
    )
    silent = (x.error for x in case.evidence.bundle.artifacts if x.kind is Kind.GET_QUOTE)
    return next(filter(None, (*unread, *silent)), "")


def named_key(report_data: bytes) -> tuple[str, bytes]:
    """The kind of key and the public key that report data of GetAttestationForAppKey names; "" and
    b"" for any other."""
    match = _APP_KEY.fullmatch(report_data)
    if match is None:
        return "", b""
    key = base64.urlsafe_b64decode(match[2] + b"=" * (-len(match[2]) % 4))
    return (match[1].decode("ascii"), key) if len(key) in _KEY_SIZES else ("", b"")


def _config_id(case: Case) -> str:
    """What MRCONFIGID agrees with, in words; empty when it commits to something else."""
    config_id, measured = case.quote.mr_config_id, case.identity
    compose_hash = measured.compose_hash or b""
    if config_id == MR_CONFIG_ID_UNSET:
        return "MRCONFIGID is not set"
    if config_id == mr_config_id_v1(compose_hash):
        return "MRCONFIGID (version 1)"
    provider = measured.provider or "none"
    if config_id[:1] == b"\x02" and config_id == mr_config_id_v2(
        compose_hash, measured.app_id, provider, measured.provider_id
    ):
        return "MRCONFIGID (version 2)"
    if config_id[:1] == b"\x03" and config_id in mr_config_id_v3(
        compose_hash,
        measured.app_id,
        provider,
        measured.provider_id,
        measured.instance_id or b"",
        measured.gpu_policy_hash,
        measured.init_script_hashes,
    ):
        return "MRCONFIGID (version 3)"
    return ""


CHECKS: Final = (identity, manifest, binding)
