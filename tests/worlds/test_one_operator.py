"""One operator alone can neither clear nor accuse an app; two that say the same do."""

import json

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit, edited
from tests.worlds.damage import Damage, Json, damaged
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.chain import contracts
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.model.result import Status, Verdict

OTHER_OWNER = b'{"jsonrpc":"2.0","id":1,"result":"0x%064x"}' % 0xA77AC4
ACCUSATIONS = {
    "authorization.contract": Knobs(edit_chain=forge.unknown_app_code),
    "authorization.allowed": Knobs(device_on_chain="never"),
    "key_management.provider": Knobs(ca_pubkey=b"\x30" * 91),
}


@pytest.mark.parametrize("check_id", ACCUSATIONS)
def test_what_two_operators_say_counts(check_id: str) -> None:
    audited = audit(ACCUSATIONS[check_id])
    (result,) = audited.check(check_id)
    assert (result.status, audited.report.verdict) == (Status.FAIL, Verdict.CONTRAINDICATED)


@pytest.mark.parametrize("fault", [RpcFault.ERROR, RpcFault.OTHER_CHAIN])
@pytest.mark.parametrize("check_id", ACCUSATIONS)
def test_what_one_operator_says_is_an_error_that_says_so(check_id: str, fault: RpcFault) -> None:
    knobs = ACCUSATIONS[check_id]
    alone = Knobs(
        edit_chain=knobs.edit_chain,
        device_on_chain=knobs.device_on_chain,
        ca_pubkey=knobs.ca_pubkey,
        rpc_faults={"b": fault},
    )
    audited = audit(alone)
    (result,) = audited.check(check_id)
    assert (result.status, audited.report.verdict) == (Status.ERROR, Verdict.NONE)
    assert "one operator alone" in result.summary
    assert "--rpc-url" in result.remediation


def lie_about_owners(_method: str, url: str, body: bytes, given: Response) -> Response:
    if "rpc-a" in url and f'"{contracts.OWNER}"'.encode() in body:
        return replace(given, body=OTHER_OWNER)
    return given


@pytest.fixture(scope="module")
def contradicted() -> Audited:
    return audit(Knobs(edit_response=lie_about_owners))


def test_endpoints_that_differ_about_an_owner_are_named(contradicted: Audited) -> None:
    """Their answers to `owner()` are an error of the history, which asks about both accounts."""
    (result,) = contradicted.check("authorization.history")
    assert result.status is Status.ERROR
    assert "rpc-a.lab.invalid and https://rpc-b.lab.invalid disagree" in result.summary


@pytest.mark.parametrize("endpoint", ["rpc-a", "rpc-b"])
@pytest.mark.parametrize(
    ("question", "path"),
    [
        ('"eth_chainId"', (Json(), "result")),
        ('"eth_chainId"', (Json(), "id")),
        ('"eth_chainId"', ()),
        ('"eth_getBlockByNumber","params":["finalized"', (Json(), "id")),
        ('"eth_getBlockByNumber","params":["finalized"', (Json(), "result", "number")),
        ('"eth_getBlockByNumber","params":["finalized"', ()),
        ('"eth_getStorageAt"', ()),
    ],
)
def test_an_endpoint_that_no_longer_tells_its_chain_or_block_still_contradicts(
    contradicted: Audited, endpoint: str, question: str, path: tuple[object, ...]
) -> None:
    """It is not as if nobody had asked it: what it says otherwise counts against both."""
    bundle = contradicted.bundle
    asked = [
        place
        for place, item in enumerate(bundle.artifacts)
        if item.kind is Kind.JSON_RPC
        and endpoint in item.source
        and question in item.request
        and ("finalized" in item.request or "eth_chainId" in item.request)
    ]
    assert asked
    for place in asked:
        after = contradicted.again(damaged(bundle, Damage(place, path, removed=not path)))
        assert after.report.verdict is Verdict.NONE
        assert all(item.status is not Status.PASS for item in after.check("authorization.history"))


def test_nothing_rests_on_an_endpoint_in_doubt() -> None:
    """Where it repeats what the other one says, it is no second operator."""
    honest = audit(Knobs())
    bundle = honest.bundle
    (place,) = (
        place
        for place, item in enumerate(bundle.artifacts)
        if item.kind is Kind.JSON_RPC and "rpc-a" in item.source and "eth_chainId" in item.request
    )
    after = honest.again(damaged(bundle, Damage(place, (Json(), "id"), removed=True)))
    (result,) = after.check("authorization.contract")
    assert (result.status, after.report.verdict) == (Status.WARN, Verdict.WARNING)
    assert "rpc-a.lab.invalid does not tell its chain" in result.summary


@pytest.mark.parametrize("time", ["0xffffffffffffffff", "soon", None])
def test_an_endpoint_whose_finalized_block_has_no_time_is_in_doubt(
    honest: Audited, time: str | None
) -> None:
    """How far it is behind, or before, the other one cannot be told."""

    def edit(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        if "rpc-a" not in item.source or '"finalized",false' not in item.request:
            return item, raw
        answer = json.loads(raw)
        answer["result"]["timestamp"] = time
        return item, json.dumps(answer).encode()

    after = honest.again(edited(honest.bundle, edit))
    (result,) = after.check("authorization.contract")
    assert (result.status, after.report.verdict) == (Status.WARN, Verdict.WARNING)
    assert "crashed" not in result.reason
    assert "read from one operator only" in result.summary
