"""The vocabulary of a timeline: events, states, who governs, what was exposed.

Blocks are numbers, times Unix seconds from block headers. Hashes, ids and keys are lower-case hex
without 0x, Ethereum addresses EIP-55. A value that nothing proves is unknown, never a default.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Generic, TypeVar

from msgspec import Struct

from verifier.model.chain import ContractCode, OwnerKind, Place, Role
from verifier.model.pending import Outlook, PendingOperation
from verifier.model.result import JsonValue
from verifier.model.witness import WitnessHistory

T = TypeVar("T")


class TimelineEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One log, decoded; or what a known constructor set that emits none, as `Constructed`.

    place        its block and its index in the block; -1 for what has no log
    time         the block's time; None where no node gave it
    block_hash   hash of the block
    transaction  hash of the transaction
    role         which contract emitted it
    address      the address of that contract
    name         the event's name; `unknown` for a topic that no known contract emits, `undecodable`
                 for a known topic with another layout
    args         the arguments by name; the raw topics and data of an `unknown` or `undecodable`
                 event
    sender       the account that signed the transaction; "" where no node gave the transaction
    to           the transaction's recipient; "" for a creation, and where no node gave the
                 transaction
    calldata     the transaction's input; b"" also where no node gave it
    provisional  whether its block was not finalized yet
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

    compose_hashes          the manifest hashes that may start
    devices                 the ids of the machines that may run it, 32 bytes each
    any_device              whether every machine may
    require_tcb_up_to_date  whether the machine's TCB must be up to date
    upgrades_disabled       whether the contract's code can no longer be replaced
    implementation          the address of the contract's code; "" where no event names it
    code                    the build of the reference values that this code is; None for code that
                            is not known
    owner                   who owns the contract; "" for nobody, and where no event says it
    pending_owner           who was offered the contract and has not accepted it; "" for nobody
    continuous              False from the first event after which events no longer tell the state:
                            an upgrade to unknown code or to code that keeps its state in other
                            slots, or an event that cannot be read
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
    """What a KMS's contract allows at one place in the chain.

    os_images           the hashes of the OS images that apps may run on, 32 bytes each
    aggregated_mrs      the builds of the KMS itself that are allowed, by mrAggregated, 32 bytes
                        each
    devices             the ids of the machines that the KMS itself may run on, 32 bytes each
    root_key            its root key, compressed secp256k1; "" where no event says it
    gateway_app_id      the text in which guests search for the id of their gateway; "" for none
    app_implementation  the code that new apps are created with, an address; "" where no event says
                        it
    implementation      the address of the contract's code; "" where no event names it
    code                the build of the reference values that this code is; None for code that is
                        not known
    owner               who owns the contract; "" for nobody, and where no event says it
    pending_owner       who was offered the contract and has not accepted it; "" for nobody
    continuous          whether events still tell the state, as in `AppState`
    """

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
    """Who could change a contract during one period.

    role        which contract
    owner       the owner's address; "" where it was renounced or is not known
    kind        what kind of account the owner is
    since       where the period begins
    since_time  when it begins; None where no node gave the time
    until       where it ends; None for the present
    until_time  when it ends; None for the present, and where no node gave the time
    threshold   how many signers of a Safe decide; None for any other owner and where it is not
                known
    signers     the signers of a Safe; () for any other owner and where they are not known
    modules     the modules of a Safe, which act without the threshold; () for none known
    guard       the contract that may forbid what a Safe does; "" for none
    delay       a timelock's delay in seconds; None for any other owner and where it is not known
    proposers   who may propose to a timelock; () for none known
    executors   who may carry out what the delay is over for; () for none known
    admins      who may change these roles; () for none known
    keys        the least number of keys that suffices; None where it is not known
    notice      the least time in seconds that a change is public before it takes effect; 0 for
                none, None where it is not known
    own_word    whether some of this is what a contract of unknown code says of itself
    disputed    which endpoints contradict each other about the owner, and what they were asked; ""
                for none
    remarks     what else a reader has to know, such as what goes round the threshold or the delay
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

    kind      what kind of window or fact
    subject   the manifest hash, key or address that it is about
    since     when it begins, Unix seconds; None where that is not known
    until     when it ends, Unix seconds; None for the present, and where that is not known
    words     the same for somebody who has never read a contract
    manifest  whether a manifest with that hash is known; None where it is about no manifest
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


class Permission(Struct, frozen=True, kw_only=True):
    """A manifest that may start at the end of a timeline, and how old it is.

    What a manifest says of its own age is nothing: it is as old as the first event that allowed it,
    or the first time that an earlier audit saw it attested.

    compose_hash  its hash
    first         when it was first allowed, Unix seconds; None where no node gave the time
    since         when its present permission began; None where no node gave the time
    seen          when a verified quote was first seen to measure it; None for never
    """

    compose_hash: str
    first: int | None
    since: int | None
    seen: int | None = None

    def older_than(self, time: int) -> bool | None:
        """Whether it was known before a time (Unix seconds); None where that is not known."""
        if any(moment is not None and moment < time for moment in (self.first, self.seen)):
            return True
        return None if self.first is None else False


class AsOf(Struct, frozen=True, kw_only=True):
    """The finalized block to which a timeline is complete."""

    block: int
    hash: str
    time: int


class Beginning(StrEnum):
    """How it is known that a history begins with the first log."""

    BY_FACTORY = "created by the KMS's factory"
    BY_CONSTRUCTOR = "created by a known constructor"
    CREATED = "created"
    ASSUMED = "assumed"


class Origin(Struct, frozen=True, kw_only=True):
    """Where the logs of a contract begin. They were asked for from block `asked` on; `block` and
    `event` are those of the first log, None and "" without any; `Constructed` and its block where
    the transaction that created the contract was found."""

    kind: Beginning
    asked: int
    block: int | None = None
    event: str = ""

    @property
    def assumed(self) -> bool:
        """Whether nothing shows that the first log is the contract's creation."""
        return self.kind is Beginning.ASSUMED

    @property
    def silent(self) -> bool:
        """Whether the contract's creator may have set anything that neither an event says nor the
        transaction that created it."""
        return self.kind not in (Beginning.BY_FACTORY, Beginning.BY_CONSTRUCTOR)

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

    role       which contract
    address    its address
    first      the first block that was asked for
    last       the last block that was asked for
    origin     why the logs begin there
    sources    the endpoints and explorers that gave every block, or the endpoints that did so
               together
    partial    (endpoint or explorer, what it lacks) of those that did not give every block
    problems   contradictions between the state and the logs that independent sources gave in this
               collection
    disputed   what sources disagree about, and contradictions that one source alone, or an earlier
               answer of it, may have brought about: nobody can tell who is wrong
    unproven   what could not be compared
    operators  how many operators stand behind the sources; 1 where sources gave every block only
               together
    cached     how many answers come from earlier audits
    logs       how many logs there are
    compared   how many values in storage the events were compared with
    proven     how many of these a storage proof against the block's state root gives too
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
    """Who could run what, when, and who could change it.

    With `on`, everything except `as_of` and `coverage` is as it was at that time, and what has no
    end yet had none then.

    chain_id       the chain's EIP-155 id
    app_id         the app id, 20 bytes
    app            the address of the app's contract
    kms            the address of the KMS's contract
    as_of          the finalized block to which it is complete
    coverage       how the logs of each contract are known: the app's, the KMS's, then the others'
    events         every event, in chain order
    app_state      what the app's contract allows at the end
    kms_state      what the KMS's contract allows at the end
    governance     who could change either contract, by contract and then by time
    changes        the notice that each change had
    pending        what owners announced, and neither made nor gave up
    outlook        how what each of them is about to do is known
    exposures      what the history leaves open, by kind and then by time
    permissions    the manifests that may start at the end, the oldest first; one whose age is not
                   known before all others
    manifests      manifest hash → the name of a known manifest with it
    on             the time asked about, Unix seconds; None for the present
    single_source  whether only one operator gave the state, or the logs of the app or the KMS
    root_note      what it means that the attested app rests on another trust anchor than Intel's,
                   in words; "" for Intel's
    notes          what a reader has to know besides
    witness        what an auditor's own log saw; None where none was named
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
    pending: tuple[PendingOperation, ...] = ()
    outlook: tuple[Outlook, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    permissions: tuple[Permission, ...] = ()
    manifests: Mapping[str, str] = {}
    on: int | None = None
    single_source: bool = False
    root_note: str = ""
    notes: tuple[str, ...] = ()
    witness: WitnessHistory | None = None

    @property
    def complete(self) -> bool:
        """Whether every contract's logs are complete and explain its state."""
        return bool(self.coverage) and all(item.complete for item in self.coverage)
