"""Asking a block explorer for a contract's logs: a second account of them, without ranges.

The whole range is asked for first. What may be cut off is asked for again: topic by topic where
the filter names topics, then in halves of the range. An explorer that refuses, other than because
it is asked too often, is not asked on about that contract.
"""

from collections import deque
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct, field

from verifier.collect.http import HttpClient, printable
from verifier.collect.limits import LIMITS
from verifier.collect.network import System
from verifier.collect.scan import without_secrets
from verifier.errors import CollectError, EvidenceError, NetworkError
from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.chain.explorer_logs import MAX_LOGS, Asked, ExplorerRefusalError, entries
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, written_bytes
from verifier.evidence.plan import ScanPlan

MAX_REQUESTS: Final = 300
MAX_BYTES: Final = 12 << 20
"""Of all answers together: a transcript is one blob of a bundle, which has a limit itself."""
MAX_ANSWER_BYTES: Final = 12 << 20
"""Of one answer, as it is written into the transcript."""
RATE_PAUSES_SECONDS: Final = (1, 2, 4)
_TOO_OFTEN: Final = "rate limit"


class Explorer(Struct, frozen=True, kw_only=True):
    """An explorer's API, and how it is asked."""

    client: HttpClient
    url: str
    system: System = field(default_factory=System)


def ask_explorer(
    explorer: Explorer, plan: ScanPlan, *, seconds: float
) -> tuple[tuple[Asked, ...], str]:
    """The answers about the logs of a plan, in no more than about so many seconds, and why some
    are missing, or "". A refusal is among the answers, unless it repeats what the URL may hold as
    a key. Never raises for what the explorer does.
    """
    found: list[Asked] = []
    pending = deque([("", plan.first, plan.last)])
    end, requests, received = explorer.system.monotonic() + seconds, 0, 0
    while pending:
        topic, first, last = pending.popleft()
        late = explorer.system.monotonic() >= end
        if late or requests >= MAX_REQUESTS or received >= MAX_BYTES:
            return tuple(found), f"from block {first} on: more time, requests or bytes than allowed"
        requests += 1
        try:
            answer, count = _ask(explorer, plan.filter, topic, (first, last))
        except CollectError as error:
            return tuple(found), f"blocks {first} to {last}: {error.message}"
        received += written_bytes(answer.body)
        middle = (first + last) // 2
        if count is None:
            # The refusal stays in the evidence: the checks judge it.
            return (*found, (topic, answer)), ""
        if count >= MAX_LOGS and not topic and plan.filter.topics:
            pending.extend((item, first, last) for item in plan.filter.topics)
        elif count >= MAX_LOGS and first < last:
            pending.extendleft(((topic, middle + 1, last), (topic, first, middle)))
        else:
            found.append((topic, answer))
    return tuple(found), ""


def _ask(
    explorer: Explorer, wanted: LogFilter, topic: str, span: tuple[int, int]
) -> tuple[RangeAnswer, int | None]:
    """One answer, and how many logs it has; None where it is none. Raises CollectError."""
    url = logs_url(explorer.url, wanted, topic, span)
    for pause in (*RATE_PAUSES_SECONDS, None):
        body = _get(explorer, url)
        if written_bytes(body) > MAX_ANSWER_BYTES:
            raise NetworkError(f"an answer of {len(body):,} bytes, which no list of logs has")
        answer = RangeAnswer(first=span[0], last=span[1], at=explorer.client.clock(), body=body)
        try:
            return answer, len(entries(body, "getLogs"))
        except ExplorerRefusalError as error:
            if pause is None or _TOO_OFTEN not in error.said.lower():
                break
        except EvidenceError:
            break
        explorer.system.sleep(pause)
    return answer, None


def _get(explorer: Explorer, url: str) -> bytes:
    """The body of a 2xx answer that does not repeat a key. Raises CollectError without the URL."""
    try:
        response = explorer.client.request("GET", url, limits=LIMITS[Kind.EXPLORER_LOGS])
    except CollectError as error:
        cause = error.__cause__
        raise NetworkError(
            cause.message if isinstance(cause, CollectError) else "no answer"
        ) from None
    if response.status not in range(200, 300):
        raise NetworkError(f"HTTP {response.status}")
    try:
        text = codec.parse_utf8(response.body, "getLogs")
    except EvidenceError as error:
        raise NetworkError(error.message) from error
    kept = without_secrets(text, explorer.url)
    if kept != text:
        raise NetworkError(f"the answer repeats a part of the URL: {printable(kept)}")
    return response.body


def logs_url(explorer: str, wanted: LogFilter, topic: str, span: tuple[int, int]) -> str:
    """The request for the logs in an inclusive range of blocks, by one topic 0 or any ("").

    An explorer without a path has its API at `/api`. What its query says otherwise stays: a key,
    for instance. The chain is named as the query names it, else `chainid`, as Etherscan does.
    """
    parts = urlsplit(explorer)
    given = parse_qsl(parts.query, keep_blank_values=True)
    chain = "chain_id" if "chain_id" in dict(given) else "chainid"
    asked = {
        "module": "logs",
        "action": "getLogs",
        chain: str(wanted.chain_id),
        "address": wanted.address,
        "fromBlock": str(span[0]),
        "toBlock": str(span[1]),
        "page": "1",
        "offset": str(MAX_LOGS),
        **({"topic0": topic} if topic else {}),
    }
    kept = [(name, value) for name, value in given if name not in asked]
    path = parts.path if parts.path.strip("/") else "/api"
    query = urlencode([*kept, *asked.items()])
    return urlunsplit(parts._replace(path=path, query=query, fragment=""))
