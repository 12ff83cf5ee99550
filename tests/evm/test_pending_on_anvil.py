"""What waits in OpenZeppelin's own timelock, and what owners of a Safe approved on the chain."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from tests.evm import owners
from tests.evm.anvil import Anvil, Contract, compiled
from tests.evm.audits import ONE, TWO, build_of, eip55, proofless, scene
from tests.evm.world import NO_KEY, NOBODY, key
from verifier.evidence.chain.contracts import code_fingerprint
from verifier.evidence.chain.operation_hashes import TimelockCall, operation_ids
from verifier.evidence.codec import JsonObject
from verifier.model.chain import OwnerKind, Role
from verifier.model.pending import Effect, Look
from verifier.model.result import Basis, Status

DELAY = 3_600
SALT = key("salt")


def with_builds(document: JsonObject, builds: Iterable[JsonObject]) -> JsonObject:
    known = document["contracts"]
    assert isinstance(known, list)
    return document | {"contracts": [*known, *builds]}


def creation_of(build: JsonObject, name: str) -> JsonObject:
    """The row of the code that creates what a row is about."""
    code = bytes.fromhex(compiled()[name]["bytecode"].removeprefix("0x"))
    fingerprint = code_fingerprint(code, ())
    return build | {
        "role": f"{build['role']}-creation",
        "length": len(code),
        "fingerprint": fingerprint,
    }


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def test_ids_are_those_that_the_timelock_computes(chain: Anvil) -> None:
    timelock = owners.timelock(chain, chain.accounts[8], DELAY).contract
    calls = [
        (chain.accounts[1], 0, b""),
        (timelock.address, 10**18, b"\1" * 31),
        (chain.accounts[2], 2**200, b"\2" * 64),
    ]
    for chosen in (calls, calls[:1], calls[1:2]):
        targets, values, payloads = (list(part) for part in zip(*chosen, strict=True))
        rest = (key("before"), SALT)
        own = timelock.call("hashOperationBatch", targets, values, payloads, *rest)
        listed = [TimelockCall(raw(to), value, data) for to, value, data in chosen]
        ours = operation_ids(listed, *rest)
        assert ours[0] == own
        if len(chosen) == 1:
            assert ours[1] == timelock.call("hashOperation", *chosen[0], *rest)


def test_an_operation_waits_in_a_real_timelock_until_it_is_cancelled(chain: Anvil) -> None:
    app, proposer = scene(chain, "G5"), chain.accounts[8]
    contract, timelock = app.app.contract, owners.timelock(chain, proposer, DELAY).contract
    contract.send(chain.accounts[1], "transferOwnership", timelock.address)
    known = build_of(chain, "timelock", "TimelockController", timelock.address)
    made = creation_of(known, "TimelockController")
    app.reference = partial(with_builds, builds=(known, made))
    batch: tuple[Any, ...] = (
        [contract.address, timelock.address],
        [0, 0],
        [
            contract.calldata("addComposeHash", key("about to be allowed")),
            timelock.calldata("updateDelay", 1),
        ],
        NO_KEY,
        SALT,
    )
    timelock.send(proposer, "scheduleBatch", *batch, DELAY)
    digest = timelock.call("hashOperationBatch", *batch)
    audit = app.audit()
    (found,) = audit.timeline.pending
    assert (found.id, found.whole, found.ready) == (digest.hex(), True, False)
    assert found.due == timelock.call("getTimestamp", digest)
    assert (found.account, found.sender) == (eip55(timelock.address), eip55(proposer))
    assert [(call.function, call.touches, call.effect) for call in found.calls] == [
        ("addComposeHash", Role.APP, Effect.OPENS),
        ("updateDelay", Role.APP_OWNER, Effect.CONTROL),
    ]
    check = audit.check("authorization.governance")
    assert check.status is Status.WARN
    assert key("about to be allowed").hex() in check.summary
    timelock.send(proposer, "cancel", digest)
    app.lies = {ONE: proofless, TWO: proofless}
    for builds, look, status in (
        ((known, made), Look.WHOLE, Status.PASS),
        ((known,), Look.PART, Status.WARN),  # whoever created it may have left operations in it
    ):
        app.reference = partial(with_builds, builds=builds)
        over = app.audit()
        assert over.timeline.pending == ()
        looks = [item.look for item in over.timeline.outlook if item.kind is OwnerKind.TIMELOCK]
        assert looks == [look]
        assert over.check("authorization.governance").status is status


def test_what_owners_of_a_safe_approved_on_the_chain_is_found(chain: Anvil) -> None:
    app = scene(chain, "G5")
    signers = chain.accounts[5:8]
    safe = owners.safe(chain, signers, 2)
    app.app.contract.send(chain.accounts[1], "transferOwnership", safe.address)
    allow = app.app.contract.calldata("addComposeHash", key("agreed on"))
    digest = _approved(safe.contract, app.app.contract.address, allow, signers[:2])
    audit = app.audit()
    (found,) = audit.timeline.pending
    assert (found.id, found.kind, found.basis) == (digest.hex(), OwnerKind.SAFE, Basis.CHAIN)
    assert found.signers == tuple(sorted(map(eip55, signers[:2])))
    assert not found.whole
    looks = {item.account: item.look for item in audit.timeline.outlook}
    assert looks[eip55(safe.address)] is Look.ASSERTED
    assert audit.check("authorization.governance").status is Status.WARN
    rest = (0, 0, 0, 0, NOBODY, NOBODY, b"")
    to = app.app.contract.address
    safe.contract.send(signers[0], "execTransaction", to, 0, allow, *rest)
    assert app.audit().timeline.pending == ()


def _approved(safe: Contract, to: str, data: bytes, signers: tuple[str, ...]) -> bytes:
    digest: bytes = safe.call("txHashOf", to, data, safe.call("nonce"))
    for signer in signers:
        safe.send(signer, "approveHash", digest)
    return digest
