"""Contracts that code owns which nobody knows: it may be one key, whatever it says of itself."""

import json
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from eth_utils.address import to_checksum_address
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import (
    AcceptedError,
    assert_no_better,
    assert_noticed,
    notices,
    told,
)
from verifier.errors import EvidenceError
from verifier.evidence.td.report_data import CHALLENGE_LEAF, Binding
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.chain import Behaviour, Chain
from verifier.lab.contracts import DstackApp, DstackKms, dispatch, encode, runtime_code, selector
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.model.result import Status, Verdict

CHALLENGE: Final = b"N" * 32
OWNER: Final = keys.labelled("owner of unknown code", 20)
SIGNERS: Final = [int.from_bytes(keys.labelled(f"signer {number}", 20)) for number in range(9)]
DELAY: Final = encode(30 * DAY)
SAFE: Final = {
    "getThreshold()": encode(5),
    "getOwners()": encode(32, len(SIGNERS), *SIGNERS),
    "getModulesPaginated(address,uint256)": encode(64, 1, 0),
    "VERSION()": encode("1.4.1"),
}
SHAPES: Final[dict[str, dict[str, bytes]]] = {
    "says nothing": {},
    "says that it is a timelock": {"getMinDelay()": DELAY},
    "says that it is a Safe": SAFE,
}
POLICIES: Final = ("baseline", "strict")

Owned = Callable[[Chain, DstackApp, DstackKms], None]


def owned_by(shape: str) -> Owned:
    """App and KMS are handed over to a contract that answers these calls, and no other."""

    def constant(raw: bytes) -> Behaviour:
        return lambda _chain, _address, _calldata, _block: raw

    def edit(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
        code = runtime_code(f"owner that {shape}")
        chain.define(code, dispatch({call: constant(raw) for call, raw in SHAPES[shape].items()}))
        chain.set_code(forge.days_ago(chain, 60), OWNER, code)
        for contract in (app, kms):
            contract.transfer_ownership(forge.days_ago(chain, 50), OWNER)

    return edit


@cache
def governed(shape: str) -> Audited:
    """A challenged app, owned by one key or by unknown code; all nodes are honest."""
    edit = owned_by(shape) if shape else None
    knobs = Knobs(governance="key", edit_chain=edit, challenge=CHALLENGE)
    audited = audit(knobs, challenge=CHALLENGE)
    manifest = audited.world.guest.compose_hash
    return audited.again(binds=(Binding(CHALLENGE_LEAF, (manifest,)),))


@pytest.mark.parametrize("policy", POLICIES)
def test_one_key_is_a_reservation(policy: str) -> None:
    assert governed("").under(policy).report.verdict is Verdict.WARNING


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_owner_of_unknown_code_is_a_reservation(shape: str, policy: str) -> None:
    audited = governed(shape).under(policy)
    claims = audited.claims()
    for name in ("app_owner", "kms_owner"):
        assert claims[name].value == to_checksum_address(OWNER)
    assert audited.check("authorization.history")[0].status is Status.PASS
    assert_noticed(audited, "authorization.governance")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_owner_of_unknown_code_is_no_better_than_one_key(shape: str, policy: str) -> None:
    assert_no_better(governed(shape).under(policy), governed("").under(policy))


@pytest.mark.parametrize("demand", ["several_keys = true", "notice_days = 7"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_an_owner_says_of_itself_meets_no_demand(shape: str, demand: str) -> None:
    assert_noticed(governed(shape).demanding(demand), "authorization.governance")


def lying(operator: str, shape: str, told_lies: list[bytes]) -> forge.ResponseEdit:
    """One operator gives the answers of a shape, whatever the contract gives."""
    lies = {selector(call).hex().encode(): raw for call, raw in SHAPES[shape].items()}

    def edit(_method: str, url: str, body: bytes, response: Response) -> Response:
        if not url.startswith(f"https://rpc-{operator}.") or OWNER.hex().encode() not in body:
            return response
        raw = next((raw for call, raw in lies.items() if b'"0x' + call in body), None)
        if raw is None or b'"error"' not in response.body:
            return response
        told_lies.append(body)
        answer = {"jsonrpc": "2.0", "id": 1, "result": f"0x{raw.hex()}"}
        return replace(response, status=200, body=json.dumps(answer).encode())

    return edit


@pytest.mark.parametrize("operator", ["a", "b"])
@pytest.mark.parametrize("shape", ["says that it is a timelock", "says that it is a Safe"])
def test_what_one_of_two_operators_says_of_an_owner_is_not_known(shape: str, operator: str) -> None:
    """The other one answers too: that the contract reverts."""
    lies: list[bytes] = []
    knobs = Knobs(
        governance="key",
        edit_chain=owned_by("says nothing"),
        edit_response=lying(operator, shape, lies),
    )
    audited = audit(knobs)
    assert lies
    (result,) = audited.check("authorization.governance")
    try:
        periods = audited.timeline().governance
    except EvidenceError:
        assert notices(result)
        return
    present = [item for item in periods if item.until is None and item.owner]
    assert {item.owner for item in present} >= {to_checksum_address(OWNER)}
    if any(item.delay or item.notice or item.keys for item in present):
        raise AcceptedError(told(audited, [result]))


def test_what_one_of_two_operators_says_of_an_owner_meets_no_demand() -> None:
    lies: list[bytes] = []
    edit = lying("a", "says that it is a timelock", lies)
    knobs = Knobs(governance="key", edit_chain=owned_by("says nothing"), edit_response=edit)
    audited = audit(knobs).demanding("notice_days = 7")
    assert lies
    (result,) = audited.check("authorization.governance")
    if result.status in (Status.PASS, Status.WARN):
        raise AcceptedError(told(audited, [result]))


def test_what_one_operator_alone_says_of_an_owner_accuses_nobody() -> None:
    for faults, status in (({}, Status.FAIL), ({"b": RpcFault.ERROR}, Status.ERROR)):
        knobs = Knobs(governance="key", rpc_faults=faults)
        found = audit(knobs).demanding("several_keys = true").check("authorization.governance")
        assert found[0].status is status
