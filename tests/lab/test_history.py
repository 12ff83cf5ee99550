"""The simulated history, read back without the auditor's code: what it says is what is stored."""

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from verifier.lab import history
from verifier.lab.chain import Chain, Log
from verifier.lab.gateway import GATEWAY_APP
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.owners import CANCELLER_ROLE, EXECUTOR_ROLE, PROPOSER_ROLE, Safe, Timelock
from verifier.lab.world import World, build

SETS = {
    b"ComposeHash": b"allowedComposeHashes(bytes32)",
    b"Device": b"allowedDeviceIds(bytes32)",
    b"OsImageHash": b"allowedOsImages(bytes32)",
    b"KmsAggregatedMr": b"kmsAllowedAggregatedMrs(bytes32)",
    b"KmsDevice": b"kmsAllowedDeviceIds(bytes32)",
}
WORLDS = (
    Knobs(),
    Knobs(governance="safe"),
    Knobs(governance="key"),
    Knobs(compose_hash_on_chain="removed", device_on_chain="removed", os_image_on_chain="removed"),
)


def topic(signature: str) -> bytes:
    return keccak(signature.encode())


def get(chain: Chain, to: bytes, function: str, types: list[str], argument: bytes = b"") -> object:
    answer = chain.call(to, keccak(function.encode())[:4] + argument, chain.head)
    assert answer is not None
    found = decode(types, answer)
    return found[0] if len(found) == 1 else found


def of(chain: Chain, address: bytes, signature: str) -> list[Log]:
    logs = [log for log in chain.logs() if log.address == address]
    return [log for log in logs if log.topics[0] == topic(signature)]


@pytest.mark.parametrize("knobs", WORLDS, ids=("timelock", "safe", "key", "removed"))
def test_what_events_switch_is_what_getters_say(knobs: Knobs) -> None:
    world = build(knobs)
    chain = world.chain
    switches = {
        topic(f"{stem.decode()}{ending}(bytes32)"): (getter, ending == "Added")
        for stem, getter in SETS.items()
        for ending in ("Added", "Removed")
    }
    state: dict[tuple[bytes, bytes, bytes], bool] = {}
    for log in chain.logs():
        if log.topics[0] in switches:
            getter, on = switches[log.topics[0]]
            state[log.address, getter, log.payload] = on
    assert len({address for address, _, _ in state}) == 3
    for (address, getter, key), on in state.items():
        assert get(chain, address, getter.decode(), ["bool"], key) is on


@pytest.mark.parametrize("knobs", WORLDS, ids=("timelock", "safe", "key", "removed"))
def test_the_last_owner_is_the_owner(knobs: Knobs) -> None:
    world = build(knobs)
    chain = world.chain
    contracts = (bytes.fromhex(world.app_id), history.KMS_ADDRESS, GATEWAY_APP)
    for address in contracts:
        transfers = of(chain, address, "OwnershipTransferred(address,address)")
        assert len(transfers) == (1 if knobs.governance == "key" else 2)
        assert transfers[-1].block - transfers[0].block <= 6
        owner = "0x" + transfers[-1].topics[2][12:].hex()
        assert get(chain, address, "owner()", ["address"]) == owner
    owner_code = chain.code(history.app_owner(chain, knobs).address, chain.head)
    assert bool(owner_code) == (knobs.governance != "key")


def test_every_change_after_the_handover_was_scheduled_a_week_before(world: World) -> None:
    chain = world.chain
    for owner in (history.app_owner(chain, world.knobs), history.kms_owner(chain, world.knobs)):
        assert isinstance(owner, Timelock)
        execution = "CallExecuted(bytes32,uint256,address,uint256,bytes)"
        scheduling = "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)"
        executed = of(chain, owner.address, execution)
        scheduled = {log.topics[1]: log for log in of(chain, owner.address, scheduling)}
        salts = {
            log.topics[1]: log for log in of(chain, owner.address, "CallSalt(bytes32,bytes32)")
        }
        assert executed
        assert len(scheduled) == len(executed)
        for log in executed:
            target, value, data = decode(["address", "uint256", "bytes"], log.payload)
            types = ["address", "uint256", "bytes", "bytes32", "uint256"]
            announced = scheduled[log.topics[1]]
            *call, predecessor, delay = decode(types, announced.payload)
            assert [target, value, data] == call
            assert chain.timestamp(log.block) - chain.timestamp(announced.block) == delay == 7 * DAY
            operation = (target, value, data, predecessor, salts[log.topics[1]].payload)
            layout = ["address", "uint256", "bytes", "bytes32", "bytes32"]
            assert keccak(encode(layout, operation)) == log.topics[1]
            inside = [item for item in chain.logs() if item.transaction == log.transaction]
            assert inside[-1] is log
            assert inside[0].address.hex() == target[2:]
            assert data[4:] == inside[0].payload


def test_timelock_and_safe_say_what_their_events_say(world: World) -> None:
    chain = world.chain
    timelock = history.app_owner(chain, world.knobs)
    assert isinstance(timelock, Timelock)
    safe = timelock.proposer
    (setup,) = of(chain, safe.address, "SafeSetup(address,address[],uint256,address,address)")
    owners, threshold, _, _ = decode(["address[]", "uint256", "address", "address"], setup.payload)
    assert get(chain, safe.address, "getOwners()", ["address[]"]) == owners
    assert get(chain, safe.address, "getThreshold()", ["uint256"]) == threshold == 2
    assert get(chain, safe.address, "VERSION()", ["string"]) == "1.4.1"
    page = ((), "0x" + "00" * 19 + "01")
    call = "getModulesPaginated(address,uint256)"
    assert get(chain, safe.address, call, ["address[]", "address"]) == page
    (delay,) = of(chain, timelock.address, "MinDelayChange(uint256,uint256)")
    assert decode(["uint256"] * 2, delay.payload) == (0, 7 * DAY)
    assert get(chain, timelock.address, "getMinDelay()", ["uint256"]) == 7 * DAY
    granted = of(chain, timelock.address, "RoleGranted(bytes32,address,address)")
    assert {(log.topics[1], log.topics[2][12:]) for log in granted} == {
        (bytes(32), timelock.address),
        (PROPOSER_ROLE, safe.address),
        (CANCELLER_ROLE, safe.address),
        (EXECUTOR_ROLE, bytes(20)),
    }
    assert all(log.block == delay.block for log in granted)
    for log in granted:
        held = get(
            chain, timelock.address, "hasRole(bytes32,address)", ["bool"], b"".join(log.topics[1:3])
        )
        assert held is True
    nobody = PROPOSER_ROLE + bytes(32)
    assert get(chain, timelock.address, "hasRole(bytes32,address)", ["bool"], nobody) is False
    assert chain.call(timelock.address, keccak(b"getThreshold()")[:4], chain.head) is None


def test_a_safe_and_a_timelock_change() -> None:
    world = build(Knobs(governance="safe"))
    chain = world.chain
    safe = history.app_owner(chain, world.knobs)
    assert isinstance(safe, Safe)
    block, module = chain.block_at(world.now - 3 * DAY), b"\7" * 20
    safe.add_owner(block, b"\1" * 20, 3)
    safe.enable_module(block + 1, module)
    added = get(chain, safe.address, "getOwners()", ["address[]"])
    assert isinstance(added, tuple)
    assert added[-1] == "0x" + "01" * 20
    assert len(added) == 4
    assert get(chain, safe.address, "getThreshold()", ["uint256"]) == 3
    page = (("0x" + module.hex(),), "0x" + "00" * 19 + "01")
    call = "getModulesPaginated(address,uint256)"
    assert get(chain, safe.address, call, ["address[]", "address"]) == page
    names = ("AddedOwner(address)", "ChangedThreshold(uint256)", "EnabledModule(address)")
    assert [len(of(chain, safe.address, name)) for name in names] == [1, 1, 1]


def test_the_same_knobs_give_the_same_history() -> None:
    first, second = (build(Knobs()).chain for _ in range(2))
    assert [first.log_json(log) for log in first.logs()] == [
        second.log_json(log) for log in second.logs()
    ]
