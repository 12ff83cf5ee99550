"""The vocabulary of a timeline: events, states, who governs, what was exposed.

Blocks are numbers, times Unix seconds from block headers. Hashes, ids and keys are lower-case hex
without 0x, Ethereum addresses EIP-55. A value that nothing proves is unknown, never a default.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Generic, TypeVar

from msgspec import Struct

from verifier.model.chain import ContractCode, OwnerKind, Place, Role
from verifier.model.result import JsonValue

T = TypeVar("T")


class TimelineEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One log, decoded.

    `name` is the event's name, `unknown` for a topic that no known contract emits, `undecodable`
    for a known topic with another layout; then `args` holds the raw topics and data. `sender` is
    the account that signed the transaction, "" where no node gave it. `calldata` is the
    transaction's input, `to` its recipient ("" for a creation). `provisional` marks what is not
    finalized yet.
    """

    place: Place
    time: int | None
    block_hash: str
    transaction: str
    role: Role
    address: str
    name: str
    args: Mapping[str, JsonValue]
    sender: str = ""
    to: str = ""
    calldata: bytes = b""
    provisional: bool = False


class Method(StrEnum):
    """How a value is known."""

    EVENT = "event"
    CALLDATA = "creation calldata"
    STORAGE = "storage"
    NEVER_SET = "present state, and no event ever set it"
    CODE = "the contract's code has no such setting"
    UNKNOWN = "unknown"


class Known(Struct, Generic[T], frozen=True):
    """A value and how it is known; None exactly when it is unknown."""

    value: T | None
    method: Method


UNKNOWN: Final[Known[bool]] = Known(None, Method.UNKNOWN)


class AppState(Struct, frozen=True, kw_only=True):
    """What an app's contract allows at one place in the chain.

    `implementation` is the address of its code and `code` the reference values' build that it is,
    None for code that is not known. `continuous` is False from the first event on after which
    events no longer tell the state: an upgrade to unknown code, or to code that keeps its state in
    other slots, or what cannot be read.
    """

    compose_hashes: frozenset[str]
    devices: frozenset[str]
    any_device: Known[bool]
    require_tcb_up_to_date: Known[bool]
    upgrades_disabled: Known[bool]
    implementation: str
    code: ContractCode | None
    owner: str
    pending_owner: str
    continuous: bool


class KmsState(Struct, frozen=True, kw_only=True):
    """What a KMS's contract allows at one place in the chain. `root_key` is its compressed
    secp256k1 public key; `gateway_app_id` the text that guests search for their gateway's id."""

    os_images: frozenset[str]
    aggregated_mrs: frozenset[str]
    devices: frozenset[str]
    root_key: str
    gateway_app_id: str
    app_implementation: str
    implementation: str
    code: ContractCode | None
    owner: str
    pending_owner: str
    continuous: bool


class Governance(Struct, frozen=True, kw_only=True):
    """Who could change a contract during one period; `until` None is the present.

    `threshold` of `signers` decide for a Safe; `modules` go round the threshold, `guard` may
    forbid. `delay` is a timelock's delay in seconds, `proposers` and `admins` hold its roles; an
    empty tuple means that none is known. `keys` is the least number of keys that suffices, None
    where that is unknown. `notice` is the least time in seconds that a change is public before it
    takes effect, 0 for none, None where it is unknown. `own_word` says that some
    of this is what a contract of unknown code says of itself; `remarks` say what goes round it.
    `disputed` says which endpoints contradict each other about the owner, and what they were asked.
    """

    role: Role
    owner: str
    kind: OwnerKind
    since: Place
    since_time: int | None
    until: Place | None
    until_time: int | None
    threshold: int | None = None
    signers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    guard: str = ""
    delay: int | None = None
    proposers: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    keys: int | None = None
    notice: int | None = None
    own_word: bool = False
    disputed: str = ""
    remarks: tuple[str, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """The notice that one change of what may run really had, in seconds; `announced` is the place
    of the event that announced it, None when nothing did."""

    place: Place
    announced: Place | None
    notice: int
    how: str


class ExposureKind(StrEnum):
    """What kind of window or fact."""

    ALLOWED_NEVER_SEEN = "allowed, never seen"
    SEEN_NOT_ALLOWED = "seen, not allowed"
    STALE_STILL_ALLOWED = "superseded, still allowed"
    RUNNING_ALLOWED = "running, allowed"
    RUNNING_NOT_ALLOWED = "running, not allowed"
    AUTHORIZED_BEFORE_SEEN = "authorized before it was seen"
    RAN_AFTER_REMOVAL = "may run on after its removal"
    SINGLE_KEY = "one key alone could ship code"
    UNKNOWN_CODE = "unknown contract code"
    ROOT_KEY_CHANGED = "the KMS root key was another one"


class Exposure(Struct, frozen=True, kw_only=True):
    """One window of time, or one fact at the end of the timeline.

    `subject` is the manifest hash, key or address that it is about, `manifest` says whether a
    manifest with that hash is known (None where it is about no manifest). Times are Unix seconds;
    `until` None is the present. `words` say it to somebody who has never read a contract.
    """

    kind: ExposureKind
    subject: str
    since: int | None
    until: int | None
    words: str
    manifest: bool | None = None


class Sighting(Struct, frozen=True, kw_only=True):
    """A manifest hash that a verified quote measured, and between which times it was seen."""

    compose_hash: str
    first: int
    last: int


class AsOf(Struct, frozen=True, kw_only=True):
    """The finalized block to which a timeline is complete."""

    block: int
    hash: str
    time: int


class Beginning(StrEnum):
    """How it is known that a history begins with the first log."""

    BY_FACTORY = "created by the KMS's factory"
    CREATED = "created"
    ASSUMED = "assumed"


class Origin(Struct, frozen=True, kw_only=True):
    """Where the logs of a contract begin. They were asked for from block `asked` on; `block` and
    `event` are those of the first log, None and "" without any."""

    kind: Beginning
    asked: int
    block: int | None = None
    event: str = ""

    @property
    def assumed(self) -> bool:
        """Whether nothing shows that the first log is the contract's creation."""
        return self.kind is Beginning.ASSUMED

    @property
    def words(self) -> str:
        """The same as a part of a sentence."""
        if not self.assumed:
            factory = " by the KMS's factory" if self.kind is Beginning.BY_FACTORY else ""
            return f"created in block {self.block}{factory}"
        asked = f"assumed: asked from block {self.asked} on"
        if self.block is None:
            return asked
        return f"{asked}, and the first log, {self.event} in block {self.block}, is not a creation"


class Coverage(Struct, frozen=True, kw_only=True):
    """How the logs of one contract are known.

    `first` to `last` was asked for, `origin` says why it begins there. `sources` gave every block
    of it; `partial` (endpoint, what is missing) did not. `problems` are contradictions between the
    state and the logs that independent sources gave in this collection. `disputed` is what sources
    disagree about, and contradictions that one source alone, or an earlier answer of it, may have
    brought about: nobody can tell who is wrong. `unproven` is what could not be compared.
    `operators` counts who stands behind the sources, `logs` and `cached` the logs and the answers
    of earlier audits, `compared` the values in storage that the events explain, `proven` those of
    them that a storage proof gives too, against the block's state root.
    """

    role: Role
    address: str
    first: int
    last: int
    origin: Origin
    sources: tuple[str, ...]
    partial: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    operators: int = 1
    cached: int = 0
    logs: int = 0
    compared: int = 0
    proven: int = 0

    @property
    def complete(self) -> bool:
        """Whether some source gave every block, and the events explain the state."""
        return bool(self.sources) and not (self.problems or self.disputed or self.unproven)


class Timeline(Struct, frozen=True, kw_only=True):
    """Who could run what, when, and who could change it. `events` stand in chain order.

    With `on` (Unix seconds), everything but `as_of` and `coverage` is as it was at that time, and
    what has no end yet had none then.
    """

    chain_id: int
    app_id: str
    app: str
    kms: str
    as_of: AsOf
    coverage: tuple[Coverage, ...]
    events: tuple[TimelineEvent, ...]
    app_state: AppState
    kms_state: KmsState
    governance: tuple[Governance, ...]
    changes: tuple[Change, ...]
    exposures: tuple[Exposure, ...] = ()
    manifests: Mapping[str, str] = {}
    """Manifest hash → the name of a known manifest with it."""
    on: int | None = None
    single_source: bool = False
    root_note: str = ""
    """Whether what it says of the attested app rests on another trust anchor than Intel's."""
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every contract's logs are complete and explain its state."""
        return bool(self.coverage) and all(item.complete for item in self.coverage)
