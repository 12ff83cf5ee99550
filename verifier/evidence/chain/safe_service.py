"""What a Safe's transaction service says waits for signatures, and who is proven to have given one.

The answer of `/api/v1/safes/{safe}/multisig-transactions/` (safe-global/safe-transaction-service):

    {"count": …, "next": …, "results": [{"safe", "to", "value", "data", "operation", "safeTxGas",
     "baseGas", "gasPrice", "gasToken", "refundReceiver", "nonce", "safeTxHash", "isExecuted",
     "submissionDate", "proposer", "confirmations": [{"owner", "signature", …}]}]}

Everybody can run such a service, and say in it what they like. Its hash of a transaction is held
against the one that the transaction itself gives, and a confirmation counts by the key that its
signature recovers to. What it leaves out does not show.

Signatures: safe-global/safe-smart-account Safe.checkNSignatures. The last byte, v, says how one is
made: 27 or 28 over the hash, 31 or 32 over it as a message (EIP-191), 1 for an approval on the
chain by the account in the first word, 0 for a contract's own judgement, which is not judged here.
"""

from collections.abc import Collection, Iterator
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.ethereum import (
    SIGNATURE_SIZE,
    checksum_address,
    key_address,
    recover_key,
    signed_message_digest,
)
from verifier.evidence.chain.operation_hashes import SafeTransaction
from verifier.model.identifiers import parse_time
from verifier.model.result import JsonValue

MAX_LISTED: Final = 100
"""Of one answer; that there are more is said."""
MAX_CONFIRMATIONS: Final = 100
_ADDRESS_SIZE: Final = 20
_HASH_SIZE: Final = 32
_MOST_BITS: Final = 256
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_PLAIN: Final = (27, 28)
_AS_MESSAGE: Final = (31, 32)
_MESSAGE_OFFSET: Final = 4
_NOBODY: Final = bytes(_ADDRESS_SIZE)


class Proposal(Struct, frozen=True, kw_only=True):
    """One transaction that the service lists.

    transaction   what its signers would sign
    claimed_hash  the hash that the service gives it, hex without 0x
    proposer      who proposed it, EIP-55, by the service's word; "" where it does not say
    submitted     when, by the service's word, Unix seconds; None where it does not say
    signatures    what it says that signers gave, raw
    """

    transaction: SafeTransaction
    claimed_hash: str
    proposer: str
    submitted: int | None
    signatures: tuple[bytes, ...]


class SafeQueue(Struct, frozen=True):
    """What a service lists for one Safe; `problem` says why some of it cannot be read, or that it
    lists more than this, "" where it is whole."""

    proposals: tuple[Proposal, ...]
    problem: str


def queue_path(safe: str, nonce: int) -> str:
    """The part of a request after the service's address: what a Safe (EIP-55) has not carried out,
    from a place in its order on."""
    return (
        f"/api/v1/safes/{safe}/multisig-transactions/"
        f"?executed=false&nonce__gte={nonce}&limit={MAX_LISTED}"
    )


def parse_queue(raw: bytes, safe: str, what: str) -> SafeQueue:
    """The transactions in a service's answer about a Safe (EIP-55).

    One that cannot be read, or is another Safe's, makes the queue not whole. Raises EvidenceError
    for what is no such answer at all.
    """
    document = codec.parse_json_object(raw, what)
    listed = codec.as_list(document.get("results"), f"{what}: results")
    count = codec.as_int(document.get("count"), f"{what}: count")
    problem = ""
    if document.get("next") is not None or len(listed) > MAX_LISTED or count != len(listed):
        problem = f"it says that there are {count}, and shows {len(listed)}"
    proposals: list[Proposal] = []
    for index, item in enumerate(listed[:MAX_LISTED]):
        try:
            proposals.append(_proposal(item, safe, f"{what}: results {index}"))
        except EvidenceError as error:
            problem = problem or error.message
    return SafeQueue(tuple(proposals), problem)


def proven_signers(
    proposal: Proposal, digest: bytes, owners: Collection[str], approvals: Collection[str]
) -> tuple[str, ...]:
    """The owners (EIP-55) whose own signature over the transaction's hash (32 bytes) is here, and
    those who approved it on the chain; sorted, each once."""
    found = {account for account in approvals if account in owners}
    for signature in proposal.signatures:
        signer = _signer(digest, signature[:SIGNATURE_SIZE])
        if signer in owners:
            found.add(signer)
    return tuple(sorted(found))


def _signer(digest: bytes, signature: bytes) -> str:
    """Whose key signed, EIP-55; "" for an approval, a contract's judgement and no signature."""
    if len(signature) != SIGNATURE_SIZE:
        return ""
    kind = signature[-1]
    if kind in _AS_MESSAGE:
        digest, kind = signed_message_digest(digest), kind - _MESSAGE_OFFSET
    if kind not in _PLAIN:
        return ""
    # A Safe takes either of the two signatures that say the same; only one has a low s.
    number = int.from_bytes(signature[32:64], "big")
    if number > _ORDER // 2:
        number, kind = _ORDER - number, sum(_PLAIN) - kind
    if number < 0:
        return ""
    low = signature[:32] + number.to_bytes(32, "big") + bytes([kind])
    try:
        return key_address(recover_key(digest, low, "confirmation"))
    except EvidenceError:
        return ""


def _proposal(given: JsonValue, safe: str, what: str) -> Proposal:
    item = codec.as_object(given, what)
    if _address(item.get("safe"), f"{what}: safe") != bytes.fromhex(safe[2:]):
        raise EvidenceError(f"{what}: it is another Safe's")
    if item.get("isExecuted") is not False:
        raise EvidenceError(f"{what}: it does not say that it was not carried out")
    data = item.get("data")
    operation = _number(item.get("operation"), f"{what}: operation")
    if operation > 1:
        raise EvidenceError(f"{what}: operation {operation} is none")
    proposer = item.get("proposer")
    submitted = item.get("submissionDate")
    return Proposal(
        transaction=SafeTransaction(
            to=_address(item.get("to"), f"{what}: to"),
            value=_number(item.get("value"), f"{what}: value"),
            data=b"" if data is None else codec.parse_hex(data, f"{what}: data", allow_0x=True),
            operation=operation,
            safe_tx_gas=_number(item.get("safeTxGas"), f"{what}: safeTxGas"),
            base_gas=_number(item.get("baseGas"), f"{what}: baseGas"),
            gas_price=_number(item.get("gasPrice"), f"{what}: gasPrice"),
            gas_token=_optional_address(item.get("gasToken"), f"{what}: gasToken"),
            refund_receiver=_optional_address(
                item.get("refundReceiver"), f"{what}: refundReceiver"
            ),
            nonce=_number(item.get("nonce"), f"{what}: nonce"),
        ),
        claimed_hash=codec.parse_hex(
            item.get("safeTxHash"), f"{what}: safeTxHash", length=_HASH_SIZE, allow_0x=True
        ).hex(),
        proposer=""
        if proposer is None
        else checksum_address(_address(proposer, f"{what}: proposer")),
        submitted=parse_time(submitted) if isinstance(submitted, str) else None,
        signatures=tuple(_signatures(item.get("confirmations"), f"{what}: confirmations")),
    )


def _signatures(given: JsonValue, what: str) -> Iterator[bytes]:
    for item in codec.as_list(given, what)[:MAX_CONFIRMATIONS]:
        signature = codec.as_object(item, what).get("signature")
        if signature is not None:
            yield codec.parse_hex(signature, f"{what}: signature", allow_0x=True)


def _address(value: JsonValue, what: str) -> bytes:
    return codec.parse_hex(value, what, length=_ADDRESS_SIZE, allow_0x=True)


def _optional_address(value: JsonValue, what: str) -> bytes:
    return _NOBODY if value is None else _address(value, what)


def _number(value: JsonValue, what: str) -> int:
    """A whole number that fits a word, which the service gives as one or as decimal text."""
    number = codec.whole_number(value)
    if number is None or not 0 <= number < 1 << _MOST_BITS:
        raise EvidenceError(f"{what}: {ascii(value)[:80]} is no number")
    return number
