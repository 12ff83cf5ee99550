"""The simulated chain, its JSON-RPC nodes, and the world over HTTP."""

import http.client
import json
from typing import Any, cast

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from verifier.lab import contracts, history
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs
from verifier.lab.owners import Timelock
from verifier.lab.rpc import RpcFault
from verifier.lab.serve import serve
from verifier.lab.world import World, build
from verifier.reference.values import parse_reference

NO_BODIES = False
BOOT_INFO = "(address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[])"


def rpc(world: World, method: str, *params: object, operator: str = "a") -> Any:
    """The whole answer to one request."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    url = f"https://rpc-{operator}.lab.invalid/"
    return json.loads(world.respond("POST", url, {}, json.dumps(request).encode()).body)


def call(world: World, to: bytes, calldata: bytes, types: list[str]) -> tuple[Any, ...]:
    """Decoded return values of a call at the finalized block."""
    request = {"to": "0x" + to.hex(), "data": "0x" + calldata.hex()}
    answer = rpc(world, "eth_call", request, "finalized")
    return decode(types, bytes.fromhex(answer["result"][2:]))


def decision(world: World) -> tuple[bool, str]:
    """What the KMS's contract says about the first instance."""
    guest = world.guest
    info = (
        "0x" + world.app_id,
        guest.compose_hash,
        "0x" + guest.instance_id.hex(),
        history.device_id(world.knobs, world.knobs.seed),
        guest.mr_aggregated,
        bytes(32),
        guest.image.os_image_hash,
        "UpToDate",
        ["INTEL-SA-1"],
    )
    calldata = contracts.IS_APP_ALLOWED + encode([BOOT_INFO], [info])
    allowed, reason = call(world, history.KMS_ADDRESS, calldata, ["bool", "string"])
    return allowed, reason


def test_the_honest_app_is_allowed(world: World) -> None:
    assert decision(world) == (True, "")


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        (Knobs(compose_hash_on_chain="removed"), "Compose hash not allowed"),
        (Knobs(compose_hash_on_chain="never"), "Compose hash not allowed"),
        (Knobs(device_on_chain="never"), "Device not allowed"),
        (Knobs(device_on_chain="removed"), "Device not allowed"),
        (Knobs(os_image_on_chain="never"), "OS image is not allowed"),
        (Knobs(app_registered=False), "App not registered"),
    ],
)
def test_what_is_not_allowed_is_refused(knobs: Knobs, reason: str) -> None:
    assert decision(build(knobs)) == (False, reason)


def test_getters_decode(world: World) -> None:
    info = call(world, history.KMS_ADDRESS, keccak(b"kmsInfo()")[:4], ["bytes"] * 4)
    quote = world.kms.bootstrap.quote
    assert info == (world.kms.k256_public, world.kms.ca_spki, quote, world.kms.event_log)
    calldata = keccak(b"gatewayAppId()")[:4]
    assert call(world, history.KMS_ADDRESS, calldata, ["string"]) == (history.GATEWAY_APP_ID,)
    app_id = bytes.fromhex(world.app_id)
    allowed = keccak(b"allowedComposeHashes(bytes32)")[:4] + world.guest.compose_hash
    assert call(world, app_id, allowed, ["bool"]) == (True,)
    owner = "0x" + history.app_owner(world.chain, world.knobs).address.hex()
    assert call(world, app_id, keccak(b"owner()")[:4], ["address"]) == (owner,)
    request = {"to": "0x" + world.app_id, "data": "0x" + keccak(b"version()")[:4].hex()}
    assert rpc(world, "eth_call", request, "latest")["error"]["code"] == 3


def test_code_has_the_reference_fingerprint(world: World) -> None:
    reference = parse_reference(world.reference(), unsafe="lab")
    slot = hex(contracts.ERC1967_IMPLEMENTATION)
    for role, address in (("app", world.app_id), ("kms", history.KMS_ADDRESS.hex())):
        row = next(item for item in reference.contracts if item.role == role)
        word = rpc(world, "eth_getStorageAt", "0x" + address, slot, "finalized")["result"]
        answer = rpc(world, "eth_getCode", "0x" + word[-40:], "latest")
        code = bytearray.fromhex(answer["result"][2:])
        assert len(code) == row.length
        del code[-int.from_bytes(code[-2:], "big") - 2 :]
        for offset in row.immutable_offsets:
            assert code[offset : offset + 32] == bytes.fromhex(word[2:])
            code[offset : offset + 32] = bytes(32)
        assert "0x" + keccak(bytes(code)).hex() == row.fingerprint


def test_history_is_in_order(world: World) -> None:
    chain = world.chain
    everything = {
        "fromBlock": "0x0",
        "toBlock": "finalized",
        "address": ["0x" + world.app_id, "0x" + history.KMS_ADDRESS.hex()],
    }
    logs = rpc(world, "eth_getLogs", everything)["result"]
    assert all(int(log["blockNumber"], 16) <= chain.finalized for log in logs)
    names = {
        contracts.topic(item): item.partition("(")[0]
        for item in (
            "Upgraded(address)",
            "OwnershipTransferred(address,address)",
            "AppImplementationSet(address)",
            "Initialized(uint64)",
            "KmsInfoSet(bytes)",
            "GatewayAppIdSet(string)",
            "KmsAggregatedMrAdded(bytes32)",
            "KmsDeviceAdded(bytes32)",
            "OsImageHashAdded(bytes32)",
            "DeviceAdded(bytes32)",
            "ComposeHashAdded(bytes32)",
            "ComposeHashRemoved(bytes32)",
            "AppRegistered(address)",
            "AppDeployedViaFactory(address,address)",
        )
    }
    assert [names[bytes.fromhex(log["topics"][0][2:])] for log in logs] == [
        *("Upgraded", "OwnershipTransferred", "AppImplementationSet", "Initialized"),
        *("KmsInfoSet", "AppRegistered", "AppDeployedViaFactory", "GatewayAppIdSet"),
        *("KmsAggregatedMrAdded", "KmsDeviceAdded"),
        *("OsImageHashAdded", "OwnershipTransferred"),
        *("Upgraded", "DeviceAdded", "ComposeHashAdded", "OwnershipTransferred"),
        *("Initialized", "AppRegistered", "AppDeployedViaFactory", "OwnershipTransferred"),
        *("ComposeHashAdded", "ComposeHashRemoved"),
    ]
    added = next(log for log in reversed(logs) if log["data"][2:] == world.guest.compose_hash.hex())
    assert world.now - int(added["blockTimestamp"], 16) - history.COMPOSE_HASH_AGE in (0, 1)
    block = rpc(world, "eth_getBlockByHash", added["blockHash"], NO_BODIES)["result"]
    assert (block["number"], block["timestamp"]) == (added["blockNumber"], added["blockTimestamp"])
    transaction = rpc(world, "eth_getTransactionByHash", added["transactionHash"])["result"]
    owner = cast("Timelock", history.app_owner(chain, world.knobs))
    assert transaction["to"] == "0x" + owner.address.hex()
    assert transaction["from"] == "0x" + owner.proposer.signers[0].hex()


def test_history_can_be_rewritten() -> None:
    foreign = b"\x60\x00foreign"
    evil = b"\xee" * 20

    def swap(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
        chain.define(foreign, contracts.foreign(getters=True, decision=True))
        chain.set_code(0, evil, foreign)
        block = chain.block_at(Knobs().now - 4 * 86400)
        app.upgrade(block, evil)
        app.upgrade(block + 100, history.APP_IMPLEMENTATION)

    world = build(Knobs(edit_chain=swap, compose_hash_on_chain="never"))
    assert decision(world) == (False, "Compose hash not allowed")
    during = world.chain.block_at(world.now - 4 * 86400) + 50
    calldata = keccak(b"allowAnyDevice()")[:4]
    assert world.chain.call(bytes.fromhex(world.app_id), calldata, during) == contracts.encode(1)


def test_operators_agree_unless_one_is_faulty(world: World) -> None:
    a, b = (rpc(world, "eth_getBlockByNumber", "finalized", NO_BODIES, operator=o) for o in "ab")
    assert a == b
    assert 880 <= world.now - int(a["result"]["timestamp"], 16) <= 920
    stale = build(Knobs(rpc_faults={"b": RpcFault.STALE_FINALIZED}))
    old = rpc(stale, "eth_getBlockByNumber", "finalized", NO_BODIES, operator="b")["result"]
    assert stale.now - int(old["timestamp"], 16) > 3600
    assert rpc(stale, "eth_getBlockByNumber", "finalized", NO_BODIES)["result"] == a["result"]


@pytest.mark.parametrize("fault", list(RpcFault))
def test_every_fault_changes_an_answer(world: World, fault: RpcFault) -> None:
    faulty = build(Knobs(rpc_faults={"a": fault}))
    app = "0x" + world.app_id
    requests = [
        ("eth_chainId", ()),
        ("eth_getBlockByNumber", ("finalized", NO_BODIES)),
        ("eth_getLogs", ({"fromBlock": "0x0", "toBlock": "latest", "address": app},)),
        ("eth_call", ({"to": app, "data": "0x" + keccak(b"allowAnyDevice()")[:4].hex()}, "latest")),
        ("eth_getCode", (app, hex(world.chain.block_at(world.now - history.APP_AGE)))),
        ("eth_getTransactionByHash", ("0x" + world.chain.logs()[-1].transaction.hex(),)),
    ]
    honest = [rpc(world, method, *params) for method, params in requests]
    assert [rpc(faulty, method, *params) for method, params in requests] != honest
    assert [rpc(faulty, method, *params, operator="b") for method, params in requests] == honest


def test_log_range_and_unknown_methods_are_errors(world: World) -> None:
    limited = build(Knobs(log_range=2000))
    answer = rpc(limited, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
    assert answer["error"] == {
        "code": -32614,
        "message": "eth_getLogs is limited to a 2,000 range",
    }
    assert rpc(world, "eth_sendRawTransaction")["error"]["code"] == -32601
    assert rpc(world, "eth_getCode")["error"]["code"] == -32602


def test_batches_are_answered_in_order(world: World) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": 8, "method": "eth_blockNumber", "params": []},
    ]
    url = "https://rpc-b.lab.invalid/"
    answers = json.loads(world.respond("POST", url, {}, json.dumps(batch).encode()).body)
    assert [item["id"] for item in answers] == [7, 8]
    assert answers[0]["result"] == "0x2105"


def test_the_world_over_http(world: World) -> None:
    with serve(world.respond) as served:
        host, port = served.routes[".gw.lab.invalid"]
        assert served.routes["rpc-a.lab.invalid"] == (host, port)
        connection = http.client.HTTPConnection(host, port, timeout=5)
        for path, name in (
            ("/prpc/Info", f"{world.app_id}-8090.gw.lab.invalid"),
            ("/sgx/certification/v4/rootcacrl", "pcs.lab.invalid"),
            ("/prpc/GetMeta?json", "kms.gw.lab.invalid"),
        ):
            connection.request("GET", path, headers={"Host": name})
            response = connection.getresponse()
            body = response.read()
            expected = world.respond("GET", f"https://{name}{path}", {}, b"")
            assert (response.status, body) == (200, expected.body)
            assert response.version == 11
        request = json.dumps({"app_id": world.app_id})
        path = "/prpc/KMS.GetAppEnvEncryptPubKey?json"
        connection.request("POST", path, request, headers={"Host": "kms.gw.lab.invalid"})
        response = connection.getresponse()
        assert json.loads(response.read()) == world.kms.env_key(bytes.fromhex(world.app_id))
        connection.request("GET", "/", headers={"Host": "nowhere.lab.invalid"})
        assert connection.getresponse().status == 404
        connection.close()
