"""key-provider → one KMS: its CA key, its root key, its contract."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.application import proof as proofs
from verifier.checks.application.app_certificate import (
    UNTIED_HINT,
    certificates,
    problems_of,
    tie,
    vouched,
)
from verifier.checks.case import Case
from verifier.checks.engine import (
    USABLE,
    Outcome,
    check,
    failed,
    missing,
    not_applicable,
    passed,
    warned,
)
from verifier.checks.key_management.key_holder import (
    SELF_PROVIDERS,
    as_named,
    denied_holder,
    in_words,
    other_than_expected,
)
from verifier.checks.key_management.kms_root import root_keys
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import key_address, recover_key
from verifier.evidence.guest import kms_answers
from verifier.model.result import EvidenceRef, Status
from verifier.reference.values import KmsRecord, ReferenceValues

_FIRST_TO_MEASURE: Final = (0, 4, 2)
_NO_LONGER_MEASURING: Final = (0, 6)
"""The releases of dstack that measure `mr-kms`."""

_ENV_KEY_AGE: Final = 300
_ENV_KEY_SKEW: Final = 60
"""Seconds, as the SDK accepts a v1 signature (sdk/python verify_env_encrypt_public_key)."""


@check(
    "key_management.provider",
    "The key provider is an identified KMS",
    requires=("runtime.events",),
)
def provider(case: Case) -> Outcome:
    """The measured key-provider event names the CA key of a KMS that the reference values know, or
    that the relying party named with --kms; and where that KMS has a contract, its `kmsInfo` holds
    the same CA key, and the same root key. A KMS without a contract is identified by its record
    alone. One that nobody knows, or of a kind that nobody does, or another one than was named, is
    missing evidence; another key holder than the policy expects is a failure. Keys that are public,
    such as a simulator's, are refused by name. It is the guest that names it:
    `application.identity` tells what the KMS signed. A release that measures the build of its KMS
    (mr-kms, dstack 0.4.2 to 0.5.11) and did not is a doubt; so are keys that the host's TPM seals,
    or an enclave that nobody knows."""
    measured = case.identity
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    ca_key = measured.provider_id.hex()
    denied = denied_holder(case)
    if denied:
        return failed(f"denied: {denied.why}", actual=ca_key, evidence=evidence)
    if measured.provider_payload is None:
        raise MissingEvidence("this dstack version measures no key provider")
    if other_than_expected(case):
        return failed(
            f"{in_words(case)} is another key holder than the expected one",
            expected=list(case.demands.expect["kms"]),
            actual=ca_key or measured.provider,
            evidence=evidence,
            remediation="the evidence is genuine, but not of what you expect",
        )
    as_named(case)
    if measured.provider != "kms":
        if measured.provider in SELF_PROVIDERS and measured.self_bound:
            return _without_kms(case, measured.provider, ca_key, evidence)
        if measured.provider not in SELF_PROVIDERS:
            return missing(
                f"the guest names a key provider of a kind that is not known: {measured.provider}",
                reason="whoever has its keys can read all that this app does",
                expected=["kms", *SELF_PROVIDERS],
                actual=measured.provider,
                evidence=evidence,
            )
        return failed(
            f"key provider {measured.provider} holds no keys for this app id",
            expected="a KMS, or an app id equal to compose_hash[:20]",
            actual=measured.provider,
            evidence=evidence,
        )
    return _met(case, _known(case, evidence))


def _known(case: Case, evidence: tuple[EvidenceRef, ...]) -> Outcome:
    """Whether the KMS that the guest names is known, by its record or its contract."""
    record, ca_key = case.kms_record, case.identity.provider_id.hex()
    if record is None:
        return missing(
            f"the guest names a KMS that is not known, with CA key {ca_key[-16:]}",
            reason="whoever runs that KMS can read every key of this app",
            expected="a KMS of the reference values, or one named with --kms",
            actual=ca_key,
            evidence=evidence,
            remediation="where you trust it, name it with --kms, by its contract or its CA key. It "
            f"may be one of these: {_keyless(case.reference)}",
        )
    if record.contract is None:
        by = "CA key" if record.ca_spki else "root key, which its guest ties to its CA key"
        return passed(f"{record.name}, by its {by}", actual=ca_key, evidence=evidence)
    return _on_chain_keys(case, record, evidence)


def _met(case: Case, found: Outcome) -> Outcome:
    """The outcome, with a doubt where the guest should have measured the build of the KMS that it
    met and did not: a KMS whose certificate carries no attestation leaves no such event."""
    if found.status not in USABLE:
        return found
    if case.demands.expect.get("kms") and not vouched(case):
        return missing(
            "an expected KMS was given, and only the guest says that it is this one",
            reason="no certificate under the CA of that KMS is about the judged quote",
            evidence=found.evidence,
            remediation=UNTIED_HINT,
        )
    if not _lacks_build(case):
        return found
    return replace(
        found,
        status=Status.WARN,
        summary=f"{found.summary}; the guest measured no build of it (mr-kms)",
        remediation=found.remediation
        or "ask whoever runs the KMS why it showed the guest no attestation of its own",
    )


def _lacks_build(case: Case) -> bool:
    """Whether a guest with a KMS should have measured the build of it, and did not. The log tells
    by its other events of which release it is; where the registers tell, they are believed."""
    measured, image = case.identity, case.os_image
    dated = image is not None and _FIRST_TO_MEASURE <= image.version < _NO_LONGER_MEASURING
    return measured.lacks_mr_kms or (dated and measured.mr_kms is None)


@check(
    "key_management.root",
    "Key signatures recover to the root key of the same KMS",
    requires=("key_management.provider",),
)
def root(case: Case) -> Outcome:
    """Every signature that was given, over an app's root key or over its env-encrypt key, recovers
    to the root key of the KMS that `key_management.provider` identified, and an app's root key
    signed what is shown as derived from it. An env-key signature is given to anybody who asks, and
    its first version can be replayed whenever: it shows that this KMS answers for the app id, and
    nothing about this TD. An answer of another time, or without any, is a warning."""
    if case.identity.provider != "kms":
        return not_applicable("the guest names no KMS, so there is no root key of one")
    record = case.kms_record
    if record is None:
        raise MissingEvidence("the KMS has no record")
    root_address = _root_address(case, record)
    denied = case.reference.is_denied("k256-address", root_address)
    if denied:
        return failed(f"root key {root_address} is denied: {denied.why}", actual=root_address)
    found = list(_signatures(case, root_address))
    evidence = tuple(item.evidence for item in found)
    problems = [item.problem for item in found if item.problem]
    signed = [item.what for item in found if not item.problem]
    doubts = [item.doubt for item in found if item.doubt]
    if problems:
        return failed(
            "; ".join(problems),
            expected=root_address,
            evidence=evidence,
            remediation="the signature is not this KMS's word about this app",
        )
    _refuse_malformed(case)
    if not signed:
        raise MissingEvidence(
            "no signature of the KMS root key was collected",
            hint="the KMS signs its answer to GetAppEnvEncryptPubKey; apps publish key chains",
        )
    what = " and ".join(sorted(set(signed)))
    summary = f"{what} of this app id, not of this TD, signed by {root_address} ({record.name})"
    if doubts:
        return warned(f"{summary}; {doubts[0]}", evidence=evidence)
    return passed(summary, actual=root_address, evidence=evidence)


class _Signature(Struct, frozen=True):
    """A signature of a root key: over what, where, the problem with it, and the doubt about when it
    was made; "" for none."""

    what: str
    evidence: EvidenceRef
    problem: str
    doubt: str = ""


def _signatures(case: Case, root_address: str) -> Iterator[_Signature]:
    """Every signature in the evidence that is said to be of the KMS's root key."""
    for item in case.evidence.env_keys:
        said = _check_env_key(case, item.value, root_address)
        yield _Signature("env-encrypt key", item.artifact.ref, *said)
    for chain in case.evidence.key_chains:
        problem = _check_chain(case, chain.value, root_address)
        yield _Signature("app key chain", chain.artifact.ref, problem)
    for proof in proofs.own(case):
        key, signature = proof.value.app_public_key, proof.value.kms_signature
        if key and signature:
            digest = kms_answers.app_key_digest(case.identity.app_id, key)
            problem = _check_signer(digest, signature, root_address, "proof's app key signature")
            yield _Signature("app key", proof.artifact.at("/kms_signature"), problem)


@check(
    "key_management.certificate",
    "The app certificate chains to the CA of the same KMS",
    requires=("key_management.provider",),
)
def certificate(case: Case) -> Outcome:
    """The RA-TLS chain is signed link by link up to the CA key that the key-provider event names,
    the quote in it was made for its key, every certificate is in force, only the CAs have CA rights
    and their path lengths hold, and the app id and usage extensions are those of this app and of
    each certificate's place. It carries the judged quote, byte for byte, or the judged quote
    commits to its key by a convention that the relying party named for this manifest: otherwise it
    is missing, since another TD of equal registers may have been given it. Its dates are chosen by
    whoever asked for it, and say nothing of a quote's age."""
    if case.identity.provider != "kms":
        return not_applicable("the guest names no KMS that could have issued a certificate to it")
    found = certificates(case)
    if not found or found[0].certificate_chain is None:
        raise MissingEvidence(
            "no app certificate was collected",
            hint="guests before 0.6.0 give one in /prpc/Info, sometimes only at the second call",
        )
    source, words = found[0], tie(case, found[0])
    problems = problems_of(case, source)
    if problems:
        return failed(
            "; ".join(problems),
            expected=f"a chain to CA key {case.identity.provider_id.hex()[-16:]}",
            evidence=(source.evidence,),
            remediation="this certificate was not issued by the KMS for this app",
        )
    if not words:
        return missing(
            "the certificate carries another quote than the judged one, and nothing ties the two",
            reason="a TD of equal registers may have been given this certificate",
            evidence=(source.evidence,),
            remediation=UNTIED_HINT,
        )
    return passed(
        f"{len(found[0].certificate_chain.certificates)} certificates chain to the KMS CA; {words}",
        evidence=(source.evidence,),
    )


def _without_kms(case: Case, name: str, enclave: str, evidence: tuple[EvidenceRef, ...]) -> Outcome:
    """The author of the enclave that seals the keys of a local-sgx guest could have kept them, and
    the host's operator holds what its TPM seals."""
    if name == "tpm":
        return warned(
            "the keys are sealed by a TPM of the host: whoever runs the host holds it",
            expected="a KMS, a known sealing enclave, or no kept keys",
            actual=name,
            evidence=evidence,
            remediation="ask the operator to take the app's keys from a KMS",
        )
    if name != "local-sgx":
        return not_applicable(
            f"key provider {name}: no KMS holds the guest's keys, and its id is the manifest's hash"
        )
    rows = case.reference.key_providers
    known = next((row for row in rows if row.mrenclave == enclave), None)
    if known is None:
        return warned(
            "the keys are sealed by an SGX enclave that is not known: whoever wrote it has them",
            expected=[row.mrenclave for row in rows],
            actual=enclave,
            evidence=evidence,
            remediation="ask the operator what enclave it is, and for its reproducible build",
        )
    return not_applicable(
        f"key provider {name}: {known.name} seals the guest's keys, and its id is the manifest's "
        "hash"
    )


def _on_chain_keys(case: Case, record: KmsRecord, evidence: tuple[EvidenceRef, ...]) -> Outcome:
    found = case.kms_contract()
    if found is None:
        raise MissingEvidence("the KMS has no contract")
    view = found[1]
    info = view.call(view.plan.kms, contracts.KMS_INFO, contracts.decode_kms_info)
    if not info.value.ca_pubkey:
        raise MissingEvidence(
            f"kmsInfo() of {record.contract} holds no CA key to compare with",
            hint="the KMS's owner has not published its keys on chain",
        )
    measured = case.identity.provider_id
    published = info.value.k256_pubkey.hex()
    if info.value.ca_pubkey != measured:
        other = failed(
            f"the contract of {record.name} names another CA key",
            expected=info.value.ca_pubkey.hex(),
            actual=measured.hex(),
            evidence=(*evidence, *info.evidence),
        )
        return view.accuse(other, other.summary)
    if record.k256 and published != record.k256:
        other = failed(
            f"the contract of {record.name} names another root key than its record",
            expected=record.k256,
            actual=published,
            evidence=info.evidence,
        )
        return view.accuse(other, other.summary)
    summary = f"{record.name}: its CA key is that of contract {record.contract}"
    references = (*evidence, *info.evidence)
    if view.single_source:
        return warned(f"{summary}; read from one operator only", evidence=references)
    return passed(summary, actual=measured.hex(), evidence=references)


def _keyless(reference: ReferenceValues) -> str:
    """Known KMS contracts whose CA key is not known."""
    rows = [row for row in reference.kms if row.contract and not row.ca_spki]
    return ", ".join(f"{row.chain_id}:{row.contract} ({row.name})" for row in rows) or "none"


def _root_address(case: Case, record: KmsRecord) -> str:
    """Address of the KMS root key: the record's, else what the KMS's contract publishes, else what
    its own attestation ties to its CA key."""
    address = record.root_address
    if not address:
        found = case.kms_contract()
        if found is None:
            return _tied_address(case, record)
        view = found[1]
        info = view.call(view.plan.kms, contracts.KMS_INFO, contracts.decode_kms_info)
        address = key_address(info.value.k256_pubkey)
    return address


def _tied_address(case: Case, record: KmsRecord) -> str:
    """The one root key that is tied to the CA key. Raises MissingEvidence."""
    addresses = {item.address for item in root_keys(case)}
    if len(addresses) != 1:
        raise MissingEvidence(
            f"the root key of {record.name} is not known",
            hint="collect online, where the KMS shows what ties it to its CA key",
        )
    return addresses.pop()


def _refuse_malformed(case: Case) -> None:
    """Raises EvidenceError where a signature of the KMS was given and cannot be read."""
    for artifact, error in case.evidence.malformed:
        if artifact.kind in (Kind.KMS_ENV_KEY, Kind.SIGNATURE_CHAIN, Kind.PROOF):
            raise error


def _check_env_key(case: Case, key: kms_answers.EnvKey, root_address: str) -> tuple[str, str]:
    """The problem with an env-key answer, and the doubt about when it was made; "" for none."""
    app_id = case.identity.app_id
    signed = [(kms_answers.env_key_digest(app_id, key.public_key, None), key.signature)]
    doubt = "the signature has no time, and may be of any"
    if key.signature_v1 is not None and key.timestamp is not None:
        digest = kms_answers.env_key_digest(app_id, key.public_key, key.timestamp)
        signed.append((digest, key.signature_v1))
        now = -_ENV_KEY_SKEW <= case.question.at - key.timestamp <= _ENV_KEY_AGE
        doubt = "" if now else "the signature's time is not now"
    for digest, signature in signed:
        problem = _check_signer(digest, signature, root_address, "env-key signature")
        if problem:
            return problem, doubt
    return "", doubt


def _check_chain(case: Case, chain: kms_answers.SignatureChain, root_address: str) -> str:
    app_id = case.identity.app_id
    if chain.app_id not in (b"", app_id):
        return f"the key chain is about app {chain.app_id.hex()}"
    try:
        app_key = recover_key(chain.digest, chain.app_signature, "app key signature")
    except EvidenceError as error:
        return error.message
    return _check_signer(
        kms_answers.app_key_digest(app_id, app_key),
        chain.kms_signature,
        root_address,
        "app key chain",
    )


def _check_signer(digest: bytes, signature: bytes, root_address: str, what: str) -> str:
    try:
        address = key_address(recover_key(digest, signature, what))
    except EvidenceError as error:
        return error.message
    return "" if address == root_address else f"the {what} recovers to {address}"


CHECKS: Final = (provider, root, certificate)
