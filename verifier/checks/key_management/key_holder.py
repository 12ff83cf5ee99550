"""Which key holder a guest names, and whether it is the one that the relying party means."""

from typing import Final

from verifier.checks.case import Case
from verifier.checks.key_management.kms_guest import tried_guests
from verifier.checks.key_management.kms_root import is_tied
from verifier.errors import MissingEvidence
from verifier.evidence.chain import contracts
from verifier.reference.values import Denied, KmsRecord

SELF_PROVIDERS: Final = ("local-sgx", "tpm", "none")
"""The kinds of key provider beside a KMS, which hold no keys for another id than the manifest's
hash. Whatever else a guest names is of a kind that nobody knows."""


def confirmed_ca_key(case: Case, record: KmsRecord) -> bool:
    """Whether a KMS record is that of the measured CA key: by the reference values, or for a KMS
    that the relying party named, by its contract, or by what ties the root address that was named
    to that CA key. Raises MissingEvidence where none of these tells."""
    measured = case.identity.provider_id
    if record.ca_spki:
        return record.ca_spki == measured.hex()
    if record.contract is None:
        return bool(record.root_address) and is_tied(case, record.root_address)
    found = case.kms_contract()
    if found is None:
        return False
    info = found[1].call(record.contract, contracts.KMS_INFO, contracts.decode_kms_info)
    if not info.value.ca_pubkey:
        raise MissingEvidence(f"kmsInfo() of {record.contract} holds no CA key to compare with")
    return info.value.ca_pubkey == measured


def confirmed_kms(case: Case) -> KmsRecord | None:
    """The KMS that the guest names, None where nobody knows it, or another CA key is its. Raises
    MissingEvidence where nothing tells its CA key."""
    record = case.kms_record
    return record if record is not None and confirmed_ca_key(case, record) else None


def denied_holder(case: Case) -> Denied | None:
    """The deny-list row of the key holder that the guest names, by its CA key or its root key."""
    reference, record = case.reference, case.kms_record
    found = reference.is_denied("ca-spki", case.identity.provider_id.hex())
    if found is None and record is not None and record.root_address:
        found = reference.is_denied("k256-address", record.root_address)
    return found


def in_words(case: Case) -> str:
    """The key holder that the guest names."""
    if case.identity.provider != "kms":
        return f"key provider {case.identity.provider or 'none'}"
    record = case.kms_record
    return record.name if record else f"a KMS with CA key {case.identity.provider_id.hex()[-16:]}"


def as_named(case: Case) -> None:
    """Raises MissingEvidence where the relying party named a KMS, and the guest names another key
    holder: what was named says where to look, and nothing is known of it there."""
    named = case.question.kms
    if named is None:
        return
    if case.kms_record != named or not confirmed_ca_key(case, named):
        other = f"a KMS with CA key {case.identity.provider_id.hex()[-16:]}"
        if case.kms_record != named:
            other = in_words(case)
        raise MissingEvidence(
            f"you named the KMS {named.name}; the guest names {other}, and nothing known says that "
            "they are one",
            hint=_untied_hint(case, named),
        )


def _untied_hint(case: Case, named: KmsRecord) -> str:
    """What to do where nothing says that the named KMS is the one that the guest names."""
    by_root = not (named.ca_spki or named.contract)
    hashes = sorted({guest.compose_hash.hex() for guest in tried_guests(case) if guest.holds})
    if by_root and hashes:
        return (
            "what its guests show ties both keys only for who knows their code: read the manifest, "
            f"and if it is a KMS's that you trust, name its hash: --kms-code {hashes[0]}"
        )
    return (
        "name the key holder that you mean with --kms, or ask for evidence of a guest that names it"
    )


def other_than_expected(case: Case) -> bool:
    """Whether the guest names another key holder than the relying party demands.

    Raises MissingEvidence where that is not known: one is demanded by what nothing tells of the
    CA key that the guest names.
    """
    expected = set(case.demands.expect.get("kms", ()))
    if not expected:
        return False
    if case.identity.provider != "kms":
        return True
    record, names = confirmed_kms(case), {case.identity.provider_id.hex()}
    if record is not None:
        names |= record.names
    if names & expected:
        return False
    known = {name for row in case.reference.kms if row.ca_spki for name in row.names}
    ca_keys = {name for name in expected if ":" not in name and not name.startswith("0x")}
    if len(names) == 1 and expected - known - ca_keys:
        raise MissingEvidence(
            f"whether {in_words(case)} is the one that is expected is not known",
            hint="name its contract with --kms, or expect its CA key",
        )
    return True
