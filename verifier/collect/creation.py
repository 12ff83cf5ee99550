"""Finding the block that created a contract, so that years of blocks need not be scanned for it.

Nodes that keep old state tell whether an address had code at a block. What had none has no logs
before either. The two answers at the border go into the evidence, where they are judged.
"""

from collections.abc import Callable

from verifier.errors import CollectError, EvidenceError

CodeAt = Callable[[int], bytes]
"""Code at a block, as an endpoint tells it. Raises CollectError or EvidenceError."""


def creation_block(code_at: CodeAt, first: int, last: int, likely: int | None = None) -> int:
    """The first block in a range at which there is code, or one before it where that is not told.

    `likely` is tried first: the block of what is said to be the contract's first log. The answer is
    `first` itself where there was code already, where there is none at the end, or where the
    endpoint does not tell; and where it stops telling, the first block that may have had code.
    """
    low = first - 1
    try:
        if likely is not None and first < likely <= last and not code_at(likely - 1):
            low = likely - 1
            if code_at(likely):
                return likely
        elif code_at(first) or not code_at(last):
            return first
        low, high = max(low, first), last
        while high - low > 1:
            middle = (low + high) // 2
            if code_at(middle):
                high = middle
            else:
                low = middle
    except (CollectError, EvidenceError):
        return low + 1
    return high
