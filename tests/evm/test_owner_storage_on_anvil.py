"""All that a published Safe and a timelock store, on a real EVM: what no list and no log names
shows where a node proves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.evm import owners
from tests.evm.anvil import Anvil, Contract, element
from tests.evm.audits import ONE, TWO, Audit, Scene, build_of, eip55, proofless, proving, scene
from tests.evm.world import NOBODY
from verifier.evidence.codec import JsonObject
from verifier.model.chain import Role
from verifier.model.pending import Look
from verifier.model.result import Status
from verifier.model.timeline import Governance
from verifier.reference import values
from verifier.timeline.owners import HIDDEN, NOT_PROVEN, UNANNOUNCED

_CALL, _DELEGATECALL = 0, 1
_NO_REFUND: Final = (0, 0, 0, NOBODY, NOBODY)
_MODULES: Final = 1
_SENTINEL: Final = 1
_TIMESTAMPS: Final = 1
_APPROVED: Final = b"\1"
"""The last byte of a signature that stands for an approved hash: Safe.sol, checkNSignatures."""

Made = Callable[..., Contract]


@pytest.fixture(scope="module")
def made(chain: Anvil) -> Made:
    """Makes a Safe 1.4.1 of some owners by the published factory."""
    singleton, factory = chain.deploy("SafeL2"), chain.deploy("SafeProxyFactory")
    handler = chain.deploy("CompatibilityFallbackHandler").address

    def make(signers: tuple[str, ...], threshold: int) -> Contract:
        terms = (list(signers), threshold, NOBODY, b"", handler, NOBODY, 0, NOBODY)
        setup = singleton.calldata("setup", *terms)
        arguments = (singleton.address, setup, chain.head)
        receipt = factory.send(chain.accounts[0], "createProxyWithNonce", *arguments)
        created = next(log for log in receipt["logs"] if log["address"] == factory.address)
        return Contract(chain, "SafeL2", "0x" + created["topics"][1][-40:])

    return make


@pytest.fixture
def app(chain: Anvil) -> Scene:
    """An app, and an audit that knows the published builds of Safe."""
    found = scene(chain, "G5")
    found.reference = _with_safes
    return found


def _with_safes(document: JsonObject) -> JsonObject:
    embedded = json.loads((Path(values.__file__).parent / "values.json").read_bytes())
    known = document["contracts"]
    assert isinstance(known, list)
    safes = [row for row in embedded["contracts"] if row["role"].startswith("safe")]
    return document | {"contracts": [*known, *safes]}


def owner_of(audit: Audit) -> Governance:
    """Who governs the app at present."""
    found = [item for item in audit.timeline.governance if item.role is Role.APP]
    assert found[-1].until is None
    return found[-1]


def carry_out(safe: Contract, to: str, data: bytes, operation: int = _CALL) -> None:
    """A transaction that as many signers as are needed approve on the chain."""
    signers = safe.call("getOwners")[: safe.call("getThreshold")]
    call = (to, 0, data, operation, *_NO_REFUND)
    digest = safe.call("getTransactionHash", *call, safe.call("nonce"))
    for signer in signers:
        safe.send(signer, "approveHash", digest)
    words = (bytes(12) + bytes.fromhex(item[2:]) + bytes(32) for item in sorted(signers))
    signed = b"".join(word + _APPROVED for word in words)
    safe.send(signers[0], "execTransaction", *call, signed)


def plant(chain: Anvil, safe: Contract, module: str) -> None:
    """Have the signers call code that writes a module into the Safe's storage, in no list."""
    slot = element(module, _MODULES)
    # PUSH32 word, PUSH32 slot, SSTORE, STOP; before it the code that returns these 68 bytes.
    runtime = b"\x7f" + _SENTINEL.to_bytes(32, "big") + b"\x7f" + slot.to_bytes(32, "big")
    runtime += bytes.fromhex("5500")
    creation = bytes.fromhex("6044600c60003960446000f3") + runtime
    receipt = chain.send(chain.accounts[0], None, creation)
    carry_out(safe, receipt["contractAddress"], b"", _DELEGATECALL)


def test_a_published_safe_is_proven_to_store_what_it_lists(
    chain: Anvil, made: Made, app: Scene
) -> None:
    safe = made(chain.accounts[5:8], 2)
    app.app.contract.send(chain.accounts[1], "transferOwnership", safe.address)
    new, first = chain.accounts[8], f"0x{_SENTINEL:040x}"
    for calldata in (
        b"",
        safe.calldata("addOwnerWithThreshold", new, 3),
        safe.calldata("removeOwner", first, new, 2),
        safe.calldata("enableModule", chain.accounts[9]),
    ):
        if calldata:  # what is approved on the chain stays in the storage
            carry_out(safe, safe.address, calldata)
        found = owner_of(proving(app))
        assert (found.owner, found.own_word) == (eip55(safe.address), False)
        assert found.threshold == safe.call("getThreshold")
        assert found.keys == (None if found.modules else found.threshold)
        assert HIDDEN not in found.remarks
        assert NOT_PROVEN not in found.remarks


def test_a_module_that_no_list_names_leaves_the_keys_unknown(
    chain: Anvil, made: Made, app: Scene
) -> None:
    safe, module = made(chain.accounts[5:8], 2), chain.accounts[9]
    plant(chain, safe, module)
    app.app.contract.send(chain.accounts[1], "transferOwnership", safe.address)
    assert safe.call("getModulesPaginated", f"0x{_SENTINEL:040x}", 10)[0] == ()
    audit = proving(app)
    found = owner_of(audit)
    assert (found.keys, found.modules, found.remarks) == (None, (), (HIDDEN,))
    check = audit.check("authorization.governance")
    assert check.status is Status.WARN
    assert "it may be one key, at once" in check.summary
    # What nobody lists acts, alone.
    calldata = app.app.contract.calldata("setAllowAnyDevice", True)  # noqa: FBT003
    safe.send(module, "execTransactionFromModule", app.app.contract.address, 0, calldata, _CALL)
    assert app.app.contract.call("allowAnyDevice")


def test_where_no_node_proves_nobody_says_that_the_lists_are_all(
    chain: Anvil, made: Made, app: Scene
) -> None:
    safe = made(chain.accounts[5:8], 2)
    app.app.contract.send(chain.accounts[1], "transferOwnership", safe.address)

    app.lies = {ONE: proofless, TWO: proofless}
    found = owner_of(app.audit())
    assert (found.keys, found.remarks) == (2, (NOT_PROVEN,))
    app.lies = {ONE: proofless}
    assert owner_of(app.audit()).remarks == ()


def test_a_timelock_of_any_creator_is_proven_to_store_what_its_logs_say(
    chain: Anvil, app: Scene
) -> None:
    lock = owners.timelock(chain, chain.accounts[8], 3_600, admin=chain.accounts[7])
    contract = lock.contract
    app.app.contract.send(chain.accounts[1], "transferOwnership", contract.address)
    _know(app, contract.address)
    role = contract.call("PROPOSER_ROLE")
    contract.send(chain.accounts[7], "grantRole", role, chain.accounts[9])
    contract.send(chain.accounts[7], "revokeRole", role, chain.accounts[9])
    lock.perform(app.app.contract, "setAllowAnyDevice", True)  # noqa: FBT003
    salts = (b"\1" * 32, b"\2" * 32)
    calls = [(app.app.contract.address, 0, b"", bytes(32), salt) for salt in salts]
    for call in calls:
        contract.send(chain.accounts[8], "schedule", *call, 3_600)
    contract.send(chain.accounts[8], "cancel", contract.call("hashOperation", *calls[0]))
    for status, notice, said in ((True, 3_600, False), (False, None, True)):
        audit = proving(app)
        found = owner_of(audit)
        assert (found.notice, UNANNOUNCED in found.remarks) == (notice, said)
        assert not any("neither is known code" in item for item in found.remarks)
        looks = {item.account: item.look for item in audit.timeline.outlook}
        assert (looks[eip55(contract.address)] is Look.WHOLE) == status
        # An operation that nobody announced, as a creator of one's own leaves it.
        slot = element("77" * 32, _TIMESTAMPS)
        chain.rpc(
            "anvil_setStorageAt", contract.address, f"0x{slot:064x}", f"0x{chain.time():064x}"
        )
    app.lies = {ONE: proofless, TWO: proofless}
    assert owner_of(app.audit()).notice is None


def _know(app: Scene, timelock: str) -> None:
    """Have the audit know a timelock's code, and no code that creates it."""
    row = build_of(app.chain, "timelock", "TimelockController", timelock)

    def known(document: JsonObject) -> JsonObject:
        rows = document["contracts"]
        assert isinstance(rows, list)
        return document | {"contracts": [*rows, row]}

    app.reference = known
