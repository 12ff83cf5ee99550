"""KMS and apps on a real EVM, deployed as on Base: ERC-1967 proxies, the KMS as the apps' factory.

Two histories are retold: the shared-key demo's and that of the tutorial's first app.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from tests.evm.anvil import Anvil, Contract, topic
from verifier.evidence.chain.ethereum import keccak256

Generation = Literal["G3", "G5", "G6"]
GENERATIONS: Final[tuple[Generation, ...]] = ("G3", "G5", "G6")

NO_KEY: Final = bytes(32)
NOBODY: Final = "0x" + "00" * 20
IMPLEMENTATION_SLOT: Final = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
OWNER_SLOT: Final = 0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300
INITIALIZED_SLOT: Final = 0xF0C57E16840DF040F15088DC2F81FE391C3923BEC73E23A9662EFC9C229C6A00

SHARED_KEY_DEPLOYER: Final = "0x5a370b73385085091de23e0fd21b54f2724ead8d"
TUTORIAL_BLOCKS: Final = (39_966_824, 39_967_092, 39_967_137)
_REGISTERED: Final = topic("AppRegistered(address)")


def key(label: str, prefix: str = "") -> bytes:
    """A hash of our own making; `prefix` (hex) is what is published of a real one."""
    given = bytes.fromhex(prefix)
    return given + keccak256(label.encode())[len(given) :]


SHARED_KEY_HASHES: Final = (
    key("demo-1", "46e2aa51"),
    key("demo-2", "f1a4f314"),
    key("self-hosted", "d24f2633"),
)
TUTORIAL_DEVICE: Final = bytes.fromhex(
    "05c73429bc3868cca111bcf158ad59167b1f0c0d2dd8e0b98839d59e5cf0222d"
)
TUTORIAL_HASH: Final = key("tutorial", "7070fd")


class Terms(Struct, frozen=True, kw_only=True):
    """The arguments of deployAndRegisterApp; `require_tcb` None takes the form without it."""

    owner: str
    device_id: bytes = NO_KEY
    compose_hash: bytes = NO_KEY
    any_device: bool = False
    disable_upgrades: bool = False
    require_tcb: bool | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the factory takes them."""
        tcb = () if self.require_tcb is None else (self.require_tcb,)
        return (
            self.owner,
            self.disable_upgrades,
            *tcb,
            self.any_device,
            self.device_id,
            self.compose_hash,
        )


class App(Struct, frozen=True, kw_only=True):
    """An app's contract, its id (an address) and the receipt of its creation."""

    contract: Contract
    app_id: str
    receipt: Mapping[str, Any]


class Deployment(Struct, frozen=True, kw_only=True):
    """A KMS's contract of one generation and its owner; it deploys apps."""

    chain: Anvil
    generation: Generation
    kms: Contract
    owner: str
    app_implementation: Contract
    receipt: Mapping[str, Any]

    def deploy_app(self, terms: Terms, deployer: str | None = None) -> App:
        """One transaction that creates, initializes and registers an app."""
        sender = deployer or terms.owner
        receipt = self.kms.send(sender, "deployAndRegisterApp", *terms.arguments)
        registered = next(log for log in receipt["logs"] if log["topics"][0] == _REGISTERED)
        contract = Contract(self.chain, f"App{self.generation}", receipt["logs"][0]["address"])
        return App(contract=contract, app_id="0x" + registered["data"][-40:], receipt=receipt)

    def upgrade_to(self, contract: Contract, name: str, sender: str) -> Contract:
        """The proxy `contract` after upgradeToAndCall to new code of this folder."""
        code = self.chain.deploy(name)
        contract.send(sender, "upgradeToAndCall", code.address, b"")
        return Contract(self.chain, name, contract.address)


def deploy(chain: Anvil, generation: Generation, owner: str | None = None) -> Deployment:
    """Both implementations, and the KMS's proxy: three transactions."""
    holder = owner or chain.accounts[0]
    app = chain.deploy(f"App{generation}")
    implementation = chain.deploy(f"Kms{generation}")
    kms = proxy(implementation, "initialize", holder, app.address)
    return Deployment(
        chain=chain,
        generation=generation,
        kms=kms,
        owner=holder,
        app_implementation=app,
        receipt=chain.last_receipt(),
    )


def proxy(implementation: Contract, function: str, *arguments: Any) -> Contract:
    """A new ERC-1967 proxy before an implementation, which it calls in its constructor."""
    calldata = implementation.calldata(function, *arguments)
    made = implementation.chain.deploy("ERC1967Proxy", implementation.address, calldata)
    return Contract(implementation.chain, implementation.name, made.address)


def shared_key_demo(deployment: Deployment, device_id: bytes) -> App:
    """One app for three deployments, in four transactions of one key.

    Its creation with the first manifest hash and a device, two further hashes, then any device.
    """
    first, *further = SHARED_KEY_HASHES
    terms = Terms(owner=SHARED_KEY_DEPLOYER, device_id=device_id, compose_hash=first)
    app = deployment.deploy_app(terms)
    for compose_hash in further:
        app.contract.send(SHARED_KEY_DEPLOYER, "addComposeHash", compose_hash)
    app.contract.send(SHARED_KEY_DEPLOYER, "setAllowAnyDevice", True)  # noqa: FBT003 - its argument
    return app


def tutorial_app(chain: Anvil) -> App:
    """The tutorial's app: created empty, then a device, then a manifest hash, at `TUTORIAL_BLOCKS`.

    The node must stand at most a few hundred blocks, and at least four, before the first of them.
    """
    owner = chain.accounts[1]
    deployment = deploy(chain, "G5")
    created, device, compose_hash = TUTORIAL_BLOCKS
    _reach(chain, created)
    app = deployment.deploy_app(Terms(owner=owner))
    _reach(chain, device)
    app.contract.send(owner, "addDevice", TUTORIAL_DEVICE)
    _reach(chain, compose_hash)
    app.contract.send(owner, "addComposeHash", TUTORIAL_HASH)
    return app


def _reach(chain: Anvil, block: int) -> None:
    """Mine until the next block is this one."""
    missing = block - 1 - chain.head
    if missing > 0:
        chain.mine(missing)
