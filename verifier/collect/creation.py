"""Finding the block that created a contract, so that years of blocks need not be scanned for it.

Nodes that keep old state tell whether an address had code at a block. What had none has no logs
before either. The two answers at the border go into the evidence, where they are judged.
"""

from collections.abc import Callable

from verifier.errors import CollectError, EvidenceError

CodeAt = Callable[[int], bytes]
"""Code at a block, as an endpoint tells it. Raises CollectError or EvidenceError."""


def creation_block(code_at: CodeAt, first: int, last: int) -> int:
    """The first block in a range at which there is code.

    `first` itself where there was code already, where there is none at the end, or where the
    endpoint does not tell.
    """
    try:
        if code_at(first) or not code_at(last):
            return first
        low, high = first, last
        while high - low > 1:
            middle = (low + high) // 2
            if code_at(middle):
                high = middle
            else:
                low = middle
    except (CollectError, EvidenceError):
        return first
    return high
