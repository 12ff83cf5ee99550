"""One operator alone can neither clear nor accuse an app; two that say the same do."""

import pytest
from msgspec.structs import replace

from tests.worlds.audited import audit
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


def test_endpoints_that_differ_about_an_owner_are_named() -> None:
    """Their answers to `owner()` are an error of the history, which asks about both accounts."""

    def lie(_method: str, url: str, body: bytes, given: Response) -> Response:
        if "rpc-a" in url and f'"{contracts.OWNER}"'.encode() in body:
            return replace(given, body=OTHER_OWNER)
        return given

    audited = audit(Knobs(edit_response=lie))
    (result,) = audited.check("authorization.history")
    assert result.status is Status.ERROR
    assert "rpc-a.lab.invalid and https://rpc-b.lab.invalid disagree" in result.summary
