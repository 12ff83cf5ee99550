"""What the log cache says is never a reason to accuse an app."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.command import Run
from tests.cli.test_live import NO_REGISTRY, POLICY
from tests.cli.test_timeline import (
    Asked,
    Live,
    database,
    document,
    problems,
    served,
    with_cache,
    without_cache_marks,
)
from verifier.evidence.chain import contracts
from verifier.lab.response import Response

REFUSED = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"old logs are for customers"}}'
NOTHING = b'{"jsonrpc":"2.0","id":1,"result":[]}'


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    yield from served(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@dataclass
class Refusing(Asked):
    """The same for nodes that stop showing logs once they are named."""

    refused: set[str] = field(default_factory=set)
    instead: bytes = REFUSED

    def __call__(self, method: str, url: str, body: bytes, answer: Response) -> Response:
        """Refuse a request for logs of finalized blocks."""
        given = super().__call__(method, url, body, answer)
        named = any(name in url for name in self.refused)
        if named and b'"eth_getLogs"' in body and b'"latest"' not in body:
            return replace(given, body=self.instead)
        return given


def poison(cache: Path, topic: str, endpoint: str = "%") -> int:
    """Take the first log with a topic out of what is kept, as somebody would who can write there:
    with a hash that fits. How many answers were changed."""
    with closing(sqlite3.connect(database(cache))) as connection, connection:
        rows = connection.execute(
            "SELECT answers.rowid_, body FROM (SELECT stream || ' ' || first || ' ' || last"
            " AS rowid_, stream, sha256 FROM answers) AS answers"
            " JOIN bodies USING (sha256) JOIN streams ON streams.id = answers.stream"
            " WHERE endpoint LIKE ?",
            (endpoint,),
        ).fetchall()
        changed = 0
        for key, body in rows:
            answer = json.loads(body)
            logs = answer["result"]
            at = next((at for at, log in enumerate(logs) if log["topics"][0] == topic), None)
            if at is None:
                continue
            del logs[at]
            lie = json.dumps(answer).encode()
            digest = hashlib.sha256(lie).digest()
            connection.execute("INSERT OR REPLACE INTO bodies VALUES (?, ?)", (digest, lie))
            connection.execute(
                "UPDATE answers SET sha256 = ? WHERE stream = ? AND first = ? AND last = ?",
                (digest, *map(int, key.split())),
            )
            changed += 1
        return changed


def test_a_poisoned_cache_is_asked_again_where_the_state_contradicts_it(
    run: Run, live: Live, cache: Path
) -> None:
    honest = with_cache(run, live, cache)
    assert poison(cache, contracts.COMPOSE_HASH_REMOVED) == 2
    healed = with_cache(run, live, cache)
    assert without_cache_marks(healed) == without_cache_marks(honest)
    assert healed.code == 0
    assert "does not fit the rest, and is asked for again" in healed.err
    again = with_cache(run, live, cache)
    assert (again.code, again.err) == (0, "")
    assert any(item["cached"] for item in document(again)["coverage"])


def test_one_poisoned_endpoint_is_asked_again(run: Run, live: Live, cache: Path) -> None:
    honest = with_cache(run, live, cache)
    assert poison(cache, contracts.COMPOSE_HASH_REMOVED, "%127.0.0.1%") == 1
    healed = with_cache(run, live, cache)
    assert (healed.code, healed.err) == (0, "")
    assert without_cache_marks(healed) == without_cache_marks(honest)
    assert with_cache(run, live, cache).code == 0


def test_an_endpoint_that_lied_once_accuses_nobody_later(
    run: Run, cache: Path, tmp_path: Path
) -> None:
    """A node that prunes, or lags, and gives no logs; and is honest, or replaced, the next day."""
    lying = Refusing(refused={"rpc-b"}, instead=NOTHING)
    for live in served(tmp_path, lying):
        (tmp_path / NO_REGISTRY[1]).write_text(POLICY)
        policy = ("--policy", tmp_path / NO_REGISTRY[1])
        audit = (live.world.app_id, *live.options, *policy, "--format", "json")
        first = run(*audit, XDG_CACHE_HOME=str(cache))
        assert (first.code, json.loads(first.out)["verdict"]) == (3, "none")
        lying.refused.clear()
        again = run(*audit, XDG_CACHE_HOME=str(cache))
        assert (again.code, json.loads(again.out)["verdict"]) == (0, "affirming")


def test_an_earlier_answer_that_nobody_can_ask_again_accuses_nobody(
    run: Run, cache: Path, tmp_path: Path
) -> None:
    refused: set[str] = set()
    for live in served(tmp_path, Refusing(refused=refused)):
        with_cache(run, live, cache)
        assert poison(cache, contracts.COMPOSE_HASH_REMOVED, "%127.0.0.1%") == 1
        refused.add("rpc-b")
        ran = with_cache(run, live, cache)
        assert (ran.code, problems(ran)) == (3, [])
        (said,) = (item for cover in document(ran)["coverage"] for item in cover["disputed"])
        assert re.search(
            r"localhost.* gives the log .* which http://127\.0\.0\.1\S* does not have", said
        )
        audit = run(live.world.app_id, *live.options, "--format", "json", XDG_CACHE_HOME=str(cache))
        checks = {item["id"]: item for item in json.loads(audit.out)["checks"]}
        assert (audit.code, checks["authorization.history"]["status"]) == (3, "error")
        assert not [item for item in checks.values() if item["status"] == "fail"]
