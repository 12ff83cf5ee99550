"""The Merkle tree of RFC 6962 section 2.1: hashes, roots and proofs.

    MTH({})     SHA-256()
    MTH({d})    SHA-256(0x00 || d)
    MTH(D[n])   SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])), k the largest power of two below n

A proof is made of whatever gives the hash of a whole subtree, and checked by the verifier of RFC
9162 sections 2.1.3.2 and 2.1.4.2, which knows nothing of how it was made.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

EMPTY: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Whole = Callable[[int, int], bytes]
"""(level, index) → the hash of the subtree over the leaves `index << level` up to, and without,
`(index + 1) << level`; all of them stand in the tree."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two others, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows: the hashes of its whole subtrees, the largest first, of which there
    is one for every bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._hashes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        size, found = self.size, leaf
        while size & 1:
            found = node_hash(self._hashes.pop(), found)
            size >>= 1
        self._hashes.append(found)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of the tree so far."""
        return joined(self._hashes)


def root_of(size: int, whole: Whole) -> bytes:
    """The root of a tree of so many leaves."""
    return _range_hash(0, size, whole) if size else EMPTY


def inclusion_proof(index: int, size: int, whole: Whole) -> tuple[bytes, ...]:
    """The audit path of a leaf (from 0) in a tree of so many leaves, the lowest hash first."""
    return tuple(_path(index, 0, size, whole))


def consistency_proof(old: int, size: int, whole: Whole) -> tuple[bytes, ...]:
    """The proof that the tree of `old` leaves (at least one) is the beginning of that of `size`."""
    return tuple(_subproof(old, 0, size, known=True, whole=whole))


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether an audit path proves that a tree with this root has this leaf's hash at `index`."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(
    old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that a tree of `size` leaves begins with the tree of `old` leaves."""
    if not 0 < old <= size:
        return old == 0 and old_root == EMPTY and not proof
    if old == size:
        return not proof and old_root == root
    hashes = [*([old_root] if old & (old - 1) == 0 else []), *proof]
    if not hashes:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == root


def paired(hashes: Sequence[bytes]) -> list[bytes]:
    """The hashes of the nodes above an even number of neighbours."""
    pairs = zip(hashes[::2], hashes[1::2], strict=True)
    return [node_hash(left, right) for left, right in pairs]


def joined(hashes: Sequence[bytes]) -> bytes:
    """The root over the hashes of whole subtrees, the largest first, of which no two are as
    large."""
    if not hashes:
        return EMPTY
    found = hashes[-1]
    for left in reversed(hashes[:-1]):
        found = node_hash(left, found)
    return found


def _split(count: int) -> int:
    """The largest power of two below a number of leaves, of which there are at least two."""
    return 1 << (count - 1).bit_length() - 1


def _range_hash(start: int, end: int, whole: Whole) -> bytes:
    """The hash over leaves `start` up to `end`, where `start` is where such a subtree begins."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return whole(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_hash(start, middle, whole), _range_hash(middle, end, whole))


def _path(index: int, start: int, end: int, whole: Whole) -> Iterator[bytes]:
    if end - start == 1:
        return
    middle = start + _split(end - start)
    if index < middle:
        yield from _path(index, start, middle, whole)
        yield _range_hash(middle, end, whole)
    else:
        yield from _path(index, middle, end, whole)
        yield _range_hash(start, middle, whole)


def _subproof(old: int, start: int, end: int, *, known: bool, whole: Whole) -> Iterator[bytes]:
    if old == end:
        if not known:
            yield _range_hash(start, end, whole)
        return
    middle = start + _split(end - start)
    if old <= middle:
        yield from _subproof(old, start, middle, known=known, whole=whole)
        yield _range_hash(middle, end, whole)
    else:
        yield from _subproof(old, middle, end, known=False, whole=whole)
        yield _range_hash(start, middle, whole)
