"""DstackKms and DstackApp of one generation as seen from outside: code, storage, getters, logs.

Whoever owns a contract acts on it in its own way (`Owner`): a key by one transaction, a Safe or a
timelock as `verifier.lab.owners` has it.

Selectors, topics, slots and the order of logs are those of Dstack-TEE/dstack kms/auth-eth
(DstackKms.sol, DstackApp.sol) and OpenZeppelin 5 (ERC-1967, ERC-7201). The code bytes are made up;
only their form is real: immutables of the implementations hold their own address, and the CBOR
metadata stands at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal, Protocol

from eth_hash.auto import keccak
from msgspec import Struct

from verifier.lab import keys
from verifier.lab.chain import Behaviour, Chain, Transaction
from verifier.reference.generations import G5

GENERATION: Final = G5.name
ERC1967_IMPLEMENTATION: Final = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
ERC7201_OWNER: Final = 0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300
ERC7201_INITIALIZED: Final = 0xF0C57E16840DF040F15088DC2F81FE391C3923BEC73E23A9662EFC9C229C6A00
IMMUTABLE_OFFSETS: Final = (600, 641, 1060)
_CODE_SIZE: Final = {"app": 1500, "kms": 2400, "proxy": 170}
_METADATA_SIZE: Final = 51
_ZERO_ADDRESS: Final = bytes(20)
IMPLEMENTATIONS: Final = ("app", "kms")
"""The roles whose code has immutables."""

Role = Literal["app", "kms", "proxy", "safe", "timelock", "timelock-creation"]


def selector(signature: str) -> bytes:
    """The first four bytes of keccak256 over a function's signature."""
    return keccak(signature.encode())[:4]


def topic(signature: str) -> bytes:
    """keccak256 over an event's signature."""
    return keccak(signature.encode())


_BOOT_INFO: Final = "(address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[])"
IS_APP_ALLOWED: Final = selector(f"isAppAllowed({_BOOT_INFO})")
IS_KMS_ALLOWED: Final = selector(f"isKmsAllowed({_BOOT_INFO})")
ALLOWED_SELECTORS: Final = (IS_APP_ALLOWED, IS_KMS_ALLOWED)
_INTERFACES: Final = (IS_APP_ALLOWED, bytes.fromhex("8fd37527"), bytes.fromhex("01ffc9a7"))


def encode(*values: int | bytes | str) -> bytes:
    """ABI encoding of integers, booleans, addresses and words as ints, `bytes` and `string`."""
    head, tail = b"", b""
    for value in values:
        if isinstance(value, int):
            head += value.to_bytes(32, "big")
            continue
        raw = value.encode() if isinstance(value, str) else value
        head += (32 * len(values) + len(tail)).to_bytes(32, "big")
        tail += len(raw).to_bytes(32, "big") + raw.ljust(-(-len(raw) // 32) * 32, b"\0")
    return head + tail


def number(raw: bytes) -> int:
    """Big-endian bytes as an integer: an address or a word as `encode` takes it."""
    return int.from_bytes(raw, "big")


def element(slot: int, key: bytes) -> int:
    """The slot of a mapping's element: keccak256(pad32(key) || pad32(slot))."""
    return number(keccak(key.rjust(32, b"\0") + slot.to_bytes(32, "big")))


def runtime_code(role: str, address: bytes = _ZERO_ADDRESS) -> bytes:
    """Made-up runtime code for a role, as deployed at `address`."""
    size = _CODE_SIZE.get(role, 900)
    code = bytearray(b"\x60\x80\x60\x40\x52" + keys.labelled(f"code {role}", size - 58))
    if role in IMPLEMENTATIONS:
        for offset in IMMUTABLE_OFFSETS:
            code[offset : offset + 32] = address.rjust(32, b"\0")
    ipfs = b"\x12\x20" + keys.labelled(f"metadata {role}", 32)
    metadata = b"\xa2\x64ipfs\x58\x22" + ipfs + b"\x64solc\x43\x00\x08\x16"
    return bytes(code) + metadata + len(metadata).to_bytes(2, "big")


def fingerprint(role: Role) -> str:
    """keccak256 (0x hex) of the code without metadata, immutables zeroed."""
    return "0x" + keccak(runtime_code(role)[: -_METADATA_SIZE - 2]).hex()


def _proxy(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes | None:
    implementation = chain.slot(address, ERC1967_IMPLEMENTATION, block)[12:]
    code = chain.code(implementation, block)
    return chain.run(code, address, calldata, block) if code else None


def _flag(chain: Chain, address: bytes, slot: int, key: bytes, block: int) -> bool:
    return any(chain.slot(address, element(slot, key), block))


def _boot_info(calldata: bytes) -> list[bytes]:
    """The seven static words of AppBootInfo."""
    start = 4 + number(calldata[4:36])
    return [calldata[start + 32 * index : start + 32 * index + 32] for index in range(7)]


def _mapping(slot: int) -> Behaviour:
    """A getter of `mapping(… => bool)`."""

    def read(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes:
        return encode(_flag(chain, address, slot, calldata[4:36], block))

    return read


def word_getter(slot: int) -> Behaviour:
    """A getter of one storage word."""

    def read(chain: Chain, address: bytes, _calldata: bytes, block: int) -> bytes:
        return chain.slot(address, slot, block)

    return read


def _byte_strings(*slots: int) -> Behaviour:
    """A getter of `bytes` or `string` values."""

    def read(chain: Chain, address: bytes, _calldata: bytes, block: int) -> bytes:
        return encode(*(chain.load_bytes(address, slot, block) for slot in slots))

    return read


def _allow_any_device(chain: Chain, address: bytes, _calldata: bytes, block: int) -> bytes:
    return encode(chain.slot(address, 1, block)[30])


def _supports_interface(_chain: Chain, _address: bytes, calldata: bytes, _block: int) -> bytes:
    return encode(calldata[4:8] in _INTERFACES)


def _app_decides(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes:
    words = _boot_info(calldata)
    if not _flag(chain, address, 0, words[1], block):
        return encode(0, "Compose hash not allowed")
    any_device = chain.slot(address, 1, block)[30]
    if not any_device and not _flag(chain, address, 2, words[3], block):
        return encode(0, "Device not allowed")
    return encode(1, "")


def _kms_decides(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes | None:
    words = _boot_info(calldata)
    if not _flag(chain, address, 5, words[0], block):
        return encode(0, "App not registered")
    if not _flag(chain, address, 8, words[6], block):
        return encode(0, "OS image is not allowed")
    if not chain.code(words[0][12:], block):
        return encode(0, "App not deployed or invalid address")
    return chain.call(words[0][12:], calldata, block)


def _kms_decides_kms(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes:
    words = _boot_info(calldata)
    allowed = all(
        _flag(chain, address, slot, words[index], block) for slot, index in ((8, 6), (6, 4), (7, 3))
    )
    return encode(allowed, "" if allowed else "Not allowed")


def dispatch(functions: Mapping[str | bytes, Behaviour]) -> Behaviour:
    """A contract with these functions; any other call reverts."""
    table = {
        key if isinstance(key, bytes) else selector(key): function
        for key, function in functions.items()
    }

    def behave(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes | None:
        function = table.get(calldata[:4])
        return function(chain, address, calldata, block) if function else None

    return behave


_APP: Final = dispatch(
    {
        "allowedComposeHashes(bytes32)": _mapping(0),
        "allowedDeviceIds(bytes32)": _mapping(2),
        "allowAnyDevice()": _allow_any_device,
        "owner()": word_getter(ERC7201_OWNER),
        "supportsInterface(bytes4)": _supports_interface,
        IS_APP_ALLOWED: _app_decides,
    }
)
_KMS: Final = dispatch(
    {
        "kmsInfo()": _byte_strings(0, 1, 2, 3),
        "gatewayAppId()": _byte_strings(4),
        "registeredApps(address)": _mapping(5),
        "kmsAllowedAggregatedMrs(bytes32)": _mapping(6),
        "kmsAllowedDeviceIds(bytes32)": _mapping(7),
        "allowedOsImages(bytes32)": _mapping(8),
        "appImplementation()": word_getter(9),
        "owner()": word_getter(ERC7201_OWNER),
        IS_APP_ALLOWED: _kms_decides,
        IS_KMS_ALLOWED: _kms_decides_kms,
    }
)


def foreign(*, getters: bool, decision: bool) -> Behaviour:
    """A contract that is no DstackApp: what its getters say, and what isAppAllowed decides."""

    def behave(_chain: Chain, _address: bytes, calldata: bytes, _block: int) -> bytes:
        if calldata[:4] in ALLOWED_SELECTORS:
            return encode(decision, "" if decision else "no")
        return encode(getters)

    return behave


class Owner(Protocol):
    """An account that can own contracts."""

    @property
    def address(self) -> bytes:
        """The account (20 bytes)."""

    def act(self, block: int, to: bytes, calldata: bytes) -> AbstractContextManager[Transaction]:
        """The transaction in which the owner makes a call; what the call logs is emitted inside."""


class Key(Struct, frozen=True):
    """An account with a key: it acts alone, and at once."""

    chain: Chain
    address: bytes

    @contextmanager
    def act(self, block: int, to: bytes, calldata: bytes) -> Iterator[Transaction]:
        """One transaction."""
        yield self.chain.transact(block, self.address, to, calldata)


class _Contract(Struct, frozen=True):
    """A contract behind an ERC-1967 proxy, written to by its owner."""

    chain: Chain
    address: bytes
    owner: Owner

    def _acting(
        self, block: int, signature: str, *arguments: int | bytes | str
    ) -> AbstractContextManager[Transaction]:
        calldata = selector(signature) + encode(*arguments)
        return self.owner.act(block, self.address, calldata)

    def _emit(self, tx: Transaction, signature: str, payload: bytes, *topics: bytes) -> None:
        padded = [item.rjust(32, b"\0") for item in topics]
        self.chain.emit(tx, self.address, [topic(signature), *padded], payload)

    def _set(self, block: int, call: str, event: str, place: tuple[int, bytes, bool]) -> None:
        """One owner call that sets or clears a mapping's element and logs its key."""
        slot, key, value = place
        with self._acting(block, f"{call}(bytes32)", number(key)) as tx:
            self.chain.store(block, self.address, element(slot, key), bytes([value]))
            self._emit(tx, f"{event}(bytes32)", key.rjust(32, b"\0"))

    def upgrade(self, block: int, implementation: bytes) -> None:
        """upgradeToAndCall: another implementation from this block on."""
        call = "upgradeToAndCall(address,bytes)"
        with self._acting(block, call, number(implementation), b"") as tx:
            self.chain.store(block, self.address, ERC1967_IMPLEMENTATION, implementation)
            self._emit(tx, "Upgraded(address)", b"", implementation)

    def transfer_ownership(self, block: int, owner: bytes) -> None:
        """transferOwnership: at once, without acceptance (Ownable)."""
        with self._acting(block, "transferOwnership(address)", number(owner)) as tx:
            former = self.chain.slot(self.address, ERC7201_OWNER, block)[-20:]
            self.chain.store(block, self.address, ERC7201_OWNER, owner)
            self._emit(tx, "OwnershipTransferred(address,address)", b"", former, owner)

    def _construct(self, tx: Transaction, implementation: bytes) -> None:
        chain, block = self.chain, tx.block
        chain.set_code(block, self.address, runtime_code("proxy"))
        chain.store(block, self.address, ERC1967_IMPLEMENTATION, implementation)
        chain.store(block, self.address, ERC7201_OWNER, self.owner.address)
        chain.store(block, self.address, ERC7201_INITIALIZED, b"\x01")
        self._emit(tx, "Upgraded(address)", b"", implementation)

    def _initialized(self, tx: Transaction) -> None:
        self._emit(tx, "Initialized(uint64)", encode(1))

    def _owned(self, tx: Transaction) -> None:
        topics = (_ZERO_ADDRESS, self.owner.address)
        self._emit(tx, "OwnershipTransferred(address,address)", b"", *topics)


class AppTerms(Struct, frozen=True):
    """The arguments of deployAndRegisterApp; an empty id or hash is none."""

    device_id: bytes
    compose_hash: bytes
    allow_any_device: bool = False
    disable_upgrades: bool = False


def deployment(function: str, owner: bytes, terms: AppTerms) -> bytes:
    """The calldata of deployAndRegisterApp, or of initialize, which has the same arguments."""
    arguments = (
        number(owner),
        terms.disable_upgrades,
        terms.allow_any_device,
        number(terms.device_id),
        number(terms.compose_hash),
    )
    return selector(f"{function}(address,bool,bool,bytes32,bytes32)") + encode(*arguments)


class DstackApp(_Contract, frozen=True):
    """One app's contract; its address is the app id."""

    def create(self, tx: Transaction, implementation: bytes, terms: AppTerms) -> None:
        """The proxy, and the call of initialize that it is created with."""
        chain, block = self.chain, tx.block
        self._construct(tx, implementation)
        chain.store(block, self.address, 1, bytes([terms.allow_any_device, terms.disable_upgrades]))
        for slot, key, event in (
            (2, terms.device_id, "DeviceAdded(bytes32)"),
            (0, terms.compose_hash, "ComposeHashAdded(bytes32)"),
        ):
            if any(key):
                chain.store(block, self.address, element(slot, key), b"\x01")
                self._emit(tx, event, key)
        self._owned(tx)
        self._initialized(tx)

    def add_compose_hash(self, block: int, compose_hash: bytes) -> None:
        """Allow a manifest."""
        self._set(block, "addComposeHash", "ComposeHashAdded", (0, compose_hash, True))

    def remove_compose_hash(self, block: int, compose_hash: bytes) -> None:
        """No longer allow a manifest."""
        self._set(block, "removeComposeHash", "ComposeHashRemoved", (0, compose_hash, False))

    def add_device(self, block: int, device_id: bytes) -> None:
        """Allow a machine."""
        self._set(block, "addDevice", "DeviceAdded", (2, device_id, True))

    def remove_device(self, block: int, device_id: bytes) -> None:
        """No longer allow a machine."""
        self._set(block, "removeDevice", "DeviceRemoved", (2, device_id, False))

    def disable_upgrades(self, block: int) -> None:
        """Give up upgrades of the implementation for ever."""
        any_device = self.chain.slot(self.address, 1, block)[30]
        with self._acting(block, "disableUpgrades()") as tx:
            self.chain.store(block, self.address, 1, bytes([any_device, 1]))
            self._emit(tx, "UpgradesDisabled()", b"")


class DstackKms(_Contract, frozen=True):
    """The KMS's contract and the factory of app contracts."""

    def deploy(self, block: int, implementation: bytes, app_implementation: bytes) -> None:
        """Create both implementations and the proxy."""
        chain = self.chain
        chain.define(runtime_code("proxy"), _proxy)
        roles: Sequence[tuple[Role, bytes, Behaviour]] = (
            ("kms", implementation, _KMS),
            ("app", app_implementation, _APP),
        )
        for role, address, behaviour in roles:
            code = runtime_code(role, address)
            chain.define(code, behaviour)
            chain.set_code(block, address, code)
            created = chain.transact(block, self.owner.address, None, code)
            chain.emit(created, address, [topic("Initialized(uint64)")], encode(2**64 - 1))
        tx = chain.transact(block + 1, self.owner.address, None, runtime_code("proxy"))
        self._construct(tx, implementation)
        self._owned(tx)
        chain.store(tx.block, self.address, 9, app_implementation)
        self._emit(tx, "AppImplementationSet(address)", encode(number(app_implementation)))
        self._initialized(tx)

    def set_kms_info(self, block: int, fields: Sequence[bytes]) -> None:
        """Publish k256 public key, CA public key, quote, event log; only the first is logged."""
        calldata = selector("setKmsInfo((bytes,bytes,bytes,bytes))") + encode(32) + encode(*fields)
        with self.owner.act(block, self.address, calldata) as tx:
            for slot, value in enumerate(fields):
                self.chain.store_bytes(block, self.address, slot, value)
            self._emit(tx, "KmsInfoSet(bytes)", encode(fields[0]))

    def set_gateway_app_id(self, block: int, app_id: str) -> None:
        """Name the gateway app."""
        with self._acting(block, "setGatewayAppId(string)", app_id) as tx:
            self.chain.store_bytes(block, self.address, 4, app_id.encode())
            self._emit(tx, "GatewayAppIdSet(string)", encode(app_id))

    def add_os_image(self, block: int, os_image_hash: bytes) -> None:
        """Allow an OS image for apps and KMS."""
        self._set(block, "addOsImageHash", "OsImageHashAdded", (8, os_image_hash, True))

    def remove_os_image(self, block: int, os_image_hash: bytes) -> None:
        """No longer allow an OS image."""
        self._set(block, "removeOsImageHash", "OsImageHashRemoved", (8, os_image_hash, False))

    def add_kms(self, block: int, mr_aggregated: bytes, device_id: bytes) -> None:
        """Allow a KMS build and the machine it runs on."""
        self._set(block, "addKmsAggregatedMr", "KmsAggregatedMrAdded", (6, mr_aggregated, True))
        self._set(block, "addKmsDevice", "KmsDeviceAdded", (7, device_id, True))

    def deploy_app(self, block: int, address: bytes, deployer: bytes, terms: AppTerms) -> DstackApp:
        """deployAndRegisterApp: one transaction that creates, initializes and registers an app."""
        calldata = deployment("deployAndRegisterApp", deployer, terms)
        tx = self.chain.transact(block, deployer, self.address, calldata)
        app = DstackApp(self.chain, address, Key(self.chain, deployer))
        app.create(tx, self.chain.slot(self.address, 9, block)[12:], terms)
        self.register(tx, address)
        self._emit(tx, "AppDeployedViaFactory(address,address)", b"", address, deployer)
        return app

    def register(self, tx: Transaction, address: bytes) -> None:
        """registerApp, which anybody may call for any address."""
        self.chain.store(tx.block, self.address, element(5, address), b"\x01")
        self._emit(tx, "AppRegistered(address)", encode(number(address)))

    def unregister(self, block: int, address: bytes) -> None:
        """Forget an app. The real contract cannot; this makes a world where it never was."""
        self.chain.store(block, self.address, element(5, address), b"\0")
