"""Merkle-Patricia tries made by hand, and the proofs that an honest node would give of them.

A trie is made of whole paths (hex nibbles), so that a test chooses where paths part; a key's own
path is `path_of(key)`. Source: Ethereum Yellow Paper, appendices C and D.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final

from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.storage_proofs import Item, encode_rlp

CODE_HASH: Final = keccak256(b"code")
HEADER: Final = {
    "parentHash": "0x" + "11" * 32,
    "sha3Uncles": "0x" + "22" * 32,
    "miner": "0x" + "33" * 20,
    "stateRoot": "0x" + "44" * 32,
    "transactionsRoot": "0x" + "55" * 32,
    "receiptsRoot": "0x" + "66" * 32,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x0",
    "number": "0x64",
    "gasLimit": "0x3938700",
    "gasUsed": "0xb41c",
    "timestamp": "0x6553f100",
    "extraData": "0x00000000fa00000006",
    "mixHash": "0x" + "77" * 32,
    "nonce": "0x0000000000000000",
    "baseFeePerGas": "0xfb",
    "withdrawalsRoot": "0x" + "88" * 32,
    "blobGasUsed": "0x0",
    "excessBlobGas": "0x0",
    "parentBeaconBlockRoot": "0x" + "99" * 32,
    "requestsHash": "0x" + "aa" * 32,
}
_QUANTITIES: Final = {
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "baseFeePerGas",
    "blobGasUsed",
    "excessBlobGas",
}


def path_of(key: bytes) -> str:
    """Where a secured trie keeps a key: the nibbles of its hash."""
    return keccak256(key).hex()


def scalar(number: int) -> bytes:
    """An integer as RLP has it: big-endian without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def hex_prefix(nibbles: str, *, ends: bool) -> bytes:
    """Nibbles packed into bytes after a nibble for parity and kind."""
    kind = 2 * ends + len(nibbles) % 2
    return bytes.fromhex(f"{kind:x}" + ("" if len(nibbles) % 2 else "0") + nibbles)


class Trie:
    """The trie of some paths of one length, and the nodes on the way to any path."""

    def __init__(self, entries: Mapping[str, bytes]) -> None:
        self._hashed: dict[bytes, Item] = {}
        node = self._node(dict(entries)) if entries else b""
        self.root = keccak256(encode_rlp(node))
        self._hashed[self.root] = node

    def proof(self, path: str) -> tuple[bytes, ...]:
        """The nodes from the root on, without those that stand in their parents."""
        nodes: list[bytes] = []
        reference: Item = self.root
        while reference != b"":
            node = self._hashed[reference] if isinstance(reference, bytes) else reference
            if isinstance(reference, bytes):
                nodes.append(encode_rlp(node))
            if not isinstance(node, list):
                break
            if len(node) == 17:
                reference, path = node[int(path[0], 16)], path[1:]
                continue
            assert isinstance(node[0], bytes)
            digits = node[0].hex()
            nibbles = digits[1 if digits[0] in "13" else 2 :]
            if digits[0] in "23" or not path.startswith(nibbles):
                break
            reference, path = node[1], path[len(nibbles) :]
        return tuple(nodes)

    def _node(self, entries: Mapping[str, bytes]) -> Item:
        paths = list(entries)
        if len(paths) == 1:
            return [hex_prefix(paths[0], ends=True), entries[paths[0]]]
        alike = takewhile(lambda nibbles: len(set(nibbles)) == 1, zip(*paths, strict=True))
        shared = "".join(nibbles[0] for nibbles in alike)
        if shared:
            rest = {path[len(shared) :]: value for path, value in entries.items()}
            return [hex_prefix(shared, ends=False), self._child(rest)]
        parts: list[dict[str, bytes]] = [{} for _ in range(16)]
        for path, value in entries.items():
            parts[int(path[0], 16)][path[1:]] = value
        return [*(self._child(part) if part else b"" for part in parts), b""]

    def _child(self, entries: Mapping[str, bytes]) -> Item:
        node = self._node(entries)
        raw = encode_rlp(node)
        if len(raw) < 32:
            return node
        digest = keccak256(raw)
        self._hashed[digest] = node
        return digest


def storage_trie(storage: Mapping[int, bytes]) -> Trie:
    """The storage of an account: slot → word."""
    return Trie(
        {
            path_of(slot.to_bytes(32, "big")): encode_rlp(word.lstrip(b"\0"))
            for slot, word in storage.items()
            if any(word)
        }
    )


class State:
    """The accounts of one block: address (20 bytes) → slot → word; each has code and one wei."""

    def __init__(self, accounts: Mapping[bytes, Mapping[int, bytes]]) -> None:
        self._storages = {address: storage_trie(slots) for address, slots in accounts.items()}
        self._trie = Trie(
            {
                path_of(address): encode_rlp([scalar(1), scalar(1), trie.root, CODE_HASH])
                for address, trie in self._storages.items()
            }
        )
        self.root = self._trie.root

    def proof(self, address: bytes, slots: list[int]) -> dict[str, Any]:
        """The answer to `eth_getProof`, with only what is proven."""
        storage = self._storages.get(address, Trie({}))
        return {
            "accountProof": _hex(self._trie.proof(path_of(address))),
            "storageProof": [
                {
                    "key": f"0x{slot:064x}",
                    "proof": _hex(storage.proof(path_of(slot.to_bytes(32, "big")))),
                }
                for slot in slots
            ],
        }


def header(**changes: str | None) -> dict[str, Any]:
    """The answer to `eth_getBlockByNumber`, with the hash of its fields; None leaves one out."""
    fields = {name: text for name, text in (HEADER | changes).items() if text is not None}
    items: list[Item] = [
        scalar(int(text, 16)) if name in _QUANTITIES else bytes.fromhex(text.removeprefix("0x"))
        for name, text in fields.items()
    ]
    return fields | {"hash": "0x" + keccak256(encode_rlp(items)).hex(), "transactions": []}


def _hex(nodes: tuple[bytes, ...]) -> list[str]:
    return ["0x" + node.hex() for node in nodes]
