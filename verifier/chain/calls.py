"""The reads of contract state that a history is held against, and how they are decoded.

Selectors are those of DstackKms.sol and DstackApp.sol (Dstack-TEE/dstack kms/auth-eth/contracts),
Safe and TimelockController, fixed slots those of ERC-1967, ERC-7201 (OpenZeppelin 5) and Safe;
the slots of dstack's own state stand in `verifier.reference.generations`. What is planned here is
what is later looked up, so that collection and audit ask the same questions.
"""

from typing import Final

from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.ethereum import checksum_address
from verifier.model.chain import ZERO_ADDRESS
from verifier.model.result import JsonValue
from verifier.reference.generations import GENERATIONS

OWNER_SLOT: Final = "0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300"
"""ERC-7201 openzeppelin.storage.Ownable: `_owner`."""
PENDING_OWNER_SLOT: Final = "0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00"
"""ERC-7201 openzeppelin.storage.Ownable2Step: `_pendingOwner`."""
ADMIN_SLOT: Final = "0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103"
BEACON_SLOT: Final = "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"
"""ERC-1967: both are zero behind a UUPS proxy."""
GUARD_SLOT: Final = "0x4a204f620c8c5ccdca3fd54d003badd85ba500436a431f0cbda4f558c93c34c8"
"""Safe GuardManager: keccak256("guard_manager.guard.address")."""
HANDLER_SLOT: Final = "0x6c9a6c4a39284e37ed1cf53d337577d14212a4870fb976a4366c693b939918d5"
"""Safe FallbackManager: keccak256("fallback_manager.handler.address")."""

KMS_DEVICE_IDS: Final = "0x13eb9770"
GET_THRESHOLD: Final = "0xe75235b8"
GET_OWNERS: Final = "0xa0e67e2b"
GET_MODULES: Final = "0xcc2f8452"
SAFE_VERSION: Final = "0xffa1ad74"
SINGLETON_SLOT: Final = 0
"""SafeProxy keeps the address of the code that it runs in its first slot: SafeProxy.sol."""
GET_MIN_DELAY: Final = "0xf27a0c92"
GET_TIMESTAMP: Final = "0xd45c4435"
"""`getTimestamp(bytes32)` of a timelock: when an operation can be made."""
SAFE_NONCE: Final = "0xaffed0e0"
"""`nonce()` of a Safe: how many transactions its signers have made."""
NOTICE_PERIOD: Final = "0x9b14d4c6"
FIRST_MODULE: Final = 1
"""Safe keeps its modules as a linked list that begins at address 1."""
MAX_MODULES: Final = 50

_APPS: Final = tuple(item.app for item in GENERATIONS.values() if item.app is not None)
APP_WORDS: Final = tuple(
    dict.fromkeys(
        slot
        for slot in (*(item.flags for item in _APPS), *(item.require_tcb for item in _APPS))
        if slot is not None
    )
)
"""The slots of an app's flags and of `requireTcbUpToDate` in any generation: all of them are asked
for, since nobody knows yet of which one the code is."""
_KMS_WORDS: Final = tuple(
    dict.fromkeys(
        item.kms.app_implementation
        for item in GENERATIONS.values()
        if item.kms is not None and item.kms.app_implementation is not None
    )
)
"""Likewise, the implementation of new apps."""


def storage(address: str, slot: str | int, block: str) -> Call:
    """An `eth_getStorageAt` of any slot; a number is spelled as a whole word."""
    spelled = slot if isinstance(slot, str) else f"0x{slot:064x}"
    return "eth_getStorageAt", [address.lower(), spelled, block]


def transaction(digest: str) -> Call:
    """An `eth_getTransactionByHash`; `digest` is hex without 0x."""
    return "eth_getTransactionByHash", ["0x" + digest]


def state_calls(kms: str, app: str, block: str) -> list[Call]:
    """The scalars of both contracts that events change."""
    slots = (OWNER_SLOT, PENDING_OWNER_SLOT, ADMIN_SLOT, BEACON_SLOT)
    return [
        *(storage(address, slot, block) for address in (kms, app) for slot in slots),
        *(storage(app, slot, block) for slot in APP_WORDS),
        *(storage(kms, slot, block) for slot in _KMS_WORDS),
        contracts.eth_call(app, NOTICE_PERIOD, block),
    ]


def owner_calls(owner: str, block: str) -> list[Call]:
    """What tells a Safe, a timelock and a plain key apart, and what each of them says."""
    modules = GET_MODULES + f"{FIRST_MODULE:064x}{MAX_MODULES:064x}"
    selectors = (GET_THRESHOLD, GET_OWNERS, SAFE_VERSION, SAFE_NONCE, modules, GET_MIN_DELAY)
    return [
        *(contracts.eth_call(owner, selector, block) for selector in selectors),
        storage(owner, GUARD_SLOT, block),
        storage(owner, HANDLER_SLOT, block),
        storage(owner, SINGLETON_SLOT, block),
    ]


def timestamp_call(timelock: str, operation: str, block: str) -> Call:
    """What a timelock's storage says of an operation (32 bytes of hex)."""
    return contracts.eth_call(timelock, GET_TIMESTAMP + operation, block)


def decode_transaction(value: JsonValue, what: str) -> tuple[str, str, str, bytes]:
    """Hash (hex), sender and recipient (EIP-55; "" for a creation) and input of a transaction.

    Raises EvidenceError.
    """
    item = codec.as_object(value, what)
    digest = contracts.decode_word(item.get("hash"), f"{what}: hash").hex()
    sender = decode_account(item.get("from"), f"{what}: from")
    to = "" if item.get("to") is None else decode_account(item.get("to"), f"{what}: to")
    return digest, sender, to, contracts.decode_bytes(item.get("input"), f"{what}: input")


def decode_account(value: JsonValue, what: str) -> str:
    """A 20-byte address, EIP-55. Raises EvidenceError."""
    raw = codec.parse_hex(value, what, length=20, allow_0x=True)
    return checksum_address(raw)


def decode_optional_account(value: JsonValue, what: str) -> str:
    """A word that holds an address, "" for none. Raises EvidenceError."""
    found = contracts.decode_address(value, what)
    return "" if found == ZERO_ADDRESS else found
