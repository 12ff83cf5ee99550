"""The attestation proof that an app publishes, held part by part against what was measured.

A proof of another app, of which no part is this one's, says nothing of this app: it is set aside.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from verifier.checks.case import MAX_CLOCK_SKEW, Case
from verifier.checks.dcap import certified_since
from verifier.checks.engine import USABLE
from verifier.checks.provenance.check import asked_images, examine
from verifier.checks.provenance.source_link import Provenance, Tie, only
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.chain.ethereum import key_address, recover_key
from verifier.evidence.guest.kms_answers import app_key_digest
from verifier.evidence.guest.proof import Proof
from verifier.evidence.images import sigstore
from verifier.evidence.subject import Located
from verifier.evidence.td.quote import TdQuote, parse_quote
from verifier.model.identifiers import format_time, parse_time
from verifier.model.report import ProvenParts
from verifier.model.result import CheckResult, EvidenceRef
from verifier.patterns import pattern
from verifier.reference.values import KmsRecord

Statement = tuple[str, str, str, EvidenceRef]
WHO: Final = "proof"
_OF_ONE_TD: Final = ("rtmr0", "rtmr3", "cvm_id")
"""What differs between instances of one app: machine, instance id and boot."""

_INSTANCE: Final = pattern(r"(?:0x)?[0-9a-fA-F]{40}", re.ASCII)
_BRANCH: Final = "refs/heads/"


def own(case: Case) -> list[Located[Proof]]:
    """The proofs of which some part is this app's."""
    return [item for item in case.evidence.proofs if not _is_of_another(case, item.value)]


def set_aside(case: Case) -> list[Located[Proof]]:
    """The proofs of other apps."""
    return [item for item in case.evidence.proofs if _is_of_another(case, item.value)]


def _is_of_another(case: Case, proof: Proof) -> bool:
    """Whether a proof names another app, and neither its quote and registers nor its signature are
    this one's."""
    if not proof.app_id or proof.app_id == case.identity.app_id:
        return False
    rtmr3 = [value for name, value in proof.registers if name == "rtmr3"]
    if proof.quote:
        rtmr3.append(parse_quote(proof.quote, "td_quote of the proof").rtmrs[3])
    return case.quote.rtmrs[3] not in rtmr3 and not _signed_for(case, proof)


def _signed_for(case: Case, proof: Proof) -> bool:
    """Whether the KMS's signature in a proof is over this app's id, whatever the proof says."""
    record = case.kms_record
    with suppress(EvidenceError):
        return record is not None and signer_of(proof, case.identity.app_id) == record.root_address
    return False


def statements(case: Case) -> Iterator[Statement]:
    """What proofs state that the judged quote and its log speak of."""
    for item in own(case):
        proof, artifact = item.value, item.artifact
        if proof.app_id:
            yield "app_id", proof.app_id.hex(), WHO, artifact.at("/deployment/custom_app_id")
        for name, value in (*proof.registers, *_of_quote(item)):
            if not _of_another(case, name):
                yield name, value.hex(), WHO, artifact.at("/attestation")
        if _INSTANCE.fullmatch(proof.cvm_id) and not _of_another(case, "cvm_id"):
            yield "instance_id", proof.cvm_id, WHO, artifact.at("/deployment/cvm_id")


def contradictions(case: Case) -> Iterator[tuple[Statement, str]]:
    """What contradicts another part of the same proof, or the source that a signature shows the
    images to be of: each statement, and what it should be."""
    for item in own(case):
        proof, artifact = item.value, item.artifact
        quoted = dict(_of_quote(item))
        for name, value in proof.registers:
            if name in quoted and value != quoted[name]:
                place = artifact.at("/attestation")
                yield (f"proof: {name}", value.hex(), WHO, place), quoted[name].hex()
        address = signer_of(proof, proof.app_id or case.identity.app_id)
        if address and proof.kms_root_address and proof.kms_root_address.lower() != address.lower():
            place = artifact.at("/kms_signature/kms_root_address")
            yield ("kms_root_address", proof.kms_root_address, WHO, place), address
        yield from _source(case, item)
        yield from _key_holder(case, item)
        yield from _moment(item)


def said(case: Case) -> Iterator[tuple[str, str, EvidenceRef]]:
    """What proofs say of which nothing is proven: a name for it, the words, and where."""
    for item in own(case):
        proof, artifact = item.value, item.artifact
        for name, text, pointer in (
            ("proof_timestamp", proof.timestamp, "/timestamp"),
            ("proof_branch", proof.branch, "/source/branch"),
            ("proof_kms_id", proof.kms_id, "/deployment/kms_id"),
            ("proof_cvm_id", proof.cvm_id, "/deployment/cvm_id"),
        ):
            if text:
                yield name, text, artifact.at(pointer)


def withheld(case: Case) -> Iterator[str]:
    """What proofs state of which that is missing by which it is judged, in the proof or beside."""
    for item in own(case):
        proof = item.value
        if proof.kms_root_address and not proof.kms_signature:
            yield "the proof names a KMS root address, and has no kms_signature"
        if proof.kms_signature and not proof.app_public_key:
            yield "the proof has a kms_signature, and no app_public_key that it is about"
        if proof.registers and not proof.quote:
            yield "the proof states registers, and has no td_quote"
        if proof.timestamp and not proof.quote:
            yield "the proof says when it was made, and has no td_quote"
        if (proof.commit or proof.branch) and not proof.repository:
            yield "the proof states a commit or a branch, and no repository"
        if proof.repository and not _all_attested(attested(case)):
            yield "the proof names a source, and no signature shows that of every image"
        if case.kms_record is None and _known_as(case, proof.kms_id):
            yield "the proof names a KMS, and which the guest measured is not known"


def signer_of(proof: Proof, app_id: bytes) -> str | None:
    """The address whose key signed the app key of a proof for an app, None where it shows no
    signature. Raises EvidenceError for one that recovers to nothing."""
    if not (proof.kms_signature and proof.app_public_key):
        return None
    digest = app_key_digest(app_id, proof.app_public_key)
    return key_address(recover_key(digest, proof.kms_signature, "kms_signature of the proof"))


def proven_parts(case: Case, results: Mapping[str, CheckResult]) -> ProvenParts:
    """What of a proof the evidence of this audit proves, whether the app publishes one or not."""

    def holds(*names: str) -> bool:
        return all(results[name].status in USABLE for name in names)

    if not holds("hardware.quote", "hardware.td"):
        return ProvenParts()
    named = holds("runtime.events", "application.identity")
    key, signature, root = _signed(case) if holds("key_management.root") else (b"", b"", "")
    repository, commit = _built_from(results["provenance.images"])
    return ProvenParts(
        quote=case.quote.raw,
        registers=tuple(_registers(case.quote)),
        app_id=case.identity.app_id.hex() if named else "",
        app_public_key=key,
        kms_signature=signature,
        kms_root_address=root,
        repository=repository,
        commit=commit,
    )


def _signed(case: Case) -> tuple[bytes, bytes, str]:
    """An app's root key, the KMS's signature over it, and whose that is; empty without one. Every
    signature in the evidence is of the KMS's root key by now."""
    app_id, found = case.identity.app_id, set[tuple[bytes, bytes]]()
    for item in own(case):
        if item.value.app_public_key and item.value.kms_signature:
            found.add((item.value.app_public_key, item.value.kms_signature))
    for chain in case.evidence.key_chains:
        key = recover_key(chain.value.digest, chain.value.app_signature, "app key signature")
        found.add((key, chain.value.kms_signature))
    if not found:
        return b"", b"", ""
    key, signature = min(found)
    signer = recover_key(app_key_digest(app_id, key), signature, "KMS signature")
    return key, signature, key_address(signer)


def _built_from(result: CheckResult) -> tuple[str, str]:
    """Repository and commit that signatures show every image to be built from; "" each where they
    show several, or of one image none."""
    rows = result.actual if isinstance(result.actual, list) else []
    sources, commits = list[str](), list[str]()
    for row in rows if result.status in USABLE else ():
        match row:
            case {"tie": Tie.ATTESTED.value, "source": str(source), "commit": str(commit)}:
                sources.append(source)
                commits.append(commit)
            case _:
                return "", ""
    repository = only(sources)
    return repository, only(commits) if repository else ""


def _of_quote(item: Located[Proof]) -> Iterator[tuple[str, bytes]]:
    """The registers in the quote of a proof. Raises EvidenceError."""
    if item.value.quote:
        quote = parse_quote(item.value.quote, "td_quote of the proof")
        yield from _registers(quote)


def _registers(quote: TdQuote) -> Iterator[tuple[str, bytes]]:
    yield from quote.registers.items()
    yield "mr_config_id", quote.mr_config_id


def _of_another(case: Case, name: str) -> bool:
    """Whether a register may be another instance's: a proof is about one, and names none."""
    return name in _OF_ONE_TD and len(case.evidence.bundle.subjects) > 1


def _source(case: Case, item: Located[Proof]) -> Iterator[tuple[Statement, str]]:
    """Repository, commit and branch, against those that signatures show the images to be built
    from; where one image has none, it may be the one that is meant."""
    proof, artifact = item.value, item.artifact
    found = attested(case)
    if not proof.repository or not _all_attested(found):
        return
    builds = [build for row in found for build in row.builds]
    own_rows = [build for build in builds if _same_repository(build.source, proof.repository)]
    if not own_rows:
        sources = ", ".join(sorted({build.source for build in builds}))
        place = artifact.at("/source/repository")
        yield ("repository", proof.repository, WHO, place), sources
        return
    if proof.commit and not any(_same_commit(row.commit, proof.commit) for row in own_rows):
        commits = ", ".join(sorted({row.commit for row in own_rows}))
        yield ("commit", proof.commit, WHO, artifact.at("/source/commit")), commits
    refs = {row.ref for row in own_rows}
    branch = _BRANCH + proof.branch.removeprefix(_BRANCH)
    if proof.branch and branch not in refs and all(ref.startswith(_BRANCH) for ref in refs):
        yield ("branch", proof.branch, WHO, artifact.at("/source/branch")), ", ".join(sorted(refs))


def _key_holder(case: Case, item: Located[Proof]) -> Iterator[tuple[Statement, str]]:
    """The KMS that a proof names, where it is one of the known ones: the guest measured which."""
    stated, record = item.value.kms_id, case.kms_record
    meant = _known_as(case, stated)
    if record is not None and meant and record not in meant:
        place = item.artifact.at("/deployment/kms_id")
        yield ("kms_id", stated, WHO, place), record.name


def _known_as(case: Case, stated: str) -> list[KmsRecord]:
    """The known KMSes that are called so."""
    return [row for row in case.reference.kms if row.is_called(stated)] if stated else []


def _moment(item: Located[Proof]) -> Iterator[tuple[Statement, str]]:
    """When a proof says that it was made: not after it was collected, and not before the platform
    of its quote was certified."""
    stated, artifact = item.value.timestamp, item.artifact
    moment = parse_time(stated)
    if moment is None:
        return
    place = artifact.at("/timestamp")
    if moment > artifact.collected_at + MAX_CLOCK_SKEW:
        yield ("timestamp", stated, WHO, place), f"until {format_time(artifact.collected_at)}"
    if item.value.quote:
        certified = certified_since(item.value.quote)
        if moment < certified:
            yield ("timestamp", stated, WHO, place), f"since {format_time(certified)}"


def attested(case: Case) -> tuple[Provenance, ...]:
    """What is known of the source of the app's images; () where that was not collected."""
    with suppress(MissingEvidence, Blocked, EvidenceError):
        return case.once(attested, lambda: examine(asked_images(case)))
    return ()


def _all_attested(found: tuple[Provenance, ...]) -> bool:
    """Whether a signature shows of each image what it is built from."""
    return bool(found) and all(row.tie is Tie.ATTESTED for row in found)


def _same_repository(source: str, stated: str) -> bool:
    return _name(source) == _name(stated)


def _name(text: str) -> str:
    """owner/name of a GitHub repository, as it is or in a URL; other text as it is."""
    return sigstore.github_repository(text).lower() or text.lower().strip("/")


def _same_commit(known: str, stated: str) -> bool:
    """Whether a commit is the one that is stated, of which 7 digits are enough."""
    shorter, longer = sorted((known.lower(), stated.lower()), key=len)
    return len(shorter) >= 7 and longer.startswith(shorter)  # noqa: PLR2004 - as git abbreviates
