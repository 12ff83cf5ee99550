"""`--explorer-url` as a user meets it: one endpoint with old logs, and an explorer, over HTTP."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.cli.command import Ran, Run
from tests.cli.test_live import on_localhost
from tests.cli.test_manifest_targets import reach
from tests.timeline.explorers import Edit, Explorer, answer, refusal
from verifier.evidence.chain import contracts
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.serve import serve
from verifier.lab.world import World, build

KEY = "ABCDEF0123456789ABCDEF0123456789"
REFUSED = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"old logs are for customers"}}'
ALONE = "from one operator only"


def without_old_logs(_method: str, url: str, body: bytes, given: Response) -> Response:
    """The second node shows no logs of finalized blocks."""
    if b'"eth_getLogs"' in body and b'"latest"' not in body and "rpc-b" in url:
        return replace(given, body=REFUSED)
    return given


@dataclass(frozen=True)
class Live:
    """A world and its explorer on loopback."""

    world: World
    explorer: Explorer
    nodes: list[str]
    url: str

    @property
    def both(self) -> list[str]:
        """Where to ask, the explorer too."""
        return [*self.nodes, "--explorer-url", self.url]


@contextmanager
def living(folder: Path, **served: Any) -> Iterator[Live]:
    now = int(time.time())  # noqa: TID251 - the command reads the clock too
    world = build(Knobs(now=now, edit_response=without_old_logs))
    # Only finalized logs are asked for, and node and explorer spell them from one chain.
    logs: Any = [world.chain.log_json(item) for item in world.chain.logs()]
    for item in logs:
        item["blockTimestamp"] = hex(world.chain.timestamp(int(item["blockNumber"], 16)))
    explorer = Explorer(logs, **served)
    with on_localhost(world) as port, serve(explorer.respond) as at:
        (_, other), *_ = at.routes.values()
        url = f"http://explorer.localhost:{other}/api?apikey={KEY}"
        yield Live(world, explorer, reach(world, port, folder / "reference.json"), url)


def check(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = next(
        item for item in json.loads(ran.out)["checks"] if item["id"] == "authorization.history"
    )
    return found


def audited(run: Run, live: Live, options: list[str], *more: str | Path) -> dict[str, Any]:
    return check(run(live.world.app_id, *options, "--no-cache", "--format", "json", *more))


@pytest.mark.parametrize("dialect", ["blockscout", "etherscan"])
def test_an_explorer_is_the_second_operator_of_the_logs(
    run: Run, tmp_path: Path, dialect: str
) -> None:
    with living(tmp_path, dialect=dialect) as live:
        alone = audited(run, live, live.nodes)
        assert live.explorer.asked == []
        ran = run(live.world.app_id, *live.both, "--no-cache", "--format", "json", "--save", "kept")
    assert (alone["status"], ALONE in alone["summary"]) == ("warn", True)
    assert (check(ran)["status"], ran.err) == ("pass", "")
    assert {query["apikey"] for query in live.explorer.asked} == {KEY}
    addresses = {query["address"] for query in live.explorer.asked}
    assert len(live.explorer.asked) == len(addresses) >= 2
    report = json.loads(ran.out)
    told = [item for item in report["sources"] if item["kind"] == "explorer-logs"]
    assert len(told) == len(addresses)
    assert all(item["source"].startswith("http://explorer.localhost:") for item in told)
    assert KEY not in ran.out
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in kept)
    offline = run(
        live.world.app_id,
        *("--bundle", "kept", "--trust-bundle", f"sha256:{report['bundle_digest']}"),
        *("--at", report["evaluated_at"], "--unsafe-root", "reference.json", "--format", "json"),
    )
    assert offline.out == ran.out


def test_state_is_not_known_from_an_explorer(run: Run, tmp_path: Path) -> None:
    with living(tmp_path) as live:
        first = live.both.index("--rpc-url")
        one_node = [*live.both[: first + 2], *live.both[first + 4 :]]
        found = audited(run, live, one_node)
    assert (found["status"], ALONE in found["summary"]) == ("warn", True)


def test_an_explorer_of_the_same_operator_adds_none(run: Run, tmp_path: Path) -> None:
    with living(tmp_path) as live:
        same = live.url.replace("explorer.localhost", "localhost")  # as the first node
        found = audited(run, live, [*live.nodes, "--explorer-url", same])
    assert (found["status"], ALONE in found["summary"]) == ("warn", True)


def hidden(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in logs if item["topics"][0] != contracts.COMPOSE_HASH_REMOVED]


def invented(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    added = [item for item in logs if item["topics"][0] == contracts.COMPOSE_HASH_ADDED]
    return [*logs, *(item | {"logIndex": "0x40"} for item in added)]


def changed(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        item | {"data": "0x" + "5e" * 32}
        if item["topics"][0] == contracts.COMPOSE_HASH_ADDED
        else item
        for item in logs
    ]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (hidden, "does not have"),
        (invented, "does not have"),
        (changed, "give different contents"),
    ],
)
def test_a_lie_accuses_nobody_and_names_the_log(
    run: Run, tmp_path: Path, edit: Edit, said: str
) -> None:
    with living(tmp_path, edit=edit) as live:
        found = audited(run, live, live.both)
    assert found["status"] == "error"
    assert said in found["summary"]
    assert "explorer.localhost" in found["summary"]


@pytest.mark.parametrize(
    "reply",
    [
        answer(refusal("NOTOK", "Free API access is not supported for this chain")),
        answer(b"{}", 503),
        answer(b'{"status":"1","message":"OK","result":[{}]}'),
    ],
)
def test_a_refusal_changes_nothing_but_what_is_said(
    run: Run, tmp_path: Path, reply: Response
) -> None:
    with living(tmp_path, instead=lambda _: reply) as live:
        ran = run("timeline", live.world.app_id, *live.both, "--no-cache", "--format", "json")
    assert ran.err == ""
    found = json.loads(ran.out)
    assert (ran.code, found["complete"], found["single_source"]) == (0, True, True)
    for item in found["coverage"]:
        assert item["problems"] == []
        assert any("explorer.localhost" in told["source"] for told in item["partial"])
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize("command", ["app", "timeline", "stage"])
def test_bad_usage_is_said(run: Run, command: str) -> None:
    ran = run(command, "ab" * 20, "--explorer-url", "ftp://x")
    assert (ran.code, ran.out) == (2, "")
    assert "--explorer-url 'ftp://x' is not a URL" in ran.err


def test_the_environment_names_one_for_an_audit(run: Run) -> None:
    ran = run("app", "ab" * 20, VERIFY_EXPLORER_URL="ftp://x")
    assert ran.code == 2
    assert "--explorer-url 'ftp://x' is not a URL" in ran.err
