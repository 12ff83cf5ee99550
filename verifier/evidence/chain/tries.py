"""The root of a storage trie of which all content is known (Yellow Paper appendix D, secured by
hashing every key): it is an account's storage root only if the account stores nothing else."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.storage_proofs import EMPTY_ROOT, Item, encode_rlp

_WORD: Final = 32
_DIGITS: Final = "0123456789abcdef"

_Entries = Sequence[tuple[str, bytes]]
"""(path in nibbles, value), sorted by path."""


def storage_root(words: Mapping[int, bytes]) -> bytes:
    """The root of the storage that has these words (slot → 32 bytes) and no other; a word that is
    zero stands in no trie."""
    entries = sorted(
        (keccak256(slot.to_bytes(_WORD, "big")).hex(), encode_rlp(word.lstrip(b"\0")))
        for slot, word in words.items()
        if any(word)
    )
    return keccak256(encode_rlp(_node(entries, 0))) if entries else EMPTY_ROOT


def _node(entries: _Entries, depth: int) -> Item:
    """The node of entries that are alike in their first `depth` nibbles."""
    first, value = entries[0]
    if len(entries) == 1:
        return [_hex_prefix(first[depth:], ends=True), value]
    last = entries[-1][0]
    alike = next(at for at in range(depth, len(first)) if first[at] != last[at])
    if alike > depth:
        return [_hex_prefix(first[depth:alike], ends=False), _child(entries, alike)]
    parts = {
        digit: _child(tuple(group), depth + 1)
        for digit, group in groupby(entries, lambda entry: entry[0][depth])
    }
    return [*(parts.get(digit, b"") for digit in _DIGITS), b""]


def _child(entries: _Entries, depth: int) -> Item:
    """What a parent holds of a node: its hash, or itself where it has less than 32 bytes."""
    node = _node(entries, depth)
    raw = encode_rlp(node)
    return node if len(raw) < _WORD else keccak256(raw)


def _hex_prefix(nibbles: str, *, ends: bool) -> bytes:
    """Appendix C: the first nibble is 2 for an end plus 1 for an odd number of nibbles; an even
    number follows a zero nibble."""
    odd = len(nibbles) % 2
    return bytes.fromhex(f"{2 * ends + odd:x}{'' if odd else '0'}{nibbles}")
