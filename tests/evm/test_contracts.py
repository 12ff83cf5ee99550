"""The contracts of this folder behave as the published ones: names, slots, silence, log order."""

# ruff: noqa: FBT003 - the arguments of a contract's function stand in its order
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.evm import facts, owners, world
from tests.evm.anvil import (
    BASE_GENESIS,
    BLOCK_TIME,
    Anvil,
    Contract,
    Reverted,
    RpcError,
    compiled,
    element,
    selector,
    signature,
    topic,
)
from tests.evm.world import GENERATIONS, NO_KEY, NOBODY, Deployment, Generation, Terms, key
from verifier.evidence.chain.contracts import code_fingerprint
from verifier.reference.values import embedded

HASH, OTHER_HASH, DEVICE, IMAGE, MR = (
    key(label) for label in ("hash", "other hash", "device", "image", "mr")
)
STRANGER = "0x" + "42" * 20
NAMES = {"0x" + digest: name for name, digest in facts.TOPICS.items()}


@pytest.fixture(params=GENERATIONS, scope="module")
def deployment(request: pytest.FixtureRequest, chain: Anvil) -> Deployment:
    return world.deploy(chain, request.param)


@pytest.fixture(scope="module")
def g5(chain: Anvil) -> Deployment:
    return world.deploy(chain, "G5")


def names(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [NAMES[log["topics"][0]] for log in logs]


def word(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x")).rjust(32, b"\0")


def boot(
    app_id: str,
    compose_hash: bytes = HASH,
    device: bytes = DEVICE,
    *,
    image: bytes = IMAGE,
    status: str = "UpToDate",
) -> tuple[Any, ...]:
    return (app_id, compose_hash, NOBODY, device, MR, NO_KEY, image, status, [])


@pytest.mark.parametrize("name", sorted(compiled()))
def test_functions_and_events_are_the_published_ones(name: str) -> None:
    abi = compiled()[name]["abi"]
    functions = {signature(entry) for entry in abi if entry["type"] == "function"}
    for function, (digits, holders) in facts.SELECTORS.items():
        assert selector(function).hex() == digits
        # EvilApp is an app with less.
        assert (function in functions) == (name in holders) or name == "EvilApp"
    events = {signature(entry) for entry in abi if entry["type"] == "event"}
    for event in events & facts.TOPICS.keys():
        assert topic(event) == "0x" + facts.TOPICS[event]
    if name in {*facts.PROXIED, "TimelockApp"}:
        assert events <= facts.TOPICS.keys()


def test_a_published_value_is_never_indexed() -> None:
    indexed = {
        (name, entry["name"])
        for name in facts.PROXIED
        for entry in compiled()[name]["abi"]
        if entry["type"] == "event" and any(item["indexed"] for item in entry["inputs"])
    }
    assert {event for _, event in indexed} == {
        "AppDeployedViaFactory",
        "OwnershipTransferred",
        "Upgraded",
    }


def test_the_proxy_is_the_one_of_the_factories(g5: Deployment) -> None:
    app = g5.deploy_app(Terms(owner=STRANGER))
    (record,) = (
        item for item in embedded().contracts if item.role == "proxy" and item.generation == "G3-G6"
    )
    code = g5.chain.code(app.contract.address)
    assert len(code) == record.length
    assert code_fingerprint(code, ()) == record.fingerprint


def test_immutables_hold_the_implementation_itself(deployment: Deployment) -> None:
    name = deployment.app_implementation.name
    code = deployment.chain.code(deployment.app_implementation.address)
    offsets = compiled()[name]["immutables"]
    assert len(offsets) == 3
    expected = word(deployment.app_implementation.address)
    assert {code[offset : offset + 32] for offset in offsets} == {expected}


def test_log_order_at_the_creation_of_a_kms(deployment: Deployment) -> None:
    logs = deployment.receipt["logs"]
    auth = "Auth" if deployment.generation == "G3" else ""
    assert names(logs) == [name.format(auth=auth) for name in facts.KMS_CREATION]
    assert {log["address"] for log in logs} == {deployment.kms.address}
    assert logs[1]["topics"][1:] == ["0x" + word(item).hex() for item in ("", deployment.owner)]


def test_log_order_at_the_creation_of_an_app(deployment: Deployment) -> None:
    owner, deployer = deployment.chain.accounts[2:4]
    terms = Terms(owner=owner, device_id=DEVICE, compose_hash=HASH, any_device=True)
    app = deployment.deploy_app(terms, deployer)
    logs = app.receipt["logs"]
    old = deployment.generation == "G3"
    factory = "AppDeployedViaFactory(address,address" + (",address)" if old else ")")
    assert names(logs) == [*facts.APP_CREATION, factory]
    assert {log["address"] for log in logs[:5]} == {app.contract.address}
    assert {log["address"] for log in logs[5:]} == {deployment.kms.address}
    indexed = [app.app_id, *([app.contract.address] if old else []), deployer]
    assert logs[-1]["topics"][1:] == ["0x" + word(item).hex() for item in indexed]
    assert (app.app_id == app.contract.address) is not old


def test_what_is_not_set_is_not_logged(deployment: Deployment) -> None:
    app = deployment.deploy_app(Terms(owner=STRANGER))
    expected = [name for name in facts.APP_CREATION if "Added" not in name]
    assert names(app.receipt["logs"])[:-1] == expected


def test_initial_flags_are_silent(deployment: Deployment) -> None:
    flags = 2 if deployment.generation == "G3" else 1
    for any_device, disable in ((False, False), (True, False), (False, True), (True, True)):
        tcb = any_device if deployment.generation == "G6" else None
        terms = Terms(
            owner=STRANGER, any_device=any_device, disable_upgrades=disable, require_tcb=tcb
        )
        app = deployment.deploy_app(terms)
        told = {"AllowAnyDeviceSet(bool)", "UpgradesDisabled()", "RequireTcbUpToDateSet(bool)"}
        assert told.isdisjoint(names(app.contract.logs()))
        assert app.contract.call("allowAnyDevice") is any_device
        assert app.contract.storage(flags) == bytes(30) + bytes([any_device, disable])
        if tcb is not None:
            assert app.contract.call("requireTcbUpToDate") is tcb
            assert app.contract.storage(3)[-1] == tcb


def test_both_forms_of_the_newer_factory(chain: Anvil) -> None:
    deployment = world.deploy(chain, "G6")
    app = deployment.deploy_app(Terms(owner=STRANGER, require_tcb=None, any_device=True))
    assert not app.contract.call("requireTcbUpToDate")
    assert app.contract.call("allowAnyDevice")
    assert app.contract.call("version") == 2


def test_slots_of_an_app(deployment: Deployment) -> None:
    terms = Terms(owner=STRANGER, device_id=DEVICE, compose_hash=HASH)
    app = deployment.deploy_app(terms).contract
    shift = 1 if deployment.generation == "G3" else 0
    assert app.storage(element(HASH.hex(), shift))[-1] == 1
    assert app.storage(element(DEVICE.hex(), 2 + shift))[-1] == 1
    app.send(STRANGER, "removeDevice", DEVICE)
    assert not any(app.storage(element(DEVICE.hex(), 2 + shift)))
    assert app.storage(world.OWNER_SLOT) == word(STRANGER)
    assert app.storage(world.INITIALIZED_SLOT)[-1] == 1
    implementation = app.storage(world.IMPLEMENTATION_SLOT)
    assert implementation == word(deployment.app_implementation.address)
    if shift:
        assert any(app.storage(0))


def test_slots_of_a_kms(deployment: Deployment) -> None:
    kms, owner, old = deployment.kms, deployment.owner, deployment.generation == "G3"
    info = (b"\x02" * 33, b"\x03" * 91, b"\x04" * 40, b"five")
    kms.send(owner, "setKmsInfo", info)
    kms.send(owner, "setGatewayAppId", "0xabc")
    for function, value in (
        ("addKmsAggregatedMr", MR),
        ("addKmsDevice", DEVICE),
        ("addOsImageHash", IMAGE),
    ):
        kms.send(owner, function, value)
    app = deployment.deploy_app(Terms(owner=STRANGER))
    assert kms.call("kmsInfo") == info
    # Long byte strings store twice their length plus one, short ones stand in the word itself.
    assert [int.from_bytes(kms.storage(slot)) for slot in range(3)] == [67, 183, 81]
    assert kms.storage(3) == b"five".ljust(31, b"\0") + b"\x08"
    assert kms.storage(4) == b"0xabc".ljust(31, b"\0") + b"\x0a"
    assert kms.storage(element(app.app_id, 5))[-1] == 1
    for slot, value in ((6, MR), (7, DEVICE), (8, IMAGE)):
        assert kms.storage(element(value.hex(), slot))[-1] == 1
    assert kms.storage(10 if old else 9) == word(deployment.app_implementation.address)
    registered = kms.call("apps" if old else "registeredApps", app.app_id)
    assert registered == ((True, app.contract.address) if old else True)


def test_an_app_id_of_the_third_generation(chain: Anvil) -> None:
    deployment = world.deploy(chain, "G3")
    for _ in range(2):
        expected = deployment.kms.call("nextAppId", sender=STRANGER)
        app = deployment.deploy_app(Terms(owner=STRANGER))
        assert app.app_id == expected == app.contract.call("appId")
    assert deployment.kms.call("nextAppSequence", STRANGER) == 2


def test_reasons(deployment: Deployment) -> None:
    kms, owner = deployment.kms, deployment.owner
    terms = Terms(owner=STRANGER, compose_hash=HASH)
    app = deployment.deploy_app(terms)

    def decides(app_id: str = app.app_id, **changed: Any) -> tuple[bool, str]:
        allowed, reason = kms.call("isAppAllowed", boot(app_id, **changed))
        return allowed, reason

    image = key(f"image {deployment.generation}")
    assert decides(STRANGER, image=image) == (False, "App not registered")
    assert decides(image=image) == (False, "OS image is not allowed")
    kms.send(owner, "addOsImageHash", image)
    assert decides(image=image) == (False, "Device not allowed")
    assert decides(image=image, compose_hash=OTHER_HASH) == (False, "Compose hash not allowed")
    app.contract.send(STRANGER, "addDevice", DEVICE)
    assert decides(image=image) == (True, "")
    assert decides(image=image, device=MR) == (False, "Device not allowed")
    app.contract.send(STRANGER, "setAllowAnyDevice", True)
    assert decides(image=image, device=MR, status="OutOfDate") == (True, "")
    if deployment.generation == "G6":
        app.contract.send(STRANGER, "setRequireTcbUpToDate", True)
        late = decides(image=image, status="OutOfDate")
        assert late == (False, "TCB status is not up to date")
        assert decides(image=image) == (True, "")
    kms.send(owner, "removeOsImageHash", image)
    assert decides(image=image) == (False, "OS image is not allowed")


def test_reasons_about_a_kms(deployment: Deployment) -> None:
    kms, owner = deployment.kms, deployment.owner
    image, device, mr = (key(f"{label} {deployment.generation}") for label in "idm")
    asked: tuple[Any, ...] = (STRANGER, HASH, NOBODY, device, mr, NO_KEY, image, "UpToDate", [])
    steps = (
        ("OS image is not allowed", "addOsImageHash", image),
        ("Aggregated MR not allowed", "addKmsAggregatedMr", mr),
        ("KMS is not allowed to boot on this device", "addKmsDevice", device),
    )
    for reason, function, value in steps:
        assert kms.call("isKmsAllowed", asked) == (False, reason)
        kms.send(owner, function, value)
    assert kms.call("isKmsAllowed", asked) == (True, "")
    late: tuple[Any, ...] = (*asked[:7], "SWHardeningNeeded", [])
    assert kms.call("isKmsAllowed", late) == (False, "TCB status is not up to date")


def test_anyone_may_register_anything(g5: Deployment) -> None:
    kms = g5.kms
    receipt = kms.send(STRANGER, "registerApp", STRANGER)
    assert names(receipt["logs"]) == ["AppRegistered(address)"]
    kms.send(g5.owner, "addOsImageHash", IMAGE)
    answer = kms.call("isAppAllowed", boot(STRANGER))
    assert answer == (False, "App not deployed or invalid address")


def test_setters_log_also_when_nothing_changes(deployment: Deployment) -> None:
    app = deployment.deploy_app(Terms(owner=STRANGER, compose_hash=HASH)).contract
    start = deployment.chain.head + 1
    app.send(STRANGER, "addComposeHash", HASH)
    app.send(STRANGER, "removeComposeHash", OTHER_HASH)
    app.send(STRANGER, "setAllowAnyDevice", False)
    assert names(app.logs(start)) == [
        "ComposeHashAdded(bytes32)",
        "ComposeHashRemoved(bytes32)",
        "AllowAnyDeviceSet(bool)",
    ]


def test_some_changes_of_a_kms_are_silent(deployment: Deployment) -> None:
    kms, owner = deployment.kms, deployment.owner
    kms.send(owner, "setKmsInfo", (b"\x02" * 33, b"ca", b"quote", b"log"))
    start = deployment.chain.head + 1
    kms.send(owner, "setKmsQuote", b"another quote")
    kms.send(owner, "setKmsEventlog", b"another log")
    assert kms.logs(start) == []
    assert kms.call("kmsInfo")[2:] == (b"another quote", b"another log")
    assert kms.call("kmsInfo", block=start - 1)[2:] == (b"quote", b"log")


def test_only_the_owner_changes_anything(deployment: Deployment) -> None:
    app = deployment.deploy_app(Terms(owner=STRANGER)).contract
    intruder = deployment.chain.accounts[5]
    for contract, function, value in (
        (app, "addComposeHash", HASH),
        (app, "setAllowAnyDevice", True),
        (app, "transferOwnership", intruder),
        (deployment.kms, "addOsImageHash", IMAGE),
        (deployment.kms, "setKmsQuote", b""),
    ):
        with pytest.raises(Reverted):
            contract.send(intruder, function, value)


def test_ownership_moves_at_once_and_ends_at_nobody(deployment: Deployment) -> None:
    app = deployment.deploy_app(Terms(owner=STRANGER)).contract
    heir = deployment.chain.accounts[6]
    receipt = app.send(STRANGER, "transferOwnership", heir)
    assert names(receipt["logs"]) == ["OwnershipTransferred(address,address)"]
    assert app.call("owner") == heir
    app.send(heir, "renounceOwnership")
    assert app.call("owner") == NOBODY


def test_upgrades(deployment: Deployment) -> None:
    app = deployment.deploy_app(Terms(owner=STRANGER, compose_hash=HASH)).contract
    start = deployment.chain.head + 1
    evil = deployment.upgrade_to(app, "EvilApp", STRANGER)
    assert names(app.logs(start)) == ["Upgraded(address)"]
    assert evil.call("isAppAllowed", boot(app.address, OTHER_HASH)) == (True, "")
    start = deployment.chain.head + 1
    evil.send(STRANGER, "allowInSilence", OTHER_HASH, True)
    assert app.logs(start) == []
    if deployment.generation != "G3":
        assert app.call("allowedComposeHashes", OTHER_HASH) is True


def test_upgrades_end_where_they_are_disabled(deployment: Deployment) -> None:
    silent = Terms(owner=STRANGER, disable_upgrades=True)
    told = deployment.deploy_app(Terms(owner=STRANGER)).contract
    receipt = told.send(STRANGER, "disableUpgrades")
    assert names(receipt["logs"]) == ["UpgradesDisabled()"]
    for app in (told, deployment.deploy_app(silent).contract):
        with pytest.raises(Reverted):
            deployment.upgrade_to(app, "EvilApp", STRANGER)


def test_a_kms_is_upgraded_by_its_owner(chain: Anvil) -> None:
    deployment = world.deploy(chain, "G5")
    deployment.kms.send(deployment.owner, "addOsImageHash", IMAGE)
    newer = deployment.upgrade_to(deployment.kms, "KmsG6", deployment.owner)
    assert newer.call("allowedOsImages", IMAGE) is True
    app = deployment.deploy_app(Terms(owner=STRANGER)).contract
    with pytest.raises(RpcError):
        Contract(chain, "AppG6", app.address).call("version")


def test_interfaces(deployment: Deployment) -> None:
    app = deployment.app_implementation
    for identifier in ("1e079198", "8fd37527", "01ffc9a7"):
        assert app.call("supportsInterface", bytes.fromhex(identifier)) is True
    assert app.call("supportsInterface", b"\xff" * 4) is False
    assert deployment.kms.call("supportsInterface", bytes.fromhex("1e079198")) is True


def test_the_shared_key_demo(g5: Deployment) -> None:
    app = world.shared_key_demo(g5, DEVICE)
    logs = app.contract.logs()
    assert names(logs) == [
        *facts.APP_CREATION[:5],
        "ComposeHashAdded(bytes32)",
        "ComposeHashAdded(bytes32)",
        "AllowAnyDeviceSet(bool)",
    ]
    assert len({log["transactionHash"] for log in logs}) == 4
    added = [log["data"] for log in logs if names([log]) == ["ComposeHashAdded(bytes32)"]]
    assert [item[2:10] for item in added] == ["46e2aa51", "f1a4f314", "d24f2633"]
    assert app.contract.call("owner") == world.SHARED_KEY_DEPLOYER


def test_the_tutorials_history(tutorial_chain: Anvil) -> None:
    app = world.tutorial_app(tutorial_chain)
    logs = app.contract.logs()
    assert names(logs[-2:]) == ["DeviceAdded(bytes32)", "ComposeHashAdded(bytes32)"]
    blocks = [int(log["blockNumber"], 16) for log in (logs[0], *logs[-2:])]
    assert tuple(blocks) == world.TUTORIAL_BLOCKS
    for log in logs:
        time = int(log["blockTimestamp"], 16)
        assert time == BASE_GENESIS + BLOCK_TIME * int(log["blockNumber"], 16)
    assert logs[-1]["data"].startswith("0x7070fd")
    asked = boot(app.app_id, world.TUTORIAL_HASH, world.TUTORIAL_DEVICE)
    before = app.contract.call("isAppAllowed", asked, block=blocks[2] - 1)
    assert before == (False, "Compose hash not allowed")
    assert app.contract.call("isAppAllowed", asked, block=blocks[2]) == (True, "")


@pytest.mark.parametrize("shape", owners.SHAPES)
def test_a_safe_owns_an_app(g5: Deployment, shape: owners.Shape) -> None:
    chain = g5.chain
    holder = owners.safe(chain, chain.accounts[1:4], 2, shape)
    assert holder.contract.call("VERSION").startswith(f"1.{shape[1]}.")
    app = g5.deploy_app(Terms(owner=holder.address), STRANGER).contract
    holder.perform(app, "addComposeHash", HASH)
    assert app.call("allowedComposeHashes", HASH) is True

    start = chain.head + 1
    newcomer, module = chain.accounts[4], chain.accounts[9]
    holder.perform(holder.contract, "addOwnerWithThreshold", newcomer, 3)
    holder.perform(holder.contract, "removeOwner", NOBODY, newcomer, 2)
    holder.perform(holder.contract, "enableModule", module)
    holder.perform(holder.contract, "setGuard", STRANGER)
    approved = topic("ApproveHash(bytes32,address)")
    logs = [log for log in holder.contract.logs(start) if log["topics"][0] != approved]
    assert len(holder.contract.logs(start)) - len(logs) == 2 + 3 + 2 + 2
    executed = "ExecutionSuccess(bytes32,uint256)"
    changed = "ChangedThreshold(uint256)"
    assert names(logs) == [
        *("AddedOwner(address)", changed, executed),
        *("RemovedOwner(address)", changed, executed),
        *("EnabledModule(address)", executed),
        *("ChangedGuard(address)", executed),
    ]
    expected = {changed: 1} if shape == "14" else {}
    assert {len(log["topics"]) - expected.get(names([log])[0], 2) for log in logs} == (
        {0} if shape == "14" else {-1}
    )

    # A module asks no owner.
    data = app.calldata("removeComposeHash", HASH)
    holder.contract.send(module, "execTransactionFromModule", app.address, 0, data, 0)
    assert app.call("allowedComposeHashes", HASH) is False
    assert holder.contract.call("getModulesPaginated", "0x" + "00" * 19 + "01", 50)[0] == (module,)


def test_a_safe_needs_its_threshold(g5: Deployment) -> None:
    chain = g5.chain
    holder = owners.safe(chain, chain.accounts[1:4], 2)
    app = g5.deploy_app(Terms(owner=holder.address), STRANGER).contract
    data = app.calldata("addComposeHash", HASH)
    digest = holder.contract.call("txHashOf", app.address, data, 0)
    holder.contract.send(chain.accounts[1], "approveHash", digest)
    rest = (0, 0, 0, 0, NOBODY, NOBODY, b"")
    with pytest.raises(Reverted):
        holder.contract.send(chain.accounts[1], "execTransaction", app.address, 0, data, *rest)


def test_a_timelock_owns_an_app(g5: Deployment) -> None:
    chain = g5.chain
    holder = owners.timelock(chain, chain.accounts[1], 86_400)
    app = g5.deploy_app(Terms(owner=holder.address), STRANGER).contract
    holder.perform(app, "addComposeHash", HASH)
    assert app.call("allowedComposeHashes", HASH) is True
    told = {
        "0x" + digest: name
        for name, digest in facts.TOPICS.items()
        if name.startswith(("Call", "MinDelay"))
    }
    logs = [log for log in holder.contract.logs() if log["topics"][0] in told]
    assert [told[log["topics"][0]].partition("(")[0] for log in logs] == [
        *("MinDelayChange", "CallScheduled", "CallExecuted"),
    ]
    times = [int(log["blockTimestamp"], 16) for log in logs]
    assert times[2] - times[1] >= 86_400
    with pytest.raises(Reverted):
        app.send(chain.accounts[1], "addComposeHash", OTHER_HASH)


def test_an_app_that_announces_its_manifests(chain: Anvil) -> None:
    owner = chain.accounts[1]
    app = chain.deploy("TimelockApp", 120, True, HASH, sender=owner)
    assert app.logs() == []
    assert app.call("allowedComposeHashes", HASH) is True
    app.send(owner, "proposeComposeHash", OTHER_HASH)
    assert app.call("activatesAt", OTHER_HASH) == chain.time() + 120
    with pytest.raises(Reverted):
        app.send(STRANGER, "activateComposeHash", OTHER_HASH)
    chain.wait(120)
    app.send(STRANGER, "activateComposeHash", OTHER_HASH)
    app.send(owner, "removeComposeHash", HASH)
    app.send(owner, "proposeComposeHash", MR)
    app.send(owner, "cancelProposal", MR)
    logs = app.logs()
    assert [name.partition("(")[0] for name in names(logs)] == [
        *("ComposeHashProposed", "ComposeHashActivated", "ComposeHashRemoved"),
        *("ComposeHashProposed", "ComposeHashCancelled"),
    ]
    assert {len(log["topics"]) for log in logs} == {2}
    with pytest.raises(RpcError):
        app.call("activatesAt", MR)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_several_transactions_in_one_block(chain: Anvil, generation: Generation) -> None:
    deployment = world.deploy(chain, generation)
    app = deployment.deploy_app(Terms(owner=STRANGER)).contract
    with chain.one_block():
        app.send(STRANGER, "addComposeHash", HASH)
        app.send(STRANGER, "removeComposeHash", HASH)
        app.send(STRANGER, "addComposeHash", OTHER_HASH)
    logs = app.logs(chain.head)
    assert [int(log["logIndex"], 16) for log in logs] == [0, 1, 2]
    assert app.call("allowedComposeHashes", HASH) is False
    assert app.call("allowedComposeHashes", OTHER_HASH) is True
