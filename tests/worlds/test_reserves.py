"""Further sources of a chain, which are asked one after another until two operators answered."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.timeline.explorers import Explorer, answer, refusal
from tests.worlds.audited import Audited, audit
from verifier.collection import Sources, collect_evidence
from verifier.errors import UsageError
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response, answer_json
from verifier.lab.rpc import RpcFault
from verifier.lab.world import RPC_URLS, build
from verifier.model.result import Status, Verdict

EXPLORERS = ("https://explorer-1.lab.invalid/api", "https://explorer-2.lab.invalid/api")
NODE = "https://rpc-c.lab.invalid/"
REFUSED: JsonObject = {
    "error": {"code": -32602, "message": "Archive requests require a personal token."}
}
FREE = answer(refusal("NOTOK", "Free API access is not supported for this chain"))
HISTORY = "authorization.history"


def row(url: str, *, operator: str = "", kind: str = "explorer") -> JsonObject:
    return {
        "url": url,
        "operator": operator or url,
        "chain_id": 8453,
        "kind": kind,
        "log_range": 0 if kind == "explorer" else 40_000,
        "limits": "none",
        "source": "test",
        "date": "2026-06-15",
    }


def having(*rows: JsonObject) -> Callable[[JsonObject], JsonObject]:
    return lambda document: {**document, "reserves": list(rows)}


class Elsewhere:
    """The explorers and the third node, and what they were asked."""

    def __init__(
        self, *, refusing: tuple[str, ...] = (), old_logs: str = "a", **served: Any
    ) -> None:
        self.asked: list[str] = []
        self.refusing = refusing
        self.old_logs = old_logs
        world = build()
        logs: Any = [world.chain.log_json(item) for item in world.chain.logs()]
        for item in logs:
            item["blockTimestamp"] = hex(world.chain.timestamp(int(item["blockNumber"], 16)))
        self._explorer = Explorer(logs, **served)
        self._node = world.nodes[RPC_URLS["a"]]

    def edit(self, method: str, url: str, body: bytes, given: Response) -> Response:
        """What every server answers: of the first nodes, only some show old logs."""
        for place in (*EXPLORERS, NODE):
            if url.startswith(place):
                self.asked.append(place)
                if place in self.refusing:
                    return FREE
                if place == NODE:
                    return answer_json(200, self._node.answer(body))
                return self._explorer.respond(method, url, {}, body)
        old = b'"eth_getLogs"' in body and b'"latest"' not in body
        shown = any(url == RPC_URLS[name] for name in self.old_logs)
        if old and url in RPC_URLS.values() and not shown:
            return answer_json(403, {"jsonrpc": "2.0", "id": 1, **REFUSED})
        return given


def audited(elsewhere: Elsewhere, *rows: JsonObject, **knobs: Any) -> Audited:
    world = Knobs(edit_response=elsewhere.edit, **knobs)
    return audit(world, reference=having(*rows))


def test_an_explorer_is_asked_where_one_node_alone_shows_old_logs() -> None:
    elsewhere = Elsewhere()
    alone = audited(elsewhere)
    (found,) = alone.check(HISTORY)
    assert found.status is Status.WARN
    assert "from one operator only" in found.summary
    both = audited(elsewhere, *map(row, EXPLORERS))
    (found,) = both.check(HISTORY)
    assert found.status is Status.PASS
    assert both.report.verdict is Verdict.AFFIRMING
    assert set(elsewhere.asked) == {EXPLORERS[0]}


def test_nobody_else_is_asked_where_two_operators_answer() -> None:
    elsewhere = Elsewhere(old_logs="ab")
    found = audited(elsewhere, *map(row, EXPLORERS), row(NODE, kind="rpc"))
    assert found.report.verdict is Verdict.AFFIRMING
    assert elsewhere.asked == []


def test_they_are_tried_in_order_and_what_fails_is_named() -> None:
    elsewhere = Elsewhere(refusing=EXPLORERS[:1])
    found = audited(elsewhere, *map(row, EXPLORERS))
    assert found.report.verdict is Verdict.AFFIRMING
    assert list(dict.fromkeys(elsewhere.asked)) == list(EXPLORERS)
    partial = [told for item in found.timeline().coverage for told in item.partial]
    assert any("explorer-1" in source for source, _ in partial)
    assert any("Free API access" in said for _, said in partial)


def test_an_explorer_of_the_same_operator_adds_none() -> None:
    elsewhere = Elsewhere()
    found = audited(elsewhere, row(EXPLORERS[0], operator="lab a"))
    assert [item.status for item in found.check(HISTORY)] == [Status.WARN]


def test_a_further_node_is_asked_where_one_is_gone() -> None:
    """It shows short ranges, so that it alone looks for the creation of each contract, and it is
    asked when the first one has told already which accounts have no code."""
    elsewhere = Elsewhere(old_logs="ab")
    gone = {"rpc_faults": {"b": RpcFault.ERROR}}
    alone = audited(elsewhere, **gone)
    assert alone.report.verdict is Verdict.WARNING
    found = audited(elsewhere, row(NODE, kind="rpc"), **gone)
    assert found.report.verdict is Verdict.AFFIRMING
    assert set(elsewhere.asked) == {NODE}
    scans = [item for item in found.bundle.artifacts if item.kind is Kind.LOG_SCAN]
    given = {f"{item.source}/" for item in scans if item.sha256}
    assert given == {RPC_URLS["a"], NODE}


def test_the_users_own_endpoints_are_asked_alone() -> None:
    elsewhere = Elsewhere()
    found = audited(elsewhere, *map(row, EXPLORERS))
    assert elsewhere.asked
    elsewhere.asked.clear()
    sources = Sources(
        responder=found.world.respond,
        handshakes=found.world.handshake,
        cloud=False,
        rpc_urls=tuple(RPC_URLS.values()),
    )
    collect_evidence(found.question, sources, lambda: found.world.now)
    assert elsewhere.asked == []


def test_one_that_lies_accuses_nobody_and_is_named() -> None:
    def hidden(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [item for item in logs if item["topics"][0] != contracts.COMPOSE_HASH_REMOVED]

    found = audited(Elsewhere(edit=hidden), *map(row, EXPLORERS))
    (result,) = found.check(HISTORY)
    assert result.status is Status.ERROR
    assert "explorer-1" in result.summary


@pytest.mark.parametrize("kind", ["RPC", "", "node"])
def test_a_reserve_of_no_known_kind_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="no known kind"):
        audit(Knobs(), reference=having(row(NODE, kind=kind)))
