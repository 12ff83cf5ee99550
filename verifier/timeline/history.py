"""The logs of an app's contracts, as the evidence has them, decoded; and what is still to ask.

Four kinds of contracts make one history: the app's own, its KMS's, the contracts that own either,
and the gateway's app. The first two are known from the start; what they say names the others.
Nothing is asked here: `plan_further` says what to ask, and the same object reads the answers.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import chain, zip_longest
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain import calls
from verifier.chain.agreed_logs import AgreedLogs, Scans
from verifier.chain.safe_queues import SafeQueues
from verifier.chain.storage import Layout, account_call, proof_calls
from verifier.chain.view import ChainView, DisagreementError
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.evidence.chain.contract_events import KMS_GOVERNANCE_TOPICS, decode_event
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.chain.log_scan import LogFilter, decode_answer
from verifier.evidence.chain.storage_proofs import parse_proof
from verifier.evidence.plan import ChainPlan, HistoryPlan, ScanPlan
from verifier.model.chain import OPERATORS, ZERO_ADDRESS, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import TimelineEvent
from verifier.reference.generations import newest_like, slots_of
from verifier.timeline.creation import Search, find_creation
from verifier.timeline.gateway import gateway_ids
from verifier.timeline.governance import accounts
from verifier.timeline.keyed import key_calls
from verifier.timeline.pending import waiting_ids

MAX_LOOKUPS: Final = 500
"""Headers and transactions that are looked up one by one; later ones have neither."""
MAX_OWNERS: Final = 8
MAX_ACCOUNTS: Final = 64
MAX_GATEWAYS: Final = 8
_GATEWAY_EVENTS: Final = frozenset({"GatewayAppIdSet", "TproxyAppIdSet", "TProxyAppIdSet"})


class Header(Struct, frozen=True):
    """What every endpoint says of one block."""

    hash: str
    time: int


class Stream(Struct, frozen=True, kw_only=True):
    """One contract's logs.

    role     which contract
    address  its address, EIP-55
    filter   what was asked for
    first    the first block that was asked for
    agreed   what the endpoints agree on
    events   the logs of `agreed`, decoded, in chain order
    """

    role: Role
    address: str
    filter: LogFilter
    first: int
    agreed: AgreedLogs
    events: tuple[TimelineEvent, ...]


class History:
    """Everything that happened to one app's contracts, up to the reader's block.

    `app` is the address of its contract (EIP-55), `queues` what waits for signers of Safes. Raises
    EvidenceError where endpoints contradict each other about a header or a transaction.
    """

    def __init__(
        self,
        reader: ChainView,
        scans: Scans,
        plan: ChainPlan,
        app: str,
        queues: SafeQueues,
    ) -> None:
        self.reader = reader
        self.plan = plan
        self.app = app
        self.queues = queues
        self._scans = scans

    @cached_property
    def app_stream(self) -> Stream:
        """Every log of the app's contract."""
        return self._stream(Role.APP, self.app, ())

    @cached_property
    def kms_stream(self) -> Stream:
        """The governance logs of the KMS's contract."""
        return self._stream(Role.KMS, self.plan.kms, KMS_GOVERNANCE_TOPICS)

    @cached_property
    def owner_streams(self) -> tuple[Stream, ...]:
        """The logs of every contract that ever owned the app or the KMS."""
        return tuple(
            self._stream(role, owner, ())
            for owner, role in self.owners.items()
            if self._code(owner) and owner.lower() not in (self.app.lower(), self.plan.kms.lower())
        )

    @cached_property
    def gateway_streams(self) -> tuple[Stream, ...]:
        """The logs of the apps that the KMS lets carry traffic, as far as anybody was asked."""
        return tuple(
            self._stream(Role.GATEWAY, checksum_address(bytes.fromhex(item)), ())
            for item in self._gateways[:MAX_GATEWAYS]
            if self._scans.asked(self.plan.logs_of("0x" + item))
        )

    @property
    def owners(self) -> dict[str, Role]:
        """The accounts that ever owned the app or the KMS, the present ones first; at most 8."""
        return dict(list(self._owned.items())[:MAX_OWNERS])

    @cached_property
    def _owned(self) -> dict[str, Role]:
        """Every account that ever owned the app or the KMS, or was offered it, the latest first:
        those of the app and the KMS in turn, so that neither crowds out the other's."""
        named = [
            [(owner, role) for owner in self._owners_of(stream)]
            for stream, role in (
                (self.app_stream, Role.APP_OWNER),
                (self.kms_stream, Role.KMS_OWNER),
            )
        ]
        found: dict[str, Role] = {}
        for owner, role in chain.from_iterable(filter(None, pair) for pair in zip_longest(*named)):
            found.setdefault(owner, role)
        found.pop(ZERO_ADDRESS, None)
        return found

    def _owners_of(self, stream: Stream) -> Iterator[str]:
        call = contracts.eth_call(stream.address, contracts.OWNER, hex(self.reader.number))
        # Where no such contract stands, nothing answers; its storage is what is compared. Where
        # endpoints disagree, what any of them says is asked about, and `owner_disputes` says so.
        yield from dict.fromkeys(self.reader.each(call, contracts.decode_address))
        for name in ("OwnershipTransferred", "OwnershipTransferStarted"):
            for event in reversed(stream.events):
                owner = event.args.get("newOwner")
                if event.name == name and isinstance(owner, str):
                    yield owner

    @property
    def gateway_apps(self) -> tuple[str, ...]:
        """The contracts (EIP-55) of the gateways that the KMS names, or named; at most 8."""
        named = self._gateways[:MAX_GATEWAYS]
        return tuple(checksum_address(bytes.fromhex(item)) for item in named)

    @property
    def gateways_left_out(self) -> int:
        """How many gateways' logs are not followed though those of others are: an attacker's text
        can name more than anybody can read."""
        return max(len(self._gateways) - MAX_GATEWAYS, 0) if self.gateway_streams else 0

    def owner_disputes(self, role: Role) -> tuple[str, ...]:
        """What endpoints disagree about when they are asked for the owner of a contract."""
        address = {Role.APP: self.app, Role.KMS: self.plan.kms}.get(role, "")
        call = contracts.eth_call(address, contracts.OWNER, hex(self.reader.number))
        try:
            self.reader.find(call, contracts.decode_address, marks=False)
        except DisagreementError as error:
            return (error.message,)
        except EvidenceError:
            # It is no contract that has an owner.
            return ()
        return ()

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """What of the accounts behind app and KMS was not asked or not answered."""
        found: list[str] = []
        if len(self._owned) > MAX_OWNERS:
            more = len(self._owned) - MAX_OWNERS
            found.append(f"the logs of {more} more former owners were not asked for")
        if len(self._all_accounts) > MAX_ACCOUNTS:
            more = len(self._all_accounts) - MAX_ACCOUNTS
            found.append(f"what {more} more accounts behind the owners are was not asked")
        block = hex(self.reader.number)
        found.extend(
            f"no endpoint says whether the owner {owner} is a contract"
            for owner in self.owners
            if self.reader.find(contracts.get_code(owner, block), contracts.decode_bytes) is None
        )
        return tuple(found)

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """The owners, who holds the roles of timelocks among them, and who signs for all these; at
        most 64."""
        return self._all_accounts[:MAX_ACCOUNTS]

    @cached_property
    def _all_accounts(self) -> tuple[str, ...]:
        events = [event for stream in self.streams() for event in stream.events]
        named = dict.fromkeys([*self.owners, *accounts(events)])
        signers = [item for account in named for item in self._signers(account)]
        return tuple(dict.fromkeys([*named, *signers]))

    def _signers(self, account: str) -> tuple[str, ...]:
        """The owners that an account names, as a Safe does; one without code names nobody."""
        call = contracts.eth_call(account, calls.GET_OWNERS, hex(self.reader.number))
        with suppress(DisagreementError):
            if self._code(account) != b"":
                return self.reader.said(call, contracts.decode_addresses) or ()
        return ()

    def streams(self) -> tuple[Stream, ...]:
        """Every stream, the app's first."""
        return (self.app_stream, self.kms_stream, *self.owner_streams, *self.gateway_streams)

    def events(self) -> tuple[TimelineEvent, ...]:
        """Every event of every stream in chain order, the provisional ones last."""
        found = [event for stream in self.streams() for event in stream.events]
        for stream in (self.app_stream, self.kms_stream):
            found.extend(self._tail(stream))
        return tuple(sorted(found, key=lambda event: event.place))

    def plan_further(self, *, gateways: bool) -> HistoryPlan:
        """What the logs so far call for, all of it; what was asked before is among it.

        With `gateways`, the logs of the gateways' own apps are among it, and what waits for the
        signers of Safes that only propose to a timelock, which waits longer than they do.
        """
        block = hex(self.reader.number)
        first, last = self.plan.deployed_block, self.reader.number
        streams = self.streams()
        events = [event for stream in streams for event in stream.events]
        named = {*self.owners, *accounts(events)}
        filters = [item.filter for item in (streams[1], streams[0], *streams[2:])]
        if gateways:
            followed = self._gateways[:MAX_GATEWAYS]
            filters += [self.plan.logs_of("0x" + item) for item in followed]
        wanted = calls.state_calls(self.plan.kms, self.app, block)
        for stream in streams[:2]:
            wanted.append(stream.filter.call(last + 1, None))
            wanted.extend(key_calls(stream.role, stream.address, stream.events, block).values())
            wanted.extend(self.proof_calls(stream))
        wanted.extend(self._code_calls(block))
        for account in self.accounts:
            wanted.append(contracts.get_code(account, block))
            # Who owns or holds a role is often a contract: asked as one before its code is there.
            if self._code(account) if account not in named else self._code(account) != b"":
                wanted.extend(calls.owner_calls(account, block))
                with suppress(DisagreementError):
                    singleton = self.singleton(account)
                    wanted += [contracts.get_code(singleton, block)] if singleton else []
                if self._proves:
                    wanted.append(account_call(account, block))
        wanted.extend(contracts.get_block(hex(number)) for number in _blocks(events))
        wanted.extend(calls.transaction(digest) for digest in _transactions(events))
        wanted.extend(self._creation_calls())
        wanted.extend(self.creation.calls)
        wanted.extend(contracts.get_code(*item) for item in _first_owned(streams[:2]))
        for account, operation in waiting_ids(events, self.owners):
            wanted.append(calls.timestamp_call(account, operation, block))
        return HistoryPlan(
            scans=tuple(ScanPlan.whole(item, first, last) for item in dict.fromkeys(filters)),
            calls=tuple(wanted),
            safes=tuple(self._safes(events if gateways else ())),
        )

    def _safes(self, events: Iterable[TimelineEvent]) -> Iterator[tuple[str, int]]:
        """The Safes that own a contract at present, and those that these events let propose to a
        timelock, and how many transactions each has made; at most 8."""
        present = [
            next(iter(self._owners_of(stream)), "") for stream in (self.app_stream, self.kms_stream)
        ]
        named = [str(event.args.get("account")) for event in events if event.name == "RoleGranted"]
        block, found = hex(self.reader.number), 0
        for account in dict.fromkeys(filter(None, (*present, *named))):
            call = contracts.eth_call(account, calls.SAFE_NONCE, block)
            with suppress(DisagreementError):
                nonce = self.reader.said(call, contracts.decode_uint)
                if nonce is not None and self._signers(account) and found < MAX_OWNERS:
                    found += 1
                    yield account, nonce

    def proof_calls(self, stream: Stream) -> list[Call]:
        """Proofs of the state that the app's or KMS's events are held against, once there are any.

        The KMS's record tells of which generation the code was, and so which slots to ask for.
        """
        if not stream.events:
            return []
        slots = slots_of(newest_like(self.plan.generation), stream.role)
        if slots is None:
            return []
        block = hex(self.reader.number)
        keyed = key_calls(stream.role, stream.address, stream.events, block)
        return proof_calls(Layout.of(slots), stream.address, keyed.values(), block)

    def header(self, number: int) -> Header | None:
        """Hash and time of a block, None where nobody gave it."""
        found = self.reader.find(contracts.get_block(hex(number)), _decode_header)
        if found is not None and found[0] != number:
            raise EvidenceError(f"block {number}: a node gave block {found[0]} instead")
        return None if found is None else Header(found[1], found[2])

    def implementations(self, role: Role) -> tuple[str, ...]:
        """Every implementation that the contract's Upgraded events name (EIP-55)."""
        stream = self.app_stream if role is Role.APP else self.kms_stream
        named = (
            event.args.get("implementation") for event in stream.events if event.name == "Upgraded"
        )
        return tuple(dict.fromkeys(item for item in named if isinstance(item, str)))

    @property
    def created(self) -> Place | None:
        """Where the app's contract begins: its first log."""
        events = self.app_stream.events
        return events[0].place if events else None

    @cached_property
    def creation(self) -> Search:
        """The search for the transaction that created an app which is no proxy."""
        stream = self.app_stream
        if not stream.agreed.sources:
            return Search()
        return find_creation(self.reader, self.app, stream.first, stream.events)

    def singleton(self, account: str) -> str:
        """Whose code a Safe's proxy runs (EIP-55), "" where its first slot holds no address. Raises
        DisagreementError."""
        call = calls.storage(account, calls.SINGLETON_SLOT, hex(self.reader.number))
        return self.reader.said(call, calls.decode_optional_account) or ""

    @cached_property
    def _proves(self) -> bool:
        """Whether any endpoint proves what is stored, as most public nodes do not."""
        asked = self.proof_calls(self.app_stream)
        return any(self.reader.each(call, parse_proof) for call in asked)

    def _creation_calls(self) -> Iterator[Call]:
        """The app's flags in the block that created it: only an archive node can tell."""
        if self.created is not None:
            block = hex(self.created.block)
            for slot in calls.APP_WORDS:
                yield calls.storage(self.app, slot, block)

    def _code_calls(self, block: str) -> Iterator[Call]:
        for role in (Role.APP, Role.KMS):
            for address in self.implementations(role):
                yield contracts.get_code(address, block)

    def _code(self, address: str) -> bytes | None:
        """The code at an address, empty without any; None where nobody told it."""
        call = contracts.get_code(address, hex(self.reader.number))
        return self.reader.find(call, contracts.decode_bytes)

    def _first_block(self, wanted: LogFilter) -> int:
        """Where the logs of a contract begin: where it has no code in the block before, there;
        else where the KMS's contract was deployed, before which no app of it is.

        Only who shows short ranges looks for that block. Where another operator answered for the
        blocks before it, too, nothing rests on the first one alone."""
        begins = self._scans.begins(wanted, self._asked)
        if begins is None or begins <= self.plan.deployed_block:
            return self.plan.deployed_block
        call = contracts.get_code(wanted.address, hex(begins - 1))
        before = self._scans.told(wanted, self.plan.deployed_block, begins - 1)
        after = self._scans.told(wanted, begins, self.reader.number)
        alone = not before or self.reader.operators_of((*before, *after)) < OPERATORS
        code = self.reader.find(call, contracts.decode_bytes, marks=alone)
        return begins if code == b"" else self.plan.deployed_block

    @property
    def _asked(self) -> tuple[str, ...]:
        return (*self.reader.endpoints, *self.reader.doubtful)

    @cached_property
    def _gateways(self) -> tuple[str, ...]:
        """The app ids in the KMS's gateway text and in every text that it ever had, the latest
        first, without the audited app's own."""
        call = contracts.eth_call(self.plan.kms, contracts.GATEWAY_APP_ID, hex(self.reader.number))
        texts = [self.reader.find(call, contracts.decode_string) or ""]
        texts += [
            str(next(iter(event.args.values()), ""))
            for event in reversed(self.kms_stream.events)
            if event.name in _GATEWAY_EVENTS
        ]
        ids = dict.fromkeys(item for text in texts for item in gateway_ids(text).ids)
        ids.pop(self.app[2:].lower(), None)
        return tuple(ids)

    def _stream(self, role: Role, address: str, topics: tuple[str, ...]) -> Stream:
        wanted = self.plan.logs_of(address, topics)
        first = self._first_block(wanted)
        view = self.reader
        agreed = self._scans.agree(wanted, first, view.number, view.endpoints, view.doubtful)
        events = tuple(self._event(role, address, item) for item in agreed.logs)
        return Stream(
            role=role, address=address, filter=wanted, first=first, agreed=agreed, events=events
        )

    def _tail(self, stream: Stream) -> Iterator[TimelineEvent]:
        """What happened after the finalized block, by any endpoint's word."""
        call = stream.filter.call(self.reader.number + 1, None)
        found: dict[Place, TimelineEvent] = {}
        for answer in self.reader.each(call, _as_received):
            with suppress(EvidenceError):
                for item in decode_answer(stream.filter, answer, stream.address):
                    event = self._event(stream.role, stream.address, item)
                    if event.place.block > self.reader.number:
                        found.setdefault(event.place, replace(event, provisional=True))
        yield from found.values()

    def _event(self, role: Role, address: str, item: TimedLog) -> TimelineEvent:
        decoded = decode_event(item.log)
        sender, to, calldata = self._transaction(item.log.transaction)
        header = self.header(item.log.block)
        if header is not None and header.hash != item.block_hash:
            raise EvidenceError(
                f"a log of {address} names another block {item.log.block} than the chain has"
            )
        return TimelineEvent(
            place=Place(item.log.block, item.log.log_index),
            time=item.time if header is None else header.time,
            block_hash=item.block_hash,
            transaction=item.log.transaction,
            role=role,
            address=checksum_address(bytes.fromhex(address[2:])),
            name=decoded.name,
            args=decoded.args,
            sender=sender,
            to=to,
            calldata=calldata,
        )

    def _transaction(self, digest: str) -> tuple[str, str, bytes]:
        found = self.reader.find(calls.transaction(digest), calls.decode_transaction)
        if found is None:
            return "", "", b""
        if found[0] != digest:
            raise EvidenceError(f"transaction 0x{digest}: a node gave another one")
        return found[1:]


def _first_owned(streams: Iterable[Stream]) -> Iterator[tuple[str, str]]:
    """The accounts that ever became owners, and the block (hex) in which each did."""
    for stream in streams:
        for event in stream.events:
            owner = event.args.get("newOwner")
            if event.name == "OwnershipTransferred" and owner != ZERO_ADDRESS:
                yield str(owner), hex(event.place.block)


def _decode_header(value: JsonValue, what: str) -> tuple[int, str, int]:
    header = codec.as_object(value, what)
    number = contracts.decode_quantity(header.get("number"), f"{what}: number")
    digest = contracts.decode_word(header.get("hash"), f"{what}: hash").hex()
    return number, digest, contracts.decode_time(header.get("timestamp"), what)


def _as_received(value: JsonValue, _what: str) -> JsonValue:
    return value


def _blocks(events: Iterable[TimelineEvent]) -> list[int]:
    return list(dict.fromkeys(event.place.block for event in events))[:MAX_LOOKUPS]


def _transactions(events: Iterable[TimelineEvent]) -> list[str]:
    return list(dict.fromkeys(event.transaction for event in events))[:MAX_LOOKUPS]
