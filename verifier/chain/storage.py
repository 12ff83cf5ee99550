"""What a contract's storage proofs say of the values that a history is held against.

Nodes that agree on a block's hash may still answer reads as they like. A storage proof cannot: it
hangs on that hash (see `verifier.evidence.chain.storage_proofs`). Every value that events are
compared with is kept in slots that the code's generation fixes, so that a proof of these slots says
it once more.
Most public nodes prove recent blocks only, or nothing; what none proves rests on their word.

Slots: `verifier.reference.generations`. Solidity's "Layout of State Variables in Storage": the
element of a mapping stands at keccak256(pad32(key) || pad32(slot)); a byte string of up to 31 bytes
stands in its slot, whose last byte is twice the length, a longer one at keccak256(pad32(slot)), and
its slot is twice the length plus one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from msgspec import Struct

from verifier.chain import calls
from verifier.chain.view import ChainView
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.storage_proofs import (
    MAX_KEYS,
    Account,
    ProvenState,
    parse_header,
    parse_proof,
    prove,
)
from verifier.model.result import JsonValue
from verifier.reference.generations import AppSlots, KmsSlots

_WORD: Final = 32
_TEXT_WORDS: Final = 4
"""How many words of a long byte string are asked for: a key, or three gateway ids."""
_SCALARS: Final[tuple[str | int, ...]] = (
    calls.OWNER_SLOT,
    calls.PENDING_OWNER_SLOT,
    contracts.IMPLEMENTATION_SLOT,
    calls.ADMIN_SLOT,
    calls.BEACON_SLOT,
)


class Layout(Struct, frozen=True, kw_only=True):
    """Where one generation of a contract keeps what is compared.

    `mappings` and `texts` are slots by the selector of their getter, `words` the slots that are
    read as they are; byte 1 of `any_device` (from the least) is what `allowAnyDevice()` gives.
    """

    mappings: Mapping[str, int]
    texts: Mapping[str, int] = {}
    words: tuple[int, ...] = ()
    any_device: int | None = None

    @classmethod
    def of(cls, slots: AppSlots | KmsSlots) -> "Layout":
        """The layout of a contract that keeps its state in these slots."""
        if isinstance(slots, AppSlots):
            return cls(
                mappings={
                    contracts.ALLOWED_COMPOSE_HASHES: slots.compose_hashes,
                    contracts.ALLOWED_DEVICE_IDS: slots.devices,
                },
                words=_present(slots.flags, slots.require_tcb),
                any_device=slots.flags,
            )
        return cls(
            mappings={
                contracts.ALLOWED_KMS_BUILDS: slots.aggregated_mrs,
                calls.KMS_DEVICE_IDS: slots.devices,
                contracts.ALLOWED_OS_IMAGES: slots.os_images,
            },
            texts={
                contracts.KMS_INFO: slots.info,
                contracts.GATEWAY_APP_ID: slots.gateway_app_id,
            },
            words=_present(slots.app_implementation),
        )

    def slots(self, call: Call) -> tuple[int, ...]:
        """Every slot behind a read of storage or a getter; none for a call that is not known."""
        method, params = call
        if method == "eth_getStorageAt":
            return (int(codec.as_str(params[1], method), 16),)
        getter, key = _getter(call)
        if getter in self.mappings:
            return (_derived(key + _word(self.mappings[getter])),)
        if getter in self.texts:
            first = _derived(_word(self.texts[getter]))
            return (self.texts[getter], *range(first, first + _TEXT_WORDS))
        if getter == contracts.ALLOW_ANY_DEVICE and self.any_device is not None:
            return (self.any_device,)
        return ()


def proof_calls(layout: Layout, address: str, keyed: Iterable[Call], block: str) -> list[Call]:
    """The `eth_getProof` calls for everything of one contract that is compared with its events.

    `keyed` are the calls of its mappings' getters, one per key.
    """
    compared = [
        *(calls.storage(address, slot, block) for slot in (*_SCALARS, *layout.words)),
        *(contracts.eth_call(address, getter, block) for getter in layout.texts),
        *keyed,
    ]
    slots = list(dict.fromkeys(slot for call in compared for slot in layout.slots(call)))
    keys: list[JsonValue] = [f"0x{slot:064x}" for slot in slots]
    return [
        ("eth_getProof", [address.lower(), keys[first : first + MAX_KEYS], block])
        for first in range(0, len(keys), MAX_KEYS)
    ]


def account_call(address: str, block: str) -> Call:
    """The `eth_getProof` call for an account's storage root, without any slot."""
    return "eth_getProof", [address.lower(), [], block]


def proven_account(view: ChainView, block_hash: str, address: str, block: str) -> Account | None:
    """The account as some endpoint proves it against the agreed block's hash, None where none
    does."""
    proven = _proven(view, block_hash, address, [account_call(address, block)])
    return next((item.account for item in proven if item.account is not None), None)


def proven_words(
    view: ChainView, block_hash: str, address: str, asked: Iterable[Call]
) -> Mapping[int, bytes]:
    """Slot → word, for every slot that some endpoint proves against the agreed block's hash.

    `asked` are those of `proof_calls`. An endpoint that gives no proof, or none that holds, proves
    nothing, which is no finding.
    """
    found: dict[int, bytes] = {}
    for item in _proven(view, block_hash, address, asked):
        found |= item.words
    return found


def _proven(
    view: ChainView, block_hash: str, address: str, asked: Iterable[Call]
) -> Iterator[ProvenState]:
    headers = view.each(contracts.get_block(hex(view.number)), parse_header)
    root = next((item.state_root for item in headers if item.hash == block_hash), None)
    if root is not None:
        for proof in (item for call in asked for item in view.each(call, parse_proof)):
            with suppress(EvidenceError):
                yield prove(proof, bytes.fromhex(address[2:]), root, address)


class Proven(Struct, frozen=True):
    """Proven words of one contract, read by the layout of its code; None where that is unknown."""

    layout: Layout | None
    words: Mapping[int, bytes]

    def value(self, call: Call, decode: Callable[[JsonValue, str], JsonValue]) -> JsonValue:
        """What the proven storage makes of a read or getter, None where it is not proven.

        `kmsInfo()` gives the root key alone (hex). Raises EvidenceError for words that hold no such
        value.
        """
        if self.layout is None:
            return None
        slots = self.layout.slots(call)
        words = [self.words[slot] for slot in slots if slot in self.words]
        if not words or len(words) < len(slots):
            return None
        what, (getter, _) = "proven storage", _getter(call)
        if getter in self.layout.texts:
            text = _byte_string(words)
            if text is None:
                return None
            return text.hex() if getter == contracts.KMS_INFO else codec.parse_utf8(text, what)
        if getter == contracts.ALLOW_ANY_DEVICE:
            words = [words[0][-2:-1].rjust(_WORD, b"\0")]
        return decode("0x" + words[0].hex(), what)


def _getter(call: Call) -> tuple[str, bytes]:
    """Selector and arguments of an `eth_call`, empty for anything else."""
    method, params = call
    if method != "eth_call":
        return "", b""
    text = codec.as_str(codec.as_object(params[0], method)["data"], method)
    selector = text[: len(contracts.OWNER)]
    return selector, bytes.fromhex(text[len(selector) :])


def _present(*slots: int | None) -> tuple[int, ...]:
    return tuple(slot for slot in slots if slot is not None)


def _derived(preimage: bytes) -> int:
    return int.from_bytes(keccak256(preimage), "big")


def _word(number: int) -> bytes:
    return number.to_bytes(_WORD, "big")


def _byte_string(words: list[bytes]) -> bytes | None:
    """A Solidity `bytes` or `string`: its own slot, then the words of a long one; None for one that
    is longer than these."""
    head, *rest = words
    if head[-1] % 2 == 0:
        return head[: head[-1] // 2]
    size = int.from_bytes(head, "big") // 2
    return b"".join(rest)[:size] if size <= len(rest) * _WORD else None
