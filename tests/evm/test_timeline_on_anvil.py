"""Whole audits of real contracts: an app that the simulated world's guest runs, on a real EVM.

What endpoints may do to single answers is judged elsewhere, in tests/timeline and tests/worlds;
here it is what a user is told about it in the end.
"""

# ruff: noqa: FBT003 - the arguments of a contract's function stand in its order
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.evm import audits, owners
from tests.evm.anvil import Anvil
from tests.evm.audits import ONE, TWO, Lie, Scene, eip55, scene
from tests.evm.world import GENERATIONS, NO_KEY, Generation, key
from verifier.errors import EvidenceError, VerifierError
from verifier.evidence.chain import contracts
from verifier.model.chain import OwnerKind, Role
from verifier.model.result import Status, Verdict
from verifier.model.timeline import Beginning, Known, Method, Timeline

PASSES = dict.fromkeys(("contract", "allowed", "history", "governance"), "pass")
DELAY = 3_600


def problems(timeline: Timeline) -> list[str]:
    return [text for item in timeline.coverage for text in item.problems]


def allowed(timeline: Timeline) -> frozenset[str]:
    return timeline.app_state.compose_hashes


# Every generation.


@pytest.fixture(params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> Generation:
    found: Generation = request.param
    return found


def test_an_honest_app_is_authorized(chain: Anvil, generation: Generation) -> None:
    app = scene(chain, generation)
    audit = app.audit()
    assert audit.statuses("authorization.") == PASSES
    assert audit.report.verdict in (Verdict.AFFIRMING, Verdict.WARNING)
    timeline = audit.timeline
    assert timeline.complete
    assert not timeline.single_source
    for item in timeline.coverage[:2]:
        assert not item.origin.assumed
        assert item.compared
        assert item.proven == item.compared
    assert timeline.coverage[0].origin.kind is Beginning.BY_FACTORY
    assert allowed(timeline) == {app.world.guest.compose_hash.hex()}
    assert timeline.app_state.code is not None
    assert timeline.app_state.code.name == f"{generation} test"
    assert timeline.kms_state.root_key == app.world.kms.k256_public.hex()
    (now, _) = timeline.governance
    assert (now.owner, now.kind, now.keys) == (eip55(chain.accounts[1]), OwnerKind.EOA, 1)


def test_silent_flags_are_known_from_the_creation(chain: Anvil, generation: Generation) -> None:
    silent: dict[str, Any] = {"any_device": True, "device_id": NO_KEY, "disable_upgrades": True}
    if generation == "G6":
        silent["require_tcb"] = True
    audit = scene(chain, generation, **silent).audit()
    assert audit.statuses("authorization.") == PASSES
    state = audit.timeline.app_state
    assert state.any_device == state.upgrades_disabled == Known(True, Method.CALLDATA)
    assert not {"AllowAnyDeviceSet", "UpgradesDisabled"} & {
        event.name for event in audit.timeline.events
    }
    if generation == "G6":
        assert state.require_tcb_up_to_date == Known(True, Method.CALLDATA)
    else:
        assert state.require_tcb_up_to_date == Known(False, Method.CODE)


def test_unknown_code_is_a_failure_even_when_it_is_gone(
    chain: Anvil, generation: Generation
) -> None:
    app, owner = scene(chain, generation), chain.accounts[1]
    app.deployment.upgrade_to(app.app.contract, "EvilApp", owner)
    present = app.audit()
    assert present.report.verdict is Verdict.CONTRAINDICATED
    assert present.check("authorization.contract").status is Status.FAIL
    assert not present.timeline.app_state.continuous
    known = app.deployment.app_implementation.address
    app.app.contract.send(owner, "upgradeToAndCall", known, b"")
    past = app.audit()
    assert past.report.verdict is Verdict.CONTRAINDICATED
    assert past.check("authorization.contract").status is Status.PASS
    check = past.check("authorization.history")
    assert check.status is Status.FAIL
    assert "once ran the unknown implementation" in check.summary
    assert not past.timeline.app_state.continuous
    assert any("code that nobody knows" in note for note in past.timeline.notes)


def test_what_unknown_code_did_in_silence_is_found_in_storage(
    chain: Anvil, generation: Generation
) -> None:
    app, owner = scene(chain, generation), chain.accounts[1]
    evil = app.deployment.upgrade_to(app.app.contract, "EvilApp", owner)
    compose_hash = app.world.guest.compose_hash
    evil.send(owner, "allowInSilence", compose_hash, generation == "G3")
    app.app.contract.send(owner, "upgradeToAndCall", app.deployment.app_implementation.address, b"")
    audit = app.audit()
    if generation == "G3":  # that code keeps its keys elsewhere
        assert audit.check("authorization.history").status is Status.FAIL
        return
    (problem,) = problems(audit.timeline)
    assert problem.startswith(f"allowedComposeHashes({compose_hash.hex()}) is false")
    assert audit.check("authorization.history").status is Status.FAIL


def test_owners_in_turn(chain: Anvil, generation: Generation) -> None:
    app, first = scene(chain, generation), chain.accounts[1]
    contract = app.app.contract
    safe = owners.safe(chain, chain.accounts[5:8], 2)
    timelock = owners.timelock(chain, chain.accounts[8], DELAY)
    contract.send(first, "transferOwnership", safe.address)
    safe.perform(contract, "addComposeHash", key("by the Safe"))
    safe.perform(contract, "transferOwnership", timelock.address)
    timelock.perform(contract, "addComposeHash", key("by the timelock"))
    audit = app.audit()
    timeline = audit.timeline
    assert timeline.complete
    assert set(audit.statuses("authorization.").values()) <= {"pass", "warn"}
    mine = [period for period in timeline.governance if period.role is Role.APP]
    assert [period.kind for period in mine] == [
        OwnerKind.EOA,
        OwnerKind.SAFE,
        OwnerKind.TIMELOCK,
    ]
    assert [period.owner for period in mine] == [
        eip55(item) for item in (first, safe.address, timelock.address)
    ]
    assert (mine[1].threshold, mine[1].keys, len(mine[1].signers)) == (2, 2, 3)
    assert (mine[2].delay, mine[2].notice) == (DELAY, DELAY)
    assert any("of itself" in remark for remark in mine[2].remarks)
    last = timeline.changes[-1]
    assert last.notice >= DELAY
    assert last.announced is not None
    assert all(change.notice == 0 for change in timeline.changes[:-1])
    assert key("by the timelock").hex() in allowed(timeline)
    later = {item.address for item in timeline.coverage[2:]}
    assert {eip55(safe.address), eip55(timelock.address)} <= later


# Bad input, on one generation.


@pytest.fixture
def changed(chain: Anvil) -> Scene:
    """An app that once allowed another manifest, too."""
    app = scene(chain, "G5")
    for function in ("addComposeHash", "removeComposeHash"):
        app.app.contract.send(chain.accounts[1], function, key("old"))
    return app


def on_logs(change: Callable[[list[Any]], list[Any]]) -> Lie:
    def lie(method: str, _params: list[Any], result: Any) -> Any:
        return change(list(result)) if method == "eth_getLogs" and result else result

    return lie


def each(**changes: Any) -> Lie:
    return on_logs(lambda logs: [{**log, **changes} for log in logs])


HIDES = on_logs(
    lambda logs: [log for log in logs if log["topics"][0] != contracts.COMPOSE_HASH_REMOVED]
)
INVENTS = on_logs(
    lambda logs: (
        [*logs, {**logs[-1], "topics": [contracts.COMPOSE_HASH_ADDED], "logIndex": "0x63"}]
        if logs[-1]["topics"][0] == contracts.COMPOSE_HASH_REMOVED
        else logs
    )
)


@pytest.mark.parametrize("lie", [HIDES, INVENTS], ids=["hides", "invents"])
def test_a_lie_of_all_endpoints_is_contradicted_by_the_state(changed: Scene, lie: Lie) -> None:
    changed.lies = {ONE: lie, TWO: lie}
    audit = changed.audit()
    problem, *others = problems(audit.timeline)
    assert problem.startswith(f"allowedComposeHashes({key('old').hex()}) is false at block")
    assert not [text for text in others if "by a proof" not in text]
    assert audit.check("authorization.history").status is Status.FAIL
    assert audit.report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (HIDES, f"which {TWO.rstrip('/')} does not have"),
        (INVENTS, f"which {ONE.rstrip('/')} does not have"),
        (on_logs(lambda logs: logs[::-1]), "twice or out of order"),
        (on_logs(lambda logs: [*logs, logs[-1]]), "twice or out of order"),
        (each(address="0x" + "11" * 20), "that was not asked for"),
        (each(removed=True), "removed by a reorganisation"),
        (each(logIndex="0x00"), "not a hex quantity"),
        (each(blockHash="0x" + "5e" * 32), "give different contents of the log"),
    ],
    ids=["hides", "invents", "reorders", "twice", "address", "removed", "hex", "block hash"],
)
def test_a_lie_of_one_endpoint_is_named(changed: Scene, lie: Lie, words: str) -> None:
    changed.lies = {TWO: lie}
    audit = changed.audit()
    assert any(words in text for item in audit.timeline.coverage for text in item.disputed)
    assert problems(audit.timeline) == []
    check = audit.check("authorization.history")
    assert check.status is Status.ERROR
    assert words in check.summary
    assert "--rpc-url" in str(check.remediation)
    assert audit.report.verdict is Verdict.NONE


def forged_header(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and result and params[0] != "finalized":
        return {**result, "hash": "0x" + "5e" * 32}
    return result


def other_chain(method: str, _params: list[Any], result: Any) -> Any:
    return "0x1" if method == "eth_chainId" else result


def nothing(_method: str, _params: list[Any], _result: Any) -> Any:
    return None


def test_endpoints_that_disagree_about_a_block_prove_nothing(changed: Scene) -> None:
    changed.lies = {TWO: forged_header}
    audit = changed.audit()
    with pytest.raises(EvidenceError, match="disagree at block"):
        _ = audit.timeline
    assert audit.check("authorization.history").status is Status.ERROR
    assert audit.report.verdict is Verdict.NONE


def test_another_chain_is_not_this_one(changed: Scene) -> None:
    changed.lies = {TWO: other_chain}
    one = changed.audit()
    assert "serves another chain than 8453" in one.check("authorization.contract").summary
    assert one.timeline.single_source
    assert "one operator only" in one.check("authorization.history").summary
    changed.lies = {ONE: other_chain, TWO: other_chain}
    both = changed.audit()
    assert both.report.verdict is Verdict.NONE
    with pytest.raises(VerifierError, match="no endpoint of chain 8453 answered"):
        _ = both.timeline


def test_one_endpoint_alone_is_a_reservation(changed: Scene) -> None:
    changed.lies = {TWO: nothing}
    audit = changed.audit()
    assert audit.timeline.complete
    assert audit.timeline.single_source
    assert audit.check("authorization.history").status is Status.WARN
    assert audit.report.verdict is Verdict.WARNING


@pytest.mark.parametrize("kind", ["no contract", "a Safe"])
def test_what_is_no_app_is_refused(changed: Scene, kind: str) -> None:
    chain = changed.chain
    address = chain.accounts[4]
    if kind == "a Safe":
        address = owners.safe(chain, chain.accounts[5:8], 2).address
    audit = replace(changed, app=replace(changed.app, app_id=address)).audit()
    check = audit.check("authorization.contract")
    assert check.status is Status.FAIL
    assert "is not an ERC-1967 proxy" in check.summary
    assert audit.check("authorization.history").status is not Status.PASS
    assert audit.check("authorization.allowed").status is Status.SKIP
    assert audit.report.verdict is Verdict.CONTRAINDICATED
    if kind == "no contract":
        timeline = audit.timeline
        assert not timeline.complete
        assert any("not even its creation" in text for text in timeline.coverage[0].unproven)


def test_an_app_of_another_kms_is_not_allowed(changed: Scene) -> None:
    other = scene(changed.chain, "G5")
    audit = replace(changed, app=other.app).audit()
    allowed_check = audit.check("authorization.allowed")
    assert allowed_check.status is Status.FAIL
    assert "registration" in allowed_check.summary
    assert audit.timeline.coverage[0].origin.kind is not Beginning.BY_FACTORY


@pytest.mark.parametrize("seconds", [-7_200, 2 * 86_400, 365 * 86_400])
def test_a_clock_far_off_is_no_permission(changed: Scene, seconds: int) -> None:
    changed.clock_off = seconds
    audit = changed.audit()
    check = audit.check("authorization.allowed")
    assert check.status is Status.SKIP
    assert "not within an hour of" in check.summary
    assert audit.report.verdict is Verdict.NONE
    assert audit.timeline.complete  # the past is what it is


def test_a_reorganisation_below_what_was_kept(changed: Scene, tmp_path: Path) -> None:
    chain, cache = changed.chain, tmp_path / "logs.sqlite3"
    before = changed.audit(cache).timeline
    assert before.complete
    again = changed.audit(cache).timeline
    assert again.coverage[0].cached
    assert changed.warnings == []
    chain.rpc("anvil_reorg", 2 * audits.SETTLED_BLOCKS + 2, [])
    changed.app.contract.send(chain.accounts[1], "addComposeHash", key("instead"))
    after = changed.audit(cache).timeline
    assert after.complete
    assert allowed(after) >= {key("instead").hex()}
    assert all(item.cached == 0 for item in after.coverage)
    assert any("has another hash than before" in text for text in changed.warnings)
    names = [event.name for event in after.events if event.role is Role.APP]
    assert names != [event.name for event in before.events if event.role is Role.APP]
    fresh = changed.audit().timeline
    assert fresh.events == after.events


def test_what_is_not_finalized_is_provisional(changed: Scene) -> None:
    chain = changed.chain
    chain.mine(audits.SETTLED_BLOCKS)
    changed.app.contract.send(chain.accounts[1], "addComposeHash", key("just now"))
    timeline = changed.audit(settle=0).timeline
    (last,) = (event for event in timeline.events if event.provisional)
    assert last.args == {"composeHash": key("just now").hex()}
    assert key("just now").hex() not in allowed(timeline)
    assert timeline.complete
