"""The root of all that an account stores is its storage root, and no other content has it."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.chain.tries import storage_trie
from verifier.evidence.chain.storage_proofs import EMPTY_ROOT
from verifier.evidence.chain.tries import storage_root

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "anvil_proofs.json").read_bytes())
_WORDS = st.dictionaries(
    st.one_of(st.integers(0, 40), st.integers(0, 2**256 - 1)),
    st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1)).map(lambda n: n.to_bytes(32, "big")),
    max_size=40,
)


def test_what_a_real_node_stores_has_the_root_that_it_names() -> None:
    words = {int(slot, 16): bytes.fromhex(word[2:]) for slot, word in RECORDED["storage"].items()}
    assert storage_root(words).hex() == RECORDED["contract"]["storageHash"][2:]


def test_nothing_stored_is_the_empty_trie() -> None:
    assert storage_root({}) == storage_root({7: bytes(32)}) == EMPTY_ROOT


@given(_WORDS)
def test_it_is_the_trie_that_is_made_by_hand(words: dict[int, bytes]) -> None:
    assert storage_root(words) == storage_trie(words).root or not any(map(any, words.values()))


@given(_WORDS, st.integers(0, 2**256 - 1))
def test_one_more_word_has_another_root(words: dict[int, bytes], slot: int) -> None:
    more = words | {slot: bytes(31) + b"\1"}
    assert (storage_root(words) == storage_root(more)) == (words.get(slot) == more[slot])
