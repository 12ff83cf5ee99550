"""Storage proofs: what a block's hash alone says about an account and its storage.

Three links, each of which is a Keccak-256: the block hash is that of the RLP of the header's fields
(Ethereum Yellow Paper, "The Block", and the EIPs that append fields); the header holds the root of
the state trie; an `eth_getProof` answer (EIP-1186) holds the trie's nodes from that root down to
the account, and from the account's storage root down to each slot (Yellow Paper appendix D, secured
by hashing every key). A path that ends where the key would stand proves that nothing stands there:
a slot that is absent is zero. Values that an answer claims beside its proofs are not read.

RLP (Yellow Paper appendix B) is read strictly: one spelling for each item, nothing after the end.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import keccak256
from verifier.model.result import JsonValue
from verifier.patterns import pattern

EMPTY_ROOT: Final = bytes.fromhex(
    "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
)
"""keccak256(rlp(b"")): the root of a trie without any entry (Yellow Paper appendix D)."""
MAX_KEYS: Final = 64
"""How many slots one answer may prove."""

_WORD: Final = 32
_MAX_DEPTH: Final = 8
"""Of lists in one node: those that stand inside others have less than 32 bytes."""
_MAX_NODE: Final = 532
"""Bytes of a branch with sixteen hashes, the longest node there is."""
_MAX_NODES: Final = 65
"""One for each nibble of a key, and the last leaf."""
_SLOT: Final = pattern(r"0x[0-9a-f]{1,64}", re.ASCII)

_SHORT: Final = 55
"""The most bytes of an RLP payload whose length stands in the prefix."""
_TEXT: Final = 0x80
_LIST: Final = 0xC0
_BRANCH: Final = 17
_PAIR: Final = 2

_FIELDS: Final = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
)
_APPENDED: Final = (
    "baseFeePerGas",  # EIP-1559
    "withdrawalsRoot",  # EIP-4895
    "blobGasUsed",  # EIP-4844
    "excessBlobGas",
    "parentBeaconBlockRoot",  # EIP-4788
    "requestsHash",  # EIP-7685
)
_QUANTITIES: Final = frozenset(
    {
        "difficulty",
        "number",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "baseFeePerGas",
        "blobGasUsed",
        "excessBlobGas",
    }
)
_SIZES: Final = {"miner": 20, "logsBloom": 256, "nonce": 8}
"""Bytes of the fields that are neither quantities nor hashes, but `extraData`, which varies."""

Item: TypeAlias = "bytes | list[Item]"


class Header(Struct, frozen=True, kw_only=True):
    """A block header whose fields hash to `hash` (hex without 0x); `time` is in Unix seconds."""

    number: int
    hash: str
    state_root: bytes
    time: int


class Proof(Struct, frozen=True, kw_only=True):
    """The nodes of an `eth_getProof` answer, root first: to the account, and to each slot."""

    account: tuple[bytes, ...]
    slots: tuple[tuple[int, tuple[bytes, ...]], ...]


class Account(Struct, frozen=True, kw_only=True):
    """An account as its leaf in the state trie has it; `balance` is in wei."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes


class ProvenState(Struct, frozen=True, kw_only=True):
    """What a state root says: the account, None for none, and the word in each slot asked for."""

    account: Account | None
    words: Mapping[int, bytes]


def parse_header(value: JsonValue, what: str) -> Header:
    """The header in an `eth_getBlockByNumber` answer, for whose hash its own fields stand.

    Raises EvidenceError for a malformed field, and for fields that hash to something else.
    """
    block = codec.as_object(value, what)
    appended = [name for name in _APPENDED if block.get(name) is not None]
    if appended != list(_APPENDED[: len(appended)]):
        raise EvidenceError(f"{what}: a header with {appended[-1]} but not all fields before it")
    names = (*_FIELDS, *appended)
    fields = {name: _header_field(name, block.get(name), f"{what}: {name}") for name in names}
    claimed = contracts.decode_word(block.get("hash"), f"{what}: hash")
    if keccak256(encode_rlp(list(fields.values()))) != claimed:
        raise EvidenceError(f"{what}: the header's fields do not hash to 0x{claimed.hex()}")
    return Header(
        number=int.from_bytes(fields["number"], "big"),
        hash=claimed.hex(),
        state_root=fields["stateRoot"],
        time=contracts.decode_time(block.get("timestamp"), f"{what}: timestamp"),
    )


def parse_proof(value: JsonValue, what: str) -> Proof:
    """Read an `eth_getProof` answer; nothing is verified yet. Raises EvidenceError."""
    answer = codec.as_object(value, what)
    entries = codec.as_list(answer.get("storageProof"), f"{what}: storageProof")
    if len(entries) > MAX_KEYS:
        raise EvidenceError(f"{what}: {len(entries)} slots, more than {MAX_KEYS}")
    slots: list[tuple[int, tuple[bytes, ...]]] = []
    for index, item in enumerate(entries):
        where = f"{what}: storageProof[{index}]"
        entry = codec.as_object(item, where)
        key = codec.as_str(entry.get("key"), f"{where}.key")
        if not _SLOT.fullmatch(key):
            raise EvidenceError(f"{where}: not a slot: {key!r:.80}")
        slots.append((int(key, 16), _parse_nodes(entry.get("proof"), where)))
    account = _parse_nodes(answer.get("accountProof"), f"{what}: accountProof")
    return Proof(account=account, slots=tuple(slots))


def prove(proof: Proof, address: bytes, state_root: bytes, what: str) -> ProvenState:
    """What the proof shows of a 20-byte address under a state root.

    An account that is absent has no storage. Raises EvidenceError for nodes that do not lead from
    the root to where the account or a slot stands or would stand, or lead further.
    """
    leaf = find_entry(state_root, address, proof.account, f"{what}: account")
    account = _parse_account(leaf, f"{what}: account") if leaf else None
    storage_root = account.storage_root if account is not None else EMPTY_ROOT
    words: dict[int, bytes] = {}
    for slot, nodes in proof.slots:
        where = f"{what}: slot {slot:#x}"
        found = find_entry(storage_root, slot.to_bytes(_WORD, "big"), nodes, where)
        number = _scalar(decode_rlp(found, where), _WORD, where) if found else 0
        words[slot] = number.to_bytes(_WORD, "big")
    return ProvenState(account=account, words=words)


def find_entry(root: bytes, key: bytes, nodes: Sequence[bytes], what: str) -> bytes:
    """The value under keccak256(key) in the trie with this root, b"" where there is none.

    `nodes` are those on the way, from the root on; a node of less than 32 bytes stands inside its
    parent. Raises EvidenceError for nodes that are malformed, missing, left over, or not those that
    the root commits to.
    """
    if root == EMPTY_ROOT and not nodes:
        return b""
    step: bytes | tuple[Item, str] = (root, keccak256(key).hex())
    used = 0
    while not isinstance(step, bytes):
        node, path = step
        if isinstance(node, bytes):
            if used == len(nodes):
                raise EvidenceError(f"{what}: the proof ends before the path does")
            if keccak256(nodes[used]) != node:
                raise EvidenceError(f"{what}: node {used} is not 0x{node.hex()}")
            node = decode_rlp(nodes[used], what)
            used += 1
        step = _step(node, path, what)
    if used != len(nodes):
        raise EvidenceError(f"{what}: {len(nodes) - used} nodes after the end of the path")
    return step


def decode_rlp(raw: bytes, what: str) -> Item:
    """The one item that these bytes are. Raises EvidenceError for another spelling than the
    canonical one, for bytes after it, and for lists nested deeper than 8."""
    items = _decode_items(raw, what, _MAX_DEPTH)
    if len(items) != 1:
        raise EvidenceError(f"{what}: {len(items)} RLP items instead of one")
    return items[0]


def encode_rlp(item: Item) -> bytes:
    """The canonical spelling of an item."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _TEXT:
            return item
        return _prefix(len(item), _TEXT) + item
    payload = b"".join(encode_rlp(member) for member in item)
    return _prefix(len(payload), _LIST) + payload


def _prefix(size: int, kind: int) -> bytes:
    if size <= _SHORT:
        return bytes([kind + size])
    digits = _big_endian(size)
    return bytes([kind + _SHORT + len(digits)]) + digits


def _big_endian(number: int) -> bytes:
    """Without leading zeros: zero becomes the empty string."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _decode_items(payload: bytes, what: str, depth: int) -> list[Item]:
    items: list[Item] = []
    start = 0
    while start < len(payload):
        begin, end = _extent(payload, start, what)
        content = payload[begin:end]
        if payload[start] < _LIST:
            items.append(content)
        elif depth == 0:
            raise EvidenceError(f"{what}: RLP lists nested deeper than {_MAX_DEPTH}")
        else:
            items.append(_decode_items(content, what, depth - 1))
        start = end
    return items


def _extent(payload: bytes, start: int, what: str) -> tuple[int, int]:
    """Where the content of the item that begins at `start` begins and ends."""
    prefix = payload[start]
    if prefix < _TEXT:
        return start, start + 1
    size = prefix - (_TEXT if prefix < _LIST else _LIST)
    begin = start + 1
    if size > _SHORT:
        digits = payload[begin : begin + size - _SHORT]
        begin += size - _SHORT
        size = int.from_bytes(digits, "big")
        if size <= _SHORT or digits[0] == 0:
            raise EvidenceError(f"{what}: RLP with a length that is not minimal")
    end = begin + size
    if end > len(payload):
        raise EvidenceError(f"{what}: RLP ends before its last item does")
    if prefix == _TEXT + 1 and payload[begin] < _TEXT:
        raise EvidenceError(f"{what}: RLP of a single byte that stands for itself")
    return begin, end


def _step(node: Item, path: str, what: str) -> bytes | tuple[Item, str]:
    """What a node has for the rest of a path, in nibbles: a child and what then remains of it, or
    the value, b"" where there is none."""
    if node == b"":
        return b""
    if isinstance(node, bytes) or len(node) not in (_PAIR, _BRANCH):
        raise EvidenceError(f"{what}: neither a branch, an extension nor a leaf")
    if len(node) == _BRANCH:
        # All keys have the same length, so that none ends where another goes on.
        if not path or node[-1] != b"":
            raise EvidenceError(f"{what}: a branch where only a leaf can stand")
        child = node[int(path[0], 16)]
        return b"" if child == b"" else (_reference(child, what), path[1:])
    nibbles, ends = _parse_path(node[0], what)
    if ends:
        if len(nibbles) != len(path) or not isinstance(node[1], bytes) or not node[1]:
            raise EvidenceError(f"{what}: a leaf that does not end a key, or is empty")
        return node[1] if nibbles == path else b""
    if not 0 < len(nibbles) < len(path):
        raise EvidenceError(f"{what}: an extension over {len(nibbles)} of {len(path)} nibbles")
    child = _reference(node[1], what)
    return (child, path[len(nibbles) :]) if path.startswith(nibbles) else b""


def _reference(child: Item, what: str) -> Item:
    """A child: its hash, or itself where it has less than 32 bytes."""
    if isinstance(child, bytes) and len(child) != _WORD:
        raise EvidenceError(f"{what}: the hash of a child has {len(child)} bytes")
    if isinstance(child, list) and len(encode_rlp(child)) >= _WORD:
        raise EvidenceError(f"{what}: a child inside its parent that is too long for that")
    return child


def _parse_path(item: Item, what: str) -> tuple[str, bool]:
    """Nibbles, and whether they end a key, of a hex-prefix encoding (Yellow Paper appendix C).

    The first nibble is 2 for an end plus 1 for an odd number; an even number follows a zero nibble.
    """
    digits = item.hex() if isinstance(item, bytes) else ""
    if not digits or digits[0] not in "0123" or (digits[0] in "02" and digits[1] != "0"):
        raise EvidenceError(f"{what}: not a hex-prefix encoding: {digits!r:.80}")
    return digits[1 if digits[0] in "13" else 2 :], digits[0] in "23"


def _parse_account(leaf: bytes, what: str) -> Account:
    """(nonce, balance, storageRoot, codeHash): Yellow Paper 4.1, "World State"."""
    fields = decode_rlp(leaf, what)
    if isinstance(fields, bytes) or len(fields) != 4:  # noqa: PLR2004 - as the text above says
        raise EvidenceError(f"{what}: not the four fields of an account")
    nonce, balance, storage_root, code_hash = fields
    if not (isinstance(storage_root, bytes) and isinstance(code_hash, bytes)):
        raise EvidenceError(f"{what}: a root or code hash that is a list")
    if not len(storage_root) == len(code_hash) == _WORD:
        raise EvidenceError(f"{what}: a root or code hash that is not of 32 bytes")
    return Account(
        nonce=_scalar(nonce, 8, what),
        balance=_scalar(balance, _WORD, what),
        storage_root=storage_root,
        code_hash=code_hash,
    )


def _scalar(item: Item, size: int, what: str) -> int:
    if not isinstance(item, bytes) or len(item) > size or item[:1] == b"\0":
        raise EvidenceError(f"{what}: not a number of at most {size} bytes without leading zeros")
    return int.from_bytes(item, "big")


def _header_field(name: str, value: JsonValue, what: str) -> bytes:
    if name in _QUANTITIES:
        return _big_endian(contracts.decode_quantity(value, what))
    raw = contracts.decode_bytes(value, what)
    if name != "extraData" and len(raw) != _SIZES.get(name, _WORD):
        raise EvidenceError(f"{what}: {len(raw)} bytes")
    return raw


def _parse_nodes(value: JsonValue, what: str) -> tuple[bytes, ...]:
    items = codec.as_list(value, what)
    if len(items) > _MAX_NODES:
        raise EvidenceError(f"{what}: {len(items)} nodes, more than {_MAX_NODES}")
    nodes = tuple(contracts.decode_bytes(item, what) for item in items)
    if any(len(node) > _MAX_NODE for node in nodes):
        raise EvidenceError(f"{what}: a node of more than {_MAX_NODE} bytes")
    return nodes
