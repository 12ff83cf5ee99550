"""Contract state as two operators agree on it, at one finalized block.

The block is the lower of the finalized heads that the endpoints report. A value counts only when
no endpoint answers otherwise at that block, its hash among them; an error, a null or a missing
answer is never an empty value. A revert is an answer, too: the contract refuses. Two answers that
differ are no finding about the app, but an error that names both endpoints: one endpoint can
neither clear nor accuse. What one operator alone gives is marked: `single_source`.

An endpoint is in doubt if it was asked for state at that block, and the evidence does not show that
it serves the chain and has the block. It then supports nothing, and a contradiction between it and
the others still counts against both. Otherwise one spoilt answer would be enough to remove an
endpoint that disagrees.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Any, Final, Generic, TypeVar, cast

from msgspec import Struct

from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence import codec
from verifier.evidence.chain import contracts, json_rpc
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.json_rpc import Exchanges, Reverted
from verifier.evidence.plan import ChainPlan
from verifier.model.chain import OPERATORS
from verifier.model.result import EvidenceRef, JsonValue
from verifier.reference.values import ReferenceValues

T = TypeVar("T")

MAX_COLLECTION_SECONDS: Final = 600
"""How long a collection may take that began at the time of judgement."""
_SHOWN: Final = 66
"""How many characters of a parameter or an answer are shown: a word with its 0x."""


class DisagreementError(EvidenceError):
    """Two endpoints answer the same question differently, or one alone speaks against an app:
    neither is believed."""


class Agreed(Struct, Generic[T], frozen=True):
    """A value that every endpoint gave, and where."""

    value: T
    evidence: tuple[EvidenceRef, ...]


class _Told(Struct, frozen=True):
    """The answer of one endpoint: a decoded value, a revert (a problem, and no evidence), or what
    cannot be decoded (a problem, and the value as received)."""

    endpoint: str
    value: object = None
    evidence: EvidenceRef | None = None
    problem: EvidenceError | None = None

    def is_like(self, other: "_Told") -> bool:
        """Whether another endpoint answered the same."""
        if (self.problem is None, self.evidence is None) != (
            other.problem is None,
            other.evidence is None,
        ):
            return False
        return self.value == other.value

    @property
    def words(self) -> str:
        """The answer, to be shown beside another one."""
        if self.problem is None:
            return f"answers {_shortened(self.value)}"
        return "says that it reverts" if self.evidence is None else "answers what cannot be read"


class ChainView:
    """Reads of one chain at one agreed block, from the exchanges in the evidence.

    `trusted` says whether the collector's own observations count, `at` is the time of judgement
    (Unix seconds). `endpoints` are those of the plan's chain that told its finalized block,
    `doubtful` those that were asked for state and do not show that, `foreign` the other ones of
    another chain; `number` is the agreed block, and `newest` the latest time (Unix seconds) of one
    that an endpoint calls finalized.

    Raises MissingEvidence when the evidence holds no exchange, when they were made after the time
    of judgement, when no endpoint of the chain answered, and, checked last, when nobody vouches for
    them: the user should not be asked to vouch for exchanges that would not help.
    """

    def __init__(
        self,
        plan: ChainPlan,
        exchanges: Exchanges,
        reference: ReferenceValues,
        *,
        trusted: bool,
        at: int,
    ) -> None:
        if not exchanges.endpoints:
            raise MissingEvidence(
                "the evidence holds no contract state",
                hint="audit online, with `verify APP_ID` alone: no file holds contract state",
            )
        if exchanges.collected_until > at + MAX_COLLECTION_SECONDS:
            raise MissingEvidence(
                "contract state was read after the time of judgement, and does not count",
                hint="judge as of the time of collection, or later",
            )
        self.plan = plan
        self._exchanges = exchanges
        self._operator_of = cache(reference.operator_of)
        heads = exchanges.once(("heads", plan.chain_id, plan.kms), lambda: _heads(plan, exchanges))
        self.endpoints, self.doubtful, self.foreign = heads.endpoints, heads.doubtful, heads.foreign
        # Every view of the same endpoints reads the same answers.
        self._told: dict[object, tuple[list[_Told], EvidenceError | None]] = exchanges.once(
            ("told", self.endpoints, self.doubtful), dict
        )
        if not self.endpoints:
            others = f"; {', '.join(self.foreign)} serves another chain" if self.foreign else ""
            raise MissingEvidence(
                f"no endpoint of chain {plan.chain_id} answered{others}",
                hint="audit online, and name an endpoint of that chain with --rpc-url",
            )
        if not trusted:
            raise MissingEvidence(
                "contract state was read by somebody else, and nobody vouches for it",
                hint="audit online; or, if you know who collected this bundle, vouch for it with "
                "--trust-bundle sha256:DIGEST",
            )
        self.number, self.newest = heads.number, heads.newest
        self.single_source = self.operators_of(self.endpoints) < OPERATORS

    def accuse(self, outcome: T, said: str) -> T:
        """An outcome that speaks against the app, where two operators say what it rests on.

        Raises DisagreementError where one alone does: it can neither clear nor accuse.
        """
        if self.single_source:
            raise DisagreementError(
                f"by what one operator alone says, or said in an earlier audit: {said}",
                hint="ask another endpoint of the same chain with --rpc-url",
            )
        return outcome

    def read(self, call: Call, decode: Callable[[JsonValue, str], T]) -> Agreed[T]:
        """A value at the agreed block; given by one operator alone, it sets `single_source`.

        Raises DisagreementError when endpoints answer differently, EvidenceError when none gives a
        value, or when all give the same malformed one.
        """
        return self._agreed(call, *self._answers(call, decode))

    def _agreed(
        self, call: Call, answers: "list[_Told]", silent: EvidenceError | None
    ) -> Agreed[Any]:
        if not self._by_the_sure(answers):
            raise silent or EvidenceError(f"{_named(call)}: nobody was asked")
        self.single_source |= self.operators_of(item.endpoint for item in answers) < OPERATORS
        first = answers[0]
        for other in answers[1:]:
            if not first.is_like(other):
                raise DisagreementError(
                    f"{_named(call)}: {first.endpoint} and {other.endpoint} disagree at block "
                    f"{self.number}: one {first.words}, the other {other.words}",
                    hint="one of the endpoints is wrong: ask another with --rpc-url",
                )
        if first.problem is not None:
            raise first.problem
        return Agreed(first.value, tuple(item.evidence for item in answers if item.evidence))

    def _answers(
        self, call: Call, decode: Callable[[JsonValue, str], T]
    ) -> "tuple[list[_Told], EvidenceError | None]":
        """What each endpoint answered, and why the last one that did not is silent."""
        method, params = call
        request = json_rpc.encode_request(method, params)
        key = request, decode
        if key not in self._told:
            self._told[key] = self._ask(method, request, decode)
        return self._told[key]

    def _ask(
        self, method: str, request: str, decode: Callable[[JsonValue, str], T]
    ) -> "tuple[list[_Told], EvidenceError | None]":
        answers: list[_Told] = []
        silent: EvidenceError | None = None
        for endpoint in (*self.endpoints, *self.doubtful):
            try:
                answer = self._exchanges.answer(endpoint, method, request)
            except Reverted as error:
                answers.append(_Told(endpoint, problem=error))
                continue
            except EvidenceError as error:
                silent = error
                continue
            try:
                value = self._exchanges.decoded(answer, decode, f"{method} at {endpoint}")
            except EvidenceError as error:
                answers.append(_Told(endpoint, answer.value, answer.evidence, error))
            else:
                answers.append(_Told(endpoint, value, answer.evidence))
        return answers, silent

    def value(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T:
        """What `read` gives, alone."""
        return self.read(call, decode).value

    def find(
        self, call: Call, decode: Callable[[JsonValue, str], T], *, marks: bool = True
    ) -> T | None:
        """An optional value: None when no endpoint answers, or the contract refuses.

        One that a single operator gives sets `single_source`, unless nothing rests on it alone
        (`marks`). Raises DisagreementError when endpoints answer differently, EvidenceError when an
        answer is malformed.
        """
        answers, silent = self._answers(call, decode)
        if not self._by_the_sure(answers):
            return None
        single_source = self.single_source
        try:
            return cast("T", self._agreed(call, answers, silent).value)
        except Reverted:
            return None
        finally:
            self.single_source = self.single_source if marks else single_source

    def said(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T | None:
        """What an account answers that may be any contract; None for an answer that is malformed or
        missing.

        Raises DisagreementError.
        """
        try:
            return self.find(call, decode)
        except DisagreementError:
            raise
        except EvidenceError:
            return None

    def each(self, call: Call, decode: Callable[[JsonValue, str], T]) -> tuple[T, ...]:
        """What every endpoint that answered says; answers that are malformed do not count."""
        found: list[T] = []
        for endpoint in (*self.endpoints, *self.doubtful):
            with suppress(EvidenceError):
                answer = self._exchanges.call(endpoint, *call)
                found.append(self._exchanges.decoded(answer, decode, endpoint))
        return tuple(found)

    def operators_of(self, endpoints: Iterable[str]) -> int:
        """How many independent operators stand behind these endpoints or explorers; nobody does
        behind one that is in doubt."""
        sure = (item for item in endpoints if item not in self.doubtful)
        return len({self._operator_of(item) for item in sure})

    def _by_the_sure(self, answers: "list[_Told]") -> bool:
        """Whether any of these answers is of an endpoint that is not in doubt."""
        return any(item.endpoint in self.endpoints for item in answers)

    def call(self, to: str, data: str, decode: Callable[[JsonValue, str], T]) -> Agreed[T]:
        """The result of a contract call at the agreed block."""
        return self.read(contracts.eth_call(to, data, hex(self.number)), decode)

    @property
    def header(self) -> Agreed[tuple[str, int]]:
        """Hash and timestamp (Unix seconds) of the agreed block."""
        return self.read(contracts.get_block(hex(self.number)), self._decode_header)

    def app_address(self) -> str:
        """The app's contract: the app id itself, or what the KMS registered for it, "" for none."""
        if self.plan.app is not None:
            return self.plan.app
        call = self.plan.controller_call(hex(self.number))
        return self.read(call, contracts.decode_controller).value

    def _decode_header(self, value: JsonValue, what: str) -> tuple[str, int]:
        header = codec.as_object(value, what)
        number = contracts.decode_quantity(header.get("number"), f"{what}: number")
        if number != self.number:
            raise EvidenceError(f"{what}: block {number} instead of {self.number}")
        digest = contracts.decode_word(header.get("hash"), f"{what}: hash")
        return digest.hex(), contracts.decode_time(header.get("timestamp"), what)


def _named(call: Call) -> str:
    """A call, as it is named to people: what is asked of which contract."""
    method, params = call
    if params and isinstance(params[0], dict):
        return f"{method} {str(params[0].get('data'))[:_SHOWN]} of {params[0].get('to')}"
    return " ".join([method, *(str(item)[:_SHOWN] for item in params[:2])])


def _shortened(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Heads(Struct, frozen=True):
    """Which endpoints count for one KMS, and the newest block time they tell (see ChainView), and
    the lowest finalized block that one of `endpoints` told; 0 without any."""

    endpoints: tuple[str, ...]
    doubtful: tuple[str, ...]
    foreign: tuple[str, ...]
    number: int
    newest: int


def _heads(plan: ChainPlan, exchanges: Exchanges) -> _Heads:
    marker = json_rpc.encode_request(*contracts.get_implementation(plan.kms, "finalized"))
    chains = {
        endpoint: _chain_id(exchanges, endpoint)
        for endpoint in exchanges.endpoints
        if marker in exchanges.requests(endpoint)
    }
    heads = {
        endpoint: head
        for endpoint, chain in chains.items()
        if chain == plan.chain_id and (head := _finalized(exchanges, endpoint)) is not None
    }
    blocks = {json_rpc.encode_request(*contracts.get_block(hex(n))) for n, _ in heads.values()}
    doubtful = tuple(
        endpoint
        for endpoint in exchanges.endpoints
        if endpoint not in heads and not blocks.isdisjoint(exchanges.requests(endpoint))
    )
    return _Heads(
        endpoints=tuple(heads),
        doubtful=doubtful,
        foreign=tuple(
            endpoint
            for endpoint, chain in chains.items()
            if chain not in (None, plan.chain_id) and endpoint not in doubtful
        ),
        number=min((number for number, _ in heads.values()), default=0),
        newest=max((time for _, time in heads.values()), default=0),
    )


def _chain_id(exchanges: Exchanges, endpoint: str) -> int | None:
    try:
        answer = exchanges.call(endpoint, "eth_chainId", [])
        return contracts.decode_quantity(answer.value, endpoint)
    except EvidenceError:
        return None


def _finalized(exchanges: Exchanges, endpoint: str) -> tuple[int, int] | None:
    """Number and time of the block that an endpoint calls finalized."""
    method, params = contracts.get_block("finalized")
    try:
        header = codec.as_object(exchanges.call(endpoint, method, params).value, endpoint)
        number = contracts.decode_quantity(header.get("number"), endpoint)
        return number, contracts.decode_time(header.get("timestamp"), endpoint)
    except EvidenceError:
        return None
