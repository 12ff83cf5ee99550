"""The tree of RFC 6962, by its own definition and by vectors of Certificate Transparency."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.watch.log import merkle

LEAVES = tuple(
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""The leaves and roots that Certificate Transparency's own tests have used since RFC 6962."""


def defined_root(entries: Sequence[bytes]) -> bytes:
    """MTH as the RFC defines it."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    half = 1
    while half * 2 < len(entries):
        half *= 2
    left, right = defined_root(entries[:half]), defined_root(entries[half:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def whole_of(entries: Sequence[bytes]) -> merkle.Whole:
    """The hashes of whole subtrees, by definition."""
    return lambda level, index: defined_root(entries[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert merkle.root_of(size, whole_of(LEAVES)).hex() == ROOTS[size]
    frontier = merkle.Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(merkle.leaf_hash(leaf))
    assert frontier.root.hex() == ROOTS[size]


def test_proofs_are_those_of_certificate_transparency() -> None:
    path = merkle.inclusion_proof(0, 8, whole_of(LEAVES))
    assert [item.hex()[:8] for item in path] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    proof = merkle.consistency_proof(6, 8, whole_of(LEAVES))
    assert [item.hex()[:8] for item in proof] == ["0ebc5d34", "ca854ea1", "d37ee418"]


SIZES = st.integers(min_value=1, max_value=40)


@given(SIZES, st.data())
def test_a_proof_of_inclusion_holds_for_its_leaf_alone(size: int, data: st.DataObject) -> None:
    entries = [bytes([number]) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    root, proof = defined_root(entries), merkle.inclusion_proof(index, size, whole_of(entries))
    leaf = merkle.leaf_hash(entries[index])
    assert merkle.is_included(leaf, index, size, proof, root)
    if other != index:
        assert not merkle.is_included(merkle.leaf_hash(entries[other]), index, size, proof, root)
        assert not merkle.is_included(leaf, other, size, proof, root)
    assert not merkle.is_included(leaf, index, size, (*proof, root), root)
    assert not merkle.is_included(leaf, index, size, proof[:-1], root) or not proof


@given(SIZES, st.data())
def test_a_proof_of_consistency_holds_for_the_true_beginning_alone(
    size: int, data: st.DataObject
) -> None:
    entries = [bytes([number]) for number in range(size)]
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, size, whole_of(entries))
    before, root = defined_root(entries[:old]), defined_root(entries)
    assert merkle.is_consistent(old, before, size, root, proof)
    forked = defined_root([*entries[: old - 1], b"another"])
    assert not merkle.is_consistent(old, forked, size, root, proof)
    assert not merkle.is_consistent(old, before, size, forked, proof)
    assert not merkle.is_consistent(old, before, size, root, (*proof, root))
    if old < size:
        assert not merkle.is_consistent(old, before, size, root, proof[:-1])


def test_what_is_out_of_range_is_never_proven() -> None:
    root = defined_root(LEAVES)
    assert not merkle.is_included(root, 0, 0, (), root)
    assert not merkle.is_included(root, -1, 1, (), root)
    assert not merkle.is_consistent(9, root, 8, root, ())
    assert not merkle.is_consistent(-1, root, 8, root, ())
    assert merkle.is_consistent(0, merkle.EMPTY, 8, root, ())
    assert not merkle.is_consistent(0, root, 8, root, ())
