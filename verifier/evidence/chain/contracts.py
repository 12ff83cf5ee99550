"""DstackKms and DstackApp contracts: calls, storage slots, code fingerprints.

Source: Dstack-TEE/dstack kms/auth-eth/contracts (DstackKms.sol, DstackApp.sol, IAppAuth.sol).
Selectors are the first four bytes of keccak256 of the signature, slots those of ERC-1967 and
ERC-7201. Words are read strictly: a boolean is 0 or 1, an address has twelve zero bytes before it.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.model.chain import ContractCode
from verifier.model.identifiers import LATEST_TIME
from verifier.model.result import JsonValue
from verifier.patterns import pattern

SELECTORS: Final = {
    "kmsInfo()": "0x09177063",
    "registeredApps(address)": "0xa6c4cce9",
    "apps(address)": "0x1309ec43",
    "allowedOsImages(bytes32)": "0x9a4e1d18",
    "kmsAllowedAggregatedMrs(bytes32)": "0xf6fe4f40",
    "gatewayAppId()": "0x95f51931",
    "isAppAllowed((address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[]))": (
        "0x1e079198"
    ),
    "allowedComposeHashes(bytes32)": "0x2f6622e5",
    "allowedDeviceIds(bytes32)": "0xbf8b211b",
    "allowAnyDevice()": "0x3440a16a",
    "owner()": "0x8da5cb5b",
    "version()": "0x54fd4d50",
}
KMS_INFO: Final = SELECTORS["kmsInfo()"]
REGISTERED_APPS: Final = SELECTORS["registeredApps(address)"]
APPS: Final = SELECTORS["apps(address)"]
ALLOWED_OS_IMAGES: Final = SELECTORS["allowedOsImages(bytes32)"]
ALLOWED_KMS_BUILDS: Final = SELECTORS["kmsAllowedAggregatedMrs(bytes32)"]
GATEWAY_APP_ID: Final = SELECTORS["gatewayAppId()"]
IS_APP_ALLOWED: Final = "0x1e079198"
ALLOWED_COMPOSE_HASHES: Final = SELECTORS["allowedComposeHashes(bytes32)"]
ALLOWED_DEVICE_IDS: Final = SELECTORS["allowedDeviceIds(bytes32)"]
ALLOW_ANY_DEVICE: Final = SELECTORS["allowAnyDevice()"]
OWNER: Final = SELECTORS["owner()"]

IMPLEMENTATION_SLOT: Final = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
"""ERC-1967: keccak256("eip1967.proxy.implementation") - 1."""

COMPOSE_HASH_ADDED: Final = "0xfecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af"
COMPOSE_HASH_REMOVED: Final = "0x755b79bd4b0eeab344d032284a99003b2ddc018b646752ac72d681593a6e8947"
UPGRADED: Final = "0xbc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b"

_QUANTITY: Final = pattern(r"0x(?:0|[1-9a-f][0-9a-f]{0,15})", re.ASCII)
_WORD: Final = 32
_ADDRESS: Final = 20
MAX_TOPICS: Final = 4
_BOOT_INFO_TYPE: Final = "(address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[])"
Call = tuple[str, list[JsonValue]]


class BootInfo(Struct, frozen=True, kw_only=True):
    """`AppBootInfo` of IAppAuth.sol: what a KMS asks the contracts about. Raw bytes.

    app_id         20 bytes
    compose_hash   sha256 of the manifest, 32 bytes
    instance_id    20 bytes; b"" is sent as the zero address, as the KMS does
    device_id      32 bytes
    mr_aggregated  sha256 of all registers, RTMR3 as it was at boot, 32 bytes
    mr_system      sha256 of the registers up to RTMR2 and of the key provider, 32 bytes
    os_image_hash  32 bytes
    tcb_status     the platform's, as DCAP verification gives it
    advisory_ids   those of the platform's TCB; () for none
    """

    app_id: bytes
    compose_hash: bytes
    instance_id: bytes
    device_id: bytes
    mr_aggregated: bytes
    mr_system: bytes
    os_image_hash: bytes
    tcb_status: str
    advisory_ids: tuple[str, ...]


class KmsInfo(Struct, frozen=True, kw_only=True):
    """The four byte strings of `kmsInfo()`; each may be empty."""

    k256_pubkey: bytes
    ca_pubkey: bytes
    quote: bytes
    event_log: bytes


class Log(Struct, frozen=True, kw_only=True, gc=False):
    """One event log entry of a node's answer.

    address      the contract that emitted it, 0x and lower-case hex
    topics       32 bytes each, at most 4; () for none
    data         bytes of any number
    block        the block's number
    log_index    its index among the logs of the block
    transaction  the transaction's hash, lower-case hex without 0x
    """

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    log_index: int
    transaction: str


def word(value: bytes) -> str:
    """Bytes left-padded to one ABI word, as hex without 0x."""
    return value.rjust(_WORD, b"\0").hex()


def eth_call(to: str, data: str, block: str) -> Call:
    """An `eth_call` at a block (hex number)."""
    return "eth_call", [{"data": data, "to": to.lower()}, block]


def get_code(address: str, block: str) -> Call:
    """An `eth_getCode` at a block."""
    return "eth_getCode", [address.lower(), block]


def get_implementation(address: str, block: str) -> Call:
    """An `eth_getStorageAt` of the ERC-1967 implementation slot at a block."""
    return "eth_getStorageAt", [address.lower(), IMPLEMENTATION_SLOT, block]


def get_block(block: str) -> Call:
    """An `eth_getBlockByNumber` without transactions; `block` is a hex number or a tag."""
    return "eth_getBlockByNumber", [block, False]


def is_app_allowed(kms: str, boot: BootInfo, block: str) -> Call:
    """`DstackKms.isAppAllowed(AppBootInfo)` at a block."""
    return eth_call(kms, IS_APP_ALLOWED + _boot_words(boot), block)


@lru_cache(maxsize=1 << 10)
def _boot_words(boot: BootInfo) -> str:
    """An AppBootInfo as the contract takes it (hex): every endpoint is asked about the same."""
    from eth_abi.abi import encode  # noqa: PLC0415 - costs 0.2 s that only chain checks need

    values = (
        "0x" + boot.app_id.hex(),
        boot.compose_hash,
        "0x" + boot.instance_id.rjust(20, b"\0").hex(),
        boot.device_id,
        boot.mr_aggregated,
        boot.mr_system,
        boot.os_image_hash,
        boot.tcb_status,
        list(boot.advisory_ids),
    )
    encoded: str = encode([_BOOT_INFO_TYPE], [values]).hex()
    return encoded


def decode_bytes(value: JsonValue, what: str) -> bytes:
    """Bytes of an answer in canonical `0x` lower-case hex. Raises EvidenceError."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise EvidenceError(f"{what}: expected 0x hex, found {value!r:.60}")
    digits = value[2:]
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    # What spells back the same text is canonical: the strict reader, only faster, for histories.
    return raw if raw.hex() == digits else codec.parse_hex(digits, what, lower=True)


def decode_quantity(value: JsonValue, what: str) -> int:
    """An integer below 2^64 in canonical `0x` hex, without leading zeros. Raises EvidenceError."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise EvidenceError(f"{what}: not a hex quantity: {value!r:.60}")
    return int(value, 16)


def decode_time(value: JsonValue, what: str) -> int:
    """A block's timestamp (Unix seconds). Raises EvidenceError beyond the year 9999."""
    seconds = decode_quantity(value, what)
    if seconds > LATEST_TIME:
        raise EvidenceError(f"{what}: {seconds} is no time")
    return seconds


def decode_word(value: JsonValue, what: str) -> bytes:
    """Exactly one 32-byte word. Raises EvidenceError."""
    raw = decode_bytes(value, what)
    if len(raw) != _WORD:
        raise EvidenceError(f"{what}: expected one word, found {len(raw)} bytes")
    return raw


def decode_bool(value: JsonValue, what: str) -> bool:
    """A word that is 0 or 1. Raises EvidenceError."""
    number = int.from_bytes(decode_word(value, what), "big")
    if number not in (0, 1):
        raise EvidenceError(f"{what}: {number:#x} is not a boolean")
    return number == 1


def decode_address(value: JsonValue, what: str) -> str:
    """A word that holds an address, EIP-55. Raises EvidenceError."""
    raw = decode_word(value, what)
    if raw[:12].strip(b"\0"):
        raise EvidenceError(f"{what}: {raw.hex()} is not an address")
    return checksum_address(raw[12:])


def decode_uint(value: JsonValue, what: str) -> int:
    """A single `uint256`. Raises EvidenceError."""
    return int.from_bytes(decode_word(value, what), "big")


def decode_addresses(value: JsonValue, what: str) -> tuple[str, ...]:
    """A single ABI `address[]`, EIP-55. Raises EvidenceError."""
    (found,) = _decode(["address[]"], value, what)
    return tuple(checksum_address(bytes.fromhex(str(item)[2:])) for item in found)


def decode_modules(value: JsonValue, what: str) -> tuple[str, ...]:
    """The (address[] modules, address next) of a Safe's `getModulesPaginated`, EIP-55.

    Raises EvidenceError, also when there are more modules than one page.
    """
    found, following = _decode(["address[]", "address"], value, what)
    if int(str(following), 16) > 1:
        raise EvidenceError(f"{what}: more modules than one page holds")
    return tuple(checksum_address(bytes.fromhex(str(item)[2:])) for item in found)


def decode_string(value: JsonValue, what: str) -> str:
    """A single ABI `string`. Raises EvidenceError."""
    return str(_decode(["string"], value, what)[0])


def decode_is_app_allowed(value: JsonValue, what: str) -> tuple[bool, str]:
    """The (bool, string reason) of `isAppAllowed`. Raises EvidenceError."""
    allowed, reason = _decode(["bool", "string"], value, what)
    return bool(allowed), str(reason)


def decode_controller(value: JsonValue, what: str) -> str:
    """The (bool isRegistered, address controller) of `apps(address)`: the controller (EIP-55), ""
    for an app that is not registered. Raises EvidenceError."""
    raw = decode_bytes(value, what)
    if len(raw) != 2 * _WORD:
        raise EvidenceError(f"{what}: not (bool, address)")
    if not decode_bool("0x" + raw[:_WORD].hex(), what):
        return ""
    return decode_address("0x" + raw[_WORD:].hex(), what)


def decode_kms_info(value: JsonValue, what: str) -> KmsInfo:
    """The four byte strings of `kmsInfo()`. Raises EvidenceError."""
    k256, ca, quote, log = _decode(["bytes"] * 4, value, what)
    return KmsInfo(k256_pubkey=k256, ca_pubkey=ca, quote=quote, event_log=log)


def decode_logs(value: JsonValue, what: str) -> tuple[Log, ...]:
    """The entries of an `eth_getLogs` answer, in canonical (block, log index) order.

    Raises EvidenceError for an entry that was removed by a reorganisation, stands twice or out of
    order, or is malformed.
    """
    logs: list[Log] = []
    for item in codec.as_list(value, what):
        try:
            logs.append(_decode_log(item))
        except EvidenceError as error:
            raise EvidenceError(f"{what}[{len(logs)}]{error.message}") from error
    places = [(log.block, log.log_index) for log in logs]
    if any(place >= after for place, after in pairwise(places)):
        raise EvidenceError(f"{what}: logs stand twice or out of order")
    return tuple(logs)


def decode_timed_logs(value: JsonValue, what: str) -> tuple[tuple[Log, int | None], ...]:
    """`decode_logs`, each with its block's time (Unix seconds) where the node adds it.

    Raises EvidenceError.
    """
    logs = decode_logs(value, what)
    stamps = [
        codec.as_object(item, what).get("blockTimestamp") for item in codec.as_list(value, what)
    ]
    return tuple(
        (log, None if stamp is None else decode_time(stamp, what))
        for log, stamp in zip(logs, stamps, strict=True)
    )


def code_fingerprint(code: bytes, immutable_offsets: tuple[int, ...]) -> str:
    """keccak256 (0x hex) of runtime code without its metadata and with immutables zeroed.

    solc ends runtime code with CBOR metadata and its length as two big-endian bytes. Raises
    EvidenceError when the code is too short to have either.
    """
    trailer = int.from_bytes(code[-2:], "big") + 2
    if len(code) <= trailer:
        raise EvidenceError(f"{len(code)} bytes of code without solc metadata")
    body = bytearray(code[:-trailer])
    for offset in immutable_offsets:
        if offset + _WORD > len(body):
            raise EvidenceError("the code ends before its immutables")
        body[offset : offset + _WORD] = bytes(_WORD)
    return "0x" + keccak256(bytes(body)).hex()


def identify_code(known: Iterable[ContractCode], code: bytes, role: str) -> ContractCode | None:
    """The reference build of a role (see `ContractCode`) that the runtime code is, or None."""
    for row in known:
        if row.role != role or row.length != len(code):
            continue
        try:
            fingerprint = code_fingerprint(code, row.immutable_offsets)
        except EvidenceError:
            continue
        if fingerprint == row.fingerprint:
            return row
    return None


def _decode(types: list[str], value: JsonValue, what: str) -> tuple[Any, ...]:
    from eth_abi.abi import decode, encode  # noqa: PLC0415 - costs 0.2 s that only chain checks need
    from eth_abi.exceptions import DecodingError  # noqa: PLC0415

    raw = decode_bytes(value, what)
    problem = f"{what}: not the ABI encoding of ({', '.join(types)})"
    try:
        values = tuple(decode(types, raw))
    except (DecodingError, OverflowError, ValueError) as error:
        raise EvidenceError(problem) from error
    if encode(types, values) != raw:
        raise EvidenceError(problem)
    return values


def _decode_log(value: JsonValue) -> Log:
    """One entry. Raises EvidenceError whose message goes on from the name of the entry."""
    item = codec.as_object(value, "")
    if item.get("removed") not in (None, False):
        raise EvidenceError(": removed by a reorganisation")
    topics = codec.as_list(item.get("topics"), ".topics")
    if len(topics) > MAX_TOPICS:
        raise EvidenceError(f": {len(topics)} topics")
    address = codec.parse_hex(item.get("address"), ".address", length=_ADDRESS, allow_0x=True)
    return Log(
        address="0x" + address.hex(),
        topics=tuple([decode_word(topic, ".topics") for topic in topics]),
        data=decode_bytes(item.get("data"), ".data"),
        block=decode_quantity(item.get("blockNumber"), ".blockNumber"),
        log_index=decode_quantity(item.get("logIndex"), ".logIndex"),
        transaction=decode_word(item.get("transactionHash"), ".transactionHash").hex(),
    )
