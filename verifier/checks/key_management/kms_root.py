"""What ties a KMS's root key (secp256k1) to its CA key: nothing that either of them signs does.

    kmsInfo     the KMS's contract names both keys
    record      the TD that made both keys says so in its quote (bootstrap_info)
    session     the KMS signs with the root key in a TLS session that ends at its own certificate

Anybody can name a public key: a quote over both, or a signature that is relayed, says only what
the code of that TD makes it say. So the last two count only of a KMS that runs code which somebody
vouches for: the CA key that is known, by signing that TD's certificate, or the relying party, by
naming the hash of the manifest that it measured.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec import Struct

from verifier.checks.case import Case
from verifier.checks.key_management.kms_guest import KmsGuest, tried_guests
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import key_address, recover_key
from verifier.evidence.guest.kms_answers import (
    Bootstrap,
    env_key_digest,
    parse_bootstrap,
    parse_env_key,
)
from verifier.evidence.subject import (
    CHANNEL_BOOTSTRAP,
    Located,
    PresentedQuote,
    SubjectEvidence,
)
from verifier.model.result import EvidenceRef


class RootKey(Struct, frozen=True):
    """The address of a KMS's root key (EIP-55), what ties it to the CA key in words, and where."""

    address: str
    how: str
    evidence: tuple[EvidenceRef, ...]


def root_keys(case: Case) -> tuple[RootKey, ...]:
    """What is tied to the CA key that the app's guest names, which is known to be the KMS's."""

    def find() -> tuple[RootKey, ...]:
        guests = [guest for guest in tried_guests(case) if guest.holds]
        code = {guest.compose_hash for guest in guests} | _known_code(case)
        stated = (*_by_contract(case), *_by_record(case, code))
        record = case.kms_record
        known = {item.address for item in stated} | {record.root_address if record else ""} - {""}
        # A signature over something else recovers to some key, too, which is nobody's: it names no
        # root key, and `key_management.root` says what is wrong with it.
        met = _by_session(case, guests)
        return (*stated, *(item for item in met if not known or item.address in known))

    return case.once(root_keys, find)


def is_tied(case: Case, address: str) -> bool:
    """Whether a root key that the relying party trusts is of the KMS that the app's guest names. By
    then nothing vouches for that CA key, so that what it signs vouches for nothing: the code of the
    KMS has to be known."""

    def find() -> frozenset[str]:
        code = _known_code(case)
        guests = [
            guest
            for guest in tried_guests(case)
            if guest.holds and guest.pinned and guest.compose_hash in code
        ]
        return frozenset(
            item.address for item in (*_by_record(case, code), *_by_session(case, guests))
        )

    return address in case.once(is_tied, find)


def bootstraps(case: Case) -> tuple[Located[Bootstrap], ...]:
    """The records in the evidence of how a KMS made its keys; what cannot be read ties nothing."""
    bundle, found = case.evidence.bundle, []
    for artifact in case.evidence.artifacts(Kind.KMS_META):
        with suppress(EvidenceError):
            made = bundle.read(artifact, parse_bootstrap, f"GetMeta from {artifact.source}")
            found += [Located(made, artifact)] if made is not None else []
    return tuple(found)


def bootstrap_problem(case: Case, made: Located[Bootstrap], code: Iterable[bytes]) -> str:
    """Why a record of how a KMS made its keys ties them to nothing, "" where it does. `code` are
    the manifest hashes of KMSs that somebody vouches for."""
    record = made.value
    if record.ca_pubkey != case.identity.provider_id:
        return "it is about another CA key"
    try:
        guest = _maker(case, made)
        told = guest.case.quote.report_data == record.report_data
    except (MissingEvidence, Blocked, EvidenceError) as error:
        return error.message
    if not told:
        return "its quote commits to other keys"
    if not guest.genuine:
        return "it is not the record of a genuine guest of a known OS"
    if guest.compose_hash not in set(code):
        return "other code made the keys"
    return "" if guest.pinned else "the manifest of the TD that made them does not fix its code"


def _maker(case: Case, made: Located[Bootstrap]) -> KmsGuest:
    """The TD that made a KMS's keys, by its own record: one for all guests that name this KMS."""
    question, about = case.question, (made.artifact.sha256, made.artifact.source)
    key = (_maker, *about, case.identity.provider_id, question.at, question.trusted)
    return case.exchanges.once(key, lambda: _read_maker(case, made))


def _read_maker(case: Case, made: Located[Bootstrap]) -> KmsGuest:
    record = made.value
    source = PresentedQuote(
        channel=CHANNEL_BOOTSTRAP,
        quote=record.quote,
        evidence=made.artifact.at("/bootstrap_info"),
        log=record.log,
        log_evidence=made.artifact.at("/bootstrap_info"),
        parsed_events=record.events,
        vm_config=record.vm_config,
    )
    manifests = [item for guest in tried_guests(case) for item in guest.case.evidence.manifests]
    subject = SubjectEvidence(made.artifact.subject, case.evidence.bundle, manifests=manifests)
    return KmsGuest(made.artifact.source, case.for_attester(subject, source), record.ca_pubkey)


def _by_contract(case: Case) -> Iterator[RootKey]:
    with suppress(MissingEvidence, Blocked, EvidenceError):
        found = case.kms_contract()
        if found is None:
            return
        view = found[1]
        info = view.call(view.plan.kms, contracts.KMS_INFO, contracts.decode_kms_info)
        if info.value.ca_pubkey == case.identity.provider_id and info.value.k256_pubkey:
            address = key_address(info.value.k256_pubkey)
            yield RootKey(address, f"kmsInfo() of {view.plan.kms}", info.evidence)


def _by_record(case: Case, code: Iterable[bytes]) -> Iterator[RootKey]:
    for made in bootstraps(case):
        if not bootstrap_problem(case, made, code):
            address = key_address(made.value.k256_pubkey)
            how = "the quote of the TD that made both keys"
            yield RootKey(address, how, (made.artifact.at("/bootstrap_info"),))


def _by_session(case: Case, guests: Iterable[KmsGuest]) -> Iterator[RootKey]:
    """Signatures that came in a session which this audit's collection saw end at a KMS's key."""
    peers = {guest.peer for guest in guests if case.question.trusted}
    bundle, app_id = case.evidence.bundle, case.identity.app_id
    for artifact in case.evidence.artifacts(Kind.KMS_ENV_KEY):
        if artifact.peer not in peers:
            continue
        with suppress(EvidenceError):
            key = bundle.read(artifact, parse_env_key, f"env key from {artifact.source}")
            digest = env_key_digest(app_id, key.public_key, None)
            signer = recover_key(digest, key.signature, "env-key signature")
            how = "a signature in a TLS session that ends in the KMS's own TD"
            yield RootKey(key_address(signer), how, (artifact.ref,))


def _known_code(case: Case) -> set[bytes]:
    return {bytes.fromhex(item) for item in case.question.kms_code}
