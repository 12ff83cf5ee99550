"""What is asked of a chain's endpoints: the state of contracts at a block that all of them have."""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from verifier.collect import requests
from verifier.collect.requests import Request
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.endpoint_label import public_label
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.plan import ChainPlan
from verifier.model.chain import OPERATORS


def state_requests(
    plan: ChainPlan, exchanges: Exchanges, endpoints: Iterable[str]
) -> Iterator[Request]:
    """Contract state at the lower of the finalized heads, once the endpoints have told theirs."""
    known = heads_of(plan, exchanges, endpoints)
    if not known:
        return
    number = min(head.number for head in known.values())
    implementations = sorted({item for head in known.values() for item in head.implementations})
    for url, head in known.items():
        calls = plan.state_calls(number, head.app, tuple(implementations))
        yield from requests.rpc_requests(url, calls)
        # An owner may be a contract, whose logs are asked for once its code is there.
        owners = [contracts.get_code(owner, hex(number)) for owner in head.owners]
        yield from requests.rpc_requests(url, owners)
        label = public_label(url)
        yield from requests.rpc_requests(url, _later_code(plan, exchanges, label, head.app, number))


def further(
    plan: ChainPlan,
    exchanges: Exchanges,
    endpoints: Iterable[str],
    rows: Iterable[tuple[int, str]],
    operator_of: Callable[[str], str],
) -> list[tuple[int, str]]:
    """The next endpoint of a chain among `rows` (chain id, URL), where fewer than two operators
    stand behind those that told its head; [] where that is not so, and where there is none."""
    told = {operator_of(url) for url in heads_of(plan, exchanges, endpoints)}
    of_chain = [row for row in rows if row[0] == plan.chain_id]
    return of_chain[:1] if len(told) < OPERATORS else []


class Head(Struct, frozen=True):
    """What one endpoint tells of a chain's finalized block: its number, the app's contract, the
    implementations behind it and the KMS's, and the owners of both."""

    number: int
    app: str
    implementations: tuple[str, ...]
    owners: tuple[str, ...]


def heads_of(plan: ChainPlan, exchanges: Exchanges, endpoints: Iterable[str]) -> dict[str, Head]:
    """The endpoints that told the head of this chain: others would only cost time."""
    heads = {url: _head(plan, exchanges, public_label(url)) for url in endpoints}
    return {url: head for url, head in heads.items() if head is not None}


def _head(plan: ChainPlan, exchanges: Exchanges, endpoint: str) -> Head | None:
    """Finalized block, app contract and implementations as one endpoint tells them, or None."""
    try:
        chain_id = exchanges.call(endpoint, "eth_chainId", []).value
        if contracts.decode_quantity(chain_id, endpoint) != plan.chain_id:
            return None
        method, params = contracts.get_block("finalized")
        header = exchanges.call(endpoint, method, params).value
        if not isinstance(header, dict):
            return None
        number = contracts.decode_quantity(header.get("number"), endpoint)
        app = plan.app or _controller(plan, exchanges, endpoint)
    except EvidenceError:
        return None
    found: list[str] = []
    owners: list[str] = []
    for address in (plan.kms, app):
        found += _address(exchanges, endpoint, contracts.get_implementation(address, "finalized"))
        owner = contracts.eth_call(address, contracts.OWNER, "finalized")
        owners += _address(exchanges, endpoint, owner)
    return Head(number, app, tuple(found), tuple(dict.fromkeys(owners)))


def _controller(plan: ChainPlan, exchanges: Exchanges, endpoint: str) -> str:
    method, params = plan.controller_call("finalized")
    raw = contracts.decode_bytes(exchanges.call(endpoint, method, params).value, endpoint)
    return contracts.decode_address("0x" + raw[32:].hex(), endpoint)


def _address(exchanges: Exchanges, endpoint: str, call: contracts.Call) -> list[str]:
    try:
        answer = exchanges.call(endpoint, *call)
        return [contracts.decode_address(answer.value, endpoint)]
    except EvidenceError:
        return []


def _later_code(
    plan: ChainPlan, exchanges: Exchanges, endpoint: str, app: str, number: int
) -> list[contracts.Call]:
    """Code of the implementations that the slots name at the block."""
    block = hex(number)
    named: list[str] = []
    for address in (plan.kms, app):
        named.extend(_address(exchanges, endpoint, contracts.get_implementation(address, block)))
    return [contracts.get_code(address, block) for address in dict.fromkeys(named)]
