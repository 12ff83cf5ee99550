"""What the constructor of an app's contract was given: a transaction that creates it, read.

amiller/dstack-tutorial's TimelockAppAuth (08-extending-appauth/TimelockAppAuth.sol) takes its
notice period, whether any device may run the app, and its first manifest as arguments of its
constructor, which emits nothing. The input of the transaction that created it is the creation code
and these three words behind it, each 32 bytes. Such a transaction names no contract: its address is
the last 20 bytes of keccak256(rlp([sender, nonce])) (Yellow Paper, section 7).
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.evidence.chain.storage_proofs import encode_rlp
from verifier.model.chain import ContractCode
from verifier.model.result import JsonValue

CREATION_ROLE: Final = "app-creation"
TIMELOCK_CREATION_ROLE: Final = "timelock-creation"
_WORD: Final = 32
_ARGUMENTS: Final = 3 * _WORD
_ADDRESS: Final = 20


class Creation(Struct, frozen=True, kw_only=True):
    """A mined transaction without a recipient.

    transaction  its hash, lower-case hex without 0x
    sender       who signed it, EIP-55
    nonce        how many transactions the sender made before
    block        the number of the block that holds it
    block_hash   that block's hash, lower-case hex without 0x
    input        the creation code and the constructor's arguments
    """

    transaction: str
    sender: str
    nonce: int
    block: int
    block_hash: str
    input: bytes

    @property
    def address(self) -> str:
        """The contract that it creates if it does not fail, EIP-55."""
        nonce = self.nonce.to_bytes((self.nonce.bit_length() + 7) // 8, "big")
        preimage = encode_rlp([bytes.fromhex(self.sender[2:]), nonce])
        return checksum_address(keccak256(preimage)[-_ADDRESS:])


class ConstructorTerms(Struct, frozen=True, kw_only=True):
    """What a known contract was created with.

    code              the reference build of its creation code
    notice_period     seconds between the proposal of a manifest and its permission
    allow_any_device  whether every machine may run the app
    compose_hash      the first allowed manifest, 32 bytes of hex; "" for none
    """

    code: ContractCode
    notice_period: int
    allow_any_device: bool
    compose_hash: str


def decode_creation(value: JsonValue, what: str) -> Creation:
    """A transaction of an answer, as `eth_getTransactionByHash` gives it.

    Raises EvidenceError for a malformed one, one with a recipient, and one that no block holds.
    """
    item = codec.as_object(value, what)
    if item.get("to") is not None:
        raise EvidenceError(f"{what}: it calls an account and creates none")
    sender = codec.parse_hex(item.get("from"), f"{what}: from", length=_ADDRESS, allow_0x=True)
    return Creation(
        transaction=contracts.decode_word(item.get("hash"), f"{what}: hash").hex(),
        sender=checksum_address(sender),
        nonce=contracts.decode_quantity(item.get("nonce"), f"{what}: nonce"),
        block=contracts.decode_quantity(item.get("blockNumber"), f"{what}: blockNumber"),
        block_hash=contracts.decode_word(item.get("blockHash"), f"{what}: blockHash").hex(),
        input=contracts.decode_bytes(item.get("input"), f"{what}: input"),
    )


def decode_creations(value: JsonValue, what: str) -> tuple[Creation, ...]:
    """Those of a block with its transactions that have no recipient. Raises EvidenceError."""
    block = codec.as_object(value, what)
    listed = codec.as_list(block.get("transactions"), f"{what}: transactions")
    return tuple(
        decode_creation(item, f"{what}: transactions[{index}]")
        for index, item in enumerate(listed)
        if isinstance(item, dict) and item.get("to") is None
    )


def created_by(known: Iterable[ContractCode], data: bytes, role: str) -> ContractCode | None:
    """The reference build of creation code that a creating transaction's input begins with,
    whatever arguments follow; None for any other. Known code calls nobody while it creates, so that
    all logs of such a transaction are of the contract that it creates."""
    rows = (row for row in known if row.role == role)
    found = (contracts.identify_code((row,), data[: row.length], role) for row in rows)
    return next((row for row in found if row is not None), None)


def constructor_terms(known: Iterable[ContractCode], data: bytes) -> ConstructorTerms | None:
    """The arguments behind creation code that is a reference build; None behind any other, and for
    words that the constructor would have refused.

    Solidity ignores what stands behind the arguments: nothing may.
    """
    code, arguments = data[:-_ARGUMENTS], data[-_ARGUMENTS:]
    row = contracts.identify_code(known, code, CREATION_ROLE)
    flag = int.from_bytes(arguments[_WORD : 2 * _WORD], "big")
    if row is None or flag > 1:
        return None
    compose_hash = arguments[2 * _WORD :]
    return ConstructorTerms(
        code=row,
        notice_period=int.from_bytes(arguments[:_WORD], "big"),
        allow_any_device=flag == 1,
        compose_hash=compose_hash.hex() if any(compose_hash) else "",
    )
