"""A transaction service of Safes: what it says waits for signatures.

Names and forms are those of safe-global/safe-transaction-service, `/api/v1/safes/{safe}/
multisig-transactions/`. What is signed is EIP-712 as Safe 1.4.1 has it.
"""

from collections.abc import Sequence

from coincurve import PrivateKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.contracts import number
from verifier.model.result import JsonValue

_ZERO = bytes(20)
_SAFE_TX = keccak(
    b"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,"
    b"uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
_DOMAIN = keccak(b"EIP712Domain(uint256 chainId,address verifyingContract)")


class Waiting(Struct, frozen=True, kw_only=True):
    """A transaction of a Safe that waits. Addresses are 20 bytes.

    safe       the Safe
    chain_id   the chain's EIP-155 id
    to         the account that it calls
    calldata   what it calls
    nonce      its place in the Safe's order
    operation  1 for running the code of `to` in the Safe's name, 0 for a call
    signers    the labels of the keys that signed
    """

    safe: bytes
    chain_id: int
    to: bytes
    calldata: bytes
    nonce: int
    operation: int = 0
    signers: tuple[str, ...] = ()

    @property
    def digest(self) -> bytes:
        """What its signers sign."""
        call = (number(self.to), 0, number(keccak(self.calldata)), self.operation)
        words = (*call, 0, 0, 0, 0, 0, self.nonce)
        struct = keccak(_SAFE_TX + b"".join(item.to_bytes(32, "big") for item in words))
        domain = keccak(_DOMAIN + self.chain_id.to_bytes(32, "big") + self.safe.rjust(32, b"\0"))
        return keccak(b"\x19\x01" + domain + struct)


def signer(label: str) -> bytes:
    """The address (20 bytes) of a signer's key."""
    return keys.k256_address(_key(label))


def listed(item: Waiting, submitted: str) -> JsonObject:
    """The transaction as the service lists it; `submitted` is RFC 3339."""
    return {
        "safe": to_checksum_address(item.safe),
        "to": to_checksum_address(item.to),
        "value": "0",
        "data": "0x" + item.calldata.hex(),
        "operation": item.operation,
        "gasToken": to_checksum_address(_ZERO),
        "safeTxGas": 0,
        "baseGas": 0,
        "gasPrice": "0",
        "refundReceiver": to_checksum_address(_ZERO),
        "nonce": item.nonce,
        "executionDate": None,
        "submissionDate": submitted,
        "safeTxHash": "0x" + item.digest.hex(),
        "proposer": to_checksum_address(signer(item.signers[0])) if item.signers else None,
        "isExecuted": False,
        "confirmations": [_confirmation(item, label, submitted) for label in item.signers],
        "trusted": True,
    }


def about(path: str) -> JsonObject:
    """What the service answers where nothing waits: of itself, or of any Safe."""
    return {"name": "Safe Transaction Service"} if path.endswith("/about/") else queue(())


def queue(items: Sequence[JsonObject]) -> JsonObject:
    """The service's answer that lists these."""
    results: list[JsonValue] = [*items]
    return {"count": len(results), "next": None, "previous": None, "results": results}


def _confirmation(item: Waiting, label: str, submitted: str) -> JsonObject:
    raw = _key(label).sign_recoverable(item.digest, hasher=None)
    return {
        "owner": to_checksum_address(signer(label)),
        "submissionDate": submitted,
        "transactionHash": None,
        "signature": "0x" + raw[:64].hex() + f"{raw[64] + 27:02x}",
        "signatureType": "EOA",
    }


def _key(label: str) -> PrivateKey:
    return keys.k256(f"Safe signer {label}")
