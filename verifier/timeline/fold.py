"""The fold of chain events into what a KMS and an app allowed at any place in the chain.

One pass over the events in chain order. For every key (a manifest hash, a device, an OS image …) it
keeps the places at which it was switched on and off, for every setting those at which its value
changed; a state is looked up, never computed again. Setters emit also when nothing changes, and a
key may be removed that was never added: neither counts as a change.

Sources: Dstack-TEE/dstack kms/auth-eth/contracts (all generations), amiller/dstack-tutorial
TimelockAppAuth.sol, OpenZeppelin Ownable2Step and ERC-1967. Where `PolicyChanged` stands in the
same transaction as the older event that says the same, before or after it, it says nothing new.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from msgspec import Struct

from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.model.chain import ZERO_ADDRESS, ContractCode, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import UNKNOWN, AppState, KmsState, Known, Method, TimelineEvent
from verifier.reference.generations import same_slots, slots_of
from verifier.reference.values import generation_of
from verifier.timeline.initial import InitialFlags


class Keyed(StrEnum):
    """What is allowed key by key; the value is the name of its events before Added or Removed."""

    COMPOSE_HASH = "ComposeHash"
    DEVICE = "Device"
    OS_IMAGE = "OsImageHash"
    AGGREGATED_MR = "KmsAggregatedMr"
    KMS_DEVICE = "KmsDevice"


class Setting(StrEnum):
    """What has one value at a time."""

    ANY_DEVICE = "any device"
    REQUIRE_TCB = "require TCB up to date"
    UPGRADES_DISABLED = "upgrades disabled"
    IMPLEMENTATION = "implementation"
    OWNER = "owner"
    PENDING_OWNER = "pending owner"
    ROOT_KEY = "root key"
    GATEWAY = "gateway app id"
    APP_IMPLEMENTATION = "implementation of new apps"


Value = str | bool | None
Codes = Mapping[str, ContractCode | None]
Interval = tuple[Place, Place | None]

_POLICIES: Final[Mapping[str, Keyed | Setting | None]] = {
    "compose-hash": Keyed.COMPOSE_HASH,
    "device": Keyed.DEVICE,
    "os-image": Keyed.OS_IMAGE,
    "kms-aggregated-mr": Keyed.AGGREGATED_MR,
    "kms-device": Keyed.KMS_DEVICE,
    "allow-any-device": Setting.ANY_DEVICE,
    "require-tcb-up-to-date": Setting.REQUIRE_TCB,
    "upgrades-disabled": Setting.UPGRADES_DISABLED,
    "implementation-upgrade": Setting.IMPLEMENTATION,
    "kms-info": Setting.ROOT_KEY,
    "gateway-app-id": Setting.GATEWAY,
    "app-implementation": Setting.APP_IMPLEMENTATION,
    "registered-app": None,
}
"""Name of a policy in `PolicyChanged` → what it sets."""
_ONLY_HASHED: Final = frozenset({"kms-info", "gateway-app-id"})
"""Policies whose value `PolicyChanged` holds as its keccak256 alone."""
_ARGUMENTS: Final[Mapping[str, tuple[Setting, str]]] = {
    "AllowAnyDeviceSet": (Setting.ANY_DEVICE, "allowAny"),
    "RequireTcbUpToDateSet": (Setting.REQUIRE_TCB, "requireUpToDate"),
    "Upgraded": (Setting.IMPLEMENTATION, "implementation"),
    "KmsInfoSet": (Setting.ROOT_KEY, "k256Pubkey"),
    "GatewayAppIdSet": (Setting.GATEWAY, "gatewayAppId"),
    "TproxyAppIdSet": (Setting.GATEWAY, "tproxyAppId"),
    "TProxyAppIdSet": (Setting.GATEWAY, "tproxyAppId"),
    "AppImplementationSet": (Setting.APP_IMPLEMENTATION, "implementation"),
    "AppAuthImplementationSet": (Setting.APP_IMPLEMENTATION, "implementation"),
}
"""Name of an event → the setting that its argument gives a value."""
_KEYED: Final[Mapping[str, tuple[Keyed, bool]]] = {
    f"{kind}{ending}": (kind, ending == "Added")
    for kind in Keyed
    for ending in ("Added", "Removed")
}
_CONTRACTS: Final = {Role.APP: "the app", Role.KMS: "the KMS"}
_FOREIGN: Final = frozenset({"AdminChanged", "BeaconUpgraded"})
"""Events of other kinds of proxies, whose code can be replaced in ways that are not followed."""


class _Effect(Struct, frozen=True):
    """What an event does: `what` becomes `value`; for a key, True or False."""

    what: Keyed | Setting
    key: str
    value: Value


class _Contract(Struct):
    """One contract's history."""

    keys: dict[Keyed, dict[str, list[tuple[Place, bool]]]] = {}
    settings: dict[Setting, list[tuple[Place, Value]]] = {}
    lost: Place | None = None
    begins: Place | None = None

    def apply(self, place: Place, effect: _Effect) -> None:
        if isinstance(effect.what, Keyed):
            track = self.keys.setdefault(effect.what, {}).setdefault(effect.key, [])
            if bool(effect.value) != bool(track and track[-1][1]):
                track.append((place, bool(effect.value)))
        else:
            values = self.settings.setdefault(effect.what, [])
            if not values or values[-1][1] != effect.value:
                values.append((place, effect.value))

    def on(self, kind: Keyed, at: Place | None) -> frozenset[str]:
        return frozenset(
            key for key, track in self.keys.get(kind, {}).items() if _at(track, at, default=False)
        )

    def text(self, setting: Setting, at: Place | None) -> str:
        return str(_at(self.settings.get(setting, []), at, default="") or "")

    def flag(self, setting: Setting, at: Place | None, initial: Known[bool]) -> Known[bool]:
        track = self.settings.get(setting, [])
        if self.begins is None or (at is not None and at < self.begins):
            return UNKNOWN
        value = _at(track, at, default=None)
        return initial if value is None else Known(bool(value), Method.EVENT)

    def continuous(self, at: Place | None) -> bool:
        return self.lost is None or (at is not None and at < self.lost)


class Fold:
    """The folded history of one app and its KMS. `notes` are what a reader has to know."""

    def __init__(self, initial: InitialFlags, codes: Codes) -> None:
        self.notes: tuple[str, ...] = ()
        self._initial = initial
        self._codes = codes
        self._app, self._kms = _Contract(), _Contract()

    def app_state(self, at: Place | None = None) -> AppState:
        """What the app's contract allows after the event at a place; without one, at the end."""
        app = self._app
        implementation = app.text(Setting.IMPLEMENTATION, at)
        code = self._codes.get(implementation) if implementation else self._initial.code
        tcb = app.flag(Setting.REQUIRE_TCB, at, self._initial.require_tcb)
        generation = generation_of(code)
        if generation is not None and not generation.can_require_tcb:
            tcb = Known(value=False, method=Method.CODE)
        return AppState(
            compose_hashes=app.on(Keyed.COMPOSE_HASH, at),
            devices=app.on(Keyed.DEVICE, at),
            any_device=app.flag(Setting.ANY_DEVICE, at, self._initial.any_device),
            require_tcb_up_to_date=tcb,
            upgrades_disabled=self.upgrades_disabled(at),
            implementation=implementation,
            code=code,
            owner=app.text(Setting.OWNER, at),
            pending_owner=app.text(Setting.PENDING_OWNER, at),
            continuous=app.continuous(at) and code is not None,
        )

    def kms_state(self, at: Place | None = None) -> KmsState:
        """What the KMS's contract allows after the event at a place; without one, at the end."""
        kms = self._kms
        implementation = kms.text(Setting.IMPLEMENTATION, at)
        code = self._codes.get(implementation)
        return KmsState(
            os_images=kms.on(Keyed.OS_IMAGE, at),
            aggregated_mrs=kms.on(Keyed.AGGREGATED_MR, at),
            devices=kms.on(Keyed.KMS_DEVICE, at),
            root_key=kms.text(Setting.ROOT_KEY, at),
            gateway_app_id=kms.text(Setting.GATEWAY, at),
            app_implementation=kms.text(Setting.APP_IMPLEMENTATION, at),
            implementation=implementation,
            code=code,
            owner=kms.text(Setting.OWNER, at),
            pending_owner=kms.text(Setting.PENDING_OWNER, at),
            continuous=kms.continuous(at) and code is not None,
        )

    def upgrades_disabled(self, at: Place | None = None) -> Known[bool]:
        """Whether the code of the app's contract could be replaced no more."""
        return self._app.flag(Setting.UPGRADES_DISABLED, at, self._initial.upgrades_disabled)

    def keys(self, kind: Keyed) -> tuple[str, ...]:
        """Every key that was ever switched on or off, in order of first appearance."""
        return tuple({**self._app.keys.get(kind, {}), **self._kms.keys.get(kind, {})})

    def allowed_intervals(self, compose_hash: str) -> tuple[Interval, ...]:
        """When a manifest was allowed; an end of None is the present."""
        track = self._app.keys.get(Keyed.COMPOSE_HASH, {}).get(compose_hash, [])
        ends: list[Place | None] = [place for place, on in track if not on]
        begins = [place for place, on in track if on]
        return tuple(zip_longest(begins, ends))

    def allowed(self, compose_hash: str, at: Place) -> bool:
        """Whether a manifest was allowed after the event at a place."""
        track = self._app.keys.get(Keyed.COMPOSE_HASH, {}).get(compose_hash, [])
        return bool(_at(track, at, default=False))

    def values(self, role: Role, setting: Setting) -> tuple[tuple[Place, Value], ...]:
        """Every value that a setting of the app or the KMS took, and from where on."""
        contract = self._app if role is Role.APP else self._kms
        return tuple(contract.settings.get(setting, ()))

    def lost(self, role: Role) -> Place | None:
        """From where on events no longer tell what a contract allows, if ever."""
        return (self._app if role is Role.APP else self._kms).lost


def fold(events: Iterable[TimelineEvent], *, initial: InitialFlags, codes: Codes) -> Fold:
    """Fold events, which stand in chain order.

    `codes` gives the known build of each implementation by its address, None for unknown code.
    Events of other contracts than the app and the KMS change nothing.
    """
    folded = Fold(initial, codes)
    contracts = {Role.APP: folded._app, Role.KMS: folded._kms}  # noqa: SLF001 - its maker
    known = [event for event in events if event.role in contracts]
    said = _said(known)
    notes: dict[str, list[int]] = {}
    for event in known:
        contract = contracts[event.role]
        if contract.begins is None:
            contract.begins = event.place
        if event.name == "PolicyChanged" and not said.isdisjoint(_policy_says(event)):
            continue
        upgraded = event.name == "Upgraded"
        before = contract.text(Setting.IMPLEMENTATION, None) if upgraded else ""
        for effect in _effects(event):
            contract.apply(event.place, effect)
        note, lost = _remark(event, codes, codes.get(before))
        if note:
            notes.setdefault(note, []).append(event.place.block)
        if lost and contract.lost is None:
            contract.lost = event.place
    for role, contract in contracts.items():
        no_proxy = Setting.IMPLEMENTATION not in contract.settings
        constructed = role is Role.APP and initial.code is not None
        if contract.begins is not None and no_proxy and not constructed:
            contract.lost = contract.begins
            notes.setdefault(_no_proxy(role), []).append(contract.begins.block)
    folded.notes = tuple(f"{note}: {_blocks(blocks)}" for note, blocks in notes.items())
    return folded


def _effects(event: TimelineEvent) -> tuple[_Effect, ...]:
    """What an event does to the contract that emitted it; nothing for most."""
    name, args = event.name, event.args
    if name in _ARGUMENTS:
        setting, argument = _ARGUMENTS[name]
        value = args.get(argument)
        return (_Effect(setting, "", value),) if isinstance(value, str | bool) else ()
    owner = _account(args.get("newOwner"))
    match name:
        case "UpgradesDisabled":
            found = [_Effect(Setting.UPGRADES_DISABLED, "", value=True)]
        case "OwnershipTransferred":
            found = [_Effect(Setting.OWNER, "", owner), _Effect(Setting.PENDING_OWNER, "", "")]
        case "OwnershipTransferStarted":
            found = [_Effect(Setting.PENDING_OWNER, "", owner)]
        case "Constructed":
            found = [_Effect(Setting.OWNER, "", owner)]
            if args.get("composeHash"):
                found.append(_Effect(Keyed.COMPOSE_HASH, str(args["composeHash"]), value=True))
        case "ComposeHashActivated":
            found = [_Effect(Keyed.COMPOSE_HASH, str(args.get("hash")), value=True)]
        case "PolicyChanged":
            found = [*_policy_effects(args)]
        case _:
            found = [*_keyed_effects(name, args)]
    return tuple(found)


def _keyed_effects(name: str, args: Mapping[str, JsonValue]) -> Iterator[_Effect]:
    kind, on = _KEYED.get(name, (None, False))
    key = next(iter(args.values()), None)
    if kind is not None and isinstance(key, str):
        yield _Effect(kind, key, on)


def _policy_effects(args: Mapping[str, JsonValue]) -> tuple[_Effect, ...]:
    what = _POLICIES.get(str(args.get("policyName")))
    value, enabled = str(args.get("value")), args.get("enabled") is True
    if isinstance(what, Keyed):
        return (_Effect(what, value, enabled),)
    if what in (Setting.ANY_DEVICE, Setting.REQUIRE_TCB, Setting.UPGRADES_DISABLED):
        return (_Effect(what, "", enabled),)
    if what in (Setting.IMPLEMENTATION, Setting.APP_IMPLEMENTATION):
        return (_Effect(what, "", _account("0x" + value[24:])),)
    return ()


_Said = tuple[Role, str, Setting | Keyed | None, str, Value]
"""The contract, the transaction, and what an event in it says."""


def _said(events: Sequence[TimelineEvent]) -> set[_Said]:
    """What the older events say, as a `PolicyChanged` beside them would."""
    beside = {event.transaction for event in events if event.name == "PolicyChanged"}
    return {
        (event.role, event.transaction, effect.what, effect.key, _as_policy(effect))
        for event in events
        if event.transaction in beside and event.name != "PolicyChanged"
        for effect in _effects(event)
    }


def _as_policy(effect: _Effect) -> Value:
    """The value of an effect as `PolicyChanged` says it: bytes and text by their keccak256."""
    match effect.what:
        case Setting.ROOT_KEY:
            return keccak256(bytes.fromhex(str(effect.value))).hex()
        case Setting.GATEWAY:
            return keccak256(str(effect.value).encode()).hex()
        case _:
            return effect.value


def _policy_says(event: TimelineEvent) -> Iterator[_Said]:
    what = _POLICIES.get(str(event.args.get("policyName")))
    if what in (Setting.ROOT_KEY, Setting.GATEWAY):
        yield event.role, event.transaction, what, "", str(event.args.get("value"))
    for effect in _policy_effects(event.args):
        yield event.role, event.transaction, effect.what, effect.key, effect.value


def _remark(event: TimelineEvent, codes: Codes, before: ContractCode | None) -> tuple[str, bool]:
    """What a reader has to know about an event, and whether events bind no longer after it.

    `before` is the code that ran until then, where it is known.
    """
    contract = _CONTRACTS[event.role]
    match event.name:
        case "Upgraded":
            return _upgraded(event.role, str(event.args.get("implementation")), codes, before)
        case "undecodable":
            said = f"{contract} emitted an event {event.args.get('event')} that cannot be read"
            return f"{said}; what it allows since then is not certain", True
        case "unknown":
            return f"{contract} emitted an event that none of the known contracts has", False
        case "PolicyChanged":
            policy = event.args.get("policyName")
            return _alone(contract, policy), policy in _ONLY_HASHED
        case name if name in _FOREIGN:
            return f"{contract} is another kind of proxy, which emits {name}", True
    return "", False


def _upgraded(
    role: Role, implementation: str, codes: Codes, before: ContractCode | None
) -> tuple[str, bool]:
    """What an upgrade means: code that nobody knows, or that finds its state elsewhere."""
    contract = _CONTRACTS[role]
    code = codes.get(implementation)
    if code is None:
        said = f"{contract} went over to code that nobody knows, {implementation}"
        return f"{said}, which may allow anything without an event", True
    old, new = generation_of(before), generation_of(code)
    if old and new and old != new and not same_slots(slots_of(old, role), slots_of(new, role)):
        said = f"{contract} went over from {old.name} to {new.name} code in place, which keeps its"
        return f"{said} state in other slots; what it allows since then is not certain", True
    return "", False


def _no_proxy(role: Role) -> str:
    contract = _CONTRACTS[role]
    return (
        f"no event names the code of {contract}, so that nobody knows it, nor what it allowed from "
        "its creation on; its first event"
    )


def _alone(contract: str, policy: JsonValue) -> str:
    """What a PolicyChanged means that no older event stands beside."""
    if policy is None:
        return f"{contract} emitted a PolicyChanged of an unknown policy"
    if policy == "registered-app":  # the older event is no governance, and was not asked for
        return ""
    said = f"{contract} emitted a PolicyChanged about {policy} without the older event for it"
    if policy in _ONLY_HASHED:
        return f"{said}; it holds the value's hash alone, so that the value is not known since then"
    return said


def _blocks(blocks: list[int]) -> str:
    more = f", and {len(blocks) - 1} times after it" if len(blocks) > 1 else ""
    return f"block {blocks[0]}{more}"


def _account(value: JsonValue) -> str:
    if not isinstance(value, str) or value == ZERO_ADDRESS:
        return ""
    return checksum_address(bytes.fromhex(value[2:]))


def _at(
    track: list[tuple[Place, Value]] | list[tuple[Place, bool]], at: Place | None, default: Value
) -> Value:
    if at is None:
        return track[-1][1] if track else default
    index = bisect_right(track, at, key=lambda item: item[0])
    return track[index - 1][1] if index else default
