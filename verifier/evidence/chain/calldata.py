"""Calls as they stand in calldata: which function, with which arguments, and the calls inside.

Sources of the declarations: Dstack-TEE/dstack kms/auth-eth/contracts, all generations;
amiller/dstack-tutorial TimelockAppAuth.sol; OpenZeppelin Contracts (Ownable, Ownable2Step,
UUPSUpgradeable, AccessControl, TimelockController); safe-global/safe-smart-account 1.3 to 1.5
(Safe, OwnerManager, ModuleManager, GuardManager, FallbackManager, MultiSend).

Encodings are read as strictly as events are: everything stands in order, one right after the other,
with zero padding and nothing behind it. Contracts are more lenient, so that calldata which is not
read here may still be a call; it is never taken for none.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.model.result import JsonValue
from verifier.patterns import pattern

SELECTOR_SIZE: Final = 4
MAX_CALLS: Final = 64
"""Of one operation, those that are taken apart; what is beyond them is one unknown call."""
MAX_DEPTH: Final = 8
MULTI_SEND: Final = frozenset(
    {
        "0xA238CBeb142c10Ef7Ad8442C6D1f9E89e07e7761",
        "0x998739BFdAAdde7C933B942a68053933098f9EDa",
        "0x40A2aCCbd92BCA938b02010E17A5b8929b49130D",
        "0xA1dabEF33b3B82c7814B6D82A79e50F4AC44102B",
        "0x38869bf66a61cF6bDB996A6aE40D5853Fd43B526",
        "0x9641d764fc13c8B624c04430C7356C1C7C8102e2",
        "0x218543288004CD07832472D464648173c77D7eB7",
        "0xA83c336B20401Af773B6219BA5027174338D1836",
    }
)
"""MultiSend and MultiSendCallOnly 1.3.0 (canonical and eip155), 1.4.1 and 1.5.0, at the addresses
that safe-global/safe-deployments lists: what is delegated to them is made call by call."""

DECLARATIONS: Final = (
    "addComposeHash(bytes32 composeHash)",
    "removeComposeHash(bytes32 composeHash)",
    "addDevice(bytes32 deviceId)",
    "removeDevice(bytes32 deviceId)",
    "setAllowAnyDevice(bool allowAny)",
    "setRequireTcbUpToDate(bool requireUpToDate)",
    "disableUpgrades()",
    "proposeComposeHash(bytes32 composeHash)",
    "activateComposeHash(bytes32 composeHash)",
    "cancelProposal(bytes32 composeHash)",
    "upgradeToAndCall(address implementation, bytes data)",
    "transferOwnership(address newOwner)",
    "renounceOwnership()",
    "acceptOwnership()",
    "setKmsInfo((bytes,bytes,bytes,bytes) info)",
    "setKmsQuote(bytes quote)",
    "setKmsEventlog(bytes eventlog)",
    "setGatewayAppId(string gatewayAppId)",
    "setAppImplementation(address implementation)",
    "setAppAuthImplementation(address implementation)",
    "addKmsAggregatedMr(bytes32 mrAggregated)",
    "removeKmsAggregatedMr(bytes32 mrAggregated)",
    "addKmsDevice(bytes32 deviceId)",
    "removeKmsDevice(bytes32 deviceId)",
    "addOsImageHash(bytes32 osImageHash)",
    "removeOsImageHash(bytes32 osImageHash)",
    "registerApp(address appId)",
    (
        "schedule(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt,"
        " uint256 delay)"
    ),
    (
        "scheduleBatch(address[] targets, uint256[] values, bytes[] payloads, bytes32 predecessor,"
        " bytes32 salt, uint256 delay)"
    ),
    "execute(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt)",
    (
        "executeBatch(address[] targets, uint256[] values, bytes[] payloads, bytes32 predecessor,"
        " bytes32 salt)"
    ),
    "cancel(bytes32 id)",
    "updateDelay(uint256 newDelay)",
    "grantRole(bytes32 role, address account)",
    "revokeRole(bytes32 role, address account)",
    "renounceRole(bytes32 role, address account)",
    (
        "execTransaction(address to, uint256 value, bytes data, uint8 operation, uint256 safeTxGas,"
        " uint256 baseGas, uint256 gasPrice, address gasToken, address refundReceiver,"
        " bytes signatures)"
    ),
    "approveHash(bytes32 hashToApprove)",
    "addOwnerWithThreshold(address owner, uint256 threshold)",
    "removeOwner(address prevOwner, address owner, uint256 threshold)",
    "swapOwner(address prevOwner, address oldOwner, address newOwner)",
    "changeThreshold(uint256 threshold)",
    "enableModule(address module)",
    "disableModule(address prevModule, address module)",
    "setGuard(address guard)",
    "setModuleGuard(address moduleGuard)",
    "setFallbackHandler(address handler)",
    "multiSend(bytes transactions)",
)

_WORD: Final = 32
_ADDRESS_PADDING: Final = bytes(12)
_LARGEST_NUMBER: Final = 2**53
_BYTE: Final = 256
_ARGUMENT: Final = pattern(r"(\([a-z0-9,]+\)|[a-z0-9]+(?:\[\])?) (\w+)", re.ASCII)
_PACKED: Final = 1 + 20 + _WORD + _WORD
"""multiSend packs operation (1), to (20), value (32), length of data (32), data."""


class DecodedCall(Struct, frozen=True):
    """A function and its arguments, named and ordered as in Solidity: bytes are lower-case hex
    without 0x, addresses EIP-55, integers beyond 2^53 decimal strings."""

    name: str
    args: Mapping[str, JsonValue]


class InnerCall(Struct, frozen=True, kw_only=True):
    """One call at the end of those it stands in.

    target  the account that is called, EIP-55
    data    the calldata
    call    what it calls; None where the data is no call that is known
    within  the functions that it stands in, the outermost first
    opaque  whether more may be called in the caller's name than stands here: the caller lends it to
            other code, or has more calls than are taken apart
    """

    target: str
    data: bytes
    call: DecodedCall | None = None
    within: tuple[str, ...] = ()
    opaque: bool = False


def decode_call(data: bytes) -> DecodedCall | None:
    """The call that calldata is; None for a function that is not known or another encoding."""
    function = _FUNCTIONS.get(data[:SELECTOR_SIZE])
    if function is None:
        return None
    try:
        values, end = _sequence(function.kinds, data, SELECTOR_SIZE)
    except EvidenceError:
        return None
    if end != len(data):
        return None
    return DecodedCall(function.name, dict(zip(function.arguments, values, strict=True)))


def inner_calls(target: str, data: bytes, *, lends: bool = False) -> tuple[InnerCall, ...]:
    """The calls that a call makes in the end: those inside a timelock's, a Safe's or a MultiSend's
    functions, or the call itself. `lends` says that the target's code runs in the caller's name.
    What is nested deeper than eight functions, or stands beyond 64 calls, is not taken apart."""
    found: list[InnerCall] = []
    for item in _unfolded(InnerCall(target=target, data=data, opaque=lends)):
        if len(found) == MAX_CALLS:
            return (*found, replace(item, call=None, opaque=True))
        found.append(item)
    return tuple(found)


def _unfolded(item: InnerCall) -> Iterator[InnerCall]:
    call = decode_call(item.data)
    parts = None if call is None or len(item.within) == MAX_DEPTH else _parts(call, item)
    if call is None or (parts is None and (item.opaque or call.name in _CONTAINERS)):
        yield item
    elif parts is None:
        yield replace(item, call=call)
    else:
        for part in parts:
            yield from _unfolded(part)


def _parts(call: DecodedCall, item: InnerCall) -> list[InnerCall] | None:
    """The calls that a function makes for its caller; None for a function that makes none, and for
    parts that cannot be read."""
    within = (*item.within, call.name)

    def part(target: JsonValue, data: JsonValue, *, lends: bool = False) -> InnerCall:
        raw = bytes.fromhex(str(data))
        return InnerCall(target=str(target), data=raw, within=within, opaque=lends)

    args = call.args
    if item.opaque:
        several = call.name == "multiSend" and item.target in MULTI_SEND
        return _packed(bytes.fromhex(str(args["transactions"])), part) if several else None
    if call.name in ("schedule", "execute"):
        return [part(args["target"], args["data"])]
    if call.name in ("scheduleBatch", "executeBatch"):
        return [part(*pair) for pair in _pairs(args["targets"], args["payloads"])] or None
    if call.name == "execTransaction":
        return [part(args["to"], args["data"], lends=args["operation"] != 0)]
    return None


def _pairs(targets: JsonValue, payloads: JsonValue) -> list[tuple[JsonValue, JsonValue]]:
    """The calls of a batch; none where there is not one payload for each target."""
    if not isinstance(targets, list) or not isinstance(payloads, list):
        return []
    equal = len(targets) == len(payloads)
    return list(zip(targets, payloads, strict=True)) if equal else []


def _packed(raw: bytes, part: Callable[..., InnerCall]) -> list[InnerCall] | None:
    found: list[InnerCall] = []
    at = 0
    while at < len(raw):
        head = raw[at : at + _PACKED]
        size = int.from_bytes(head[-_WORD:], "big")
        end = at + _PACKED + size
        if len(head) < _PACKED or end > len(raw) or head[0] > 1:
            return None
        target = checksum_address(head[1:21])
        found.append(part(target, raw[at + _PACKED : end].hex(), lends=head[0] == 1))
        at = end
    return found or None


class _Function(Struct, frozen=True):
    name: str
    arguments: tuple[str, ...]
    kinds: tuple[str, ...]


def _sequence(kinds: tuple[str, ...], data: bytes, start: int) -> tuple[list[JsonValue], int]:
    """Values that stand one after the other from `start`, and where the last of them ends.

    Raises EvidenceError.
    """
    end = start + _WORD * len(kinds)
    if end > len(data):
        raise EvidenceError("arguments beyond the end")
    values: list[JsonValue] = []
    for index, kind in enumerate(kinds):
        word = data[start + _WORD * index : start + _WORD * (index + 1)]
        if kind in _STATIC:
            values.append(_STATIC[kind](word))
            continue
        if int.from_bytes(word, "big") != end - start:
            raise EvidenceError("not where the argument before it ends")
        value, end = _dynamic(kind, data, end)
        values.append(value)
    return values, end


def _dynamic(kind: str, data: bytes, start: int) -> tuple[JsonValue, int]:
    if kind.startswith("("):
        values, end = _sequence(tuple(kind.strip("()").split(",")), data, start)
        return values, end
    content = start + _WORD
    size = int.from_bytes(data[start:content], "big")
    if content > len(data) or size > len(data):
        raise EvidenceError("a length beyond the end")
    if kind.endswith("[]"):
        values, end = _sequence((kind.removesuffix("[]"),) * size, data, content)
        return values, end
    end = content + -(-size // _WORD) * _WORD
    value = data[content : content + size]
    if end > len(data) or any(data[content + size : end]):
        raise EvidenceError("bytes beyond the end, or padding that is not zero")
    if kind == "string":
        try:
            return value.decode("utf-8"), end
        except UnicodeDecodeError as error:
            raise EvidenceError(f"not UTF-8 at byte {error.start}") from error
    return value.hex(), end


def _address(word: bytes) -> JsonValue:
    if not word.startswith(_ADDRESS_PADDING):
        raise EvidenceError(f"{word.hex()} is not an address")
    return checksum_address(word[12:])


def _bool(word: bytes) -> JsonValue:
    number = int.from_bytes(word, "big")
    if number > 1:
        raise EvidenceError(f"{number:#x} is not a boolean")
    return number == 1


def _number(word: bytes) -> JsonValue:
    number = int.from_bytes(word, "big")
    return number if number <= _LARGEST_NUMBER else str(number)


def _byte(word: bytes) -> JsonValue:
    number = int.from_bytes(word, "big")
    if number >= _BYTE:
        raise EvidenceError(f"{number:#x} is no byte")
    return number


_STATIC: Final[Mapping[str, Callable[[bytes], JsonValue]]] = {
    "address": _address,
    "bool": _bool,
    "bytes32": bytes.hex,
    "uint8": _byte,
    "uint256": _number,
}
_CONTAINERS: Final = frozenset(
    {"schedule", "scheduleBatch", "execute", "executeBatch", "execTransaction", "multiSend"}
)


def _parse(declaration: str) -> tuple[bytes, _Function]:
    name, _, rest = declaration.partition("(")
    found = _ARGUMENT.findall(rest)
    kinds = tuple(kind for kind, _ in found)
    signature = f"{name}({','.join(kinds)})"
    selector = keccak256(signature.encode("ascii"))[:SELECTOR_SIZE]
    return selector, _Function(name, tuple(argument for _, argument in found), kinds)


_FUNCTIONS: Final[Mapping[bytes, _Function]] = dict(map(_parse, DECLARATIONS))
SELECTORS: Final[Mapping[str, str]] = {
    function.name: selector.hex() for selector, function in _FUNCTIONS.items()
}
"""Name → first four bytes of keccak256 of the signature, hex."""
