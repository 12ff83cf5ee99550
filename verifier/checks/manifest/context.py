"""What an audit knows besides the manifest, as the plain values that the manifest's rules take.

A read that fails, contradicts another or was not made is None, and the rule that needs it is not
evaluable. Contract state counts only where the contract's code is known: other code answers as it
likes. What others witnessed counts only as far as somebody vouches for it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace

from verifier.chain.calls import storage
from verifier.chain.view import ChainView
from verifier.checks.authorization.history import timeline_of
from verifier.checks.case import Case
from verifier.checks.key_management.key_holder import SELF_PROVIDERS, confirmed_ca_key
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import identify_code
from verifier.evidence.guest.kms_answers import parse_meta
from verifier.manifest.context import ChainFacts, Context, Governor
from verifier.model.chain import OwnerKind, Role
from verifier.patterns import pattern
from verifier.reference.generations import Generation
from verifier.reference.values import KmsRecord, generation_of

if TYPE_CHECKING:
    from verifier.model.timeline import Governance, Timeline

T = TypeVar("T")

_GATEWAY: Final = pattern(r"dstack-(pha|base|eth)-", re.ASCII)
_NETWORKS: Final = {"pha": "hosted", "base": "base", "eth": "eth"}
_CONTRACTS: Final = (Role.APP, Role.KMS)


def context_of(case: Case) -> Context:
    """What the audit has measured, read and seen."""
    row, identity = case.os_image, case.identity
    record = _kms(case)
    return Context(
        compose_hash=(identity.compose_hash or b"").hex(),
        os_kind=row.kind if row else "",
        os_version=row.release if row else "",
        key_provider=identity.provider,
        key_provider_id=identity.provider_id.hex(),
        kms=record,
        kms_dates_keys=_dates_keys(case),
        kms_claims=frozenset(_claims(case)) if record else None,
        pages=tuple(_pages(case)),
        chain=_chain(case),
    )


def timeline_facts(timeline: "Timeline", compose_hash: str) -> ChainFacts:
    """What a history alone tells; nothing of an incomplete one, nor of contracts that went to
    unknown code. `compose_hash` is the measured one."""
    state = timeline.app_state
    if not (timeline.complete and state.continuous and timeline.kms_state.continuous):
        return ChainFacts()
    return ChainFacts(
        other_hashes=tuple(sorted(state.compose_hashes - {compose_hash})),
        tcb_required=state.require_tcb_up_to_date.value,
        governors=tuple(_governors(timeline.governance)),
    )


def _governors(found: "Iterable[Governance]") -> Iterator[Governor]:
    for item in found:
        if item.until is None and item.role in _CONTRACTS:
            yield Governor(
                contract=item.role,
                who=f"{item.kind.value} {item.owner}".strip(),
                keys=item.keys,
                notice=item.notice,
                own_word=item.own_word,
                frozen=item.kind is OwnerKind.RENOUNCED,
            )


def _chain(case: Case) -> ChainFacts:
    """Contract state, with what only a history can tell where there is one."""
    if _without_contract(case):
        return ChainFacts(absent=True)
    read = _tried(lambda: _read(case))
    if read is None:
        return ChainFacts()
    timeline = _tried(lambda: timeline_of(case))
    if timeline is None:
        return read
    told = timeline_facts(timeline, (case.identity.compose_hash or b"").hex())
    required = told.tcb_required if read.tcb_required is None else read.tcb_required
    return replace(
        read, other_hashes=told.other_hashes, governors=told.governors, tcb_required=required
    )


def _without_contract(case: Case) -> bool:
    """Whether the measured key provider asks no contract: a known KMS without one, or no KMS for an
    app id that is the manifest's own hash."""
    record = _kms(case)
    if record is not None:
        return record.contract is None
    return case.identity.provider in SELF_PROVIDERS and case.identity.self_bound


def _read(case: Case) -> ChainFacts | None:
    found = case.kms_contract()
    if found is None or case.identity.compose_hash is None:
        return None
    view = found[1]
    app = view.app_address()
    generation = _generation(case, view, app) if app else None
    if generation is None or generation.app is None:
        return None
    slot = generation.app.require_tcb
    allowed = contracts.ALLOWED_COMPOSE_HASHES + contracts.word(case.identity.compose_hash)
    return ChainFacts(
        hash_allowed=_tried(lambda: view.call(app, allowed, contracts.decode_bool).value),
        any_device=_tried(
            lambda: view.call(app, contracts.ALLOW_ANY_DEVICE, contracts.decode_bool).value
        ),
        tcb_required=None if slot is None else _tried(lambda: _flag(view, app, slot)),
        can_require_tcb=generation.can_require_tcb,
    )


def _flag(view: ChainView, app: str, slot: int) -> bool:
    return view.value(storage(app, slot, hex(view.number)), contracts.decode_bool)


def _generation(case: Case, view: ChainView, app: str) -> Generation | None:
    """The generation of the app's code at the agreed block, None for code that is not known.

    Raises EvidenceError when it cannot be read.
    """
    block = hex(view.number)
    proxy = view.value(contracts.get_code(app, block), contracts.decode_bytes)
    slot = view.value(contracts.get_implementation(app, block), contracts.decode_address)
    code = view.value(contracts.get_code(slot, block), contracts.decode_bytes)
    known = identify_code(case.reference.contracts, code, "app")
    is_proxy = identify_code(case.reference.contracts, proxy, "proxy") is not None
    return generation_of(known) if is_proxy else None


def _kms(case: Case) -> KmsRecord | None:
    """The record of the measured KMS, whether known or named by the relying party, if its CA key
    is confirmed to be the measured one."""
    record = case.kms_record
    confirmed = record is not None and _tried(lambda: confirmed_ca_key(case, record))
    return record if confirmed else None


def _dates_keys(case: Case) -> bool | None:
    """Whether the KMS dates the env-encrypt keys that it signs, by its answer in this run."""
    if not case.question.trusted or not case.evidence.env_keys:
        return None
    return any(item.value.signature_v1 is not None for item in case.evidence.env_keys)


def _claims(case: Case) -> Iterator[tuple[str, str]]:
    """What the gateway's name and the KMS's own answer say about the KMS."""
    host = case.evidence.name.partition("/")[0]
    match = _GATEWAY.match(host)
    if match:
        yield f"the gateway {host}", _NETWORKS[match[1]]
    for artifact in case.evidence.artifacts(Kind.KMS_META):
        with suppress(EvidenceError):
            meta = parse_meta(case.evidence.bundle.blob(artifact), "GetMeta")
            if meta.contract and meta.chain_id:
                yield "the KMS's own answer", f"{meta.chain_id}:{meta.contract}"


def _pages(case: Case) -> Iterator[dict[str, str]]:
    """The containers on each metadata page that lists them, as this run saw it."""
    for item in case.evidence.pages if case.question.trusted else ():
        if item.value.containers is not None:
            yield item.value.containers


def _tried(read: Callable[[], T]) -> T | None:
    """What a read gives, None where it cannot be made."""
    try:
        return read()
    except (MissingEvidence, Blocked, EvidenceError):
        return None
