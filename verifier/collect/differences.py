"""Where accounts of the same logs differ, and which earlier answers have to be asked for again.

What an earlier audit was answered is never a reason to accuse anybody: before it is judged, it is
asked for again wherever another account of the same blocks differs. Live answers that differ stay
as they are: the checks judge them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import combinations

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.contracts import Log
from verifier.evidence.chain.explorer_logs import ExplorerLogs
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, decode_range
from verifier.model.chain import OPERATORS

Span = tuple[int, int]


class Account(Struct, frozen=True):
    """What one source says of a contract's logs: the ranges that it answered, whether each is from
    an earlier audit, and the logs by block."""

    spans: tuple[tuple[Span, bool], ...]
    logs: Mapping[int, tuple[Log, ...]]

    def covers(self, block: int, *, live: bool = False) -> bool:
        """Whether it tells the logs of a block; with `live`, in this collection."""
        return any(
            first <= block <= last and not (live and cached) for (first, last), cached in self.spans
        )

    def recalled(self, blocks: Collection[int]) -> list[Span]:
        """The ranges of earlier answers that hold one of these blocks."""
        return [
            (first, last)
            for (first, last), cached in self.spans
            if cached and any(first <= block <= last for block in blocks)
        ]


def account_of(wanted: LogFilter, answers: Iterable[RangeAnswer]) -> Account:
    """The account that a node's answers give; none of what cannot be read."""
    spans: list[tuple[Span, bool]] = []
    logs: dict[int, list[Log]] = {}
    empty: set[bytes] = set()
    for answer in sorted(answers, key=lambda item: item.first):
        found: tuple[TimedLog, ...] = ()
        if answer.body not in empty:
            try:
                found = decode_range(wanted, answer, "log scan")
            except EvidenceError:
                continue
            if not found:
                empty.add(answer.body)
        spans.append(((answer.first, answer.last), answer.cached))
        for item in found:
            logs.setdefault(item.log.block, []).append(item.log)
    return Account(tuple(spans), {block: tuple(items) for block, items in logs.items()})


def explorer_account(told: ExplorerLogs, first: int, last: int) -> Account:
    """The account that an explorer gives of an inclusive range. Raises EvidenceError."""
    found, gaps, _ = told.read(first, last, "explorer logs")
    logs: dict[int, list[Log]] = {}
    for item in found:
        logs.setdefault(item.log.block, []).append(item.log)
    spans: list[tuple[Span, bool]] = []
    for start, end in (*gaps, (last + 1, last)):
        if first < start:
            spans.append(((first, start - 1), False))
        first = end + 1
    return Account(tuple(spans), {block: tuple(items) for block, items in logs.items()})


def differing(one: Account, other: Account) -> set[int]:
    """The blocks of whose logs two accounts say different things."""
    return {
        block
        for block in one.logs.keys() | other.logs.keys()
        if one.logs.get(block) != other.logs.get(block)
        and one.covers(block)
        and other.covers(block)
    }


def stale(accounts: Mapping[str, Account]) -> dict[str, set[int]]:
    """For each source, the blocks of its earlier answers on which another account differs."""
    found: dict[str, set[int]] = {}
    for (name, left), (other, right) in combinations(accounts.items(), 2):
        for block in differing(left, right):
            for source, account in ((name, left), (other, right)):
                if not account.covers(block, live=True):
                    found.setdefault(source, set()).add(block)
    return found


def contradicted(
    source: str,
    block: int,
    accounts: Mapping[str, Account],
    operator_of: Callable[[str], str],
) -> bool:
    """Whether two live operators say the same of a block, and another thing than a source."""
    own = accounts[source].logs.get(block)
    voices: dict[tuple[Log, ...] | None, set[str]] = {}
    for name, account in accounts.items():
        if name != source and account.covers(block, live=True):
            voices.setdefault(account.logs.get(block), set()).add(operator_of(name))
    return any(logs != own and len(who) >= OPERATORS for logs, who in voices.items())
