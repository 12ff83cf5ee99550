"""A view of one block whose endpoints are functions."""

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from verifier.chain.view import ChainView
from verifier.evidence.bundle import Artifact, BundleBuilder, Kind
from verifier.evidence.chain import contracts, json_rpc
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.json_rpc import Answer, Exchanges
from verifier.evidence.plan import ChainPlan
from verifier.model.result import EvidenceRef, JsonValue
from verifier.reference.generations import NEWEST
from verifier.reference.values import embedded

T = TypeVar("T")

Ask: TypeAlias = Callable[[Call], JsonValue]
"""What an endpoint answers to a call; it raises EvidenceError where it does not."""

PLAN = ChainPlan(
    chain_id=8453, kms="0x" + "6d" * 20, generation=NEWEST, deployed_block=0, app_id=bytes(20)
)


class _Live(Exchanges):
    """Exchanges that are made when they are looked up; nothing is recorded."""

    def __init__(self, plan: ChainPlan, number: int, asked: Mapping[str, Ask]) -> None:
        super().__init__(BundleBuilder().build())
        self._asked = asked
        self._known: dict[str, JsonValue] = {
            "eth_chainId": hex(plan.chain_id),
            "finalized": {"number": hex(number), "timestamp": "0x0"},
        }
        marker = json_rpc.encode_request(*contracts.get_implementation(plan.kms, "finalized"))
        self._requests = {marker: Artifact(kind=Kind.JSON_RPC, source="", collected_at=0)}

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(self._asked)

    def requests(self, endpoint: str) -> Mapping[str, Artifact]:
        return self._requests if endpoint in self._asked else {}

    def call(self, endpoint: str, method: str, params: list[JsonValue]) -> Answer:
        known = self._known.get(str(params[0]) if params else method)
        value = self._asked[endpoint]((method, params)) if known is None else known
        return Answer(value, EvidenceRef(blob=""))

    def answer(self, endpoint: str, method: str, request: str) -> Answer:
        return self.call(endpoint, method, json.loads(request)["params"])

    def decoded(self, answer: Answer, decode: Callable[[JsonValue, str], T], what: str) -> T:
        return decode(answer.value, what)


def view_of(number: int, *asked: Ask, plan: ChainPlan = PLAN) -> ChainView:
    """What these endpoints, each an operator of its own, agree on at a block."""
    endpoints = {f"https://node{index}.example": ask for index, ask in enumerate(asked)}
    return ChainView(plan, _Live(plan, number, endpoints), embedded(), trusted=True, at=0)
