"""The generations of dstack's contracts: what code of each one is like, one record per generation.

In which slot a contract keeps a value, which settings its code has, and what an app id means to it,
stands in the record of its generation here and nowhere else: a new generation is one more record,
and its builds are rows of `values.json`. Events are not among it: they are known by their topics,
whichever code emits them (`verifier.evidence.chain.contract_events`).

Source: Dstack-TEE/dstack, KmsAuth.sol and AppAuth.sol, since 04b6bed6 DstackKms.sol and
DstackApp.sol, in kms/contracts/contracts, since 1e6cefec kms/auth-eth/contracts, since 72d9f066
dstack/kms/auth-eth/contracts; a commit with each record. State variables stand in the order of
their declaration, from slot 0 on: what OpenZeppelin 5 keeps for itself has slots of its own
(ERC-7201).
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.model.chain import Role


class AppSlots(Struct, frozen=True, kw_only=True):
    """In which storage slots an app's contract keeps its state."""

    compose_hashes: int
    """`allowedComposeHashes`, mapping(bytes32 => bool)."""
    flags: int
    """`_upgradesDisabled` in byte 0, the least, and `allowAnyDevice` in byte 1."""
    devices: int
    """`allowedDeviceIds`, mapping(bytes32 => bool)."""
    require_tcb: int | None = None
    """`requireTcbUpToDate`, in byte 0; None for code without that setting."""


class KmsSlots(Struct, frozen=True, kw_only=True):
    """In which storage slots a KMS's contract keeps its state.

    info                `kmsInfo`: four byte strings, the root key first
    gateway_app_id      `gatewayAppId`, a string
    aggregated_mrs      `kmsAllowedAggregatedMrs`, mapping(bytes32 => bool)
    devices             `kmsAllowedDeviceIds`, mapping(bytes32 => bool)
    os_images           `allowedOsImages`, mapping(bytes32 => bool)
    app_implementation  the code of apps that it creates (an address); None for a KMS that creates
                        none
    """

    info: int
    gateway_app_id: int
    aggregated_mrs: int
    devices: int
    os_images: int
    app_implementation: int | None = None


class Generation(Struct, frozen=True, kw_only=True):
    """One generation of both contracts."""

    name: str
    """As rows of the reference values name it."""
    app_id_is_address: bool
    """Whether an app id is the address of the app's contract; where it is not, the KMS tells the
    address: `apps(appId)` gives (bool isRegistered, address controller)."""
    app: AppSlots | None
    """None where state is not read: its commits differ, or no release holds them."""
    kms: KmsSlots | None
    """None as with `app`."""
    creations: tuple[tuple[str, str], ...]
    """The functions that set the terms of a new app, by the factory or by hand: signature, and the
    first four bytes of its keccak256 (hex)."""

    @property
    def can_require_tcb(self) -> bool:
        """Whether an app of this generation can require an up-to-date TCB."""
        return self.app is not None and self.app.require_tcb is not None


_DEPLOY_AND_REGISTER: Final = (
    "deployAndRegisterApp(address,bool,bool,bytes32,bytes32)",
    "8618169d",
)
_DEPLOY_AND_REGISTER_TCB: Final = (
    "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)",
    "9cb9c31f",
)
_DEPLOY: Final = ("deployApp(address,bool,bool,bytes32,bytes32)", "90d53e70")
_INITIALIZE: Final = ("initialize(address,bool,bool,bytes32,bytes32)", "187515ca")
_INITIALIZE_TCB: Final = ("initialize(address,bool,bool,bool,bytes32,bytes32)", "9ed28193")
_INITIALIZE_WITH_ID: Final = ("initialize(address,address,bool,bool,bytes32,bytes32)", "48d8a36a")
_CREATIONS: Final = (
    _DEPLOY_AND_REGISTER,
    _DEPLOY_AND_REGISTER_TCB,
    _INITIALIZE,
    _INITIALIZE_TCB,
)

_APP_WITH_ID: Final = AppSlots(compose_hashes=1, flags=2, devices=3)
"""Slot 0 is `appId`."""
_APP: Final = AppSlots(compose_hashes=0, flags=1, devices=2)
_APP_WITH_TCB: Final = AppSlots(compose_hashes=0, flags=1, devices=2, require_tcb=3)
_KMS: Final = KmsSlots(
    info=0,
    gateway_app_id=4,
    aggregated_mrs=6,
    devices=7,
    os_images=8,
    app_implementation=9,
)
"""Slot 5 is `registeredApps`."""

G0: Final = Generation(name="G0", app_id_is_address=False, app=None, kms=None, creations=())
"""e7e18d43 to 94f431d8 (2025-01), release dev-v0.4.0.0: no proxies, an owner of its own making."""

G1: Final = Generation(name="G1", app_id_is_address=False, app=_APP_WITH_ID, kms=None, creations=())
"""208a7a59 to c3719dc5 (2025-02 to 04), releases v0.4.2 and v0.5.0, which have these slots: behind
proxies (UUPS). The KMS allows images by their registers."""

G2: Final = Generation(
    name="G2",
    app_id_is_address=False,
    app=_APP_WITH_ID,
    kms=KmsSlots(info=0, gateway_app_id=4, aggregated_mrs=6, devices=7, os_images=8),
    creations=(),
)
"""d6f22540 (2025-05), release v0.5.1: OS images are allowed by one hash. Slots 5 and 9 of the KMS
are `apps` and `nextAppSequence`."""

G3: Final = Generation(
    name="G3",
    app_id_is_address=False,
    app=_APP_WITH_ID,
    kms=KmsSlots(
        info=0,
        gateway_app_id=4,
        aggregated_mrs=6,
        devices=7,
        os_images=8,
        app_implementation=10,
    ),
    creations=(_DEPLOY_AND_REGISTER, _INITIALIZE_WITH_ID),
)
"""053642cb to b5f6d357 (2025-05 to 06), releases v0.5.2 and v0.5.3: the KMS creates apps. Slots 5
and 9 of the KMS are `apps` and `nextAppSequence`."""

G4: Final = Generation(
    name="G4",
    app_id_is_address=True,
    app=_APP,
    kms=None,
    creations=(_DEPLOY, _INITIALIZE),
)
"""821ead77 (2025-07), in no release: an app's id is its address. The KMS registers no apps."""

G5: Final = Generation(
    name="G5",
    app_id_is_address=True,
    app=_APP,
    kms=_KMS,
    creations=(_DEPLOY_AND_REGISTER, _INITIALIZE),
)
"""bb84ddd2 to 771f3c9e (2025-07 to 08), releases kms-v0.5.3 to kms-v0.5.8."""

G6: Final = Generation(
    name="G6",
    app_id_is_address=True,
    app=_APP_WITH_TCB,
    kms=_KMS,
    creations=_CREATIONS,
)
"""bfeaa5b5 to 7bf5bfb8 (2026-02), releases gateway-v0.5.8 to kms-v0.5.11: `requireTcbUpToDate`."""

G7: Final = Generation(
    name="G7",
    app_id_is_address=True,
    app=_APP_WITH_TCB,
    kms=_KMS,
    creations=_CREATIONS,
)
"""296be781 and 8d6b91a6 (2026-05), release verifier-v0.5.11: ownership in two steps
(Ownable2Step)."""

G8: Final = Generation(
    name="G8",
    app_id_is_address=True,
    app=_APP_WITH_TCB,
    kms=_KMS,
    creations=_CREATIONS,
)
"""a3d862aa (2026-08), in no release: `PolicyChanged` beside every older event."""

GENERATIONS: Final[Mapping[str, Generation]] = {
    item.name: item for item in (G8, G7, G6, G5, G4, G3, G2, G1, G0)
}
"""By name, the newest first."""

NEWEST: Final = next(iter(GENERATIONS.values()))
"""What a contract is taken for whose generation nobody named."""


def generation_named(name: str) -> Generation:
    """The generation that a KMS's record names; the newest one where it names none."""
    return GENERATIONS.get(name, NEWEST)


def slots_of(generation: Generation | None, role: Role) -> AppSlots | KmsSlots | None:
    """Where code of a generation keeps the state of an app or a KMS, None where that is unknown."""
    if generation is None:
        return None
    return generation.app if role is Role.APP else generation.kms


def same_slots(one: AppSlots | KmsSlots | None, other: AppSlots | KmsSlots | None) -> bool:
    """Whether code that keeps its state in one way finds all of it where the other left it; what
    one of them does not have may stand anywhere."""
    if one is None or other is None or type(one) is not type(other):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__]
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def newest_like(generation: Generation) -> Generation:
    """The newest generation that finds the state of this one where it is: what a contract may have
    been upgraded to in place since somebody named its generation."""
    return next(
        (
            item
            for item in GENERATIONS.values()
            if item.app_id_is_address == generation.app_id_is_address
            and same_slots(item.app, generation.app)
            and same_slots(item.kms, generation.kms)
        ),
        generation,
    )
