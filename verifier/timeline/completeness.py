"""Whether a history is whole: no gap, no contradiction, and every value in storage explained.

No signature covers the set of logs: a node can leave one out unnoticed. It is detected by the
state that it would have explained. Three things are therefore asked of every contract: a source for
each block, agreement of all sources, and that the events, folded in order, give exactly what its
storage holds at the agreed block, for every key that was ever seen and every scalar that events
change. Where an endpoint proves that storage, the proof has to give the same. And what an event
says of the value before has to be what the events before it made.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain import calls
from verifier.chain.storage import Layout, Proven, proven_words
from verifier.chain.view import DisagreementError
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.constructor import CREATION_ROLE
from verifier.evidence.chain.contracts import Call
from verifier.model.chain import OPERATORS, ContractCode, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import AppState, Beginning, Coverage, KmsState, Known, Origin
from verifier.reference.generations import NEWEST, slots_of
from verifier.reference.values import generation_of
from verifier.timeline.creation import first_manifest_call
from verifier.timeline.history import History, Stream
from verifier.timeline.initial import CONSTRUCTED
from verifier.timeline.keyed import KEYED, key_calls

_CREATION: Final = frozenset({"Upgraded", "Initialized"})
_SUCCESSIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "OwnershipTransferred": ("the owner", "previousOwner", "newOwner"),
    "OwnershipTransferStarted": ("the owner", "previousOwner", ""),
    "MinDelayChange": ("the delay", "oldDuration", "newDuration"),
    "AdminChanged": ("the proxy's admin", "previousAdmin", "newAdmin"),
}
"""Name of an event → the value that it tells, its argument that holds the one before, and that
which holds the new one; "" where it gives none."""


class _Comparison(Struct, frozen=True):
    """One value in storage, and what the events make of it."""

    name: str
    folded: JsonValue
    call: Call
    decode: Callable[[JsonValue, str], JsonValue]


class _Found(Struct):
    """What comparing one stream has found so far."""

    problems: list[str] = []
    disputed: list[str] = []
    unproven: list[str] = []
    compared: int = 0
    proven: int = 0


def coverage(history: History, app: AppState, kms: KmsState) -> tuple[Coverage, ...]:
    """How each stream is known; `app` and `kms` are the folded states at the reader's block."""
    found = [
        _cover(history, history.app_stream, _app_comparisons(history, app), app.code),
        _cover(history, history.kms_stream, _kms_comparisons(history, kms), kms.code),
    ]
    found.extend(_cover(history, stream, ()) for stream in history.streams()[len(found) :])
    return tuple(found)


def _cover(
    history: History,
    stream: Stream,
    compared: Iterable[_Comparison],
    code: ContractCode | None = None,
) -> Coverage:
    agreed, reader = stream.agreed, history.reader
    found = _Found(disputed=[*agreed.problems, *history.owner_disputes(stream.role)])
    if stream.role is Role.APP:
        found.problems.extend(_impossible(history))
        found.unproven.extend(history.left_out)
    if agreed.sources:  # where nobody has every block, a log may stand in what is missing
        found.problems.extend(_unexplained(stream))
    if agreed.sources and stream.role in (Role.APP, Role.KMS):
        if not stream.events and _created_in(history, stream) is None:
            said = f"no source has any log of {stream.address}, not even its creation"
            found.unproven.append(said)
        proven = _proven(history, stream, code)
        for item in compared:
            _compare(history, stream, item, proven, found)
    covered = Coverage(
        role=stream.role,
        address=stream.address,
        first=stream.first,
        last=reader.number,
        origin=_origin(history, stream, code),
        sources=agreed.sources,
        partial=agreed.partial,
        disputed=tuple(found.disputed),
        unproven=tuple(found.unproven),
        operators=1 if agreed.pieced else reader.operators_of(agreed.sources),
        cached=agreed.cached,
        logs=len(stream.events),
        compared=found.compared,
        proven=found.proven,
    )
    return charged(covered, found.problems)


def _compare(
    history: History, stream: Stream, item: _Comparison, proven: Proven, found: _Found
) -> None:
    """Hold one value in storage, and its proof, against what the events make of it."""
    reader = history.reader
    try:
        actual = reader.value(item.call, item.decode)
        proof = proven.value(item.call, item.decode)
    except DisagreementError as error:
        found.disputed.append(error.message)
        return
    except EvidenceError as error:
        found.unproven.append(f"{item.name} could not be read: {error.message}")
        return
    found.compared += 1
    if actual != item.folded and item.folded == "" and _begins_later(stream):
        found.unproven.append(
            f"{item.name} is {_spelled(actual)}, which was set before the first log here"
        )
    elif actual != item.folded:
        found.problems.append(
            f"{item.name} is {_spelled(actual)} at block {reader.number}, and the events "
            f"make it {_spelled(item.folded)}: a log is missing, invented, or the code "
            "changes state without one"
        )
    if proof not in (None, actual):
        found.problems.append(
            f"{item.name} is {_spelled(proof)} by a proof against the state root of block "
            f"{reader.number}, while the endpoints say {_spelled(actual)}"
        )
    elif proof is not None:
        found.proven += 1


def charged(covered: Coverage, problems: Iterable[str]) -> Coverage:
    """The coverage with contradictions between logs and state. They count against the contract only
    where two operators, asked in this collection, gave the logs and nobody disputes them."""
    if covered.disputed or covered.cached or covered.operators < OPERATORS:
        return replace(covered, disputed=(*covered.disputed, *problems))
    return replace(covered, problems=(*covered.problems, *problems))


def _impossible(history: History) -> Iterator[str]:
    """What no chain has: one place for two logs, one block with two hashes, times that go back."""
    places: dict[Place, str] = {}
    blocks: dict[int, str] = {}
    latest = 0
    events = sorted(
        (event for stream in history.streams() for event in stream.events),
        key=lambda event: event.place,
    )
    for event in events:
        where = f"block {event.place.block}"
        if places.setdefault(event.place, event.address) != event.address:
            yield f"two contracts have the log {event.place.log_index} of {where}"
        if blocks.setdefault(event.place.block, event.block_hash) != event.block_hash:
            yield f"{where} has two hashes"
        if event.time is not None and event.time < latest:
            yield f"{where} is of a time before that of an earlier block"
        latest = max(latest, event.time or 0)


def _unexplained(stream: Stream) -> Iterator[str]:
    """What an event says of the value before, where another one had set it: in between it was
    changed without an event, or by one that is hidden, whatever it is at last."""
    before: dict[str, tuple[str, int]] = {}
    for event in sorted(stream.events, key=lambda event: event.place):
        if event.name not in _SUCCESSIONS:
            continue
        what, former, new = _SUCCESSIONS[event.name]
        value, block = before.get(what, ("", 0))
        told = _spelled(event.args.get(former)).lower()
        if value and told != value:
            yield (
                f"{event.name} in block {event.place.block} says that {what} of {stream.address} "
                f"was {told}, and the event of block {block} made it {value}: a log is missing, "
                "invented, or the code changes state without one"
            )
        if new:
            before[what] = _spelled(event.args.get(new)).lower(), event.place.block


def _begins_later(stream: Stream) -> bool:
    """Whether the first log has nothing to do with the contract's creation."""
    return bool(stream.events) and _CREATION.isdisjoint(
        event.name for event in stream.events if event.transaction == stream.events[0].transaction
    )


def _proven(history: History, stream: Stream, code: ContractCode | None) -> Proven:
    """What storage proofs give, where the code of the contract is known."""
    slots = slots_of(generation_of(code), stream.role)
    header = history.header(history.reader.number)
    if slots is None or header is None:
        return Proven(None, {})
    asked = history.proof_calls(stream)
    return Proven(
        Layout.of(slots), proven_words(history.reader, header.hash, stream.address, asked)
    )


def _is_constructed(code: ContractCode | None) -> bool:
    """Whether an app's code is known by its creation code: it keeps its state in slots of its own,
    and is no proxy."""
    return code is not None and code.role == CREATION_ROLE


def _created_in(history: History, stream: Stream) -> int | None:
    """The block of the transaction that created the app's contract, where that was found."""
    creation = history.creation.creation if stream.role is Role.APP else None
    return None if creation is None else creation.block


def _origin(history: History, stream: Stream, code: ContractCode | None) -> Origin:
    block = _created_in(history, stream)
    if block is not None:
        kind = Beginning.BY_CONSTRUCTOR if _is_constructed(code) else Beginning.CREATED
        return Origin(kind=kind, asked=stream.first, block=block, event=CONSTRUCTED)
    if not stream.events:
        return Origin(kind=Beginning.ASSUMED, asked=stream.first)
    first = stream.events[0]
    names = {event.name for event in stream.events if event.transaction == first.transaction}
    kind = Beginning.ASSUMED
    if names >= _CREATION:
        by_factory = first.to.lower() == history.plan.kms.lower()
        kind = Beginning.BY_FACTORY if by_factory else Beginning.CREATED
    return Origin(kind=kind, asked=stream.first, block=first.place.block, event=first.name)


def _app_comparisons(history: History, state: AppState) -> Iterator[_Comparison]:
    address, block = history.app, hex(history.reader.number)
    sets = {"ComposeHash": state.compose_hashes, "Device": state.devices}
    yield from _keyed(history.app_stream, sets, block)
    creation = history.creation.creation
    constructed = _is_constructed(state.code)
    if creation is not None and constructed:
        key, call = creation.input[-32:].hex(), first_manifest_call(creation, block)
        name = f"allowedComposeHashes({key})"
        yield _Comparison(name, key in state.compose_hashes, call, contracts.decode_bool)
        period = int.from_bytes(creation.input[-96:-64], "big")
        call = contracts.eth_call(address, calls.NOTICE_PERIOD, block)
        yield _Comparison("noticePeriod()", period, call, contracts.decode_uint)
        call = contracts.eth_call(address, contracts.OWNER, block)
        yield _Comparison("owner()", state.owner, call, contracts.decode_address)
    slotted = replace(state, owner="") if constructed else state
    yield from _scalars(address, slotted, block, f"app {address}")
    if state.any_device.value is not None:
        call = contracts.eth_call(address, contracts.ALLOW_ANY_DEVICE, block)
        yield _Comparison("allowAnyDevice()", state.any_device.value, call, contracts.decode_bool)
    generation = generation_of(state.code)
    slots = (generation or NEWEST).app
    if slots is None or constructed:
        return
    yield from _flag("_upgradesDisabled", state.upgrades_disabled, address, slots.flags, block)
    if generation is not None and slots.require_tcb is not None:
        yield from _flag(
            "requireTcbUpToDate", state.require_tcb_up_to_date, address, slots.require_tcb, block
        )


def _kms_comparisons(history: History, state: KmsState) -> Iterator[_Comparison]:
    address, block = history.plan.kms, hex(history.reader.number)
    sets = {
        "OsImageHash": state.os_images,
        "KmsAggregatedMr": state.aggregated_mrs,
        "KmsDevice": state.devices,
    }
    yield from _keyed(history.kms_stream, sets, block)
    yield from _scalars(address, state, block, f"KMS {address}")
    call = contracts.eth_call(address, contracts.KMS_INFO, block)
    yield _Comparison("the root key in kmsInfo()", state.root_key, call, _decode_root_key)
    call = contracts.eth_call(address, contracts.GATEWAY_APP_ID, block)
    yield _Comparison("gatewayAppId()", state.gateway_app_id, call, contracts.decode_string)
    generation = generation_of(state.code)
    slots = None if generation is None else generation.kms
    if slots is not None and slots.app_implementation is not None:
        call = calls.storage(address, slots.app_implementation, block)
        name = "the implementation of new apps"
        yield _Comparison(name, state.app_implementation, call, calls.decode_optional_account)


def _keyed(stream: Stream, sets: Mapping[str, frozenset[str]], block: str) -> Iterator[_Comparison]:
    keyed = key_calls(stream.role, stream.address, stream.events, block)
    for (stem, key), call in keyed.items():
        getter = KEYED[stream.role, stem][1]
        yield _Comparison(f"{getter}({key})", key in sets[stem], call, contracts.decode_bool)


def _scalars(
    address: str, state: AppState | KmsState, block: str, name: str
) -> Iterator[_Comparison]:
    for label, folded, slot in (
        ("owner", state.owner, calls.OWNER_SLOT),
        ("pending owner", state.pending_owner, calls.PENDING_OWNER_SLOT),
        ("implementation", state.implementation, contracts.IMPLEMENTATION_SLOT),
    ):
        call = calls.storage(address, slot, block)
        yield _Comparison(f"the {label} of {name}", folded, call, calls.decode_optional_account)
    for label, slot in (("admin", calls.ADMIN_SLOT), ("beacon", calls.BEACON_SLOT)):
        # Another kind of proxy, whose code changes without the owner and without Upgraded.
        call = calls.storage(address, slot, block)
        yield _Comparison(f"the proxy {label} of {name}", "", call, calls.decode_optional_account)


def _flag(
    name: str, known: Known[bool], address: str, slot: int, block: str
) -> Iterator[_Comparison]:
    if known.value is not None:
        call = calls.storage(address, slot, block)
        yield _Comparison(name, known.value, call, _decode_lowest_byte)


def _decode_lowest_byte(value: JsonValue, what: str) -> JsonValue:
    """The boolean in the least byte of a word that packs several."""
    number = contracts.decode_word(value, what)[-1]
    if number > 1:
        raise EvidenceError(f"{what}: {number:#x} is not a boolean")
    return number == 1


def _decode_root_key(value: JsonValue, what: str) -> JsonValue:
    return contracts.decode_kms_info(value, what).k256_pubkey.hex()


def _spelled(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "empty"
