"""The cache of log scans: warm scans, the tip, kills, two at once, and files that are no cache."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.timeline.providers import FILTER, OTHER_TOPIC, Chain, Shim, base_org
from tests.timeline.world import HEAD, World, assert_complete, gaps, logs_of, whole
from verifier.collect.log_cache import APPLICATION_ID, LogCache, ScanTip, default_path
from verifier.collect.meter import ScanBudget
from verifier.collect.scan import EndpointProfile, KnownLog, LogQuery, Node, scan_logs
from verifier.errors import NetworkError
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer

ROOT = Path(__file__).parents[3]
EMPTY = b'{"jsonrpc":"2.0","id":1,"result":[]}'
ENDPOINT = "https://node.example"


def answers(count: int, *, width: int = 2_000, body: bytes = EMPTY) -> list[RangeAnswer]:
    return [
        RangeAnswer(first=at * width, last=(at + 1) * width - 1, at=at, body=body)
        for at in range(count)
    ]


def filled(path: Path, count: int = 3) -> None:
    with LogCache(path) as cache:
        cache.set_tip(FILTER, ENDPOINT, ScanTip(10**9, "aa"))
        cache.store(FILTER, ENDPOINT, answers(count))
        assert cache.problem == ""


def test_a_spent_budget_keeps_what_was_answered(world: World, cache: LogCache) -> None:
    with Shim(world.chain, base_org) as shim:
        node = world.node(shim.url)
        found = scan_logs(node, whole(), cache=cache, budget=ScanBudget(requests=5))
        assert found.requests == 5
        assert "the budget of 5 requests is spent, from block 8000 on" in found.failure
        assert "12,001 of 20,001 blocks are missing" in found.failure
        assert len(found.answers) == 4
        rest = scan_logs(node, whole(), cache=cache)
        assert_complete(rest, world.chain)
        assert rest.requests == 7
    node = world.node(shim.url)
    late = scan_logs(node, whole(), budget=ScanBudget(seconds=0))
    assert "budget of 0 seconds" in late.failure
    assert late.requests == 0


def test_a_warm_scan_asks_for_what_is_new(world: World, cache: LogCache) -> None:
    known = KnownLog(FILTER, world.chain.heights[0])
    with Shim(world.chain, base_org) as shim:
        cold = scan_logs(world.node(shim.url), whole(18_000, known=known), cache=cache)
        assert world.hashes == [18_000]
        shim.asked.clear()
        warm = scan_logs(world.node(shim.url), whole(18_500, known=known), cache=cache)
        assert shim.asked == [(known.block, known.block), (18_001, 18_500)]
        assert world.hashes == [18_000, 18_000, 18_500]
        same = scan_logs(world.node(shim.url), whole(18_500), cache=cache)
        assert same.requests == 0
    assert not any(answer.cached for answer in cold.answers)
    assert [answer.cached for answer in warm.answers] == [*[True] * len(cold.answers), False]
    assert logs_of(warm) == logs_of(same)
    assert gaps(warm, 18_500) == ()


def test_an_earlier_audit_sees_no_later_block(world: World, cache: LogCache) -> None:
    with Shim(world.chain, base_org) as shim:
        scan_logs(world.node(shim.url), whole(), cache=cache)
        early = scan_logs(world.node(shim.url), whole(9_000), cache=cache)
    assert early.answers[-1].last == 9_000
    assert gaps(early, 9_000) == ()
    assert early.requests == 1
    assert early.failure == ""


def test_another_chain_at_the_seam_drops_the_cache(world: World, cache: LogCache) -> None:
    with Shim(world.chain, base_org) as shim:
        scan_logs(world.node(shim.url), whole(), cache=cache)
        world.chain.fork = 1
        again = scan_logs(world.node(shim.url), whole(), cache=cache)
        assert "block 20000 has another hash than before" in again.warning
        assert not any(answer.cached for answer in again.answers)
        assert scan_logs(world.node(shim.url), whole(), cache=cache).requests == 0


def test_without_a_hash_the_cache_is_left_alone(world: World, cache: LogCache) -> None:
    def silent(_: int) -> str:
        raise NetworkError("no answer")

    with Shim(world.chain, base_org) as shim:
        scan_logs(world.node(shim.url), whole(), cache=cache)
        node = Node(client=world.client, endpoint=shim.url, block_hash=silent)
        found = scan_logs(node, whole(), cache=cache)
        assert "the cache is not used" in found.warning
        assert_complete(found, world.chain)
        assert found.requests > 10
        assert scan_logs(world.node(shim.url), whole(), cache=cache).requests == 0


def test_endpoints_and_filters_do_not_share_answers(world: World, cache: LogCache) -> None:
    other = LogQuery(
        filter=LogFilter(chain_id=8453, address=FILTER.address, topics=(OTHER_TOPIC,)),
        first=0,
        last=HEAD,
    )
    with Shim(world.chain, base_org) as shim, Shim(world.chain, base_org) as second:
        scan_logs(world.node(shim.url), whole(), cache=cache)
        assert scan_logs(world.node(shim.url), other, cache=cache).requests > 10
        assert scan_logs(world.node(second.url), whole(), cache=cache).requests > 10


def test_a_poisoned_answer_is_dropped(world: World, cache: LogCache, tmp_path: Path) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":[{}]}'
    with Shim(world.chain, base_org) as shim:
        scan_logs(world.node(shim.url), whole(), cache=cache)
        with sqlite3.connect(tmp_path / "logs.sqlite3") as connection:
            digest = hashlib.sha256(body).digest()
            connection.execute("INSERT INTO bodies VALUES (?, ?)", (digest, body))
            connection.execute("UPDATE answers SET sha256 = ? WHERE first = 0", (digest,))
        connection.close()
        found = scan_logs(world.node(shim.url), whole(), cache=cache)
        assert "dropped" in found.warning
        assert_complete(found, world.chain)
        assert scan_logs(world.node(shim.url), whole(), cache=cache).requests == 0


def test_an_interrupt_loses_nothing(world: World, cache: LogCache) -> None:
    def interrupt(done: int, _: int) -> None:
        if done > 9_000:
            raise KeyboardInterrupt

    with Shim(world.chain, base_org) as shim:
        with pytest.raises(KeyboardInterrupt):
            scan_logs(world.node(shim.url), whole(), cache=cache, progress=interrupt)
        asked = len(shim.asked)
        rest = scan_logs(world.node(shim.url), whole(), cache=cache)
        assert sum(answer.cached for answer in rest.answers) >= 4
        assert_complete(rest, world.chain)
        assert asked > 4


SCANNER = """
import sys
from pathlib import Path
from tests.timeline.world import World, whole
from verifier.collect.http import HttpClient
from verifier.collect.log_cache import LogCache
from verifier.collect.scan import scan_logs
with HttpClient(clock=lambda: 5, allow_hosts={"127.0.0.1"}) as client:
    with LogCache(Path(sys.argv[2])) as cache:
        scan_logs(World(client).node(sys.argv[1]), whole(int(sys.argv[3])), cache=cache)
        assert not cache.problem, cache.problem
"""


def test_a_kill_in_the_middle_loses_nothing(world: World, tmp_path: Path) -> None:
    world.chain = Chain(head=1_000_000, count=200)
    path = tmp_path / "logs.sqlite3"
    with Shim(world.chain, base_org, latency=0.01) as shim:
        arguments = [sys.executable, "-c", SCANNER, shim.url, str(path), "1000000"]
        with subprocess.Popen(arguments, cwd=ROOT) as scanner:
            deadline = time.monotonic() + 20
            while len(shim.asked) < 200 and time.monotonic() < deadline:
                time.sleep(0.005)
            scanner.send_signal(signal.SIGKILL)
        asked = len(shim.asked)
        assert 200 <= asked < 500
        shim.asked.clear()
        with LogCache(path) as cache:
            profile = EndpointProfile(cap=2_000)
            rest = scan_logs(world.node(shim.url, profile), whole(1_000_000), cache=cache)
            assert cache.problem == ""
        kept = [(answer.first, answer.last) for answer in rest.answers if answer.cached]
        assert asked - 80 <= len(kept) <= asked
        assert not set(kept) & set(shim.asked)
        assert rest.requests + len(kept) == len(rest.answers)
    assert_complete(rest, world.chain)


def test_what_is_stored_is_read_back(cache: LogCache) -> None:
    assert cache.read(FILTER, ENDPOINT, (0, 10**9)) == ()
    assert cache.tip(FILTER, ENDPOINT) is None
    cache.set_tip(FILTER, ENDPOINT, ScanTip(5_999, "aa"))
    cache.store(FILTER, ENDPOINT, answers(3))
    found = cache.read(FILTER, ENDPOINT, (0, 10**9))
    assert [(item.first, item.last, item.at, item.body, item.cached) for item in found] == [
        (0, 1_999, 0, EMPTY, True),
        (2_000, 3_999, 1, EMPTY, True),
        (4_000, 5_999, 2, EMPTY, True),
    ]
    assert cache.read(FILTER, ENDPOINT, (1, 5_998)) == found[1:2]
    assert cache.read(FILTER, "https://other.example", (0, 10**9)) == ()


def test_nothing_beyond_the_seam_is_stored(cache: LogCache) -> None:
    cache.store(FILTER, ENDPOINT, answers(1))
    cache.set_tip(FILTER, ENDPOINT, ScanTip(3_999, "aa"))
    cache.store(FILTER, ENDPOINT, answers(3))
    assert [item.last for item in cache.read(FILTER, ENDPOINT, (0, 10**9))] == [1_999, 3_999]


def test_the_seam_only_rises(cache: LogCache) -> None:
    for block in (5, 9, 7):
        cache.set_tip(FILTER, ENDPOINT, ScanTip(block, f"{block:02x}"))
    assert cache.tip(FILTER, ENDPOINT) == ScanTip(9, "09")
    cache.discard(FILTER, ENDPOINT)
    assert cache.tip(FILTER, ENDPOINT) is None


def test_overlapping_answers_are_given_once(cache: LogCache) -> None:
    cache.set_tip(FILTER, ENDPOINT, ScanTip(10**9, "aa"))
    cache.store(FILTER, ENDPOINT, answers(4))
    cache.store(FILTER, ENDPOINT, answers(3, width=3_000))
    spans = [(item.first, item.last) for item in cache.read(FILTER, ENDPOINT, (0, 10**9))]
    assert spans == [(0, 2_999), (3_000, 5_999), (6_000, 8_999)]


def test_an_edited_body_is_left_out_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "logs.sqlite3"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE bodies SET body = ?", (EMPTY.replace(b"[]", b"[1]"),))
    connection.close()
    with LogCache(path) as cache:
        assert cache.read(FILTER, ENDPOINT, (0, 10**9)) == ()
        cache.store(FILTER, ENDPOINT, answers(3))
        assert len(cache.read(FILTER, ENDPOINT, (0, 10**9))) == 3


def test_10_000_answers_are_read_in_a_tenth_of_a_second(cache: LogCache) -> None:
    cache.set_tip(FILTER, ENDPOINT, ScanTip(10**9, "aa"))
    cache.store(FILTER, ENDPOINT, answers(10_000))
    times = []
    for _ in range(5):
        start = time.process_time()
        assert len(cache.read(FILTER, ENDPOINT, (0, 10**9))) == 10_000
        times.append(time.process_time() - start)
    assert min(times) < 0.1


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()


def _other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 1_000)


def _cut(path: Path) -> None:
    filled(path, 2_000)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def _overwritten(path: Path) -> None:
    filled(path, 2_000)
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_foreign, "another program"),
        (_other_program, "another program"),
        (_newer, "version is 2"),
        (_garbage, "not a database"),
        (_cut, "malformed"),
        (_overwritten, "malformed"),
        (_folder, "unable to open"),
    ],
)
def test_what_is_no_cache_is_left_alone(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "logs.sqlite3"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with Shim(world.chain, base_org) as shim, LogCache(path) as cache:
        found = scan_logs(world.node(shim.url), whole(), cache=cache)
        assert reason in cache.problem
        assert str(path) in cache.problem
    assert_complete(found, world.chain)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with LogCache(tmp_path / "file" / "logs.sqlite3") as cache:
        assert "is not used" in cache.problem
        assert cache.read(FILTER, ENDPOINT, (0, 1)) == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_file_is_a_problem(world: World, tmp_path: Path) -> None:
    path = tmp_path / "logs.sqlite3"
    filled(path)
    path.chmod(0o400)
    with Shim(world.chain, base_org) as shim, LogCache(path) as cache:
        assert_complete(scan_logs(world.node(shim.url), whole(), cache=cache), world.chain)
        assert "readonly" in cache.problem


def test_a_locked_cache_is_a_problem_after_a_while(world: World, tmp_path: Path) -> None:
    path = tmp_path / "logs.sqlite3"
    filled(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with Shim(world.chain, base_org) as shim, LogCache(path, busy_seconds=0.1) as cache:
        found = scan_logs(world.node(shim.url), whole(), cache=cache)
        assert "locked" in cache.problem
    blocker.close()
    assert_complete(found, world.chain)


def test_a_closed_cache_holds_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "logs.sqlite3")
    cache = LogCache(tmp_path / "logs.sqlite3")
    cache.close()
    cache.close()
    assert cache.read(FILTER, ENDPOINT, (0, 10**9)) == ()


def test_endpoints_side_by_side_share_one_cache(world: World, cache: LogCache) -> None:
    with (
        Shim(world.chain, base_org) as one,
        Shim(world.chain, base_org) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        for expected in (False, True):
            scans = [
                pool.submit(scan_logs, world.node(shim.url), whole(), cache=cache)
                for shim in (one, two)
            ]
            for scan in scans:
                found = scan.result()
                assert_complete(found, world.chain)
                assert all(answer.cached is expected for answer in found.answers)


def test_two_audits_at_once(world: World, tmp_path: Path) -> None:
    world.chain = Chain(head=400_000, count=100)
    path = tmp_path / "cache" / "logs.sqlite3"
    with Shim(world.chain, base_org, latency=0.002) as shim:
        arguments = [sys.executable, "-c", SCANNER, shim.url, str(path), "400000"]
        with (
            subprocess.Popen(arguments, cwd=ROOT) as one,
            subprocess.Popen(arguments, cwd=ROOT) as two,
        ):
            assert (one.wait(30), two.wait(30)) == (0, 0)
        shim.asked.clear()
        with LogCache(path) as cache:
            found = scan_logs(world.node(shim.url), whole(400_000), cache=cache)
            assert cache.problem == ""
        assert shim.asked == []
    assert_complete(found, world.chain)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_the_default_path_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_path().is_relative_to(tmp_path)
    assert default_path().parts[-2:] == ("dstack-audit", "logs.sqlite3")
