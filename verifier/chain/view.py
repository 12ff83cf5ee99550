"""Contract state as two operators agree on it, at one finalized block.

The block is the lower of the finalized heads that the endpoints report. A value counts only when
no endpoint gives another one at that block, its hash among them; an error, a null or a missing
answer is never an empty value. What one operator alone gives is marked: `single_source`.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from verifier.checks.case import EMPTY_ID, Case, Question
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence import codec, contracts, json_rpc
from verifier.evidence.contracts import BootInfo, Call
from verifier.evidence.ethereum import checksum_address
from verifier.evidence.json_rpc import Exchanges
from verifier.evidence.measurements import boot_rtmr3, mr_aggregated, mr_system
from verifier.evidence.plan import ChainPlan
from verifier.model.result import EvidenceRef, JsonValue
from verifier.reference.values import KmsRecord, ReferenceValues

T = TypeVar("T")

OPERATORS: Final = 2
"""How many independent operators have to agree."""

MAX_COLLECTION_SECONDS: Final = 600
"""How long a collection may take that began at the time of judgement."""


@dataclass(frozen=True, slots=True)
class Agreed(Generic[T]):
    """A value that every endpoint gave, and where."""

    value: T
    evidence: tuple[EvidenceRef, ...]


def plan_for(case: Case) -> ChainPlan | None:
    """What to read for this attester; None when its KMS has no public contract.

    Works on unverified evidence too, so that collection knows what to ask; the boot infos need a
    verified quote and an identified OS image, and are left out until both are there.
    """
    record = case.kms_record
    if record is None or record.contract is None or record.chain_id is None:
        return None
    by_address = record.generation != "G3"
    return ChainPlan(
        chain_id=record.chain_id,
        kms=record.contract,
        app=checksum_address(case.identity.app_id) if by_address else None,
        app_id=case.identity.app_id,
        compose_hash=case.identity.compose_hash,
        os_image_hash=_os_image_hash(case),
        boot_infos=_boot_infos(case),
        deployed_block=record.deployed_block,
    )


def asked_plan(question: Question) -> ChainPlan | None:
    """What to read for an app that gives no evidence of its own, under the KMS that the relying
    party names; None where it names none. Nothing in it is measured."""
    record, app_id = question.kms, question.app_id
    if record is None or app_id is None or record.contract is None or record.chain_id is None:
        return None
    raw = bytes.fromhex(app_id)
    return ChainPlan(
        chain_id=record.chain_id,
        kms=record.contract,
        app=checksum_address(raw) if record.generation != "G3" else None,
        app_id=raw,
        compose_hash=None,
        os_image_hash=None,
        boot_infos=(),
        deployed_block=record.deployed_block,
    )


def _os_image_hash(case: Case) -> bytes | None:
    """The OS image by its registers; what an event says about it is not asked."""
    row = case.os_image
    return bytes.fromhex(row.os_image_hash) if row is not None and row.os_image_hash else None


def _boot_infos(case: Case) -> tuple[BootInfo, ...]:
    image, identity = _os_image_hash(case), case.identity
    try:
        verified = case.verified
    except (MissingEvidence, Blocked, EvidenceError):
        return ()
    if image is None or identity.compose_hash is None:
        return ()
    return tuple(
        BootInfo(
            app_id=identity.app_id,
            compose_hash=identity.compose_hash,
            instance_id=identity.instance_id or EMPTY_ID,
            device_id=device_id,
            mr_aggregated=mr_aggregated(case.quote, boot_rtmr3(case.events)),
            mr_system=mr_system(case.quote, None),
            os_image_hash=image,
            tcb_status=verified.tcb_status,
            advisory_ids=verified.advisory_ids,
        )
        for device_id in case.device_ids
    )


class ChainView:
    """Reads of one chain at one agreed block, from the exchanges in the evidence.

    Raises MissingEvidence when nobody vouches for the exchanges, or when no endpoint of the chain
    answered.
    """

    def __init__(self, case: Case, plan: ChainPlan) -> None:
        if not case.question.trusted:
            raise MissingEvidence(
                "contract state was read by somebody else, and nobody vouches for it",
                hint="audit online, or vouch for the bundle with --trust-bundle sha256:DIGEST",
            )
        if case.exchanges.collected_until > case.question.at + MAX_COLLECTION_SECONDS:
            raise MissingEvidence(
                "contract state was read after the time of judgement, and does not count",
                hint="judge as of the time of collection, or later",
            )
        self.plan = plan
        self._exchanges = case.exchanges
        self._reference = case.reference
        marker = json_rpc.encode_request(*contracts.get_implementation(plan.kms, "finalized"))
        asked = [
            endpoint
            for endpoint in case.exchanges.endpoints
            if marker in case.exchanges.requests(endpoint)
        ]
        self.foreign = tuple(
            endpoint
            for endpoint in asked
            if _chain_id(case.exchanges, endpoint) not in (None, plan.chain_id)
        )
        self.endpoints = tuple(
            endpoint
            for endpoint in asked
            if _chain_id(case.exchanges, endpoint) == plan.chain_id
            and _finalized(case.exchanges, endpoint) is not None
        )
        if not self.endpoints:
            raise MissingEvidence(
                f"no endpoint of chain {plan.chain_id} answered",
                hint="name an endpoint of that chain with --rpc-url",
            )
        self.number = min(
            number
            for endpoint in self.endpoints
            if (number := _finalized(case.exchanges, endpoint)) is not None
        )
        self._operators = {item: _operator(case.reference, item) for item in self.endpoints}
        self.single_source = len(set(self._operators.values())) < OPERATORS

    def answered(self, call: Call) -> bool:
        """Whether any endpoint gave a result, whatever it says."""
        for endpoint in self.endpoints:
            with suppress(EvidenceError):
                self._exchanges.call(endpoint, *call)
                return True
        return False

    def read(self, call: Call, decode: Callable[[JsonValue, str], T]) -> Agreed[T]:
        """A value at the agreed block; given by one operator alone, it sets `single_source`.

        Raises EvidenceError when endpoints disagree, when none answers, or when an answer is
        malformed.
        """
        method, params = call
        values: list[T] = []
        evidence: list[EvidenceRef] = []
        operators: set[str] = set()
        problem: EvidenceError | None = None
        for endpoint in self.endpoints:
            try:
                answer = self._exchanges.call(endpoint, method, params)
            except EvidenceError as error:
                problem = error
                continue
            values.append(self._exchanges.decoded(answer, decode, f"{method} at {endpoint}"))
            evidence.append(answer.evidence)
            operators.add(self._operators[endpoint])
        if problem is not None and not values:
            raise problem
        self.single_source |= len(operators) < OPERATORS
        if any(value != values[0] for value in values):
            raise EvidenceError(
                f"{method}: {' and '.join(self.endpoints)} disagree at block {self.number}",
                hint="one of the endpoints is wrong: ask another with --rpc-url",
            )
        return Agreed(values[0], tuple(evidence))

    def value(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T:
        """What `read` gives, alone."""
        return self.read(call, decode).value

    def find(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T | None:
        """A value that is good to have: None when no endpoint answers, and a single answer is
        enough. Raises EvidenceError when endpoints disagree or an answer is malformed."""
        if not self.answered(call):
            return None
        single_source = self.single_source
        try:
            return self.read(call, decode).value
        finally:
            self.single_source = single_source

    def each(self, call: Call, decode: Callable[[JsonValue, str], T]) -> tuple[T, ...]:
        """What every endpoint that answered says; answers that are malformed do not count."""
        found: list[T] = []
        for endpoint in self.endpoints:
            with suppress(EvidenceError):
                answer = self._exchanges.call(endpoint, *call)
                found.append(self._exchanges.decoded(answer, decode, endpoint))
        return tuple(found)

    def operators_of(self, endpoints: Iterable[str]) -> int:
        """How many independent operators stand behind these endpoints or explorers."""
        return len({_operator(self._reference, item) for item in endpoints})

    def call(self, to: str, data: str, decode: Callable[[JsonValue, str], T]) -> Agreed[T]:
        """The result of a contract call at the agreed block."""
        return self.read(contracts.eth_call(to, data, hex(self.number)), decode)

    @property
    def header(self) -> Agreed[tuple[str, int]]:
        """Hash and timestamp (Unix seconds) of the agreed block."""
        return self.read(contracts.get_block(hex(self.number)), self._decode_header)

    def app_address(self) -> str:
        """The app contract: the app id itself, or what a G3 KMS registered for it."""
        if self.plan.app is not None:
            return self.plan.app
        call = self.plan.controller_call(hex(self.number))
        return self.read(call, decode_controller).value

    def _decode_header(self, value: JsonValue, what: str) -> tuple[str, int]:
        header = codec.as_object(value, what)
        number = contracts.decode_quantity(header.get("number"), f"{what}: number")
        if number != self.number:
            raise EvidenceError(f"{what}: block {number} instead of {self.number}")
        digest = contracts.decode_word(header.get("hash"), f"{what}: hash")
        return digest.hex(), contracts.decode_time(header.get("timestamp"), what)


def decode_controller(value: JsonValue, what: str) -> str:
    """The controller of a registered G3 app, "" for one that is not registered.

    Raises EvidenceError when the answer is not (bool, address).
    """
    raw = contracts.decode_bytes(value, what)
    if len(raw) != 64:  # noqa: PLR2004 - two words
        raise EvidenceError(f"{what}: not (bool, address)")
    if not contracts.decode_bool("0x" + raw[:32].hex(), what):
        return ""
    return contracts.decode_address("0x" + raw[32:].hex(), what)


def view_for(case: Case) -> tuple[KmsRecord, ChainView] | None:
    """The KMS record and a view of its chain; None when the KMS has no public contract."""
    plan = plan_for(case)
    record = case.kms_record
    if plan is None or record is None:
        return None
    return record, ChainView(case, plan)


def confirmed_ca_key(case: Case, record: KmsRecord) -> bool:
    """Whether a KMS record is that of the measured CA key: by the reference values, or for a KMS
    that the relying party named, by its contract."""
    measured = case.identity.provider_id
    if record.ca_spki:
        return record.ca_spki == measured.hex()
    view = view_for(case)
    if view is None or record.contract is None:
        return False
    info = view[1].call(record.contract, contracts.KMS_INFO, contracts.decode_kms_info)
    if not info.value.ca_pubkey:
        raise MissingEvidence(f"kmsInfo() of {record.contract} holds no CA key to compare with")
    return info.value.ca_pubkey == measured


def _chain_id(exchanges: Exchanges, endpoint: str) -> int | None:
    try:
        answer = exchanges.call(endpoint, "eth_chainId", [])
        return contracts.decode_quantity(answer.value, endpoint)
    except EvidenceError:
        return None


def _finalized(exchanges: Exchanges, endpoint: str) -> int | None:
    method, params = contracts.get_block("finalized")
    try:
        header = codec.as_object(exchanges.call(endpoint, method, params).value, endpoint)
        return contracts.decode_quantity(header.get("number"), endpoint)
    except EvidenceError:
        return None


def _operator(reference: ReferenceValues, endpoint: str) -> str:
    """Who runs an endpoint: the reference values say it by host; hosts that they do not know and
    that share the last two labels of their name are one operator."""
    host = _host(endpoint)
    known = next((row.operator for row in reference.rpc if _host(row.url) == host), None)
    labels = host.split(".")
    return known or (host if labels[-1].isdigit() else ".".join(labels[-2:]))


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")
