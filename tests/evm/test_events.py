"""Every log that these contracts write is read: owners' and announcing apps' too."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.evm import owners, world
from tests.evm.anvil import Anvil, Contract
from tests.evm.world import NOBODY, Terms, key
from verifier.evidence.chain.contract_events import decode_event
from verifier.evidence.chain.contracts import decode_logs
from verifier.evidence.chain.ethereum import checksum_address

HASH, DEVICE = key("hash"), key("device")


def read(contract: Contract) -> list[tuple[str, Mapping[str, Any]]]:
    answer: Any = contract.logs()
    events = [decode_event(log) for log in decode_logs(answer, contract.name)]
    return [(event.name, event.args) for event in events]


def eip55(address: str) -> str:
    return checksum_address(bytes.fromhex(address[2:]))


@pytest.mark.parametrize("generation", world.GENERATIONS)
def test_a_kms_and_its_app(chain: Anvil, generation: world.Generation) -> None:
    deployment = world.deploy(chain, generation)
    owner = chain.accounts[1]
    app = deployment.deploy_app(Terms(owner=owner, device_id=DEVICE, compose_hash=HASH))
    deployment.kms.send(deployment.owner, "setKmsInfo", (b"\x02" * 33, b"", b"", b""))
    deployment.kms.send(deployment.owner, "setGatewayAppId", "any")
    first = deployment.app_implementation.address
    assert read(app.contract) == [
        ("Upgraded", {"implementation": eip55(first)}),
        ("DeviceAdded", {"deviceId": DEVICE.hex()}),
        ("ComposeHashAdded", {"composeHash": HASH.hex()}),
        ("OwnershipTransferred", {"previousOwner": NOBODY, "newOwner": eip55(owner)}),
        ("Initialized", {"version": 1}),
    ]
    told = read(deployment.kms)
    assert told[4] == ("AppRegistered", {"appId": eip55(app.app_id)})
    assert told[5][0] == "AppDeployedViaFactory"
    assert told[5][1]["deployer"] == eip55(owner)
    assert told[6:] == [
        ("KmsInfoSet", {"k256Pubkey": "02" * 33}),
        ("GatewayAppIdSet", {"gatewayAppId": "any"}),
    ]


@pytest.mark.parametrize("shape", owners.SHAPES)
def test_a_safe(chain: Anvil, shape: owners.Shape) -> None:
    holder = owners.safe(chain, chain.accounts[1:4], 2, shape)
    newcomer, module = chain.accounts[4], chain.accounts[9]
    holder.perform(holder.contract, "addOwnerWithThreshold", newcomer, 3)
    holder.perform(holder.contract, "removeOwner", NOBODY, newcomer, 2)
    holder.perform(holder.contract, "enableModule", module)
    holder.perform(holder.contract, "disableModule", NOBODY, module)
    holder.perform(holder.contract, "setGuard", newcomer)
    told = read(holder.contract)
    assert told[0][0] == "SafeSetup"
    assert [args for name, args in told if name == "ChangedThreshold"] == [
        {"threshold": 3},
        {"threshold": 2},
    ]
    wanted = {
        "AddedOwner": {"owner": eip55(newcomer)},
        "RemovedOwner": {"owner": eip55(newcomer)},
        "EnabledModule": {"module": eip55(module)},
        "DisabledModule": {"module": eip55(module)},
        "ChangedGuard": {"guard": eip55(newcomer)},
    }
    assert {name: args for name, args in told if name in wanted} == wanted
    assert {name for name, _ in told} == {
        *wanted,
        *("SafeSetup", "ChangedThreshold", "ApproveHash", "ExecutionSuccess"),
    }


def test_a_timelock(chain: Anvil) -> None:
    holder = owners.timelock(chain, chain.accounts[1], 3600)
    app = world.deploy(chain, "G5").deploy_app(Terms(owner=holder.address), chain.accounts[1])
    holder.perform(app.contract, "addComposeHash", HASH)
    told = read(holder.contract)
    assert {name for name, _ in told} == {
        *("RoleGranted", "MinDelayChange", "CallScheduled", "CallSalt", "CallExecuted"),
    }
    by_name = dict(told)
    scheduled, executed = by_name["CallScheduled"], by_name["CallExecuted"]
    assert scheduled["id"] == executed["id"]
    assert scheduled["target"] == executed["target"] == eip55(app.contract.address)
    assert scheduled["data"] == app.contract.calldata("addComposeHash", HASH).hex()
    assert scheduled["delay"] == by_name["MinDelayChange"]["newDuration"] == 3600


def test_an_app_that_announces_its_manifests(chain: Anvil) -> None:
    owner = chain.accounts[1]
    app = chain.deploy("TimelockApp", 60, True, b"\0" * 32, sender=owner)  # noqa: FBT003 - its argument
    app.send(owner, "proposeComposeHash", HASH)
    activates = app.call("activatesAt", HASH)
    chain.wait(60)
    app.send(owner, "activateComposeHash", HASH)
    app.send(owner, "removeComposeHash", HASH)
    told = read(app)
    assert [name for name, _ in told] == [
        *("ComposeHashProposed", "ComposeHashActivated", "ComposeHashRemoved"),
    ]
    assert {HASH.hex()} <= set(told[0][1].values())
    assert told[0][1]["activatesAt"] == activates
    assert [list(args.values()) for _, args in told[1:]] == [[HASH.hex()], [HASH.hex()]]
