"""The transaction that created an app's contract whose constructor says in no event what it set.

No log leads to it. A node that keeps old state tells at which block the contract first had code,
and the block has the transaction. Whoever names it is not believed: it has to create this very
address, and to be the same for every endpoint. Only an app that tells a notice period is looked
into: apps of the KMS's factory are created by a call that their first log names.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from verifier.chain import calls
from verifier.chain.view import ChainView, DisagreementError
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.constructor import Creation, decode_creation, decode_creations
from verifier.evidence.chain.contracts import Call
from verifier.model.timeline import TimelineEvent

_STEPS: Final = 32
"""Blocks that are asked about at once: five times this often they reach over 33 million blocks."""


class Search(Struct, frozen=True, kw_only=True):
    """How far the search has come.

    calls     what it asked and what it still asks, in the order in which that follows
    creation  the transaction; None where it is not found
    disputed  what endpoints disagree about, "" for nothing
    """

    calls: tuple[Call, ...] = ()
    creation: Creation | None = None
    disputed: str = ""


def find_creation(
    reader: ChainView,
    app: str,
    first: int,
    events: Iterable[TimelineEvent],
) -> Search:
    """The transaction that created `app` (EIP-55), if it has a notice period and is no proxy.

    `first` is the first block whose logs were asked for, `events` are these logs.
    """
    notice = contracts.eth_call(app, calls.NOTICE_PERIOD, hex(reader.number))
    code = contracts.get_code(app, hex(reader.number))
    listed = tuple(events)
    if any(event.name == "Upgraded" for event in listed):
        return Search()
    try:
        if reader.find(notice, contracts.decode_uint, marks=False) is None:
            return Search()
        if reader.find(code, contracts.decode_bytes, marks=False):
            last = min((event.place.block for event in listed), default=reader.number)
            return _search(reader, app, first, last)
    except DisagreementError as error:
        return Search(calls=(notice, code), disputed=error.message)
    except EvidenceError:
        return Search()
    return Search(calls=(notice, code))


def _search(reader: ChainView, app: str, first: int, last: int) -> Search:
    asked: list[Call] = []
    without, block = first - 1, last
    while block - without > 1:
        points = _points(without, block)
        asked.extend(contracts.get_code(app, hex(point)) for point in points)
        without, block = _between(reader, app, points, (without, block))
        if points[0] > without and points[-1] < block:
            # Nobody tells, or not yet.
            return Search(calls=tuple(asked))
    asked += [transactions := _transactions_of(block), contracts.get_block(hex(block))]
    told = reader.each(transactions, decode_creations)
    named = (next((item for item in found if item.address == app), None) for found in told)
    digests = tuple(dict.fromkeys(item.transaction for item in named if item is not None))
    asked += [calls.transaction(digest) for digest in digests]
    if len(digests) > 1:
        said = f"endpoints name different transactions that created {app} in block {block}"
        return Search(calls=tuple(asked), disputed=said)
    found = None
    try:
        for digest in digests:
            found = reader.find(calls.transaction(digest), decode_creation)
    except EvidenceError as error:
        return Search(calls=tuple(asked), disputed=error.message)
    if found is None or found.address != app or found.transaction not in digests:
        return Search(calls=tuple(asked))
    # Its last argument may be a manifest: whether that is still allowed is held against events.
    asked.append(first_manifest_call(found, hex(reader.number)))
    return Search(calls=tuple(asked), creation=found)


def first_manifest_call(creation: Creation, block: str) -> Call:
    """Whether the last word of the input is an allowed manifest, which it is one of if the
    constructor is a known one."""
    key = contracts.word(creation.input[-32:])
    return contracts.eth_call(creation.address, contracts.ALLOWED_COMPOSE_HASHES + key, block)


def _points(without: int, block: int) -> list[int]:
    """Some blocks between two, evenly."""
    count = min(_STEPS, block - without - 1)
    return [without + (block - without) * (index + 1) // (count + 1) for index in range(count)]


def _between(
    reader: ChainView, app: str, points: list[int], bounds: tuple[int, int]
) -> tuple[int, int]:
    """The narrower bounds that answers about these blocks give: code is there for good.

    Any endpoint's word is enough that it was there: one that lost old state may tell of none.
    """
    without, block = bounds
    for point in points:
        told = reader.each(contracts.get_code(app, hex(point)), contracts.decode_bytes)
        if any(told):
            return without, point
        if told:
            without = point
    return without, block


def _transactions_of(block: int) -> Call:
    """A block with its transactions whole."""
    return "eth_getBlockByNumber", [hex(block), True]
