"""What each provider's refusal means, in the words that the provider uses."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.collect.http import Response
from verifier.collect.refusals import RefusalKind, classify

WIDTH, SIZE, DEPTH = RefusalKind.WIDTH, RefusalKind.SIZE, RefusalKind.DEPTH
RATE, OUTAGE, OTHER = RefusalKind.RATE, RefusalKind.OUTAGE, RefusalKind.OTHER
LAG = RefusalKind.LAG

ALCHEMY_FREE = (
    "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. "
    "Based on your parameters, this block range should work: [0x1f78a40, 0x1f78a49]. "
    "Upgrade to PAYG for expanded block range."
)
ALCHEMY_PAID = (
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range "
    "and no limit on the response size, or you can request any block range with a cap of 10K logs "
    "in the response. Based on your parameters and the response size limit, this block range "
    "should work: [0x0, 0x7cf]"
)
ARCHIVE = (
    "Archive requests require a personal token. Get one at: https://www.allnodes.com/publicnode"
)
INFURA = "query returned more than 10000 results. Try with this block range [0x10, 0x20]."

# Status, code, message, what it means of a wide range, the stated cap, the suggested range.
ROWS = [
    (413, -32614, "eth_getLogs is limited to a 2,000 range", WIDTH, 2_000, None),
    (413, -32614, "eth_getLogs is limited to a 10,000 range", WIDTH, 10_000, None),
    (503, -32011, "no backend is currently healthy to serve traffic", WIDTH, None, None),
    (200, -32602, "block range too large", WIDTH, None, None),
    (403, -32602, ARCHIVE, DEPTH, None, None),
    (200, -32701, "exceed maximum block range: 50000", WIDTH, 50_000, None),
    (400, 35, "ranges over 10000 blocks are not supported on free plan", DEPTH, None, None),
    (400, 35, "ranges over 10000 blocks are not supported on freetier", DEPTH, None, None),
    (408, 30, "Request timeout on the free plan", SIZE, None, None),
    (500, 19, "Temporary internal error. Please retry", OUTAGE, None, None),
    (200, -32602, "invalid params", WIDTH, None, None),
    (400, -32600, ALCHEMY_FREE, WIDTH, 10, (0x1F78A40, 0x1F78A49)),
    (500, -32600, ALCHEMY_FREE, WIDTH, 10, (0x1F78A40, 0x1F78A49)),
    (200, -32602, ALCHEMY_PAID, SIZE, 2_000, (0, 0x7CF)),
    (200, -32005, INFURA, SIZE, None, (0x10, 0x20)),
    (200, -32005, "query timeout exceeded", SIZE, None, None),
    (200, -32602, "range 1000000 exceeds limit of 10000", WIDTH, 10_000, None),
    (200, -32005, "please limit the query to at most 1000 blocks", WIDTH, 1_000, None),
    (200, -32600, "block range is too wide", WIDTH, None, None),
    (200, -32600, "query exceeds max results", SIZE, None, None),
    (200, -32000, "You have exceeded your daily request limit", RATE, None, None),
    (200, -32000, "concurrent requests capacity exceeded, slow down", RATE, None, None),
    (200, -32000, "historical state 0xabc is not available", DEPTH, None, None),
    (200, -32000, "range over 500 blocks not allowed", WIDTH, 500, None),
    (200, -32000, "block span too large", WIDTH, None, None),
    (200, -32000, "fromBlock-toBlock distance exceeds 10000", WIDTH, None, None),
    (200, -32000, "difference between fromBlock and toBlock < 5000", WIDTH, 5_000, None),
    (200, -32000, "maximum allowed number of requested blocks is 3000", WIDTH, 3_000, None),
    (200, -32000, "you can only query 1000 blocks at a time", WIDTH, 1_000, None),
    (200, -32000, "Unauthorized: You must authenticate your request", OTHER, None, None),
    (
        200,
        -32602,
        "query exceeds max results 20000, retry with the range 5-99",
        SIZE,
        None,
        (5, 99),
    ),
    (200, -32602, "query exceeds max block range 100000", WIDTH, 100_000, None),
    (200, -32602, "eth_getLogs is limited to a 1000 blocks range", WIDTH, 1_000, None),
    (200, -32602, "response size should not greater than 10000000 bytes", SIZE, None, None),
    (200, -32602, "Block range limit exceeded.", WIDTH, None, None),
    (200, -32000, "query block range exceeds server limit", WIDTH, None, None),
    (200, -32000, "exceed maximum block range: 5000", WIDTH, 5_000, None),
    (200, -32000, "pruned history unavailable", DEPTH, None, None),
    (200, -32000, "missing trie node 5f1c (path )", DEPTH, None, None),
    (200, 4444, "history has been pruned for this block", DEPTH, None, None),
    (429, -32016, "over rate limit", RATE, None, None),
    (200, -32029, "Too Many Requests", RATE, None, None),
    (200, -32005, "daily request count exceeded, request rate limited", RATE, None, None),
    (200, 429, "exceeded its compute units per second capacity", RATE, None, None),
    (503, -32010, "backend offline", OUTAGE, None, None),
    (429, -32012, "over capacity", RATE, None, None),
    (400, -32014, "too many RPC calls in batch request", OTHER, None, None),
    (504, -32015, "gateway timeout", SIZE, None, None),
    (400, -32019, "block is out of range", LAG, None, None),
    (500, -32020, "backend response too large", SIZE, None, None),
    (429, -32024, "too many requests", RATE, None, None),
    (
        200,
        -32602,
        "BlockOutOfRangeError: block height is 2005 but requested was 2010",
        WIDTH,
        None,
        None,
    ),
    (200, -32601, "the method eth_getLogs does not exist", OTHER, None, None),
    # The same meanings in the words of nodes that no pattern was written for.
    (200, -32000, "query returns too many logs, narrow your filter: 20", SIZE, None, None),
    (200, -32000, "too many matching events in the requested interval", SIZE, None, None),
    (200, -32000, "number of results exceeds the server limit", SIZE, None, None),
    (200, -32000, "logs in this range exceed 20000", SIZE, None, None),
    (200, -32000, "result set would hold more than 5,000 entries", SIZE, None, None),
    (
        200,
        -32000,
        "query block range exceeds server limit, narrow your filter: 9",
        WIDTH,
        None,
        None,
    ),
    (200, -32000, "requested too many blocks from 1 to 9", WIDTH, None, None),
    (200, -32000, "exceeds the maximum allowed block range", WIDTH, None, None),
    (200, -32000, "the range of blocks is too wide", WIDTH, None, None),
    (200, -32000, "please reduce the range", WIDTH, None, None),
    (200, -32000, "this query is available on paid plans only", DEPTH, None, None),
    (402, -32000, "payment needed", DEPTH, None, None),
    (200, -32000, "historical state pruned", DEPTH, None, None),
    (200, -32000, "daily request count exceeded", RATE, None, None),
    (200, -32000, "monthly quota exhausted", RATE, None, None),
    (200, -32000, "header not found", LAG, None, None),
    (200, -32000, "block 0x12 not yet available", LAG, None, None),
    (200, -32001, "resource not found", LAG, None, None),
    (200, -32000, "unknown block", LAG, None, None),
    (200, -32000, "block range extends beyond current head block", LAG, None, None),
    (200, -32000, "node is still syncing", LAG, None, None),
    (
        200,
        -32000,
        "One of the blocks specified in filter (fromBlock, toBlock or blockHash) cannot be found.",
        LAG,
        None,
        None,
    ),
    (200, -32000, "limit", OTHER, None, None),
    (200, -32000, "you reached the limit", OTHER, None, None),
    (200, -32000, "limited to 5 requests", OTHER, None, None),
]


def response(status: int, body: bytes, **headers: str) -> Response:
    return Response(status=status, url="", body=body, headers=tuple(headers.items()))


def refused(status: int, error: object, **headers: str) -> Response:
    document = {"jsonrpc": "2.0", "id": 1, "error": error}
    return response(status, json.dumps(document).encode(), **headers)


@pytest.mark.parametrize(("status", "code", "message", "kind", "cap", "suggested"), ROWS)
def test_the_table(  # noqa: PLR0913, PLR0917 - a row has so many columns
    status: int,
    code: int,
    message: str,
    kind: RefusalKind,
    cap: int | None,
    suggested: tuple[int, int] | None,
) -> None:
    found = classify(refused(status, {"code": code, "message": message}), wide=True)
    assert found is not None
    assert (found.kind, found.cap, found.suggested) == (kind, cap, suggested)
    assert message[:100] in found.reason
    assert f"code {code}" in found.reason


def test_the_data_of_an_error_counts() -> None:
    error = {
        "code": -32602,
        "message": "invalid params",
        "data": "range 9999 is bigger than range limit 1000",
    }
    found = classify(refused(200, error), wide=False)
    assert found is not None
    assert (found.kind, found.cap) == (WIDTH, 1_000)
    nested = {"code": -32000, "message": "failed", "data": {"cause": "history has been pruned"}}
    found = classify(refused(200, nested), wide=True)
    assert found is not None
    assert found.kind is DEPTH


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (503, -32011, "no backend is currently healthy to serve traffic"),
        (504, -32015, "gateway timeout"),
        (408, 30, "Request timeout on the free plan"),
    ],
)
def test_a_failure_on_a_narrow_range_is_an_outage(status: int, code: int, message: str) -> None:
    found = classify(refused(status, {"code": code, "message": message}), wide=False)
    assert found is not None
    assert found.kind is OUTAGE


@pytest.mark.parametrize(
    ("code", "narrow", "wide"),
    [(-32600, OTHER, WIDTH), (-32602, OTHER, WIDTH), (-32005, RATE, WIDTH), (-1, OTHER, OTHER)],
)
def test_unknown_words_may_be_about_a_wide_range(
    code: int, narrow: RefusalKind, wide: RefusalKind
) -> None:
    for message in ("not like this", "", None):
        answer = refused(200, {"code": code, "message": message})
        kinds = [classify(answer, wide=item) for item in (False, True)]
        assert [item and item.kind for item in kinds] == [narrow, wide]
        assert all(item and item.reason for item in kinds)


@pytest.mark.parametrize(
    ("status", "narrow", "wide"),
    [
        (429, RATE, RATE),
        (413, SIZE, WIDTH),
        (408, OUTAGE, SIZE),
        (504, OUTAGE, SIZE),
        (500, OUTAGE, OUTAGE),
        (502, OUTAGE, OUTAGE),
        (401, OTHER, OTHER),
        (404, OTHER, OTHER),
        (302, OTHER, OTHER),
    ],
)
def test_a_status_decides_where_nothing_else_does(
    status: int, narrow: RefusalKind, wide: RefusalKind
) -> None:
    for body in (b"", b"<html>limited to a 10 block range</html>", b'{"error":null}'):
        kinds = [classify(response(status, body), wide=item) for item in (False, True)]
        assert [item and item.kind for item in kinds] == [narrow, wide]


def test_an_answer_is_no_refusal() -> None:
    for body in (
        b'{"jsonrpc":"2.0","id":1,"result":[]}',
        b'{"jsonrpc":"2.0","id":1,"result":[],"error":null}',
        b"garbage",
        b'{"error',
        b"",
    ):
        assert classify(response(200, body), wide=True) is None


def test_retry_after() -> None:
    def pause(header: str) -> int | None:
        found = classify(refused(429, {}, **{"Retry-After": header}), wide=True)
        assert found is not None
        return found.pause

    assert pause("7") == 7
    assert pause("Wed, 21 Oct 2026 07:28:00 GMT") is None
    assert pause("-1") is None
    assert pause("٣") is None
    assert pause("9" * 5_000) is not None


def test_hostile_text_stays_on_one_printable_line() -> None:
    found = classify(refused(200, {"code": 1, "message": "\x1b[31m\nred\u202e"}), wide=True)
    assert found is not None
    assert found.reason == r"code 1: \x1b[31m red\u202e"


def test_a_long_text_costs_little() -> None:
    texts = ("exceed the max block " * 10_000, "limited to a " + "9" * 200_000, "range " * 50_000)
    start = time.process_time()
    for text in texts:
        found = classify(refused(200, {"code": 1, "message": text}), wide=True)
        assert found is not None
    assert time.process_time() - start < 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    status=st.integers(100, 599),
    error=JSON_VALUES
    | st.fixed_dictionaries({"code": JSON_VALUES, "message": JSON_VALUES, "data": JSON_VALUES}),
    wide=st.booleans(),
)
def test_any_error_is_classified(*, status: int, error: object, wide: bool) -> None:
    found = classify(refused(status, error), wide=wide)
    assert (found is None) == (error is None and status in range(200, 300))
