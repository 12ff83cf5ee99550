"""Random histories of one app and its KMS, and what the chain itself says of every block."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from tests.evm import owners, world
from tests.evm.anvil import Anvil, Contract, RpcError
from tests.evm.owners import Key, Owner
from tests.evm.world import NO_KEY, App, Deployment, Generation, Terms, key

T = TypeVar("T")

COMPOSE_HASHES: Final = tuple(key(f"manifest {index}") for index in range(4))
DEVICES: Final = tuple(key(f"device {index}") for index in range(3))
OS_IMAGES: Final = tuple(key(f"image {index}") for index in range(3))
AGGREGATED_MRS: Final = tuple(key(f"mr {index}") for index in range(2))
KMS_DEVICES: Final = tuple(key(f"kms device {index}") for index in range(2))

_APP_KEYS: Final = (("ComposeHash", COMPOSE_HASHES), ("Device", DEVICES))
_KMS_KEYS: Final = (
    ("OsImageHash", OS_IMAGES),
    ("KmsAggregatedMr", AGGREGATED_MRS),
    ("KmsDevice", KMS_DEVICES),
)
_GATEWAYS: Final = ("any", "", "0x" + "ab" * 20, "cd" * 20 + "," + "ef" * 20)
_DELAY: Final = 3600


class Chooser(Protocol):
    """What a history's choices come from; `random.Random` is one."""

    def choice(self, options: Sequence[T], /) -> T:
        """One of them."""

    def random(self) -> float:
        """At least 0, below 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the contracts' getters and storage say at one block.

    Keys are hex without 0x, addresses 0x lower case; `require_tcb` is None before G6.
    """

    compose_hashes: frozenset[str]
    devices: frozenset[str]
    any_device: bool
    require_tcb: bool | None
    upgrades_disabled: bool
    implementation: str
    owner: str
    os_images: frozenset[str]
    aggregated_mrs: frozenset[str]
    kms_devices: frozenset[str]
    root_key: str
    gateway_app_id: str
    app_implementation: str
    kms_implementation: str
    kms_owner: str


@dataclass(slots=True, kw_only=True)
class Played:
    """A history under way: the contracts as they are now, who owns them, blocks to look at.

    `implementations` says for every address of known code which contract it is. `evil_from` is the
    block of an upgrade to code that nobody knows, None without one.
    """

    chain: Anvil
    rng: Chooser
    generation: Generation
    kms: Contract
    app: Contract
    creation: App
    terms: Terms
    app_owner: Owner
    kms_owner: Owner
    frozen: bool = False
    evil_from: int | None = None
    implementations: dict[str, str] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)

    def coin(self, chance: float = 0.5) -> bool:
        """True in this share of cases."""
        return self.rng.random() < chance

    def stored(self, block: int) -> Stored:
        """What the chain says of a block since the app's creation."""
        app, kms, old = self.app, self.kms, self.generation == "G3"
        flags = app.storage(2 if old else 1, block)
        tcb = None
        with suppress(RpcError):  # only G6 answers
            Contract(self.chain, "AppG6", app.address).call("version", block=block)
            tcb = bool(app.storage(3, block)[-1])

        def allowed(contract: Contract, getter: str, keys: Sequence[bytes]) -> frozenset[str]:
            return frozenset(
                item.hex() for item in keys if contract.call(getter, item, block=block)
            )

        return Stored(
            compose_hashes=allowed(app, "allowedComposeHashes", COMPOSE_HASHES),
            devices=allowed(app, "allowedDeviceIds", DEVICES),
            any_device=app.call("allowAnyDevice", block=block),
            require_tcb=tcb,
            upgrades_disabled=bool(flags[-1]),
            implementation=_implementation(app, block),
            owner=app.call("owner", block=block),
            os_images=allowed(kms, "allowedOsImages", OS_IMAGES),
            aggregated_mrs=allowed(kms, "kmsAllowedAggregatedMrs", AGGREGATED_MRS),
            kms_devices=allowed(kms, "kmsAllowedDeviceIds", KMS_DEVICES),
            root_key=kms.call("kmsInfo", block=block)[0].hex(),
            gateway_app_id=kms.call("gatewayAppId", block=block),
            app_implementation=kms.call(
                "appAuthImplementation" if old else "appImplementation", block=block
            ),
            kms_implementation=_implementation(kms, block),
            kms_owner=kms.call("owner", block=block),
        )


def random_history(
    chain: Anvil, rng: Chooser, generation: Generation, *, steps: int = 20, evil: bool = False
) -> Played:
    """A KMS, an app, and random operations on both, each by whoever owns the contract then.

    With `evil`, the last of them is an upgrade to unknown code, which allows a hash in silence.
    """
    played = _begin(chain, rng, generation)
    played.checkpoints.append(chain.head)
    for _ in range(steps):
        rng.choice(_STEPS)(played)
        if played.coin(0.1):
            chain.mine()
        played.checkpoints.append(chain.head)
    if evil:
        _turn_evil(played)
    return played


def _begin(chain: Anvil, rng: Chooser, generation: Generation) -> Played:
    deployment = world.deploy(chain, generation, chain.accounts[1])
    owner: Owner = Key(chain.accounts[2])
    if rng.random() < 0.2:
        owner = owners.safe(chain, chain.accounts[5:8], 2)
    terms = Terms(
        owner=owner.address,
        device_id=rng.choice((NO_KEY, *DEVICES)),
        compose_hash=rng.choice((NO_KEY, *COMPOSE_HASHES)),
        any_device=rng.choice((False, True)),
        disable_upgrades=rng.random() < 0.2,
        require_tcb=rng.choice((None, False, True)) if generation == "G6" else None,
    )
    by_hand = generation != "G3" and rng.random() < 0.2
    create = _created_by_hand if by_hand else Deployment.deploy_app
    app = create(deployment, terms, chain.accounts[3])
    return Played(
        chain=chain,
        rng=rng,
        generation=generation,
        kms=deployment.kms,
        app=app.contract,
        creation=app,
        terms=terms,
        app_owner=owner,
        kms_owner=Key(deployment.owner),
        implementations={
            deployment.app_implementation.address: deployment.app_implementation.name,
            _implementation(deployment.kms, chain.head): deployment.kms.name,
        },
    )


def _created_by_hand(deployment: Deployment, terms: Terms, deployer: str) -> App:
    """A proxy that its deployer created, registered by somebody."""
    contract = world.proxy(deployment.app_implementation, "initialize", *terms.arguments)
    receipt = deployment.chain.last_receipt()
    deployment.kms.send(deployer, "registerApp", contract.address)
    return App(contract=contract, app_id=contract.address, receipt=receipt)


def _app_key(played: Played) -> None:
    stem, keys = played.rng.choice(_APP_KEYS)
    _change_key(played, played.app_owner, played.app, stem, keys)


def _kms_key(played: Played) -> None:
    stem, keys = played.rng.choice(_KMS_KEYS)
    _change_key(played, played.kms_owner, played.kms, stem, keys)


def _change_key(
    played: Played, owner: Owner, contract: Contract, stem: str, keys: Sequence[bytes]
) -> None:
    verb = "add" if played.coin(0.6) else "remove"
    if contract is not played.app or not played.frozen:
        owner.perform(contract, verb + stem, played.rng.choice(keys))


def _one_block(played: Played) -> None:
    """Several changes in one block, where one key alone can make them."""
    if isinstance(played.app_owner, Key) and isinstance(played.kms_owner, Key):
        with played.chain.one_block():
            for _ in range(played.rng.choice((2, 3, 5))):
                played.rng.choice((_app_key, _app_flag, _kms_key))(played)


def _app_flag(played: Played) -> None:
    functions = ["setAllowAnyDevice"]
    if played.app.name == "AppG6":
        functions.append("setRequireTcbUpToDate")
    _by_app_owner(played, played.rng.choice(functions), played.coin())


def _disable_upgrades(played: Played) -> None:
    if played.coin(0.3):
        _by_app_owner(played, "disableUpgrades")


def _upgrade_app(played: Played) -> None:
    if played.frozen or any(_flags(played)[-1:]):
        return
    name = played.app.name
    if name == "AppG5" and played.coin():
        name = "AppG6"
    _by_app_owner(played, "upgradeToAndCall", _new_code(played, name), b"")
    played.app = Contract(played.chain, name, played.app.address)


def _upgrade_kms(played: Played) -> None:
    name = played.kms.name
    if name == "KmsG5" and played.coin():
        name = "KmsG6"
    played.kms_owner.perform(played.kms, "upgradeToAndCall", _new_code(played, name), b"")
    played.kms = Contract(played.chain, name, played.kms.address)


def _kms_setting(played: Played) -> None:
    rng, owner = played.rng, played.kms_owner
    kind = rng.choice(("info", "quote", "gateway", "implementation"))
    if kind == "info":
        info = (b"\x02" + rng.choice(COMPOSE_HASHES), b"ca", b"quote", b"log")
        owner.perform(played.kms, "setKmsInfo", info)
    elif kind == "quote":
        owner.perform(played.kms, "setKmsQuote", rng.choice(DEVICES))
    elif kind == "gateway":
        owner.perform(played.kms, "setGatewayAppId", rng.choice(_GATEWAYS))
    else:
        old = played.generation == "G3"
        function = "setAppAuthImplementation" if old else "setAppImplementation"
        code = _new_code(played, f"App{played.generation}")
        owner.perform(played.kms, function, code)


def _new_app_owner(played: Played) -> None:
    if played.frozen:
        return
    if played.coin(0.1):
        _by_app_owner(played, "renounceOwnership")
        played.frozen = True
        return
    owner = _new_owner(played)
    _by_app_owner(played, "transferOwnership", owner.address)
    played.app_owner = owner


def _new_kms_owner(played: Played) -> None:
    owner = _new_owner(played)
    played.kms_owner.perform(played.kms, "transferOwnership", owner.address)
    played.kms_owner = owner


def _new_owner(played: Played) -> Owner:
    chain, rng = played.chain, played.rng
    kind = rng.choice(("key", "key", "safe", "timelock"))
    if kind == "safe":
        shape = owners.SHAPES[played.coin()]
        return owners.safe(chain, chain.accounts[5:8], rng.choice((1, 2, 3)), shape)
    if kind == "timelock":
        return owners.timelock(chain, chain.accounts[8], _DELAY)
    return Key(rng.choice(chain.accounts[1:5]))


def _turn_evil(played: Played) -> None:
    """Upgrade to unknown code where that is still possible."""
    if played.frozen or any(_flags(played)[-1:]):
        return
    _by_app_owner(played, "upgradeToAndCall", played.chain.deploy("EvilApp").address, b"")
    played.evil_from = played.chain.head
    evil = Contract(played.chain, "EvilApp", played.app.address)
    allowed = played.app.call("allowedComposeHashes", COMPOSE_HASHES[0])
    played.app_owner.perform(evil, "allowInSilence", COMPOSE_HASHES[0], not allowed)
    played.checkpoints.append(played.chain.head)


def _by_app_owner(played: Played, function: str, *arguments: Any) -> None:
    if not played.frozen:
        played.app_owner.perform(played.app, function, *arguments)


def _new_code(played: Played, name: str) -> str:
    address = played.chain.deploy(name).address
    played.implementations[address] = name
    return address


def _flags(played: Played) -> bytes:
    return played.app.storage(2 if played.generation == "G3" else 1)


def _implementation(contract: Contract, block: int) -> str:
    return "0x" + contract.storage(world.IMPLEMENTATION_SLOT, block)[12:].hex()


_STEPS: Final[tuple[Callable[[Played], None], ...]] = (
    *(_app_key,) * 6,
    *(_kms_key,) * 4,
    *(_one_block,) * 3,
    *(_app_flag,) * 2,
    *(_kms_setting,) * 2,
    _disable_upgrades,
    _upgrade_app,
    _upgrade_kms,
    _new_app_owner,
    _new_kms_owner,
)
