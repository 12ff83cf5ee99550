"""Cells of the log cache that anybody may have edited: one message, and a scan as good as ever."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.command import command_in
from tests.timeline.providers import PROVIDERS, Shim
from tests.timeline.world import World, assert_complete, whole
from verifier.collect.log_cache import LogCache, clear, contents
from verifier.collect.scan import Node, scan_logs
from verifier.errors import EvidenceError, NetworkError

DAMAGE = {
    "a seam of letters": "UPDATE streams SET seam_block = 'abc'",
    "a negative seam": "UPDATE streams SET seam_block = -1",
    "a seam that no block has": "UPDATE streams SET seam_block = 9000000000000000000",
    "a seam above the chain": "UPDATE streams SET seam_block = 20500",
    "a seam's hash that is none": "UPDATE streams SET seam_hash = 7",
    "another hash": "UPDATE streams SET seam_hash = printf('%064d', 0)",
    "a time of letters": "UPDATE answers SET at = 'abc'",
    "a time before all": "UPDATE answers SET at = -5",
    "a time after all": "UPDATE answers SET at = 9000000000000",
    "a range of letters": "UPDATE answers SET last = 'abc' WHERE first = 0",
    "a range that ends before it begins": "UPDATE answers SET last = -1 WHERE first = 0",
    "a digest of letters": "UPDATE answers SET sha256 = 'abc'",
    "a digest of nothing": "UPDATE answers SET sha256 = x''",
    "bodies of letters": "UPDATE bodies SET body = 'abc'",
    "bodies of something else": "UPDATE bodies SET body = x'7b7d'",
    "no bodies": "DELETE FROM bodies",
    "answers of nobody": "UPDATE answers SET stream = 77",
    "a filter of nothing": "UPDATE streams SET filter = 'x'",
    "no streams": "DELETE FROM streams",
}


def filled(world: World, path: Path, url: str) -> None:
    with LogCache(path) as cache:
        scan_logs(world.node(url), whole(), cache=cache)


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cell_costs_requests_alone(world: World, tmp_path: Path, statement: str) -> None:
    path = tmp_path / "logs.sqlite3"
    with Shim(world.chain, PROVIDERS["mainnet.base.org"]) as shim:
        filled(world, path, shim.url)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        with LogCache(path) as cache:
            found = scan_logs(_strict(world, shim.url), whole(), cache=cache)
            assert cache.problem == ""
        assert_complete(found, world.chain)
        assert found.warning == "" or "dropped and asked for again" in found.warning
        with LogCache(path) as cache:
            healed = scan_logs(_strict(world, shim.url), whole(), cache=cache)
        assert (healed.warning, healed.requests) == ("", 0)


def _strict(world: World, url: str) -> Node:
    """An endpoint that has no hash of a block that does not exist."""

    def block_hash(number: int) -> str:
        if number > world.chain.head:
            raise NetworkError("no such block")
        return world.chain.hash(number)

    return replace(world.node(url), block_hash=block_hash)


def test_what_is_kept_is_shown_and_removed(world: World, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "dstack-audit" / "logs.sqlite3"
    run = command_in(tmp_path, tmp_path / "cache")
    assert run("cache", "show").out == f"{path}: 0 bytes, 0 scans\n"
    with Shim(world.chain, PROVIDERS["mainnet.base.org"]) as shim:
        filled(world, path, shim.url)
    (kept,) = contents(path)
    assert (kept.blocks, kept.last) == (20_001, 20_000)
    shown = run("cache", "show")
    assert shown.code == 0
    assert "on chain 8453 at http://127.0.0.1" in shown.out
    assert "20001 blocks, up to 20000" in shown.out
    assert run("cache", "clear").out == f"{path}: removed\n"
    assert not list(path.parent.iterdir())
    assert run("cache", "clear").out == f"{path}: there is none\n"


def test_a_file_that_cannot_be_read_is_said_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "logs.sqlite3"
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(EvidenceError, match="cannot be read") as raised:
        contents(path)
    assert "verify cache clear" in raised.value.hint
    assert clear(path)
    assert not path.exists()


def test_the_database_of_another_program_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "logs.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(EvidenceError, match="another program"):
        clear(path)
    assert path.exists()
