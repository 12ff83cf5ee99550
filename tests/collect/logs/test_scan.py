"""Scans through every provider, past every lie, and within a budget."""

import json
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.timeline.providers import (
    FILTER,
    PROVIDERS,
    REFUSED_LIES,
    SILENT_LIES,
    Chain,
    Lie,
    Policy,
    Query,
    Reply,
    Shim,
    base_org,
    drpc_free,
    publicnode,
    refuse,
    result,
    throttled,
)
from tests.timeline.world import HEAD, NOW, World, assert_complete, blocks_of, logs_of, whole
from verifier.collect.http import HttpClient
from verifier.collect.meter import ScanBudget
from verifier.collect.scan import KnownLog, scan_logs
from verifier.errors import EvidenceError
from verifier.evidence.chain.log_scan import LogFilter, LogScan


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_gives_the_same_logs(world: World, name: str) -> None:
    last = 3_000 if "10 block" in name or "alchemy free" in name else HEAD
    world.chain = Chain(head=last)
    found = world.scan(PROVIDERS[name], query=whole(last))
    assert_complete(found, world.chain)
    assert found.proven_from == world.chain.heights[0]
    assert {answer.at for answer in found.answers} == {NOW}
    assert not any(answer.cached for answer in found.answers)


def test_the_whole_range_is_asked_for_first(world: World) -> None:
    assert world.scan(PROVIDERS["unlimited"]).requests == 1


def test_a_stated_cap_is_used_at_once_and_remembered(world: World) -> None:
    with Shim(world.chain, base_org) as shim:
        node = world.node(shim.url)
        scan_logs(node, whole())
        assert shim.asked[0] == (0, HEAD)
        assert max(last - first + 1 for first, last in shim.asked[1:]) == 2_000
        assert node.profile.cap == 2_000
        shim.asked.clear()
        scan_logs(node, whole())
        assert max(last - first + 1 for first, last in shim.asked) == 2_000


def test_refused_at_exactly_the_cap_asks_for_one_less(world: World) -> None:
    with Shim(world.chain, PROVIDERS["coinbase"]) as shim:
        node = world.node(shim.url)
        assert_complete(scan_logs(node, whole()), world.chain)
        widths = [last - first + 1 for first, last in shim.asked]
        assert widths[:3] == [HEAD + 1, 1_000, 999]
        assert node.profile.cap == 999


def test_one_block_is_the_least(world: World) -> None:
    world.chain = Chain(head=40, count=2)
    found = world.scan(lambda _: refuse(200, 1, "block range is too wide"), query=whole(40))
    assert "blocks 0 to 0: code 1: block range is too wide" in found.failure
    assert found.answers == ()
    one = world.scan(
        lambda query: refuse(200, 1, "block range is too wide") if query.width > 1 else None,
        query=whole(40),
    )
    assert_complete(one, world.chain)
    assert len(one.answers) == 41


@pytest.mark.parametrize(
    "message",
    [
        "eth_getLogs is limited to a 0 range",
        "eth_getLogs is limited to a 999,999,999 range",
        "up to a 9 block range, this block range should work: [0x9, 0x1]",
        "block range is too wide, this block range should work: [0x0, 0xffffffff]",
    ],
)
def test_nonsense_in_a_refusal_still_narrows(world: World, message: str) -> None:
    def policy(query: Query) -> Reply | None:
        return refuse(200, -32602, message) if query.width > 700 else None

    assert_complete(world.scan(policy), world.chain)


@pytest.mark.parametrize("policy", [publicnode, drpc_free])
def test_depth_and_plan_end_the_scan_at_once(world: World, policy: Policy) -> None:
    found = world.scan(policy)
    assert found.requests == 1
    assert found.answers == ()
    assert "use another endpoint" in found.failure
    assert "20,001 of 20,001 blocks are missing" in found.failure


def test_a_rate_limit_slows_down_and_honours_retry_after(client: HttpClient) -> None:
    world = World(client, Chain(head=200_000, count=40))
    found = world.scan(throttled(7, **{"Retry-After": "5"}), query=whole(200_000))
    assert_complete(found, world.chain)
    assert set(world.pauses) == {5}
    polite = World(client, Chain(head=200_000, count=40))
    with Shim(polite.chain, throttled(9)) as shim:
        node = polite.node(shim.url)
        assert_complete(scan_logs(node, whole(200_000)), polite.chain)
    assert node.profile.ceiling < 16
    assert set(polite.pauses) <= {1, 2, 4}


def test_refusals_side_by_side_make_one_pause(world: World) -> None:
    world.chain = Chain(head=100_000)

    def policy(query: Query) -> Reply | None:
        busy = 10 <= query.number < 17
        return refuse(429, -32016, "over rate limit") if busy else base_org(query)

    with Shim(world.chain, policy, latency=0.05) as shim:
        found = scan_logs(world.node(shim.url), whole(100_000))
        assert_complete(found, world.chain)
        assert 8 <= shim.busiest <= 16
        assert shim.connections <= 16
    assert 1 <= len(world.pauses) <= 3


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (refuse(429, -32016, "over rate limit"), [1, 2, 4, 8, 16, 32]),
        (Reply(status=429, body=b"", headers={"Retry-After": "3"}), [3, 3, 4, 8, 16, 32]),
        (Reply(status=429, body=b"", headers={"Retry-After": "3600"}), []),
    ],
)
def test_patience_ends(world: World, refusal: Reply, expected: list[int]) -> None:
    found = world.scan(lambda _: refusal)
    assert found.failure
    assert world.pauses == expected
    assert found.requests == len(expected) + 1


def test_a_node_that_fails_is_asked_for_less_before_it_is_given_up(world: World) -> None:
    found = world.scan(lambda _: refuse(502, 0, "bad gateway"))
    assert "HTTP 502, code 0: bad gateway" in found.failure
    assert world.pauses == [1, 2, 4, 8]
    overwhelmed = world.scan(
        lambda query: refuse(502, 0, "bad gateway") if query.width > 1_500 else None
    )
    assert_complete(overwhelmed, world.chain)


@pytest.mark.parametrize("status", [200, 400, 403, 422])
@pytest.mark.parametrize("message", ["computer says no", "E_QUERY_DENIED", ""])
def test_unknown_words_are_met_with_a_narrower_range(
    world: World, status: int, message: str
) -> None:
    def wide(query: Query) -> Reply | None:
        return refuse(status, -39999, message) if query.width > 1_500 else None

    def full(query: Query) -> Reply | None:
        return refuse(status, -39999, message) if query.held > 3 else None

    assert_complete(world.scan(wide), world.chain)
    assert_complete(world.scan(full), world.chain)
    # Once, where a narrower one is refused as well.
    found = world.scan(lambda _: refuse(status, -39999, message))
    assert (found.requests, found.answers) == (2, ())
    assert world.pauses == []


def test_what_is_final_is_not_tried_narrower(world: World) -> None:
    for refusal in (
        refuse(401, -1, "computer says no"),
        refuse(200, -32601, "the method eth_getLogs does not exist"),
        refuse(200, -32000, "Must be authenticated!"),
        refuse(403, -32000, "invalid api key"),
    ):
        assert world.scan(partial(_always, refusal)).requests == 1


def _always(refusal: Reply, _: Query) -> Reply:
    return refusal


LAGGING = [
    refuse(200, -32000, "header not found"),
    refuse(400, -32019, "block is out of range"),
    refuse(200, -32001, "resource not found"),
    refuse(200, -32000, "block range extends beyond current head block"),
    Reply(status=200, body=b'{"jsonrpc":"2.0","id":1,"result":null}'),
]


@pytest.mark.parametrize("refusal", LAGGING)
def test_a_backend_that_lags_once_is_asked_again(world: World, refusal: Reply) -> None:
    known = KnownLog(FILTER, world.chain.heights[0])
    assert_complete(world.scan(lambda query: refusal if query.number == 1 else None), world.chain)
    assert world.pauses == [1]
    late = world.scan(
        lambda query: refusal if query.number == 2 else None, query=whole(known=known)
    )
    assert_complete(late, world.chain)
    # One that always lags is left after a while.
    found = world.scan(lambda _: refusal)
    assert (found.requests, found.answers) == (5, ())


def test_a_backend_that_once_has_no_known_log_is_asked_again(world: World) -> None:
    known = KnownLog(FILTER, world.chain.heights[0])
    empty = Reply(status=200, body=b'{"jsonrpc":"2.0","id":1,"result":[]}')
    found = world.scan(lambda query: empty if query.number == 1 else None, query=whole(known=known))
    assert_complete(found, world.chain)


def test_what_never_answered_is_not_asked_again(world: World) -> None:
    with Shim(world.chain, lambda _: refuse(401, -32000, "Unauthorized")) as shim:
        node = world.node(shim.url)
        first = scan_logs(node, whole())
        again = scan_logs(node, whole())
        assert len(shim.asked) == 1
    assert "Unauthorized" in first.failure
    assert "Unauthorized" in again.failure
    gone = scan_logs(world.node(shim.url), whole())
    assert "cannot connect" in gone.failure
    assert gone.requests == 1


def test_an_outage_in_the_middle_is_waited_for(world: World) -> None:
    def policy(query: Query) -> Reply | None:
        return (
            refuse(503, -32011, "no backend is currently healthy to serve traffic")
            if (5 <= query.number < 8)
            else base_org(query)
        )

    with Shim(world.chain, policy) as shim:
        node = world.node(shim.url)
        assert_complete(scan_logs(node, whole()), world.chain)
        assert node.profile.cap == 2_000
    assert world.pauses


@pytest.mark.parametrize("name", REFUSED_LIES)
def test_a_lie_that_shows_ends_the_scan(world: World, name: str) -> None:
    world.chain = Chain(head=400, count=20)
    found = world.scan(base_org, REFUSED_LIES[name], query=whole(400))
    assert found.failure, name
    assert "of 401 blocks are missing" in found.failure
    if found.answers:
        kept = LogScan(filter=whole(400).filter, answers=found.answers)
        with pytest.raises(EvidenceError):
            kept.logs("what is kept of a false account")


def test_a_lie_keeps_what_was_answered_before(world: World) -> None:
    def lie(body: bytes) -> bytes:
        return body.replace(world.chain.hash(world.chain.heights[-1]).encode(), b"0xno")

    found = world.scan(base_org, lie)
    assert "not a hex string" in found.failure
    kept = tuple(item for item in found.answers if b"0xno" not in item.body)
    honest = replace(found, answers=kept)
    assert 0 < len(blocks_of(honest)) < len(world.chain.heights)


@pytest.mark.parametrize("name", SILENT_LIES)
def test_a_silent_lie_differs_from_what_another_endpoint_says(world: World, name: str) -> None:
    honest, lying = world.scan(base_org), world.scan(base_org, SILENT_LIES[name])
    assert honest.failure == lying.failure == ""
    assert logs_of(honest) != logs_of(lying)


def prune(below: int) -> Lie:
    def lie(body: bytes) -> bytes:
        logs = json.loads(body)["result"]
        return result([log for log in logs if int(log["blockNumber"], 16) >= below])

    return lie


def test_a_pruned_node_is_found_out_by_a_known_log(world: World) -> None:
    known = KnownLog(FILTER, world.chain.heights[0])
    found = world.scan(base_org, prune(10_000), whole(known=known))
    assert "does not show a log that is known to exist" in found.failure
    # Once more than needed: one backend of several may lag behind.
    assert found.requests == 2
    assert found.proven_from is None
    other = KnownLog(LogFilter(chain_id=8453, address=FILTER.address), known.block)
    found = world.scan(base_org, prune(10_000), whole(known=other))
    assert "does not show a log" in found.failure


def test_without_a_known_log_the_depth_is_what_was_seen(world: World) -> None:
    found = world.scan(base_org, prune(10_000))
    assert found.failure == ""
    assert found.proven_from == next(item for item in world.chain.heights if item >= 10_000)
    assert world.scan(base_org, SILENT_LIES["hides all"]).proven_from is None


def test_a_known_log_is_asked_for_once_an_endpoint(world: World) -> None:
    known = KnownLog(FILTER, world.chain.heights[3])
    with Shim(world.chain, PROVIDERS["unlimited"]) as shim:
        node = world.node(shim.url)
        late = whole(first=world.chain.heights[5], known=known)
        assert scan_logs(node, late).proven_from == known.block
        assert scan_logs(node, late).requests == 1
        assert len(shim.asked) == 3


def test_a_range_that_is_cut_around_the_known_log_is_found_out(world: World) -> None:
    known = KnownLog(FILTER, world.chain.heights[-1])

    def lie(body: bytes) -> bytes:
        logs = json.loads(body)["result"]
        return result(logs[:3])

    found = world.scan(PROVIDERS["unlimited"], lie, whole(known=known))
    assert "does not show a log" in found.failure


def test_a_round_number_of_logs_is_not_trusted(world: World) -> None:
    world.chain = Chain(head=10_000, count=2_500)

    def lie(body: bytes) -> bytes:
        return result(json.loads(body)["result"][:1_000])

    assert_complete(world.scan(PROVIDERS["unlimited"], lie, whole(10_000)), world.chain)


def test_answers_that_are_too_large_together_end_the_scan(world: World) -> None:
    found = world.scan(
        base_org,
        lambda body: body + b" " * 1_000_000,
        budget=ScanBudget(max_bytes=3_000_000),
    )
    assert "the budget of 3,000,000 bytes is spent" in found.failure
    assert 2 <= len(found.answers) <= 10


def test_a_hopeless_cap_is_given_up_at_once(world: World) -> None:
    found = world.scan(PROVIDERS["chainstack"], budget=ScanBudget(requests=15))
    assert "100 blocks at a time, which makes" in found.failure
    assert found.requests < 15


def test_a_shim_stands_before_another_node(world: World) -> None:
    with (
        Shim(world.chain) as node,
        Shim(Chain(count=1), base_org, upstream=node.url) as shim,
    ):
        assert_complete(scan_logs(world.node(shim.url), whole()), world.chain)
        assert len(shim.asked) == len(node.asked) + 1


def test_a_key_in_the_url_is_not_repeated(world: World) -> None:
    def policy(_: Query) -> Reply | None:
        return refuse(403, -32000, "no such key: 0123456789abcdef")

    with Shim(world.chain, policy) as shim:
        found = scan_logs(world.node(f"{shim.url}v2/0123456789abcdef"), whole())
    assert "no such key: …" in found.failure
    assert "0123456789abcdef" not in found.failure
    gone = scan_logs(world.node(f"{shim.url}v2/0123456789abcdef"), whole())
    assert "cannot connect" in gone.failure
    assert "0123456789abcdef" not in gone.failure


def test_progress_ends_at_the_total(world: World) -> None:
    told: list[tuple[int, int]] = []
    world.scan(base_org, progress=lambda *item: told.append(item))
    assert told[-1] == (HEAD + 1, HEAD + 1)
    assert told == sorted(told)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 60),
    head=st.integers(200, 5_000),
    cap=st.integers(3, 3_000),
    held=st.integers(1, 40),
    inclusive=st.booleans(),
    stated=st.booleans(),
)
def test_any_limit_gives_every_log_once(  # noqa: PLR0913 - each is a property of a node
    *,
    client: HttpClient,
    count: int,
    head: int,
    cap: int,
    held: int,
    inclusive: bool,
    stated: bool,
) -> None:
    world = World(client, Chain(head=head, count=count))
    most = max(world.chain.heights.count(block) for block in world.chain.heights)

    def policy(query: Query) -> Reply | None:
        if query.width > cap + inclusive:
            text = f"limited to a {cap:,} range" if stated else "block range too large"
            return refuse(413, -32614, text)
        if query.held > max(held, most):
            return refuse(200, -32005, f"query returned more than {held} results")
        return None

    assert_complete(world.scan(policy, query=whole(head)), world.chain)
