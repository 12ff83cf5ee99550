"""The hashes that name an operation before it is made, computed from what it would call.

Sources: OpenZeppelin TimelockController (hashOperation, hashOperationBatch);
safe-global/safe-smart-account 1.3.0 to 1.5.0 Safe (getTransactionHash, domainSeparator).
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from verifier.evidence.chain.ethereum import keccak256
from verifier.patterns import pattern

SAFE_TX_TYPE: Final = keccak256(
    b"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,"
    b"uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
DOMAIN_TYPE: Final = keccak256(b"EIP712Domain(uint256 chainId,address verifyingContract)")
_WORD: Final = 32
_VERSION: Final = pattern(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\+L2)?", re.ASCII)
_CHAIN_IN_DOMAIN: Final = (1, 3, 0)


class TimelockCall(Struct, frozen=True):
    """One call of a timelock's operation: target (20 bytes), value in wei, calldata."""

    target: bytes
    value: int
    data: bytes


def operation_ids(
    calls: Sequence[TimelockCall], predecessor: bytes, salt: bytes
) -> tuple[bytes, ...]:
    """The ids (32 bytes) that a TimelockController gives these calls: as one operation if it is one
    call, and as a batch. `predecessor` and `salt` are 32 bytes."""
    batch = (
        _array([_number(item.target) for item in calls]),
        _array([item.value.to_bytes(_WORD, "big") for item in calls]),
        _byte_strings([item.data for item in calls]),
    )
    ids = [keccak256(_tuple([*batch, predecessor, salt]))]
    if len(calls) == 1:
        (one,) = calls
        value = one.value.to_bytes(_WORD, "big")
        words = (_number(one.target), value, _Dynamic(_bytes(one.data)), predecessor, salt)
        ids.append(keccak256(_tuple(words)))
    return tuple(ids)


class SafeTransaction(Struct, frozen=True, kw_only=True):
    """What the signers of a Safe sign. Addresses are 20 bytes.

    to               the account that is called
    value            how much is sent along, in wei
    data             the calldata
    operation        0 for a call, 1 for running the code of `to` in the Safe's name
    safe_tx_gas      how much gas the call gets; 0 for all
    base_gas         how much gas is paid back besides
    gas_price        the price at which gas is paid back; 0 for nothing
    gas_token        the token in which it is paid back; zeros for ether
    refund_receiver  who is paid back; zeros for the sender
    nonce            the transaction's place in the Safe's order
    """

    to: bytes
    value: int
    data: bytes
    operation: int
    safe_tx_gas: int
    base_gas: int
    gas_price: int
    gas_token: bytes
    refund_receiver: bytes
    nonce: int


def safe_transaction_hash(
    transaction: SafeTransaction, safe: bytes, chain_id: int, version: str
) -> bytes | None:
    """The 32 bytes that the signers of a Safe (20 bytes) of a release sign for a transaction, by
    EIP-712; None for a release before 1.3.0, whose domain is another one, or that is not known."""
    found = _VERSION.fullmatch(version)
    if found is None or tuple(map(int, found.groups())) < _CHAIN_IN_DOMAIN:
        return None
    domain = DOMAIN_TYPE + chain_id.to_bytes(_WORD, "big") + _number(safe)
    words = (
        _number(transaction.to),
        transaction.value.to_bytes(_WORD, "big"),
        keccak256(transaction.data),
        transaction.operation.to_bytes(_WORD, "big"),
        transaction.safe_tx_gas.to_bytes(_WORD, "big"),
        transaction.base_gas.to_bytes(_WORD, "big"),
        transaction.gas_price.to_bytes(_WORD, "big"),
        _number(transaction.gas_token),
        _number(transaction.refund_receiver),
        transaction.nonce.to_bytes(_WORD, "big"),
    )
    struct = keccak256(SAFE_TX_TYPE + b"".join(words))
    return keccak256(b"\x19\x01" + keccak256(domain) + struct)


class _Dynamic(Struct, frozen=True):
    """An encoding that stands behind the words, where a word points to it."""

    raw: bytes


def _tuple(values: Sequence[bytes | _Dynamic]) -> bytes:
    """The ABI encoding of values one after the other."""
    head, tail = b"", b""
    for value in values:
        if isinstance(value, bytes):
            head += value
        else:
            head += (_WORD * len(values) + len(tail)).to_bytes(_WORD, "big")
            tail += value.raw
    return head + tail


def _array(words: Sequence[bytes]) -> _Dynamic:
    return _Dynamic(len(words).to_bytes(_WORD, "big") + b"".join(words))


def _byte_strings(items: Sequence[bytes]) -> _Dynamic:
    count = len(items).to_bytes(_WORD, "big")
    return _Dynamic(count + _tuple([_Dynamic(_bytes(item)) for item in items]))


def _bytes(raw: bytes) -> bytes:
    return len(raw).to_bytes(_WORD, "big") + raw.ljust(-(-len(raw) // _WORD) * _WORD, b"\0")


def _number(address: bytes) -> bytes:
    return address.rjust(_WORD, b"\0")
