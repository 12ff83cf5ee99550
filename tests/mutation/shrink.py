"""The smallest mutation that still breaks what a found one breaks."""

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from tests.mutation.operations import Operation

Mutation = tuple[Operation, ...]
TRIES = 60


def shrunk(operations: Mutation, fails: Callable[[Mutation], bool]) -> Mutation:
    """Fewer operations, on less, of which `fails` still holds; after `TRIES` tries the best."""
    tries = 0
    best = operations
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(best):
            tries += 1
            if tries > TRIES:
                return best
            if fails(smaller):
                best, progress = smaller, True
                break
    return best


def _smaller(operations: Mutation) -> Iterator[Mutation]:
    for place in range(len(operations)) if len(operations) > 1 else ():
        yield (*operations[:place], *operations[place + 1 :])
    for place, item in enumerate(operations):
        for simpler in _simpler(item):
            yield (*operations[:place], simpler, *operations[place + 1 :])


def _simpler(item: Operation) -> Sequence[Operation]:
    """A span of half the length from either end, half of what is put in, an earlier place."""
    half, rest = item.length // 2, len(item.data) // 2
    found: list[Operation] = []
    if half:
        found.append(replace(item, length=half))
        found.append(replace(item, at=item.at + item.length - half, length=half))
    if rest:
        found.append(replace(item, data=item.data[:rest]))
    if item.path and item.at:
        found.append(replace(item, at=item.at // 2))
    return found
