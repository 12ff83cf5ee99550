"""Why a node did not show the logs of a range, and what that asks of the next request.

Nodes refuse `eth_getLogs` under any HTTP status and with codes of their own, and change both
often; what they say is the best guide to what they mean. So the text decides first, then the code,
then the status. The word "limit" alone decides nothing: it stands in refusals of every kind. What
no pattern knows is not final either: the scan asks for less once before it gives up.

    width   the range has too many blocks: ask for fewer, everywhere
    size    this range holds too much: ask for its parts
    depth   this range is too old, or the plan does not cover it: ask someone else
    rate    too many requests: wait
    lag     this backend does not have the blocks yet: ask again, another one may answer
    outage  the node fails: wait, but not for long
    other   anything else, from an unknown method to a wrong key: ask for less, then give up

Codes are those of proxyd (ethereum-optimism/infra proxyd/backend.go), EIP-1474 and the providers'
own documentation; texts also those that ponder-sh/ponder `getLogsRetryHelper` knows.
"""

import json
import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.collect.http import Response, printable
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue

_LONGEST_TEXT: Final = 2_000
_LONGEST_NUMBER: Final = 15


_UNAUTHORIZED: Final = 401
_NO_SUCH_METHOD: Final = -32601


def _pattern(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(texts), re.ASCII | re.IGNORECASE)


class RefusalKind(StrEnum):
    """What a refusal asks for (see the module's text)."""

    WIDTH = "width"
    SIZE = "size"
    DEPTH = "depth"
    RATE = "rate"
    LAG = "lag"
    OUTAGE = "outage"
    OTHER = "other"


_NUMBER: Final = r"(\d[\d,.]*k?)"
_CAP: Final = _pattern(
    rf"limited to (?:a )?{_NUMBER}[ -](?:blocks?|range)",
    rf"at most {_NUMBER} blocks",
    rf"up to an? {_NUMBER} block range",
    rf"max(?:imum)? block range:? {_NUMBER}",
    rf"range \d+ exceeds limit of {_NUMBER}",
    rf"bigger than range limit {_NUMBER}",
    rf"requested blocks is {_NUMBER}",
    rf"only (?:query|request|ask for) {_NUMBER} blocks",
    rf"range (?:over|above|of more than) {_NUMBER} blocks",
    rf"fromBlock and toBlock\b[^.]{{0,40}} {_NUMBER}",
)
_HEX_RANGE: Final = _pattern(
    r"(?:should work|try with this block range):? \[(0x[0-9a-f]{1,16}), ?(0x[0-9a-f]{1,16})\]"
)
_DECIMAL_RANGE: Final = _pattern(r"retry with the range (\d{1,20})-(\d{1,20})")
_FINAL: Final = _pattern(
    r"unauthori[sz]ed",
    r"authenticat",
    r"(?:api|project|access)[ -]?(?:key|id|token)",
    r"method\b[^.]{0,40} (?:not|disabled|blocked)",
)
_LOGS: Final = r"(?:logs|results?|events|records|entries|items|matches|rows)"
_TOO: Final = r"too (?:large|big|wide|long|great|many)"
# Each with what it means for a narrow range, and for a wide one. Of several the first counts.
_BY_TEXT: Final = (
    (
        _pattern(
            rf"too many (?:[a-z]+ )?{_LOGS}",
            rf"(?:more than|over|exceed\w*|above)\b[^.]{{0,40}}\b{_LOGS}\b",
            rf"\b{_LOGS}\b[^.]{{0,20}} (?:exceed|{_TOO})",
            rf"response (?:size|body|(?:is )?{_TOO})",
        ),
        RefusalKind.SIZE,
        RefusalKind.SIZE,
    ),
    (_CAP, RefusalKind.WIDTH, RefusalKind.WIDTH),
    (
        _pattern(
            r"exceed\w*(?: [a-z]+){0,3} (?:block )?range",
            rf"range\b[^.]{{0,40}}(?:{_TOO}|exceed)",
            rf"(?:too many|{_TOO}) blocks",
            r"block range limit exceeded",
            rf"block (?:span|distance|interval)\b[^.]{{0,40}}(?:{_TOO}|exceed)",
            r"fromBlock\W{1,5}toBlock\b[^.]{0,40}exceed",
            r"(?:reduce|narrow|shorten|smaller)\b[^.]{0,20}\brange",
        ),
        RefusalKind.WIDTH,
        RefusalKind.WIDTH,
    ),
    (
        _pattern(
            r"archive requests? require",
            r"pruned",
            r"missing trie node",
            r"historical state\b[^.]{0,80} not available",
            r"not supported on (?:the )?free",
            r"history (?:is )?(?:not available|unavailable|expired)",
        ),
        RefusalKind.DEPTH,
        RefusalKind.DEPTH,
    ),
    (
        _pattern(
            r"too many requests",
            r"rate[ -]?limit",
            r"over rate",
            r"per (?:second|minute|day)",
            r"throttled",
            r"(?:request|capacity|quota|credits?)\b[^.]{0,20}(?:exceeded|exhausted|reached)",
            r"(?:exceeded|exhausted|reached)\b[^.]{0,40}\b(?:requests?|capacity|quota|credits?)\b",
            r"slow down",
        ),
        RefusalKind.RATE,
        RefusalKind.RATE,
    ),
    (
        _pattern(
            r"(?:header|block)s?\b[^.]{0,40} (?:not (?:yet )?(?:be )?found|not (?:yet )?available)",
            r"blocks?\b[^.]{0,60} cannot be found",
            r"unknown block",
            r"(?:beyond|ahead of|above|after|past|greater than|higher than) "
            r"(?:[a-z]+ ){0,3}(?:head|tip|last|latest|finalized)",
            r"unfinalized",
            r"(?:out of|not in) sync\b",
            r"(?:node|backend|replica) is (?:[a-z]+ )?behind",
            r"block is out of range",
            r"not (?:yet )?(?:fully )?(?:synced|indexed)",
            r"(?:still|is) syncing",
        ),
        RefusalKind.LAG,
        RefusalKind.LAG,
    ),
    (_pattern(r"no backend is currently healthy"), RefusalKind.OUTAGE, RefusalKind.WIDTH),
    (_pattern(r"time(?:d )?[ -]?out", r"deadline exceeded"), RefusalKind.OUTAGE, RefusalKind.SIZE),
    (
        _pattern(r"narrow\b[^.]{0,20}\b(?:filter|query|search)"),
        RefusalKind.SIZE,
        RefusalKind.SIZE,
    ),
    (
        _pattern(
            r"(?:upgrade|subscri\w+)\b[^.]{0,30}\b(?:plan|tier|account|node)",
            r"(?:requires?|only|available)\b[^.]{0,30}\b(?:paid|premium|plan|tier|subscription)",
        ),
        RefusalKind.DEPTH,
        RefusalKind.DEPTH,
    ),
)
_BY_CODE: Final = (
    (frozenset({-32614}), RefusalKind.WIDTH, RefusalKind.WIDTH),
    (frozenset({-32020}), RefusalKind.SIZE, RefusalKind.SIZE),
    (frozenset({35}), RefusalKind.DEPTH, RefusalKind.DEPTH),
    (frozenset({-32012, -32016, -32024, -32029}), RefusalKind.RATE, RefusalKind.RATE),
    (frozenset({-32011}), RefusalKind.OUTAGE, RefusalKind.WIDTH),
    (frozenset({30, -32015}), RefusalKind.OUTAGE, RefusalKind.SIZE),
    (frozenset({-32001, -32019}), RefusalKind.LAG, RefusalKind.LAG),
    (frozenset({19, -32010, -32603}), RefusalKind.OUTAGE, RefusalKind.OUTAGE),
    # Invalid request, invalid params, limit exceeded: how nodes refuse a range in words of their
    # own, or in none, as Tenderly does.
    (frozenset({-32600, -32602}), RefusalKind.OTHER, RefusalKind.WIDTH),
    (frozenset({-32005}), RefusalKind.RATE, RefusalKind.WIDTH),
)
_BY_STATUS: Final = (
    (frozenset({429}), RefusalKind.RATE, RefusalKind.RATE),
    (frozenset({402}), RefusalKind.DEPTH, RefusalKind.DEPTH),
    (frozenset({413}), RefusalKind.SIZE, RefusalKind.WIDTH),
    (frozenset({408, 504}), RefusalKind.OUTAGE, RefusalKind.SIZE),
    (frozenset(range(500, 600)), RefusalKind.OUTAGE, RefusalKind.OUTAGE),
)


class Refusal(Struct, frozen=True, kw_only=True):
    """One refusal. What the node says in it may be nonsense.

    kind       what it asks for
    reason     its own words, on one printable line
    cap        the number of blocks that the node says it shows at once; None where it does not say
    suggested  first and last block of the range that it says would work; None where it does not say
    pause      the seconds after which it says to come back; None where it does not say
    final      whether asking for less cannot help: it gave no answer at all, knows no such method,
               or wants another key
    """

    kind: RefusalKind
    reason: str
    cap: int | None = None
    suggested: tuple[int, int] | None = None
    pause: int | None = None
    final: bool = False


def classify(response: Response, *, wide: bool) -> Refusal | None:
    """The refusal in a response to `eth_getLogs`, or None when it is to be read as an answer.

    `wide` says that so many blocks were asked for that a failing node may only be overwhelmed: a
    failure is then first taken for a refusal of the range.
    """
    succeeded = response.status in range(200, 300)
    if succeeded and b'"error"' not in response.body:
        return _null(response.body)
    error = _error_of(response.body)
    if error is None and succeeded:
        return None
    code, text = _code_and_text(error)
    parts = [
        *([] if succeeded else [f"HTTP {response.status}"]),
        *([] if code is None else [f"code {code}"]),
    ]
    return Refusal(
        kind=_kind(response.status, code, text, wide=wide),
        reason=": ".join(filter(None, (", ".join(parts), printable(text)))) or "refused",
        cap=_stated_cap(text),
        suggested=_suggested(text),
        pause=_pause(response.header("retry-after")),
        final=response.status == _UNAUTHORIZED
        or code == _NO_SUCH_METHOD
        or _FINAL.search(text) is not None,
    )


def lags(response: Response) -> bool:
    """Whether a backend does not have the block that any call of JSON-RPC names, as far as it says
    so: another one behind the same endpoint may."""
    refusal = classify(response, wide=False)
    return refusal is not None and refusal.kind is RefusalKind.LAG


def _null(body: bytes) -> Refusal | None:
    """A backend that does not have the blocks may answer null, which is no list of logs."""
    if len(body) > _LONGEST_TEXT or b"null" not in body:
        return None
    try:
        document = codec.parse_json_object(body, "answer")
    except EvidenceError:
        return None
    if document.get("result", "") is not None:
        return None
    return Refusal(kind=RefusalKind.LAG, reason="it answers null")


def _error_of(body: bytes) -> JsonValue:
    """The error object of a JSON-RPC answer, None when there is none."""
    try:
        return codec.parse_json_object(body, "answer").get("error")
    except EvidenceError:
        return None


def _code_and_text(error: JsonValue) -> tuple[int | None, str]:
    if not isinstance(error, dict):
        return None, "" if error is None else str(error)[:_LONGEST_TEXT]
    code, message, more = (error.get(key) for key in ("code", "message", "data"))
    texts = [
        item if isinstance(item, str) else json.dumps(item)
        for item in (message, more)
        if item is not None
    ]
    return code if type(code) is int else None, ": ".join(texts)[:_LONGEST_TEXT]


def _kind(status: int, code: int | None, text: str, *, wide: bool) -> RefusalKind:
    found = (
        *((narrow, broad) for pattern, narrow, broad in _BY_TEXT if pattern.search(text)),
        *((narrow, broad) for codes, narrow, broad in _BY_CODE if code in codes),
        *((narrow, broad) for statuses, narrow, broad in _BY_STATUS if status in statuses),
        (RefusalKind.OTHER, RefusalKind.OTHER),
    )
    return found[0][wide]


def _stated_cap(text: str) -> int | None:
    found = _CAP.search(text)
    if found is None:
        return None
    number = next(group for group in found.groups() if group).lower()
    digits = re.sub(r"\D", "", number)[:_LONGEST_NUMBER]
    return int(digits) * (1_000 if number.endswith("k") else 1)


def _suggested(text: str) -> tuple[int, int] | None:
    for pattern, base in ((_HEX_RANGE, 16), (_DECIMAL_RANGE, 10)):
        found = pattern.search(text)
        if found:
            return int(found[1], base), int(found[2], base)
    return None


def _pause(header: str) -> int | None:
    """Seconds of a `Retry-After`; its other form, a date, is of a clock that nobody knows."""
    if not (header.isascii() and header.isdigit()):
        return None
    return int(header[:_LONGEST_NUMBER])
