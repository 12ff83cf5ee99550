"""An in-memory chain: blocks, code, storage and logs with their whole history.

Blocks come every 2 seconds, as on Base: `timestamp = genesis + 2 * number`. A block's hash is
`sha256(label)[:28] || u32(number)`, so that a node finds the block of a hash. Nothing is signed and
no state root is computed: a JSON-RPC answer is worth only what its operator is worth.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from eth_hash.auto import keccak
from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.model.result import JsonValue

BASE_GENESIS: Final = 1686789347
BLOCK_SECONDS: Final = 2
_YEARS_BEFORE: Final = 2 * 365 * 86400

Behaviour = Callable[["Chain", bytes, bytes, int], bytes | None]
"""(chain, address whose storage it uses, calldata, block) → return data, or None for a revert."""


class Log(Struct, frozen=True):
    """One log. Addresses are 20 bytes, topics 32."""

    block: int
    transaction: bytes
    address: bytes
    topics: tuple[bytes, ...]
    payload: bytes


class Transaction(Struct, frozen=True):
    """One transaction, named by the hash that `Chain.transact` gives it."""

    hash: bytes
    block: int
    sender: bytes
    to: bytes | None
    calldata: bytes


class Chain:
    """State and history. Writers take the block at which they happen; readers see up to one."""

    def __init__(self, seed: str, chain_id: int, now: int, finalized_lag: int) -> None:
        self._label = f"chain {seed} {chain_id}"
        self.chain_id = chain_id
        self._genesis = min(BASE_GENESIS, now - _YEARS_BEFORE)
        self.head = self.block_at(now)
        self.finalized = self.block_at(now - finalized_lag)
        self._code: dict[bytes, list[tuple[int, bytes]]] = {}
        self._slots: dict[tuple[bytes, int], list[tuple[int, bytes]]] = {}
        self._logs: list[Log] = []
        self._transactions: dict[bytes, Transaction] = {}
        self._behaviours: dict[bytes, Behaviour] = {}
        self.overrides: dict[tuple[bytes, bytes], bytes] = {}
        """(address, selector or whole calldata) → return data: getters that lie."""

    def block_at(self, seconds: int) -> int:
        """The last block that is no later than a time."""
        return (seconds - self._genesis) // BLOCK_SECONDS

    def timestamp(self, number: int) -> int:
        """Unix seconds of a block."""
        return self._genesis + BLOCK_SECONDS * number

    def block_hash(self, number: int) -> bytes:
        """The 32-byte hash of a block."""
        number &= 0xFFFFFFFF
        digest = hashlib.sha256(f"{self._label} {number}".encode()).digest()
        return digest[:28] + struct.pack(">I", number)

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of the block with this hash, or None."""
        number = int.from_bytes(block_hash[28:], "big")
        known = number <= self.head and self.block_hash(number) == block_hash
        return number if known else None

    def header(self, number: int) -> JsonObject:
        """The block as eth_getBlockByNumber gives it, without transactions."""
        zero = "0x" + "00" * 32
        return {
            "number": hex(number),
            "hash": "0x" + self.block_hash(number).hex(),
            "parentHash": "0x" + (self.block_hash(number - 1).hex() if number else "00" * 32),
            "timestamp": hex(self.timestamp(number)),
            "nonce": "0x" + "00" * 8,
            "sha3Uncles": zero,
            "logsBloom": "0x" + "00" * 256,
            "transactionsRoot": zero,
            "stateRoot": zero,
            "receiptsRoot": zero,
            "mixHash": zero,
            "miner": "0x" + "00" * 20,
            "difficulty": "0x0",
            "extraData": "0x",
            "size": "0x220",
            "gasLimit": "0x5f5e100",
            "gasUsed": "0x0",
            "baseFeePerGas": "0x1",
            "transactions": [],
            "uncles": [],
        }

    def transact(self, block: int, sender: bytes, to: bytes | None, calldata: bytes) -> Transaction:
        """Record a transaction; the logs it emits name it."""
        label = f"{self._label} tx {block} {len(self._transactions)}"
        transaction = Transaction(keys.labelled(label, 32), block, sender, to, calldata)
        self._transactions[transaction.hash] = transaction
        return transaction

    def emit(
        self, transaction: Transaction, address: bytes, topics: Sequence[bytes], payload: bytes
    ) -> None:
        """Record a log."""
        self._logs.append(Log(transaction.block, transaction.hash, address, tuple(topics), payload))

    def define(self, code: bytes, behaviour: Behaviour) -> None:
        """Say what a contract with this runtime code does when it is called."""
        self._behaviours[code] = behaviour

    def set_code(self, block: int, address: bytes, code: bytes) -> None:
        """Put runtime code at an address from a block on."""
        _write(self._code.setdefault(address, []), block, code)

    def store(self, block: int, address: bytes, slot: int, value: bytes) -> None:
        """Write a storage word (left padded with zeros) from a block on."""
        _write(self._slots.setdefault((address, slot), []), block, value.rjust(32, b"\0"))

    def store_bytes(self, block: int, address: bytes, slot: int, value: bytes) -> None:
        """Write Solidity `bytes` or `string`: short in place, long at keccak256(slot)."""
        if len(value) < 32:  # noqa: PLR2004 - Solidity storage layout of bytes
            word = value.ljust(31, b"\0") + bytes([2 * len(value)])
            self.store(block, address, slot, word)
            return
        self.store(block, address, slot, (2 * len(value) + 1).to_bytes(32, "big"))
        first = int.from_bytes(keccak(slot.to_bytes(32, "big")), "big")
        for index in range(0, len(value), 32):
            self.store(
                block, address, first + index // 32, value[index : index + 32].ljust(32, b"\0")
            )

    def code(self, address: bytes, block: int) -> bytes:
        """Runtime code at a block; empty when there is none."""
        return _read(self._code.get(address, []), block, b"")

    def slot(self, address: bytes, slot: int, block: int) -> bytes:
        """A storage word at a block."""
        return _read(self._slots.get((address, slot), []), block, bytes(32))

    def load_bytes(self, address: bytes, slot: int, block: int) -> bytes:
        """Solidity `bytes` or `string` at a block."""
        word = self.slot(address, slot, block)
        if not word[31] & 1:
            return word[: word[31] // 2]
        size = int.from_bytes(word, "big") // 2
        first = int.from_bytes(keccak(slot.to_bytes(32, "big")), "big")
        words = (self.slot(address, first + index, block) for index in range((size + 31) // 32))
        return b"".join(words)[:size]

    def call(self, address: bytes, calldata: bytes, block: int) -> bytes | None:
        """Return data of a call at a block; None when it reverts, empty where no code is."""
        for key in (calldata, calldata[:4]):
            if (address, key) in self.overrides:
                return self.overrides[address, key]
        code = self.code(address, block)
        return self.run(code, address, calldata, block) if code else b""

    def run(self, code: bytes, address: bytes, calldata: bytes, block: int) -> bytes | None:
        """Return data of some code, run on the storage of `address`."""
        behaviour = self._behaviours.get(code)
        return behaviour(self, address, calldata, block) if behaviour else None

    def logs(self) -> list[Log]:
        """Every log, in chain order."""
        return sorted(self._logs, key=lambda log: log.block)

    def log_json(self, log: Log) -> JsonObject:
        """A log as eth_getLogs gives it."""
        in_block = [item for item in self._logs if item.block == log.block]
        order = list(dict.fromkeys(item.transaction for item in in_block))
        position = next(index for index, item in enumerate(in_block) if item is log)
        return {
            "address": "0x" + log.address.hex(),
            "topics": ["0x" + topic.hex() for topic in log.topics],
            "data": "0x" + log.payload.hex(),
            "blockNumber": hex(log.block),
            "blockHash": "0x" + self.block_hash(log.block).hex(),
            "blockTimestamp": hex(self.timestamp(log.block)),
            "transactionHash": "0x" + log.transaction.hex(),
            "transactionIndex": hex(order.index(log.transaction)),
            "logIndex": hex(position),
            "removed": False,
        }

    def transaction(self, digest: bytes) -> JsonValue:
        """A transaction as eth_getTransactionByHash gives it, or None."""
        found = self._transactions.get(digest)
        if found is None:
            return None
        return {
            "hash": "0x" + digest.hex(),
            "blockNumber": hex(found.block),
            "blockHash": "0x" + self.block_hash(found.block).hex(),
            "from": "0x" + found.sender.hex(),
            "to": None if found.to is None else "0x" + found.to.hex(),
            "input": "0x" + found.calldata.hex(),
            "value": "0x0",
        }


def _write(history: list[tuple[int, bytes]], block: int, value: bytes) -> None:
    history.insert(bisect_right([at for at, _ in history], block), (block, value))


def _read(history: list[tuple[int, bytes]], block: int, default: bytes) -> bytes:
    index = bisect_right([at for at, _ in history], block)
    return history[index - 1][1] if index else default
