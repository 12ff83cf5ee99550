"""Over random histories on a real EVM: what is folded from logs is what the contracts store."""

from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codes import known_code
from tests.evm import history
from tests.evm.anvil import CHAIN_ID, Anvil, running
from tests.evm.history import Chooser, Played, Stored
from tests.evm.world import GENERATIONS, NOBODY, Generation
from verifier.evidence.chain.contract_events import (
    KMS_GOVERNANCE_TOPICS,
    UNDECODABLE,
    UNKNOWN,
    decode_event,
)
from verifier.evidence.chain.creation_calldata import initial_terms
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.chain.log_scan import LogFilter, decode_answer
from verifier.model.chain import Place, Role
from verifier.model.timeline import AppState, KmsState, TimelineEvent
from verifier.timeline.fold import Fold, fold
from verifier.timeline.initial import InitialFlags, initial_flags

Source = Literal["calldata", "storage", "nothing"]
SOURCES: tuple[Source, ...] = ("calldata", "storage", "nothing")
LAST_IN_BLOCK = 2**32

_histories = st.randoms(use_true_random=True)


def eip55(address: str) -> str:
    """As states name accounts: nobody is "" there."""
    return "" if address == NOBODY else checksum_address(bytes.fromhex(address[2:]))


def events_of(played: Played) -> tuple[TimelineEvent, ...]:
    found = [*_events(played, Role.APP, ()), *_events(played, Role.KMS, KMS_GOVERNANCE_TOPICS)]
    return tuple(sorted(found, key=lambda event: event.place))


def _events(played: Played, role: Role, topics: tuple[str, ...]) -> Iterator[TimelineEvent]:
    address = (played.app if role is Role.APP else played.kms).address
    wanted = LogFilter(chain_id=CHAIN_ID, address=address, topics=topics)
    answer = played.chain.rpc(*_as_call(wanted, played.chain))
    for item in decode_answer(wanted, answer, role):
        event = decode_event(item.log)
        assert event.name not in {UNKNOWN, UNDECODABLE}
        yield TimelineEvent(
            place=Place(item.log.block, item.log.log_index),
            time=item.time,
            block_hash=item.block_hash,
            transaction=item.log.transaction,
            role=role,
            address=eip55(address),
            name=event.name,
            args=event.args,
        )


def _as_call(wanted: LogFilter, chain: Anvil) -> tuple[str, object]:
    method, (query,) = wanted.call(chain.first, chain.head)
    return method, query


def flags_of(played: Played, events: tuple[TimelineEvent, ...], source: Source) -> InitialFlags:
    """The initial flags as they are known from one source alone."""
    receipt, chain = played.creation.receipt, played.chain
    if source == "calldata":
        sent = chain.rpc("eth_getTransactionByHash", receipt["transactionHash"])["input"]
        # The id of a third-generation app stands in no argument of the factory.
        named = bytes.fromhex(played.app.address[2:]) if played.generation != "G3" else None
        terms = initial_terms(bytes.fromhex(sent[2:]), named)
        assert terms is not None
        return initial_flags(events, terms)
    if source == "storage":
        block = int(receipt["blockNumber"], 16)
        return initial_flags(
            events,
            None,
            storage_at_creation=played.app.storage(2 if played.generation == "G3" else 1, block),
            tcb_at_creation=played.app.storage(3, block) if played.generation == "G6" else None,
        )
    return initial_flags(events, None)


def folded(played: Played, events: tuple[TimelineEvent, ...], source: Source) -> Fold:
    codes = {eip55(item): known_code(name[-2:]) for item, name in played.implementations.items()}
    return fold(events, initial=flags_of(played, events, source), codes=codes)


def needed(played: Played, source: Source) -> frozenset[str]:
    """The flags that a source proves, whatever happened since."""
    if source == "nothing":
        return frozenset()
    found = {"any_device", "upgrades_disabled"}
    in_calldata = played.terms.require_tcb is not None
    if in_calldata if source == "calldata" else played.generation == "G6":
        found.add("require_tcb")
    return frozenset(found)


def app_agrees(state: AppState, stored: Stored, *, flags: frozenset[str]) -> None:
    """`flags` must be known; others may be unknown, but never wrong."""
    assert state.continuous
    assert state.compose_hashes == stored.compose_hashes
    assert state.devices == stored.devices
    assert state.implementation == eip55(stored.implementation)
    assert state.owner == eip55(stored.owner)
    for name, known, actual in (
        ("any_device", state.any_device, stored.any_device),
        ("upgrades_disabled", state.upgrades_disabled, stored.upgrades_disabled),
        ("require_tcb", state.require_tcb_up_to_date, stored.require_tcb),
    ):
        assert known.value is not None or name not in flags
        assert known.value is None or known.value is bool(actual)


def kms_agrees(state: KmsState, stored: Stored) -> None:
    assert state.continuous
    assert state.os_images == stored.os_images
    assert state.aggregated_mrs == stored.aggregated_mrs
    assert state.devices == stored.kms_devices
    assert state.root_key == stored.root_key
    assert state.gateway_app_id == stored.gateway_app_id
    assert state.app_implementation == eip55(stored.app_implementation)
    assert state.implementation == eip55(stored.kms_implementation)
    assert state.owner == eip55(stored.kms_owner)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.usefixtures("node_packages")
@settings(max_examples=12, deadline=None)
@given(rng=_histories)
def test_the_fold_of_the_logs_is_the_storage(rng: Chooser, generation: Generation) -> None:
    # A node of its own: one with many blocks keeps their states on disk.
    with running() as chain:
        _compare(history.random_history(chain, rng, generation))


def _compare(played: Played) -> None:
    events = events_of(played)
    folds = {source: folded(played, events, source) for source in SOURCES}
    present = max(_some(played))
    for block in _some(played):
        stored = played.stored(block)
        for source, result in folds.items():
            at = Place(block, LAST_IN_BLOCK)
            app_agrees(result.app_state(at), stored, flags=needed(played, source))
            kms_agrees(result.kms_state(at), stored)
            if block == present:
                assert result.app_state(None) == result.app_state(at)
                assert result.kms_state(None) == result.kms_state(at)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.usefixtures("node_packages")
@settings(max_examples=6, deadline=None)
@given(rng=_histories)
def test_unknown_code_ends_what_logs_say(rng: Chooser, generation: Generation) -> None:
    with running() as chain:
        _compare_until_evil(history.random_history(chain, rng, generation, steps=6, evil=True))


def _compare_until_evil(played: Played) -> None:
    result = folded(played, events_of(played), "calldata")
    for block in _some(played):
        app = result.app_state(Place(block, LAST_IN_BLOCK))
        if played.evil_from is not None and block >= played.evil_from:
            assert not app.continuous
        else:
            app_agrees(app, played.stored(block), flags=needed(played, "calldata"))


def _some(played: Played) -> tuple[int, ...]:
    """The first and the last checkpoint, and every fourth between."""
    return tuple(sorted({*played.checkpoints[::4], played.checkpoints[-1]}))
