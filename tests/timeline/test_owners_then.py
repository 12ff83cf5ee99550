"""A past owner is judged by the code that it had then, not by the one that it has now."""

import pytest

from tests.timeline.events import ALICE, BOB, SAFE, TIMELOCK, born, transferred
from tests.worlds.audited import audit
from verifier.lab import contracts, keys
from verifier.lab import forgeries as forge
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms, Key
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault
from verifier.model.chain import OwnerKind, Role
from verifier.model.timeline import ExposureKind, Governance
from verifier.timeline.governance import AS_NOW, NOT_YET, OTHER_CODE, governance
from verifier.timeline.owners import OwnerReads, Past

CODE = b"\x60\x80"
KEY = OwnerReads(code=b"")
TWO_DAYS = OwnerReads(code=CODE, min_delay=172_800)
DELEGATED = bytes.fromhex("ef0100") + bytes(20)
GONE = keys.labelled("a contract that is gone", 20)


def past(owner: str, was: Past, now: OwnerReads, *rules: str) -> list[Governance]:
    """The periods of an owner that handed the app on to a key."""
    history = born(owner)
    for name in rules:
        history.owner(owner, name, oldDuration=0, newDuration=172_800)
    history.app("OwnershipTransferred", **transferred(owner, ALICE))
    reads = {owner: now, ALICE: KEY, BOB: KEY}
    found = governance(Role.APP, history.events, reads, then=lambda *_: was)
    return [item for item in found.periods if item.owner == owner]


def test_what_no_node_tells_is_judged_as_it_is_now_and_says_so() -> None:
    (period,) = past(SAFE, Past(None), KEY)
    assert (period.kind, period.keys) == (OwnerKind.EOA, 1)
    assert AS_NOW in period.remarks


@pytest.mark.parametrize("code", [b"", DELEGATED], ids=["plain", "delegated"])
def test_what_was_the_same_then_is_judged_as_it_is(code: bytes) -> None:
    (period,) = past(SAFE, Past(code), KEY)
    assert (period.kind, period.keys, period.remarks) == (OwnerKind.EOA, 1, ())


@pytest.mark.parametrize(
    ("role", "kind"),
    [("", OwnerKind.CONTRACT), ("safe", OwnerKind.SAFE), ("timelock", OwnerKind.TIMELOCK)],
)
def test_what_was_a_contract_then_is_no_key_because_it_is_gone(role: str, kind: OwnerKind) -> None:
    (period,) = past(SAFE, Past(CODE, role), KEY)
    assert (period.kind, period.keys, period.notice) == (kind, None, None)
    assert period.remarks == (OTHER_CODE,)


def test_a_timelock_that_was_not_created_yet_gave_no_notice() -> None:
    before, after = past(TIMELOCK, Past(b""), TWO_DAYS, "MinDelayChange")
    assert (before.kind, before.notice, before.remarks) == (OwnerKind.UNKNOWN, None, (NOT_YET,))
    assert (after.kind, after.notice) == (OwnerKind.TIMELOCK, 172_800)


def test_the_present_owner_is_judged_as_it_is() -> None:
    found = governance(
        Role.APP, born(ALICE).events, {ALICE: KEY, BOB: KEY}, then=lambda *_: Past(None)
    )
    assert found.periods[-1].remarks == ()


def _gone(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    """A contract owned the app for ten days, and then destroyed itself."""
    code = contracts.runtime_code("a contract of ten days")
    begins, ends = forge.days_ago(chain, 20), forge.days_ago(chain, 10)
    chain.set_code(begins - 1, GONE, code)
    app.transfer_ownership(begins, GONE)
    held = DstackApp(chain, app.address, Key(chain, GONE))
    held.transfer_ownership(ends, app.owner.address)
    chain.set_code(ends + 1, GONE, b"")


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "no archive"])
def test_a_contract_that_is_gone_was_no_key(archive: bool) -> None:  # noqa: FBT001
    faults = {} if archive else dict.fromkeys("ab", RpcFault.NO_ARCHIVE)
    timeline = audit(Knobs(governance="key", edit_chain=_gone, rpc_faults=faults)).timeline()
    (period,) = (item for item in timeline.governance if item.owner.lower() == "0x" + GONE.hex())
    alone = [item.subject for item in timeline.exposures if item.kind is ExposureKind.SINGLE_KEY]
    if archive:
        assert (period.kind, period.keys) == (OwnerKind.CONTRACT, None)
        assert period.owner not in alone
    else:
        assert (period.kind, period.keys) == (OwnerKind.EOA, 1)
        assert AS_NOW in period.remarks
        assert period.owner in alone
