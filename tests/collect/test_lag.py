"""A backend that does not have a block yet is asked once more; another one may answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from verifier.collect.collector import Planner, Scope, collect
from verifier.collect.histories import Histories, Scanning
from verifier.collect.http import HttpClient
from verifier.collect.requests import rpc_requests
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain.contracts import Call, get_block, get_code

NODE = "https://node.example"
CALLS: tuple[Call, ...] = (get_block("finalized"), get_code("0x" + "ad" * 20, "0x10"))
NOTHING = Planner(plans=lambda _: (), doubts=lambda _: ())
RESULT = b'{"jsonrpc":"2.0","id":1,"result":"0x01"}'


def error(code: int, message: str) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}
    ).encode()


@dataclass
class Answer:
    """One answer of the node."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Node:
    """A node that lags the first `times` times that it is asked something."""

    lagging: bytes
    times: int
    asked: list[bytes] = field(default_factory=list)

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request."""
        assert (method, url.rstrip("/")) == ("POST", NODE)
        assert headers["content-type"] == "application/json"
        self.asked.append(body)
        return Answer(self.lagging if self.asked.count(body) <= self.times else RESULT)


def collected(node: Node) -> list[bytes]:
    """What the bundle holds of the calls."""
    from verifier.collect.collector import _Collection  # noqa: PLC0415 - its one exchange

    builder = BundleBuilder()
    with HttpClient(clock=lambda: 1, responder=node) as client:
        collection = _Collection(client, Scope(app_id=None, rpc=(), pcs_url=""), NOTHING, builder)
        for request in rpc_requests(NODE, CALLS):
            collection.record(request, collection.ask(request))
    bundle = builder.build()
    return [bundle.blob(item) for item in bundle.of(Kind.JSON_RPC)]


LAGGING = [
    error(-32000, "header not found"),
    error(-32001, "resource not found"),
    b'{"jsonrpc":"2.0","id":1,"result":null}',
]


@pytest.mark.parametrize("lagging", LAGGING)
def test_a_call_is_asked_once_more(lagging: bytes) -> None:
    node = Node(lagging, times=1)
    assert collected(node) == [RESULT] * len(CALLS)
    assert len(node.asked) == 2 * len(CALLS)
    # One that still lags is recorded as it answered.
    node = Node(lagging, times=9)
    assert collected(node) == [lagging] * len(CALLS)
    assert len(node.asked) == 2 * len(CALLS)


@pytest.mark.parametrize(
    "final", [error(-32601, "no such method"), error(3, "execution reverted"), RESULT, b"<html>"]
)
def test_what_is_no_lag_is_not_asked_again(final: bytes) -> None:
    node = Node(final, times=9)
    assert collected(node) == [final] * len(CALLS)
    assert len(node.asked) == len(CALLS)


def test_collection_needs_no_plan() -> None:
    builder = BundleBuilder()
    with HttpClient(clock=lambda: 1, responder=Node(RESULT, 0)) as client:
        collect(client, Scope(app_id=None, rpc=(), pcs_url="", cloud_url=""), NOTHING, builder)
    assert not builder.build().artifacts


@pytest.mark.parametrize("lagging", LAGGING)
def test_the_search_for_a_creation_asks_once_more_too(lagging: bytes) -> None:
    node = Node(lagging, times=1)
    with HttpClient(clock=lambda: 1, responder=node) as client:
        histories = Histories(client, BundleBuilder(), Scanning(), lambda _: None)
        assert histories._ask(NODE, CALLS[1]) == RESULT  # noqa: SLF001 - its one exchange
        histories.close()
    assert len(node.asked) == 2
