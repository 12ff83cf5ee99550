"""Storage proofs: RLP, headers, tries. What is proven is true, and nothing else is accepted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.chain.tries import (
    CODE_HASH,
    HEADER,
    State,
    Trie,
    header,
    hex_prefix,
    path_of,
    scalar,
    storage_trie,
)
from verifier.errors import EvidenceError
from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.storage_proofs import (
    EMPTY_ROOT,
    Account,
    Item,
    Proof,
    ProvenState,
    decode_rlp,
    encode_rlp,
    find_entry,
    parse_header,
    parse_proof,
    prove,
)

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "anvil_proofs.json").read_bytes())
"""Answers of anvil 1.7 about an app's contract, an absent account and a plain key, at one block."""
STORAGE = {int(slot, 16): bytes.fromhex(word[2:]) for slot, word in RECORDED["storage"].items()}
ROOT = bytes.fromhex(RECORDED["block"]["stateRoot"][2:])
CONTRACT = bytes.fromhex(RECORDED["contract"]["address"][2:])
GENESIS = HEADER | {
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x" + EMPTY_ROOT.hex(),
    "receiptsRoot": "0x" + EMPTY_ROOT.hex(),
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
}
"""Ethereum's first block, but for the fields that later forks appended."""
APPENDED = list(HEADER)[15:]
KEY = b"key"
PATH = path_of(KEY)
VALUE = b"v" * 40
ZERO = bytes(32)

items = st.recursive(
    st.binary(max_size=70), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)


def flipped(nibble: str) -> str:
    return f"{int(nibble, 16) ^ 1:x}"


def sibling(shared: int) -> str:
    """A path that leaves that of the key after so many nibbles."""
    return PATH[:shared] + flipped(PATH[shared]) + PATH[shared + 1 :]


def look_up(trie: Trie, nodes: tuple[bytes, ...] | None = None) -> bytes:
    return find_entry(trie.root, KEY, trie.proof(PATH) if nodes is None else nodes, "trie")


def single(node: Item) -> bytes:
    """What the trie says whose root is this node."""
    raw = encode_rlp(node)
    return find_entry(keccak256(raw), KEY, (raw,), "trie")


def recorded(name: str, address: bytes = CONTRACT) -> ProvenState:
    return prove(parse_proof(RECORDED[name], name), address, ROOT, name)


def accounted(leaf: Item) -> Account | None:
    """The account in a state trie with one leaf."""
    trie = Trie({path_of(CONTRACT): encode_rlp(leaf)})
    nodes = trie.proof(path_of(CONTRACT))
    return prove(Proof(account=nodes, slots=()), CONTRACT, trie.root, "account").account


@pytest.mark.parametrize(
    ("item", "spelled"),
    [
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x7f", "7f"),
        (b"\x80", "8180"),
        (b"\x04\x00", "820400"),
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 55, "b7" + "61" * 55),
        (b"a" * 56, "b838" + "61" * 56),
        (b"a" * 256, "b90100" + "61" * 256),
        ([b"a"] * 55, "f7" + "61" * 55),
        ([b"a"] * 56, "f838" + "61" * 56),
    ],
)
def test_rlp_is_that_of_the_yellow_paper(item: Item, spelled: str) -> None:
    assert encode_rlp(item).hex() == spelled
    assert decode_rlp(bytes.fromhex(spelled), "item") == item


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "8000",
        "c0c0",
        "8100",
        "817f",
        "81",
        "b8",
        "b837" + "61" * 55,
        "b90038" + "61" * 56,
        "b838" + "61" * 55,
        "b800",
        "83646f",
        "c883636174",
        "c28100",
        "c2f8",
        "f837" + "61" * 55,
        "f90038" + "61" * 56,
        "bfffffffffffffffff61",
        "ffffffffffffffffff61",
        encode_rlp([[[[[[[[[]]]]]]]]]).hex(),
    ],
)
def test_other_spellings_are_refused(spelled: str) -> None:
    with pytest.raises(EvidenceError, match="RLP"):
        decode_rlp(bytes.fromhex(spelled), "item")


@given(items)
def test_rlp_comes_back(item: Item) -> None:
    assert decode_rlp(encode_rlp(item), "item") == item


@given(
    st.binary(max_size=80) | st.tuples(items, st.binary()).map(lambda x: encode_rlp(x[0]) + x[1])
)
def test_an_item_has_one_spelling(raw: bytes) -> None:
    try:
        item = decode_rlp(raw, "item")
    except EvidenceError:
        return
    assert encode_rlp(item) == raw


def test_the_first_block_of_ethereum() -> None:
    block: dict[str, Any] = {name: text for name, text in GENESIS.items() if name not in APPENDED}
    found = parse_header(block, "block 0")
    assert (found.number, found.hash, found.time) == (0, str(GENESIS["hash"])[2:], 0)
    assert found.state_root.hex() == str(GENESIS["stateRoot"])[2:]


def test_a_recorded_block() -> None:
    found = parse_header(RECORDED["block"], "block")
    assert "0x" + found.hash == RECORDED["block"]["hash"]
    assert found.state_root == ROOT
    assert found.number == int(RECORDED["block"]["number"], 16)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6])
def test_headers_of_every_fork(count: int) -> None:
    later = dict.fromkeys(APPENDED[count:])
    found = parse_header(header(**later), "block")
    assert (found.number, found.time) == (100, 0x6553F100)
    # A node may spell a field that the fork does not have as null.
    assert parse_header(header(**later) | later, "block") == found


@pytest.mark.parametrize("name", [*HEADER, "hash"])
def test_every_field_of_a_header_counts(name: str) -> None:
    block = header()
    changed = block[name][:-1] + flipped(block[name][-1])
    with pytest.raises(EvidenceError, match="do not hash"):
        parse_header(block | {name: changed}, "block")
    for other in (None, 7, "0x0g", block[name] + "00" * 32):
        with pytest.raises(EvidenceError):
            parse_header(block | {name: other}, "block")


def test_a_quantity_has_no_leading_zero() -> None:
    with pytest.raises(EvidenceError, match="quantity"):
        parse_header(header() | {"gasUsed": "0x00b41c"}, "block")


def test_a_field_that_is_left_out_is_no_fork() -> None:
    with pytest.raises(EvidenceError, match="not all fields before it"):
        parse_header(header(withdrawalsRoot=None), "block")


def test_a_recorded_proof() -> None:
    state = recorded("contract")
    assert state.words == STORAGE
    assert state.account is not None
    assert state.account.nonce == 1
    assert "0x" + state.account.storage_root.hex() == RECORDED["contract"]["storageHash"]
    assert "0x" + state.account.code_hash.hex() == RECORDED["contract"]["codeHash"]
    assert sum(any(word) for word in STORAGE.values()) == 6
    # The builder of these tests makes the same trie as the node did.
    assert storage_trie(STORAGE).root == state.account.storage_root


def test_a_recorded_absence() -> None:
    assert recorded("absent", bytes.fromhex("99" * 20)) == ProvenState(
        account=None, words={0: ZERO}
    )


def test_a_recorded_account_without_storage() -> None:
    state = recorded("key", bytes.fromhex(RECORDED["key"]["address"][2:]))
    assert state.words == {0: ZERO}
    assert state.account is not None
    assert state.account.storage_root == EMPTY_ROOT
    assert state.account.balance == int(RECORDED["key"]["balance"], 16)


def test_what_is_claimed_beside_a_proof_is_not_read() -> None:
    answer = RECORDED["contract"] | {"storageHash": "0x" + "00" * 32, "nonce": "0x7"}
    answer["storageProof"] = [item | {"value": "0x7"} for item in answer["storageProof"]]
    assert prove(parse_proof(answer, "proof"), CONTRACT, ROOT, "proof") == recorded("contract")


def test_a_proof_is_of_one_address_and_one_root() -> None:
    proof = parse_proof(RECORDED["contract"], "proof")
    for address, root in ((bytes(20), ROOT), (CONTRACT, keccak256(ROOT))):
        with pytest.raises(EvidenceError):
            prove(proof, address, root, "proof")


def test_every_flipped_byte_of_a_node_is_refused() -> None:
    proof = parse_proof(RECORDED["contract"], "proof")
    for kind, nodes in enumerate((proof.account, *(nodes for _, nodes in proof.slots))):
        for place, node in enumerate(nodes):
            for index in range(len(node)):
                bad = node[:index] + bytes([node[index] ^ 1 << index % 8]) + node[index + 1 :]
                path = (*nodes[:place], bad, *nodes[place + 1 :])
                slots = ((proof.slots[kind - 1][0], path),) if kind else ()
                changed = Proof(account=proof.account if kind else path, slots=slots)
                with pytest.raises(EvidenceError, match="node"):
                    prove(changed, CONTRACT, ROOT, "proof")


@given(st.data())
def test_whatever_a_changed_proof_says_is_true(data: st.DataObject) -> None:
    answer = json.loads(json.dumps(RECORDED["contract"]))
    entries = answer["storageProof"]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([answer["accountProof"], *(e["proof"] for e in entries)]))
        entry = data.draw(st.sampled_from(entries))
        change = data.draw(st.sampled_from(["key", "node", "drop", "repeat", "borrow", "swap"]))
        place = data.draw(st.integers(0, max(0, len(path) - 1)))
        if change == "key":
            entry["key"] = data.draw(
                st.sampled_from(list(RECORDED["storage"])) | st.integers(0, 2**256 - 1).map(hex)
            )
        elif change == "swap":
            entry["proof"] = data.draw(st.sampled_from(entries))["proof"]
        elif change == "borrow":
            path.append(data.draw(st.sampled_from(answer["accountProof"] or ["0x80"])))
        elif change == "repeat" and path:
            path.insert(place, path[place])
        elif change == "drop" and path:
            del path[place]
        elif change == "node" and path:
            at = data.draw(st.integers(2, len(path[place]) - 1))
            path[place] = path[place][:at] + flipped(path[place][at]) + path[place][at + 1 :]
    try:
        found = prove(parse_proof(answer, "proof"), CONTRACT, ROOT, "proof")
    except EvidenceError:
        return
    assert found.account == recorded("contract").account
    assert all(word == STORAGE.get(slot, ZERO) for slot, word in found.words.items())


@pytest.mark.parametrize(
    "change",
    [
        {"accountProof": None},
        {"accountProof": ["f8"]},
        {"accountProof": ["0xf8f"]},
        {"accountProof": [7]},
        {"accountProof": ["0x80"] * 66},
        {"accountProof": ["0x" + "00" * 533]},
        {"storageProof": None},
        {"storageProof": [[]]},
        {"storageProof": [{"key": "0x0"}]},
        {"storageProof": [{"key": "0x", "proof": []}]},
        {"storageProof": [{"key": "0x" + "0" * 65, "proof": []}]},
        {"storageProof": [{"key": 0, "proof": []}]},
        {"storageProof": [{"key": "0x0", "proof": []}] * 65},
    ],
)
def test_answers_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        parse_proof(RECORDED["contract"] | change, "proof")


def test_a_trie_without_entries() -> None:
    assert find_entry(EMPTY_ROOT, KEY, (), "trie") == b""
    assert find_entry(EMPTY_ROOT, KEY, (b"\x80",), "trie") == b""
    for root, nodes in ((ROOT, ()), (ROOT, (b"\x80",)), (EMPTY_ROOT, (b"\x80", b"\x80"))):
        with pytest.raises(EvidenceError):
            find_entry(root, KEY, nodes, "trie")


@pytest.mark.parametrize("shared", [0, 1, 2, 31, 57, 58, 62, 63])
def test_paths_that_part_anywhere(shared: int) -> None:
    # Where few nibbles remain, the leaf of a short value stands inside its branch.
    for value in (VALUE, b"\x01"):
        entries = {PATH: value, sibling(shared): b"\x02"}
        found = Trie(entries)
        assert look_up(found) == value
        for absent in (
            {sibling(shared): b"\x02"},
            {sibling(shared): b"\x02", sibling(shared // 2): b"\x03"},
        ):
            assert look_up(Trie(absent)) == b""


def test_a_branch_with_inline_children_is_one_node() -> None:
    inside = Trie({PATH: b"\x01", sibling(62): b"\x02"})
    assert len(inside.proof(PATH)) == 1
    assert look_up(inside) == b"\x01"
    outside = Trie({PATH: VALUE, sibling(62): VALUE})
    assert len(outside.proof(PATH)) == 3


@given(
    st.dictionaries(
        st.integers(0, 63).map(sibling), st.binary(min_size=1, max_size=40), min_size=1
    ),
    st.none() | st.binary(min_size=1, max_size=40),
)
def test_any_trie_is_read_as_it_was_made(others: dict[str, bytes], value: bytes | None) -> None:
    trie = Trie(others | ({} if value is None else {PATH: value}))
    nodes = trie.proof(PATH)
    assert look_up(trie) == (value or b"")
    for index in range(len(nodes)):
        with pytest.raises(EvidenceError):
            look_up(trie, nodes[:index] + nodes[index + 1 :])
    with pytest.raises(EvidenceError, match="after the end"):
        look_up(trie, (*nodes, nodes[-1]))


@pytest.mark.parametrize(
    ("node", "match"),
    [
        (b"text", "neither a branch"),
        ([], "neither a branch"),
        ([b"", b"", b""], "neither a branch"),
        ([b""] * 16 + [b"value"], "only a leaf"),
        ([b"short"] * 16 + [b""], "hash of a child"),
        ([[b"x" * 40]] * 16 + [b""], "too long"),
        ([[b"x" * 30]] * 16 + [b""], "too long"),
        ([[]] * 16 + [b""], "neither a branch"),
        ([b"", VALUE], "hex-prefix"),
        ([[], VALUE], "hex-prefix"),
        ([b"\x21" + bytes.fromhex(PATH), VALUE], "hex-prefix"),
        ([b"\x40" + bytes.fromhex(PATH), VALUE], "hex-prefix"),
        ([hex_prefix(PATH[:-1], ends=True), VALUE], "does not end"),
        ([hex_prefix(PATH + "0", ends=True), VALUE], "does not end"),
        ([hex_prefix(PATH, ends=True), b""], "does not end"),
        ([hex_prefix(PATH, ends=True), []], "does not end"),
        ([hex_prefix("", ends=False), bytes(32)], "an extension"),
        ([hex_prefix(PATH, ends=False), bytes(32)], "an extension"),
        ([hex_prefix(PATH[:2], ends=False), b"short"], "hash of a child"),
        ([hex_prefix(PATH[:2], ends=False), [b"x" * 40]], "too long"),
        ([hex_prefix(PATH[:2], ends=False), b""], "hash of a child"),
        ([hex_prefix(PATH[:2], ends=False), bytes(32)], "ends before"),
    ],
)
def test_nodes_of_another_form_are_refused(node: Item, match: str) -> None:
    with pytest.raises(EvidenceError, match=match):
        single(node)


def test_a_branch_below_the_last_nibble_is_refused() -> None:
    branch: list[Item] = [b""] * 17
    branch[int(PATH[-1], 16)] = [b""] * 17
    below = encode_rlp(branch)
    top = encode_rlp([hex_prefix(PATH[:-1], ends=False), keccak256(below)])
    with pytest.raises(EvidenceError, match="only a leaf"):
        find_entry(keccak256(top), KEY, (top, below), "trie")


@pytest.mark.parametrize(
    "leaf",
    [
        b"text",
        [],
        [b"", b"", EMPTY_ROOT],
        [b"", b"", EMPTY_ROOT, CODE_HASH, b""],
        [b"\x00", b"", EMPTY_ROOT, CODE_HASH],
        [b"", b"\x00\x01", EMPTY_ROOT, CODE_HASH],
        [b"\x01" * 9, b"", EMPTY_ROOT, CODE_HASH],
        [b"", b"\x01" * 33, EMPTY_ROOT, CODE_HASH],
        [[], b"", EMPTY_ROOT, CODE_HASH],
        [b"", b"", EMPTY_ROOT[1:], CODE_HASH],
        [b"", b"", EMPTY_ROOT, b""],
        [b"", b"", [], CODE_HASH],
        [b"", b"", EMPTY_ROOT, []],
    ],
)
def test_accounts_of_another_form_are_refused(leaf: Item) -> None:
    with pytest.raises(EvidenceError):
        accounted(leaf)


def test_an_account() -> None:
    leaf: Item = [scalar(2**64 - 1), scalar(2**256 - 1), EMPTY_ROOT, CODE_HASH]
    assert accounted(leaf) == Account(
        nonce=2**64 - 1, balance=2**256 - 1, storage_root=EMPTY_ROOT, code_hash=CODE_HASH
    )


@pytest.mark.parametrize("value", [b"\x00\x01", b"\x01" * 33, [], [b"\x01"]])
def test_words_of_another_form_are_refused(value: Item) -> None:
    slots = Trie({path_of(ZERO): encode_rlp(value)})
    leaf = encode_rlp([b"", b"", slots.root, CODE_HASH])
    accounts = Trie({path_of(CONTRACT): leaf})
    proof = Proof(
        account=accounts.proof(path_of(CONTRACT)), slots=((0, slots.proof(path_of(ZERO))),)
    )
    with pytest.raises(EvidenceError, match="slot 0x0"):
        prove(proof, CONTRACT, accounts.root, "proof")


def test_an_absent_account_has_no_storage_to_prove() -> None:
    state = State({bytes(20): {0: b"\x01".rjust(32, b"\0")}})
    assert prove(parse_proof(state.proof(bytes(20), [0]), "p"), bytes(20), state.root, "p").words[0]
    answer = state.proof(CONTRACT, [])
    answer["storageProof"] = state.proof(bytes(20), [0])["storageProof"]
    with pytest.raises(EvidenceError, match="node 0"):
        prove(parse_proof(answer, "proof"), CONTRACT, state.root, "proof")
