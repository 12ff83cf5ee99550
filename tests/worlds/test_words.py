"""No decision rides on words, on the order of evidence, or on what is not there: every honest world
is judged as before in other words and in another order, and no better without a part of it.

What an attacker may try is judged in other words where it is carried out (test_catalogue.py).
"""

import pytest

from tests.worlds.audited import Audited, audit, judged, shuffled
from tests.worlds.monotone import sampled
from tests.worlds.reworded import decided, reworded
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault
from verifier.model.result import SkipKind, Status

DEMANDS = "several_keys = true\nnotice_days = 7"
WORLDS = {
    "honest": Knobs(),
    "without-a-contract": Knobs(kms="hosted"),
    "without-a-kms": Knobs(key_provider="none"),
    "a-safe": Knobs(governance="safe"),
    "one-key": Knobs(governance="key"),
    "one-operator": Knobs(rpc_faults={"b": RpcFault.ERROR}),
    "no-transactions": Knobs(rpc_faults=dict.fromkeys("ab", RpcFault.NO_TRANSACTIONS)),
    "no-archive": Knobs(rpc_faults=dict.fromkeys("ab", RpcFault.NO_ARCHIVE)),
    "unknown-image": Knobs(os_image="mine"),
    "unknown-kms": Knobs(kms="nobody"),
    "revoked": Knobs(tcb_status="Revoked"),
    "any-device": Knobs(allow_any_device=True),
    "two-instances": Knobs(others=(Knobs(),)),
}


DAMAGES = 30
"""Parts of each world that are removed or spoiled."""


@pytest.mark.parametrize("name", WORLDS)
def test_other_words_change_nothing(name: str) -> None:
    audited = audit(WORLDS[name])
    assert judged(audited.again(shuffled(audited.bundle, name))) == judged(audited)
    assert not sampled(name, audited, DAMAGES)
    for each in (audited, audited.demanding(DEMANDS)):
        assert decided(reworded(each)) == decided(each)


def test_the_words_are_others(honest: Audited) -> None:
    before, after = honest.report.subjects[0].checks, reworded(honest).report.subjects[0].checks
    assert all(one.summary != other.summary for one, other in zip(before, after, strict=True))


def test_a_status_in_the_words_of_a_refusal_is_no_revocation() -> None:
    quoting = audit(Knobs(tcb_status="TCB status is invalid: Revoked"))
    assert [item.status for item in quoting.check("hardware.quote")] == [Status.FAIL]
    assert [item.skip_kind for item in quoting.check("hardware.tcb")] == [SkipKind.BLOCKED]
    revoked = audit(Knobs(tcb_status="Revoked"))
    assert [item.status for item in revoked.check("hardware.tcb")] == [Status.FAIL]
