"""Every event of the contracts that a timeline is about: logs → names and arguments.

Sources of the declarations: Dstack-TEE/dstack kms/auth-eth/contracts, all generations (KmsAuth and
AppAuth, later DstackKms and DstackApp; TcbPolicySet of an unmerged proposal);
amiller/dstack-tutorial TimelockAppAuth.sol; OpenZeppelin Contracts (Ownable, Ownable2Step,
Initializable, ERC-1967, AccessControl, TimelockController); safe-global/safe-smart-account 1.1 to
1.5. A gateway's contract is an app's.

A log's first topic is the keccak256 of its event's signature, which does not say what is indexed.
`indexed?` marks arguments that some of these contracts index and others do not: both layouts are
read. Indexed arguments stand first in every event. Words are read strictly, as `contracts` does;
`bytes`, `string` and `address[]` stand in order, one right after the other, with zero padding.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.chain.contracts import Log
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.model.result import JsonValue
from verifier.patterns import pattern

UNKNOWN: Final = "unknown"
UNDECODABLE: Final = "undecodable"

_REGISTRY: Final = (
    "AppRegistered(address indexed? appId)",
    "AppDeployedViaFactory(address indexed appId, address indexed deployer)",
    (
        "AppDeployedViaFactory(address indexed appId, address indexed proxyAddress,"
        " address indexed deployer)"
    ),
)
_KMS: Final = (
    "AppImplementationSet(address implementation)",
    "AppAuthImplementationSet(address implementation)",
    "KmsInfoSet(bytes k256Pubkey)",
    "KmsInfoSet(address indexed? appId, bytes32 publicKey)",
    "GatewayAppIdSet(string gatewayAppId)",
    "TproxyAppIdSet(string tproxyAppId)",
    "TProxyAppIdSet(string tproxyAppId)",
    "TProxyAppIdSet(address tproxyAppId)",
    "OsImageHashAdded(bytes32 indexed? osImageHash)",
    "OsImageHashRemoved(bytes32 indexed? osImageHash)",
    "KmsAggregatedMrAdded(bytes32 indexed? mrAggregated)",
    "KmsAggregatedMrRemoved(bytes32 indexed? mrAggregated)",
    "KmsDeviceAdded(bytes32 indexed? deviceId)",
    "KmsDeviceRemoved(bytes32 indexed? deviceId)",
    "AppImageMrAdded(bytes32 indexed? mrImage)",
    "AppImageMrRemoved(bytes32 indexed? mrImage)",
    "AppSystemMrAdded(bytes32 indexed? mrSystem)",
    "AppSystemMrRemoved(bytes32 indexed? mrSystem)",
    "AggregatedMrRegistered(bytes32 indexed? mrAggregated)",
    "AggregatedMrDeregistered(bytes32 indexed? mrAggregated)",
    "EnclaveRegistered(bytes32 indexed? mrEnclave)",
    "EnclaveDeregistered(bytes32 indexed? mrEnclave)",
    "ImageRegistered(bytes32 indexed? mrImage)",
    "ImageDeregistered(bytes32 indexed? mrImage)",
    "KmsComposeHashRegistered(bytes32 indexed? composeHash)",
    "KmsComposeHashDeregistered(bytes32 indexed? composeHash)",
    "KmsDeviceIdRegistered(bytes32 indexed? deviceId)",
    "KmsDeviceIdDeregistered(bytes32 indexed? deviceId)",
)
_BOTH: Final = (
    "TcbPolicySet(string policy)",
    (
        "PolicyChanged(address indexed actor, bytes32 indexed policy, bytes32 indexed value,"
        " bool enabled)"
    ),
)
_INHERITED: Final = (
    "Upgraded(address indexed implementation)",
    "AdminChanged(address previousAdmin, address newAdmin)",
    "BeaconUpgraded(address indexed beacon)",
    "Initialized(uint64 version)",
    "Initialized(uint8 version)",
    "OwnershipTransferred(address indexed previousOwner, address indexed newOwner)",
    "OwnershipTransferStarted(address indexed previousOwner, address indexed newOwner)",
)
_APP: Final = (
    "ComposeHashAdded(bytes32 indexed? composeHash)",
    "ComposeHashRemoved(bytes32 indexed? composeHash)",
    "DeviceAdded(bytes32 indexed? deviceId)",
    "DeviceRemoved(bytes32 indexed? deviceId)",
    "AllowAnyDeviceSet(bool allowAny)",
    "RequireTcbUpToDateSet(bool requireUpToDate)",
    "UpgradesDisabled()",
    "ComposeHashProposed(bytes32 indexed hash, uint256 activatesAt)",
    "ComposeHashActivated(bytes32 indexed? hash)",
    "ComposeHashCancelled(bytes32 indexed? hash)",
)
_SAFE: Final = (
    (
        "SafeSetup(address indexed initiator, address[] owners, uint256 threshold,"
        " address initializer, address fallbackHandler)"
    ),
    "AddedOwner(address indexed? owner)",
    "RemovedOwner(address indexed? owner)",
    "ChangedThreshold(uint256 threshold)",
    "EnabledModule(address indexed? module)",
    "DisabledModule(address indexed? module)",
    "ChangedGuard(address indexed? guard)",
    "ChangedModuleGuard(address indexed? moduleGuard)",
    "ChangedFallbackHandler(address indexed? handler)",
    "ChangedMasterCopy(address masterCopy)",
    "ExecutionSuccess(bytes32 indexed? txHash, uint256 payment)",
    "ExecutionFailure(bytes32 indexed? txHash, uint256 payment)",
    "ExecutionFromModuleSuccess(address indexed module)",
    "ExecutionFromModuleFailure(address indexed module)",
    "ApproveHash(bytes32 indexed approvedHash, address indexed owner)",
    "SignMsg(bytes32 indexed? msgHash)",
    "SafeReceived(address indexed sender, uint256 value)",
    (
        "SafeMultiSigTransaction(address to, uint256 value, bytes data, uint8 operation,"
        " uint256 safeTxGas, uint256 baseGas, uint256 gasPrice, address gasToken,"
        " address refundReceiver, bytes signatures, bytes additionalInfo)"
    ),
    (
        "SafeModuleTransaction(address module, address to, uint256 value, bytes data,"
        " uint8 operation)"
    ),
)
_TIMELOCK: Final = (
    (
        "CallScheduled(bytes32 indexed id, uint256 indexed index, address target, uint256 value,"
        " bytes data, bytes32 predecessor, uint256 delay)"
    ),
    (
        "CallExecuted(bytes32 indexed id, uint256 indexed index, address target, uint256 value,"
        " bytes data)"
    ),
    "CallSalt(bytes32 indexed id, bytes32 salt)",
    "Cancelled(bytes32 indexed? id)",
    "MinDelayChange(uint256 oldDuration, uint256 newDuration)",
    "RoleGranted(bytes32 indexed role, address indexed account, address indexed sender)",
    "RoleRevoked(bytes32 indexed role, address indexed account, address indexed sender)",
    (
        "RoleAdminChanged(bytes32 indexed role, bytes32 indexed previousAdminRole,"
        " bytes32 indexed newAdminRole)"
    ),
)
DECLARATIONS: Final = (*_REGISTRY, *_KMS, *_BOTH, *_INHERITED, *_APP, *_SAFE, *_TIMELOCK)
"""Solidity's declarations of all events."""

_POLICIES: Final = (
    *("compose-hash", "device", "allow-any-device", "require-tcb-up-to-date"),
    *("upgrades-disabled", "implementation-upgrade", "kms-info", "gateway-app-id"),
    *("registered-app", "app-implementation", "kms-aggregated-mr", "kms-device", "os-image"),
)
"""What `PolicyChanged.policy` is the keccak256 of."""

_WORD: Final = 32
_ADDRESS_PADDING: Final = bytes(12)
_LARGEST_NUMBER: Final = 2**53
_ARGUMENT: Final = pattern(r"([a-z0-9\[\]]+)( indexed\??)? (\w+)", re.ASCII)

_Static = Callable[[bytes], JsonValue]
_Dynamic = Callable[[bytes, int], tuple[JsonValue, int]]


class ContractEvent(Struct, frozen=True):
    """A decoded log.

    `args` are named as in Solidity and stand in its order: hashes and bytes are lower-case hex
    without 0x, addresses EIP-55, integers beyond 2^53 decimal strings. `PolicyChanged` also has
    `policyName` where the policy is a known one.

    Two names are no event's: `unknown` for a log whose first topic is in no declaration,
    `undecodable` for one with another layout or other words than its declaration's. Then `args`
    hold `topics` and `data` in hex, and of an undecodable log also the `event` that its topic means
    and the `reason`.
    """

    name: str
    args: Mapping[str, JsonValue]


def decode_event(log: Log) -> ContractEvent:
    """The event that a log is. Never raises."""
    event = _EVENTS.get(log.topics[0]) if log.topics else None
    if event is None:
        return ContractEvent(UNKNOWN, _raw(log))
    try:
        args = event.read(log.topics, log.data)
    except EvidenceError as error:
        reason: dict[str, JsonValue] = {"event": event.name, "reason": error.message}
        return ContractEvent(UNDECODABLE, reason | _raw(log))
    if event.name == "PolicyChanged" and (policy := _POLICY_NAMES.get(args["policy"])):
        args["policyName"] = policy
    return ContractEvent(event.name, args)


def topic_of(name: str) -> str:
    """The first topic (0x hex) of an event, by its signature or its name alone.

    A name with several signatures means the one that the latest contracts emit. KeyError for a name
    that is no event's.
    """
    return _TOPICS[name]


def _raw(log: Log) -> dict[str, JsonValue]:
    return {"topics": [topic.hex() for topic in log.topics], "data": log.data.hex()}


class _Event(Struct, frozen=True):
    """A declaration; `indexed` holds the numbers of arguments that may stand in topics."""

    name: str
    signature: str
    arguments: tuple[tuple[str, _Static | None, _Dynamic | None], ...]
    indexed: frozenset[int]

    def read(self, topics: tuple[bytes, ...], data: bytes) -> dict[str, JsonValue]:
        """The arguments of a log. Raises EvidenceError."""
        indexed = len(topics) - 1
        if indexed not in self.indexed:
            raise EvidenceError(f"{indexed} indexed arguments")
        end = _WORD * (len(self.arguments) - indexed)
        words = [*topics[1:], *[data[at : at + _WORD] for at in range(0, end, _WORD)]]
        args: dict[str, JsonValue] = {}
        for (name, static, dynamic), word in zip(self.arguments, words, strict=True):
            try:
                if static:
                    args[name] = static(word)
                elif dynamic and int.from_bytes(word, "big") == end:
                    args[name], end = dynamic(data, end)
                else:
                    raise EvidenceError("not where the argument before it ends")  # noqa: TRY301
            except EvidenceError as error:
                raise EvidenceError(f"{name}: {error.message}") from error
        if len(data) != end:
            raise EvidenceError(f"{len(data)} bytes of data instead of {end}")
        return args


@lru_cache(maxsize=4096)
def _address(word: bytes) -> JsonValue:
    if not word.startswith(_ADDRESS_PADDING):
        raise EvidenceError(f"{word.hex()} is not an address")
    return checksum_address(word[12:])


def _bool(word: bytes) -> JsonValue:
    number = int.from_bytes(word, "big")
    if number > 1:
        raise EvidenceError(f"{number:#x} is not a boolean")
    return number == 1


def _unsigned(bits: int) -> _Static:
    def read(word: bytes) -> JsonValue:
        number = int.from_bytes(word, "big")
        if number >> bits:
            raise EvidenceError(f"{number:#x} has more than {bits} bits")
        return number if number <= _LARGEST_NUMBER else str(number)

    return read


def _bytes(data: bytes, start: int) -> tuple[bytes, int]:
    """Bytes behind their length at `start`, and where their zero padding ends."""
    content = start + _WORD
    size = int.from_bytes(data[start:content], "big")
    end = content + -(-size // _WORD) * _WORD
    if end > len(data):
        raise EvidenceError(f"{size} bytes, beyond the end")
    if any(data[content + size : end]):
        raise EvidenceError("padding that is not zero")
    return data[content : content + size], end


def _hex(data: bytes, start: int) -> tuple[JsonValue, int]:
    value, end = _bytes(data, start)
    return value.hex(), end


def _string(data: bytes, start: int) -> tuple[JsonValue, int]:
    value, end = _bytes(data, start)
    try:
        return value.decode("utf-8"), end
    except UnicodeDecodeError as error:
        raise EvidenceError(f"not UTF-8 at byte {error.start}") from error


def _addresses(data: bytes, start: int) -> tuple[JsonValue, int]:
    content = start + _WORD
    count = int.from_bytes(data[start:content], "big")
    end = content + count * _WORD
    if end > len(data):
        raise EvidenceError(f"{count} addresses, beyond the end")
    return [_address(data[at : at + _WORD]) for at in range(content, end, _WORD)], end


_STATIC: Final[Mapping[str, _Static]] = {
    "address": _address,
    "bool": _bool,
    "bytes32": bytes.hex,
    "uint8": _unsigned(8),
    "uint64": _unsigned(64),
    "uint256": _unsigned(256),
}
_DYNAMIC: Final[Mapping[str, _Dynamic]] = {
    "address[]": _addresses,
    "bytes": _hex,
    "string": _string,
}


def _parse(declaration: str) -> _Event:
    name, _, rest = declaration.partition("(")
    arguments = _ARGUMENT.findall(rest)
    marks = [mark.strip() for _, mark, _ in arguments]
    fixed, varying = marks.count("indexed"), marks.count("indexed?")
    return _Event(
        name=name,
        signature=f"{name}({','.join(kind for kind, _, _ in arguments)})",
        arguments=tuple(
            (argument, _STATIC.get(kind), _DYNAMIC.get(kind)) for kind, _, argument in arguments
        ),
        indexed=frozenset({fixed, fixed + varying}),
    )


def _topics(declarations: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(_TOPICS[_parse(item).signature] for item in declarations))


_EVENTS: Final[Mapping[bytes, _Event]] = {
    keccak256(event.signature.encode("ascii")): event for event in map(_parse, DECLARATIONS)
}
_TOPICS: Final[Mapping[str, str]] = {
    key: "0x" + topic.hex()
    for topic, event in reversed(tuple(_EVENTS.items()))
    for key in (event.name, event.signature)
}
_POLICY_NAMES: Final[Mapping[JsonValue, str]] = {
    keccak256(policy.encode("ascii")).hex(): policy for policy in _POLICIES
}
KMS_GOVERNANCE_TOPICS: Final = _topics((*_KMS, *_BOTH, *_INHERITED))
"""First topics (0x hex, sorted) of all that a KMS emits except registrations of apps."""
