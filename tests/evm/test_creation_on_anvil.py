"""An app whose constructor emits nothing, on a real EVM: what it set is read from its creation."""

# ruff: noqa: FBT003 - the arguments of a constructor stand in its order
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from tests.evm.anvil import Anvil, compiled
from tests.evm.audits import ONE, SETTLED_BLOCKS, TWO, Audit, Lie, Scene, eip55, scene
from tests.evm.world import App, key
from verifier.audit import app_timeline
from verifier.chain.second_opinion import second_opinion, settle
from verifier.evidence.chain.constructor import CREATION_ROLE
from verifier.evidence.chain.contracts import code_fingerprint
from verifier.evidence.codec import JsonObject
from verifier.model.chain import Role
from verifier.model.result import Status
from verifier.model.timeline import UNKNOWN, Beginning, Known, Method
from verifier.report.timeline.earlier import read_timeline
from verifier.report.timeline.json import render_json
from verifier.report.timeline.terminal import render_terminal

PERIOD, STEPS = 120, 32
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "timeline-v1.schema.json"
LATER = key("announced first")


def with_creation_code(document: JsonObject) -> JsonObject:
    """Reference values that know the creation code of the test's contract."""
    code, known = bytes.fromhex(compiled()["TimelockApp"]["bytecode"]), document["contracts"]
    assert isinstance(known, list)
    row: JsonObject = {
        "role": CREATION_ROLE,
        "generation": "TimelockApp",
        "build": "test",
        "length": len(code),
        "immutable_offsets": [],
        "fingerprint": code_fingerprint(code, ()),
        "source": "these tests",
        "date": "2026-01-01",
    }
    return document | {"contracts": [*known, row]}


@pytest.fixture(scope="module")
def app(chain: Anvil) -> Scene:
    """A manifest of the constructor, and one that was announced, allowed after its notice."""
    made, owner = scene(chain, "G5"), chain.accounts[1]
    first = made.world.guest.compose_hash
    chain.mine(2 * STEPS)
    contract = chain.deploy("TimelockApp", PERIOD, True, first, sender=owner)
    receipt = chain.last_receipt()
    made.deployment.kms.send(owner, "registerApp", contract.address)
    made.app = App(contract=contract, app_id=contract.address, receipt=receipt)
    made.reference = with_creation_code
    chain.mine(2 * STEPS)
    contract.send(owner, "proposeComposeHash", LATER)
    chain.wait(PERIOD)
    contract.send(owner, "activateComposeHash", LATER)
    chain.mine(SETTLED_BLOCKS)
    return made


def creating(app: Scene, changes: dict[str, Any]) -> Lie:
    """An endpoint that changes fields of the transaction that created the app, wherever it is."""
    digest = app.app.receipt["transactionHash"]

    def lie(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionByHash" and result["hash"] == digest:
            return result | changes
        if method == "eth_getBlockByNumber":
            listed = [
                item | changes if isinstance(item, dict) and item["hash"] == digest else item
                for item in result["transactions"]
            ]
            return result | {"transactions": listed}
        return result

    return lie


def altered(app: Scene) -> dict[str, Any]:
    """The same creation code with another period and another manifest behind it."""
    digest = app.app.receipt["transactionHash"]
    given = app.chain.rpc("eth_getTransactionByHash", digest)["input"]
    return {"input": given[:-192] + f"{9:064x}" + given[-128:-64] + key("of a liar").hex()}


def told(audit: Audit) -> list[str]:
    """What the timeline says about the constructor besides its event."""
    return [note for note in audit.timeline.notes if "constructor" in note]


def assert_nothing_is_believed(audit: Audit) -> None:
    state = audit.timeline.app_state
    assert state.compose_hashes == {LATER.hex()}
    assert (state.any_device, state.code, state.continuous) == (UNKNOWN, None, False)
    assert "Constructed" not in {event.name for event in audit.timeline.events}
    assert told(audit)
    assert audit.check("authorization.history").status is not Status.PASS


def test_what_a_known_constructor_set_is_known(app: Scene) -> None:
    audit = app.audit(settle=0)
    timeline, first = audit.timeline, app.world.guest.compose_hash.hex()
    state = timeline.app_state
    assert state.compose_hashes == {first, LATER.hex()}
    assert state.any_device == Known(True, Method.CALLDATA)
    assert state.upgrades_disabled == Known(True, Method.CODE)
    assert state.continuous
    assert told(audit) == []
    event = next(item for item in timeline.events if item.name == "Constructed")
    owner = eip55(app.chain.accounts[1])
    assert event.sender == owner
    assert event.args == {
        "newOwner": owner,
        "noticePeriod": PERIOD,
        "allowAnyDevice": True,
        "composeHash": first,
    }
    (governs,) = (item for item in timeline.governance if item.role is Role.APP)
    assert (governs.owner, governs.keys, governs.notice) == (owner, 1, PERIOD)
    origin = timeline.coverage[0].origin
    assert (origin.kind, origin.block) == (Beginning.BY_CONSTRUCTOR, event.place.block)
    assert not timeline.coverage[0].disputed
    assert not timeline.coverage[0].problems
    assert not timeline.single_source
    assert audit.check("authorization.history").status is Status.PASS
    before, then = (
        app_timeline(audit.bundle, audit.question, (event.time or 0) - ago).app_state
        for ago in (1, 0)
    )
    assert (before.compose_hashes, before.any_device) == (frozenset(), UNKNOWN)
    assert (then.compose_hashes, then.any_device) == (frozenset({first}), state.any_device)


def test_reports_of_it_hold_to_their_schema_and_are_read_back(app: Scene) -> None:
    audit = app.audit(settle=0)
    raw = render_json(audit.timeline)
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes())).validate(json.loads(raw))
    assert render_json(read_timeline(raw)) == raw
    words = render_terminal(audit.timeline, color=False, width=1_000, verbose=1)
    first = app.world.guest.compose_hash.hex()
    assert "created for every machine, with 2 minutes from the announcement" in words
    assert f"its creator allowed manifest {first}" in words
    settle(second_opinion(audit.bundle))


def test_a_removed_first_manifest_is_allowed_no_more(chain: Anvil, app: Scene) -> None:
    first = app.world.guest.compose_hash
    snapshot = chain.rpc("evm_snapshot")
    app.app.contract.send(chain.accounts[1], "removeComposeHash", first)
    audit = app.audit()
    assert audit.timeline.app_state.compose_hashes == {LATER.hex()}
    assert not audit.timeline.coverage[0].problems
    chain.rpc("evm_revert", snapshot)


def test_unknown_creation_code_is_not_believed(app: Scene) -> None:
    unknowing = replace(app, reference=lambda document: document)
    audit = unknowing.audit(settle=0)
    assert_nothing_is_believed(audit)
    assert "no reference value" in told(audit)[0]


def test_arguments_that_one_operator_alters_are_a_dispute(app: Scene) -> None:
    lying = replace(app, lies={ONE: creating(app, altered(app))})
    audit = lying.audit(settle=0)
    assert_nothing_is_believed(audit)
    assert "disagree" in audit.timeline.coverage[0].disputed[0]
    assert audit.check("authorization.history").status is Status.ERROR


def test_arguments_that_both_alter_contradict_storage(app: Scene) -> None:
    lie = creating(app, altered(app))
    audit = replace(app, lies={ONE: lie, TWO: lie}).audit(settle=0)
    problems = " ".join(audit.timeline.coverage[0].problems)
    assert f"allowedComposeHashes({key('of a liar').hex()}) is false" in problems
    assert f"noticePeriod() is {PERIOD}" in problems
    assert audit.check("authorization.history").status is Status.FAIL


@pytest.mark.parametrize("change", ["nonce", "from", "to", "blockNumber"])
def test_a_transaction_that_does_not_create_the_app_is_not_believed(
    app: Scene, change: str
) -> None:
    values = {
        "nonce": "0x7f",
        "from": app.chain.accounts[4],
        "to": app.deployment.kms.address,
        "blockNumber": None,
    }
    lie = creating(app, {change: values[change]})
    audit = replace(app, lies={ONE: lie, TWO: lie}).audit(settle=0)
    assert_nothing_is_believed(audit)


def test_what_no_endpoint_tells_is_not_known(app: Scene) -> None:
    recent = app.chain.head - SETTLED_BLOCKS

    def forgetful(method: str, params: list[Any], result: Any) -> Any:
        old = method == "eth_getCode" and int(params[1], 16) < recent
        return None if old and params[0] == app.app.app_id else result

    audit = replace(app, lies={ONE: forgetful, TWO: forgetful}).audit(settle=0)
    assert_nothing_is_believed(audit)
    assert "no endpoint" in told(audit)[0]


def test_a_node_that_lost_old_state_hides_nothing(app: Scene) -> None:
    kept = app.chain.head - SETTLED_BLOCKS

    def pruned(method: str, params: list[Any], result: Any) -> Any:
        old = method == "eth_getCode" and int(params[1], 16) < kept
        return "0x" if old and params[0] == app.app.app_id else result

    timeline = replace(app, lies={ONE: pruned}).audit(settle=0).timeline
    assert timeline.app_state.continuous
    assert not timeline.coverage[0].disputed


@pytest.mark.parametrize("told", ["0x", {"transactions": [{"to": None}] * 3}], ids=str)
def test_blocks_that_cannot_be_read_name_nothing(app: Scene, told: Any) -> None:
    def lie(method: str, params: list[Any], result: Any) -> Any:
        whole = method == "eth_getBlockByNumber" and params[1] is True
        return told if whole else result

    assert_nothing_is_believed(replace(app, lies={ONE: lie, TWO: lie}).audit(settle=0))
    named_by_the_other = replace(app, lies={ONE: lie}).audit(settle=0).timeline
    assert "Constructed" in {event.name for event in named_by_the_other.events}


def test_one_operator_alone_is_a_single_source(app: Scene) -> None:
    digest = app.app.receipt["transactionHash"]

    def forgetful(method: str, params: list[Any], result: Any) -> Any:
        return None if method == "eth_getTransactionByHash" and params == [digest] else result

    audit = replace(app, lies={ONE: forgetful}).audit(settle=0)
    assert audit.timeline.single_source
    assert "one operator" in audit.check("authorization.history").summary
