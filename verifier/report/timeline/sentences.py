"""The events of a timeline in plain words, for somebody who has never read a contract.

All text is raw and in full: the renderer escapes it, once. Values from the chain are plain
words or quoted (`facts.value_text`), so that none passes for the sentence around it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Final

from msgspec import Struct

from verifier.model.chain import ZERO_ADDRESS, OwnerKind, Place, Role
from verifier.model.identifiers import LATEST_TIME, format_time
from verifier.model.result import JsonValue
from verifier.model.timeline import (
    Change,
    ExposureKind,
    Governance,
    Known,
    Method,
    Timeline,
    TimelineEvent,
)
from verifier.patterns import pattern
from verifier.report.audit.answers import value_text
from verifier.timeline.gateway import gateway_ids

EXPLORERS: Final = {1: "https://etherscan.io/tx/0x", 8453: "https://basescan.org/tx/0x"}
"""Where people look at a transaction, by chain id."""
ROLES: Final = {
    Role.APP: "app",
    Role.KMS: "KMS",
    Role.APP_OWNER: "app owner",
    Role.KMS_OWNER: "KMS owner",
    Role.GATEWAY: "gateway",
}
_KNOWN_FROM: Final = {
    Method.CALLDATA: "the creation transaction",
    Method.STORAGE: "the contract's storage at its creation",
    Method.NEVER_SET: "the contract's present storage, and no event ever set it",
}

# What an owner did: the subject is who could. {0} is the only argument, {name} one of several.
_ACTS: Final = {
    "ComposeHashAdded": "allowed manifest {0}",
    "ComposeHashRemoved": "withdrew manifest {0} (what already runs goes on)",
    "ComposeHashProposed": "announced manifest {hash}, to be allowed from {activatesAt} on",
    "ComposeHashActivated": "allowed manifest {0}, as announced",
    "ComposeHashCancelled": "took back the announcement of manifest {0}",
    "DeviceAdded": "allowed machine {0}",
    "DeviceRemoved": "withdrew machine {0}",
    "AllowAnyDeviceSet true": "allowed every machine",
    "AllowAnyDeviceSet false": "allowed listed machines only",
    "RequireTcbUpToDateSet true": "began to require machines with current firmware",
    "RequireTcbUpToDateSet false": "stopped requiring machines with current firmware",
    "TcbPolicySet": "set the firmware policy {0}",
    "UpgradesDisabled": "gave up replacing the contract's code, for good",
    "OsImageHashAdded": "allowed operating system image {0}",
    "OsImageHashRemoved": "withdrew operating system image {0}",
    "KmsAggregatedMrAdded": "allowed a KMS that measures {0} to receive the root keys",
    "KmsAggregatedMrRemoved": "withdrew the KMS that measures {0}",
    "KmsDeviceAdded": "allowed machine {0} to receive the root keys as a KMS",
    "KmsDeviceRemoved": "withdrew the KMS machine {0}",
    "KmsInfoSet": "set the KMS root key {0}",
    "GatewayAppIdSet": "named as gateway: {0}",
    "AppImageMrAdded": "allowed operating system measurement {0}",
    "AppImageMrRemoved": "withdrew operating system measurement {0}",
    "AppSystemMrAdded": "allowed system measurement {0}",
    "AppSystemMrRemoved": "withdrew system measurement {0}",
    "AggregatedMrRegistered": "allowed system measurement {0}",
    "AggregatedMrDeregistered": "withdrew system measurement {0}",
    "EnclaveRegistered": "allowed KMS enclave {0}",
    "EnclaveDeregistered": "withdrew KMS enclave {0}",
    "ImageRegistered": "allowed image {0}",
    "ImageDeregistered": "withdrew image {0}",
    "KmsComposeHashRegistered": "allowed KMS manifest {0}",
    "KmsComposeHashDeregistered": "withdrew KMS manifest {0}",
    "KmsDeviceIdRegistered": "allowed KMS machine {0}",
    "KmsDeviceIdDeregistered": "withdrew KMS machine {0}",
    "TproxyAppIdSet": "named as gateway: {0}",
    "TProxyAppIdSet": "named as gateway: {0}",
    "AppImplementationSet": "chose contract code {0} for apps created from now on",
    "AppAuthImplementationSet": "chose contract code {0} for apps created from now on",
}
# What happened, with whoever did it named by the event itself or by nothing.
_FACTS: Final = {
    "Initialized": "the contract was set up, version {0}",
    "AppRegistered": "app {0} was registered with the KMS",
    "AppDeployedViaFactory": "app {appId} was created through the KMS by {deployer}",
    "AdminChanged": "the proxy's administrator changed from {previousAdmin} to {newAdmin}: "
    "who may replace the code is not known",
    "BeaconUpgraded": "the code now comes from beacon {0}: who may replace it is not known",
    "PolicyChanged true": "the contract's own record: {policyName} {value} on, by {actor}",
    "PolicyChanged false": "the contract's own record: {policyName} {value} off, by {actor}",
    "SafeSetup": "the Safe was set up: {threshold} of the signers {owners} decide",
    "AddedOwner": "{0} became a signer",
    "RemovedOwner": "{0} is not a signer any more",
    "ChangedThreshold": "from now on {0} signatures decide",
    "EnabledModule": "module {0} may now act without the signers",
    "DisabledModule": "module {0} may not act any more",
    "ChangedGuard": "the guard that may forbid transactions is now {0}",
    "ChangedMasterCopy": "the Safe's own code is now {0}",
    "ChangedModuleGuard": "the guard that may forbid what modules do is now {0}",
    "ChangedFallbackHandler": "calls that the Safe does not know now go to {0}",
    "ApproveHash": "signer {owner} approved transaction {approvedHash}",
    "SignMsg": "the Safe signed message {0}",
    "SafeReceived": "the Safe received funds from {sender}",
    "SafeMultiSigTransaction": "the signers let the Safe call {to}",
    "SafeModuleTransaction": "module {module} made the Safe call {to}",
    "ExecutionSuccess": "the Safe carried out transaction {txHash}",
    "ExecutionFailure": "the Safe's transaction {txHash} failed",
    "ExecutionFromModuleSuccess": "module {0} acted without the signers",
    "ExecutionFromModuleFailure": "module {0} tried to act without the signers",
    "CallScheduled": "a call to {target} was announced, to run after {delay}",
    "CallExecuted": "the announced call to {target} ran",
    "CallSalt": "the announced call {id} has salt {salt}",
    "Cancelled": "the announced call {0} was cancelled",
    "MinDelayChange": "the delay changed from {oldDuration} to {newDuration}",
    "RoleGranted": "{account} may now act as {role}, by {sender}",
    "RoleRevoked": "{account} may not act as {role} any more, by {sender}",
    "RoleAdminChanged": "role {newAdminRole} now decides who acts as {role}",
}
_MANIFEST: Final = frozenset({"composeHash", "hash"})
_GATEWAY: Final = frozenset({"gatewayAppId", "tproxyAppId"})
_ROLE_NAMES: Final = {
    "00" * 32: "administrator",
    # OpenZeppelin TimelockController: keccak256 of PROPOSER_ROLE, EXECUTOR_ROLE, CANCELLER_ROLE
    # and, before version 5, TIMELOCK_ADMIN_ROLE.
    "b09aa5aeb3702cfd50b6b62bc4532604938f21248a27a1d5ca736082b6819cc1": "proposer",
    "d8aa0f3194971a2a116679f7c2090f6939c8d4e01a2a8d7e41d55e5351469e63": "executor",
    "fd643c72710c63c0180259aba6b2d05451e3591a24e58b62239378085726f783": "canceller",
    "5f58e3a2316349923ce3780f8d587db2d72378aed66a8261c916544fa6846ca5": "administrator",
}
_GATEWAYS: Final = 5  # that are named
_PLACEHOLDER: Final = pattern(r"\{(\w+)\}")
_TRANSACTION: Final = pattern(r"[0-9a-f]{64}", re.ASCII)
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Group(Struct, frozen=True):
    """The events of one transaction, in order, and what it set without an event."""

    events: tuple[TimelineEvent, ...]
    creates_app: bool

    @property
    def first(self) -> TimelineEvent:
        """The event that says when, where and by whom."""
        return self.events[0]


class Narrator:
    """What each event of one timeline means."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._changes = {change.place: change for change in timeline.changes}
        self._unknown_code = {
            item.subject.lower()
            for item in timeline.exposures
            if item.kind is ExposureKind.UNKNOWN_CODE
        }
        states = (timeline.app_state, timeline.kms_state)
        self._unknown_code |= {item.implementation.lower() for item in states if item.code is None}
        self._unbound: dict[Role, Place] = {}
        for event in timeline.events:
            if self._installs_unknown_code(event):
                self._unbound.setdefault(event.role, event.place)

    def groups(self) -> tuple[Group, ...]:
        """The events, transaction by transaction."""
        found: list[Group] = []
        exists = False
        for _, members in groupby(
            self._timeline.events, key=lambda event: (event.place.block, event.transaction)
        ):
            events = tuple(members)
            creates = not exists and any(event.role is Role.APP for event in events)
            exists = exists or creates
            found.append(Group(events, creates))
        return tuple(found)

    def change(self, event: TimelineEvent) -> Change | None:
        """The change that the event made, where it is one whose notice was measured."""
        return self._changes.get(event.place)

    def sentence(self, event: TimelineEvent) -> str:
        """What one event means: who did what, and with which notice."""
        since = self._unbound.get(event.role)
        words = f"{self._words(event)}{self._notice(event)}"
        if self._installs_unknown_code(event):
            return f"{words}; from here on events do not prove what may run"
        if since is not None and event.place > since:
            return f"{words} (only the word of unknown code)"
        return words

    def silent(self) -> tuple[str, ...]:
        """What the creation of the contract set without an event, and what is still so."""
        state = self._timeline.app_state
        flags = (
            (state.any_device, "any machine may run it"),
            (state.require_tcb_up_to_date, "machines need current firmware"),
            (state.upgrades_disabled, "its code cannot be replaced"),
        )
        return tuple(flag_words(flag, words, "") for flag, words in flags if is_silent(flag))

    def _words(self, event: TimelineEvent) -> str:
        name, args = event.name, event.args
        if name in ("unknown", "undecodable"):
            return _unreadable(event)
        if name in ("Upgraded", "Constructed"):
            return self._upgrade(event) if name == "Upgraded" else self._constructed(args)
        if name.startswith("OwnershipTransfer"):
            return _ownership(name, args)
        flag = next((item for item in args.values() if isinstance(item, bool)), None)
        key = name if flag is None else f"{name} {str(flag).lower()}"
        if key in _ACTS:
            return f"{self._who(event)} {self._filled(_ACTS[key], args)}"
        if key in _FACTS:
            return self._filled(_FACTS[key], args)
        return f"event {value_text(name)} {value_text(dict(args))}"

    def _filled(self, template: str, args: Mapping[str, JsonValue]) -> str:
        """The template with the arguments in it, and the names of manifests beside their hashes."""

        def argument(match: re.Match[str]) -> str:
            key = match[1]
            if key == "0":
                key = next(iter(args), "")
            elif key == "policyName" and key not in args:
                key = "policy"
            if key == "account" and _is_open_role(args):
                return "anybody"
            return self._argument(key, args[key]) if key in args else "(not stated)"

        return _PLACEHOLDER.sub(argument, template)

    def _argument(self, key: str, value: JsonValue) -> str:
        if type(value) is int and key in _NUMBERS:
            return _NUMBERS[key](value)
        if isinstance(value, list):
            return ", ".join(map(value_text, value))
        if not isinstance(value, str):
            return value_text(value)
        if key in _GATEWAY:
            return gateway(value)
        if key in _MANIFEST:
            return manifest(self._timeline, value)
        return (_ROLE_NAMES.get(value) if key == "role" else None) or value_text(value)

    def _constructed(self, args: Mapping[str, JsonValue]) -> str:
        """What a constructor set that emits nothing."""
        first = "no manifest was allowed"
        if args.get("composeHash"):
            first = self._filled("its creator allowed manifest {composeHash}", args)
        machines = "every machine" if args.get("allowAnyDevice") else "no machine"
        period = self._filled("{noticePeriod}", args)
        return (
            f"the contract was created for {machines}, with {period} from the announcement of a "
            f"manifest to its permission; {first}"
        )

    def _upgrade(self, event: TimelineEvent) -> str:
        code = str(event.args.get("implementation", ""))
        who, shown = self._who(event), value_text(code)
        if self._installs_unknown_code(event):
            return f"{who} installed UNKNOWN code {shown}"
        app, kms = self._timeline.app_state, self._timeline.kms_state
        codes = {Role.APP: (app.implementation, app.code), Role.KMS: (kms.implementation, kms.code)}
        present, known = codes.get(event.role, ("", None))
        about = f" ({known.name})" if known is not None and code == present else ""
        return f"{who} installed code {shown}{about}"

    def _installs_unknown_code(self, event: TimelineEvent) -> bool:
        return (
            event.name == "Upgraded"
            and str(event.args.get("implementation", "")).lower() in self._unknown_code
        )

    def _who(self, event: TimelineEvent) -> str:
        """Who could do it: the owner at that time, or the sender of the transaction.

        The event at the start of an owner's period is still the act of whoever came before.
        """
        periods = [item for item in self._timeline.governance if item.role is event.role]
        for period in periods:
            after = event.place > period.since
            if after and (period.until is None or event.place <= period.until):
                return _actor(period, event.sender)
        if periods and event.place <= min(item.since for item in periods):
            return "its creator"
        return f"account {value_text(event.sender)}" if event.sender else "somebody"

    def _notice(self, event: TimelineEvent) -> str:
        change = self._changes.get(event.place)
        if change is None:
            return ""
        how = f": {change.how}" if change.notice > 0 and change.how else ""
        return f", {notice(change.notice)}{how}"


def _is_open_role(args: Mapping[str, JsonValue]) -> bool:
    """Whether a timelock lets anybody carry out what was announced: its executor is nobody."""
    role = _ROLE_NAMES.get(str(args.get("role")))
    return role == "executor" and args.get("account") == ZERO_ADDRESS


def allowed_by(event: TimelineEvent) -> str | None:
    """The hash of the manifest that an event allows, None where it allows none."""
    if event.role is not Role.APP:
        return None
    if event.name == "Constructed":
        return str(event.args.get("composeHash") or "") or None
    if event.name in ("ComposeHashAdded", "ComposeHashActivated"):
        return str(next(iter(event.args.values()), ""))
    record = event.name == "PolicyChanged" and event.args.get("policyName") == "compose-hash"
    return str(event.args.get("value")) if record and event.args.get("enabled") else None


def contract(event: TimelineEvent) -> str:
    """The contract that an event is about, in words."""
    return ROLES[event.role]


def owner(period: Governance) -> str:
    """An owner: what kind of account, its address, and who decides for it."""
    address = value_text(period.owner)
    if period.kind is OwnerKind.SAFE:
        count = len(period.signers) or "unknown"
        return f"Safe {address} ({period.threshold or 'unknown'} of {count} keys)"
    if period.kind is OwnerKind.EOA:
        return f"one key, {address}"
    if period.kind is OwnerKind.TIMELOCK:
        return f"timelock {address}"
    if period.kind is OwnerKind.RENOUNCED:
        return "nobody"
    if period.kind is OwnerKind.CONTRACT:
        return f"contract {address}, whose rules are not known"
    return f"account {address} of a kind that is not known" if period.owner else "not known"


def manifest(timeline: Timeline, compose_hash: str) -> str:
    """A manifest by its hash and, where one is known, its name."""
    name = timeline.manifests.get(compose_hash)
    return value_text(compose_hash) + (f" ({quoted(name)})" if name else "")


def quoted(text: str) -> str:
    """Text that somebody else chose, in quotation marks."""
    return json.dumps(text, ensure_ascii=False)


def notice(seconds: int | None) -> str:
    """How long before it takes effect a change is public."""
    if seconds is None:
        return "notice not known"
    return f"{duration(seconds)} of notice" if seconds > 0 else "no notice"


def duration(seconds: int) -> str:
    """A span of time in its two largest units."""
    parts: list[str] = []
    rest = seconds
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' * (count != 1)}")
        if len(parts) == 2 or (parts and not count):  # noqa: PLR2004
            break
    return " ".join(parts) or "0 seconds"


def when(seconds: int | None) -> str:
    """A time in UTC, or that it is not known."""
    if seconds is None:
        return "at an unknown time"
    return format_time(seconds) if 0 <= seconds <= LATEST_TIME else f"{seconds} s after 1970"


def period_words(since: int | None, until: int | None, on: int | None) -> str:
    """A window of time, with its length where both ends are known; `on` is the time that the
    timeline is about, None for the present."""
    start = when(since) if since is not None else "an unknown time"
    if until is None:
        return f"{start} to {'now' if on is None else 'then'}"
    length = "" if since is None or until < since else f" ({duration(until - since)})"
    return f"{start} to {when(until)}{length}"


def is_silent(flag: Known[bool]) -> bool:
    """Whether a setting is on, and no event ever said so."""
    return bool(flag.value) and flag.method in _KNOWN_FROM


def flag_words(flag: Known[bool], yes: str, no: str) -> str:
    """A setting, and how it is known where no event set it."""
    if flag.value is None:
        return "not known: no event set it, and nothing else proves it"
    how = _KNOWN_FROM.get(flag.method, "")
    if is_silent(flag):
        return f"{yes}, set at creation without an event; known from {how}"
    return f"{yes if flag.value else no}" + (f" (known from {how})" if how else "")


def gateway(text: str) -> str:
    """Which gateways a KMS's text lets in."""
    found = gateway_ids(text)
    if found.any:
        return f"{quoted(text)}, so that guests accept every gateway and do not check which it is"
    if found.empty:
        return "none is named"
    if not found.ids:
        return f"{quoted(text)}, in which no gateway's id stands"
    rest = len(found.ids) - _GATEWAYS
    return ", ".join(found.ids[:_GATEWAYS]) + (f" and {rest} more" if rest > 0 else "")


def transaction_link(timeline: Timeline, transaction: str) -> str:
    """The address of a transaction in its chain's explorer, or "" where there is none: under
    another trust anchor, such as a simulated world's, the transaction need not exist."""
    explorer = "" if timeline.root_note else EXPLORERS.get(timeline.chain_id, "")
    return f"{explorer}{transaction}" if explorer and is_digest(transaction) else ""


def is_digest(text: str) -> bool:
    """Whether a text is 32 bytes in lower-case hex."""
    return _TRANSACTION.fullmatch(text) is not None


def arguments(event: TimelineEvent) -> str:
    """An event as the contract wrote it: its name, and its arguments as JSON."""
    return f"{value_text(event.name)} {value_text(dict(event.args))}"


def count(items: Iterable[object] | int, one: str, many: str = "") -> str:
    """A number and what is counted: `1 key`, `3 keys`."""
    number = items if isinstance(items, int) else len(tuple(items))
    return f"{number} {one if number == 1 else many or one + 's'}"


def _actor(period: Governance, sender: str) -> str:
    account = value_text(period.owner)
    if period.kind is OwnerKind.EOA:
        other = sender not in ("", period.owner)
        by = f", through {value_text(sender)}," if other else ""
        return f"owner key {account}{by}"
    if period.kind is OwnerKind.CONTRACT:
        return f"owner contract {account}"
    if period.kind in (OwnerKind.RENOUNCED, OwnerKind.UNKNOWN):
        return f"account {value_text(sender)}" if sender else "somebody"
    return f"owner {owner(period)}"


def _ownership(name: str, args: Mapping[str, JsonValue]) -> str:
    old, new = args.get("previousOwner"), args.get("newOwner")
    before, after = value_text(old), value_text(new)
    if name == "OwnershipTransferStarted":
        if new == ZERO_ADDRESS:
            return f"{before} took back the offer of ownership"
        return f"{before} offered ownership to {after}, who may take it at any time"
    if old == ZERO_ADDRESS:
        return f"{after} became the owner"
    if new == ZERO_ADDRESS:
        return f"{before} gave up ownership: nobody owns it any more"
    return f"OWNER CHANGED from {before} to {after}"


def _unreadable(event: TimelineEvent) -> str:
    topics = event.args.get("topics")
    topic = value_text(topics[0]) if isinstance(topics, list) and topics else "none"
    if event.name == "unknown":
        return f"an UNKNOWN event, which no known contract emits, with topic {topic}"
    name, reason = (value_text(event.args.get(key, "")) for key in ("event", "reason"))
    return f"an event {name} that cannot be READ, {reason}, with topic {topic}"


_NUMBERS: Final[Mapping[str, Callable[[int], str]]] = {
    "delay": duration,
    "oldDuration": duration,
    "newDuration": duration,
    "noticePeriod": duration,
    "activatesAt": when,
}
