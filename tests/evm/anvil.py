"""A real EVM on loopback: a node, its raw JSON-RPC, and the compiled contracts of this folder.

The node begins at a block of Base's height, with Base's chain id and its two seconds a block, so
that timestamp = 1686789347 + 2 * block holds for it too; one mined block is safe, two finalized.
Anybody may send in anybody's name, gas costs nothing, and every transaction is a block of its own
unless `one_block` gathers several. Addresses and hashes are 0x lower-case hex.
"""

# ruff: noqa: FBT003 - the arguments of a contract's function stand in its order
import http.client
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from eth_abi.abi import decode, encode

from verifier.evidence.chain.ethereum import keccak256

FOLDER: Final = Path(__file__).parent
NODE: Final = FOLDER / "node_modules" / ".bin" / "anvil"
_SAFES: Final = FOLDER / "node_modules" / "@safe-global" / "safe-contracts"
COMPILED: Final = FOLDER / "contracts" / "compiled.json"

CHAIN_ID: Final = 8453
FIRST_BLOCK: Final = 33_000_000
BLOCK_TIME: Final = 2
BASE_GENESIS: Final = 1_686_789_347
_GAS: Final = hex(8_000_000)
_START_SECONDS: Final = 20.0
_MAX_OUTPUT: Final = 65_536
_OPTIONS: Final = {
    "--host": "127.0.0.1",
    "--port": 0,
    "--color": "never",
    "--chain-id": CHAIN_ID,
    "--slots-in-an-epoch": 1,
    "--gas-price": 0,
    "--block-base-fee-per-gas": 0,
    "--gas-limit": 1_000_000_000,
    "--order": "fifo",
}


class RpcError(Exception):
    """The node answered with an error."""


class Reverted(Exception):
    """A transaction was mined and failed."""


@cache
def compiled() -> Mapping[str, Any]:
    """Contract → `abi`, `bytecode` (hex) and `immutables` (offsets in the runtime code)."""
    return cast("Mapping[str, Any]", json.loads(COMPILED.read_bytes()))


@cache
def artifact(name: str) -> Mapping[str, Any]:
    """`abi` and `bytecode` (hex) of a contract of this folder, else of Safe 1.4.1 as published."""
    if name in compiled():
        return cast("Mapping[str, Any]", compiled()[name])
    (path,) = (_SAFES / "build" / "artifacts" / "contracts").rglob(f"{name}.sol/{name}.json")
    return cast("Mapping[str, Any]", json.loads(path.read_bytes()))


def signature(entry: Mapping[str, Any]) -> str:
    """A function's or event's signature as it is hashed."""
    return f"{entry['name']}({','.join(_types(entry['inputs']))})"


def selector(text: str) -> bytes:
    """The first four bytes of keccak256 over a function's signature."""
    return keccak256(text.encode())[:4]


def topic(text: str) -> str:
    """keccak256 over an event's signature, 0x hex."""
    return "0x" + keccak256(text.encode()).hex()


def element(key: str, slot: int) -> int:
    """The slot of a mapping's element: keccak256(pad32(key) || pad32(slot))."""
    raw = bytes.fromhex(key.removeprefix("0x")).rjust(32, b"\0")
    return int.from_bytes(keccak256(raw + slot.to_bytes(32, "big")), "big")


class Anvil:
    """One running node. Raises RpcError for an error that it answers."""

    def __init__(self, connection: http.client.HTTPConnection, first: int) -> None:
        self._connection = connection
        self.first = first
        self.url = f"http://{connection.host}:{connection.port}"
        self.rpc("anvil_setBlockTimestampInterval", BLOCK_TIME)
        self.accounts: tuple[str, ...] = tuple(self.rpc("eth_accounts"))
        self._gathered: list[str] | None = None

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of one call."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/", json.dumps(request), headers)
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise RpcError(answer["error"]["message"])
        return answer["result"]

    @property
    def head(self) -> int:
        """The latest block's number."""
        return int(self.rpc("eth_blockNumber"), 16)

    def time(self, block: int | None = None) -> int:
        """A block's time, Unix seconds; the latest's by default."""
        found = self.rpc("eth_getBlockByNumber", _spelled(block), False)
        return int(found["timestamp"], 16)

    def mine(self, blocks: int = 1) -> None:
        """Empty blocks, two seconds each."""
        self.rpc("anvil_mine", hex(blocks), hex(BLOCK_TIME))

    def wait(self, seconds: int) -> None:
        """Let the next block be this much later: a timelock's delay without its blocks."""
        self.rpc("evm_setNextBlockTimestamp", self.time() + seconds)
        self.rpc("evm_mine")

    def storage(self, address: str, slot: int, block: int | None = None) -> bytes:
        """One word of storage."""
        return _raw(self.rpc("eth_getStorageAt", address, f"0x{slot:064x}", _spelled(block)))

    def code(self, address: str, block: int | None = None) -> bytes:
        """Runtime code."""
        return _raw(self.rpc("eth_getCode", address, _spelled(block)))

    def logs(
        self, address: str, first: int | None = None, last: int | None = None
    ) -> list[dict[str, Any]]:
        """The answer to `eth_getLogs` for one contract, from the node's first block by default."""
        begin = self.first if first is None else first
        wanted = {"address": address, "fromBlock": hex(begin), "toBlock": _spelled(last)}
        return cast("list[dict[str, Any]]", self.rpc("eth_getLogs", wanted))

    def send(self, sender: str, to: str | None, calldata: bytes) -> dict[str, Any]:
        """A mined transaction's receipt; within `one_block`, nothing yet. Raises Reverted."""
        transaction = {
            "from": sender,
            "gas": _GAS,
            "gasPrice": "0x0",
            "data": "0x" + calldata.hex(),
        }
        if to is not None:
            transaction["to"] = to
        if self._gathered is not None:
            self._gathered.append(self.rpc("eth_sendTransaction", transaction))
            return {}
        return _successful(self.rpc("eth_sendTransactionSync", transaction))

    def last_receipt(self) -> dict[str, Any]:
        """The receipt of the latest block's only transaction."""
        (digest,) = self.rpc("eth_getBlockByNumber", "latest", False)["transactions"]
        return cast("dict[str, Any]", self.rpc("eth_getTransactionReceipt", digest))

    @contextmanager
    def one_block(self) -> Iterator[None]:
        """Whatever is sent within stands in one block. Raises Reverted at its end."""
        self._gathered = []
        self.rpc("evm_setAutomine", False)
        try:
            yield
            self.rpc("evm_mine")
            gathered = self._gathered
        finally:
            self._gathered = None
            self.rpc("evm_setAutomine", True)
        for digest in gathered:
            _successful(self.rpc("eth_getTransactionReceipt", digest))

    def deploy(self, name: str, *arguments: Any, sender: str | None = None) -> "Contract":
        """A new contract of this folder or of Safe, created by the first account unless another is
        named."""
        code = bytes.fromhex(artifact(name)["bytecode"].removeprefix("0x"))
        entry = _entry(name, "constructor", "", len(arguments)) if arguments else {"inputs": []}
        receipt = self.send(
            sender or self.accounts[0], None, code + encode(_types(entry["inputs"]), arguments)
        )
        return Contract(self, name, receipt["contractAddress"])


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract of this folder, or of Safe, at an address, which may be a proxy's."""

    chain: Anvil
    name: str
    address: str

    def calldata(self, function: str, *arguments: Any) -> bytes:
        """A call's input. An overloaded function is told apart by its number of arguments."""
        entry = _entry(self.name, "function", function, len(arguments))
        return selector(signature(entry)) + encode(_types(entry["inputs"]), arguments)

    def send(self, sender: str, function: str, *arguments: Any) -> dict[str, Any]:
        """A transaction's receipt. Raises Reverted."""
        return self.chain.send(sender, self.address, self.calldata(function, *arguments))

    def call(
        self, function: str, *arguments: Any, block: int | None = None, sender: str | None = None
    ) -> Any:
        """What a getter says at a block: one value, or a tuple. Raises RpcError."""
        entry = _entry(self.name, "function", function, len(arguments))
        call = {"to": self.address, "data": "0x" + self.calldata(function, *arguments).hex()}
        if sender is not None:
            call["from"] = sender
        raw = _raw(self.chain.rpc("eth_call", call, _spelled(block)))
        values = decode(_types(entry["outputs"]), raw)
        return values[0] if len(values) == 1 else values

    def logs(self, first: int | None = None, last: int | None = None) -> list[dict[str, Any]]:
        """The answer to `eth_getLogs` for every log of this contract."""
        return self.chain.logs(self.address, first, last)

    def storage(self, slot: int, block: int | None = None) -> bytes:
        """One word of this contract's storage."""
        return self.chain.storage(self.address, slot, block)


@contextmanager
def running(first: int = FIRST_BLOCK) -> Iterator[Anvil]:
    """A node of its own on a free loopback port, stopped at the end; it begins at block `first`."""
    begin = {"--number": first, "--timestamp": BASE_GENESIS + BLOCK_TIME * first}
    options = [str(item) for option in (_OPTIONS | begin).items() for item in option]
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile() as output:
        command = [str(NODE), "--auto-impersonate", "--cache-path", cache, *options]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            connection = http.client.HTTPConnection("127.0.0.1", _port(process, output.fileno()))
            with closing(connection):
                yield Anvil(connection, first)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _port(process: "subprocess.Popen[bytes]", output: int) -> int:
    """The port that the node says it listens on, which it chose itself."""
    marker = b"Listening on 127.0.0.1:"
    deadline = time.monotonic() + _START_SECONDS
    text = b""
    while process.poll() is None and time.monotonic() < deadline:
        # Read in place: the node writes on through the same file offset.
        text = os.pread(output, _MAX_OUTPUT, 0)
        port, end, _ = text.partition(marker)[2].partition(b"\n")
        if end:
            return int(port)
        time.sleep(0.01)
    raise RpcError(f"the node did not start: {text.decode(errors='replace')[-500:]}")


def _successful(receipt: dict[str, Any]) -> dict[str, Any]:
    if receipt["status"] != "0x1":
        raise Reverted(receipt["transactionHash"])
    return receipt


def _entry(name: str, kind: str, function: str, count: int) -> Mapping[str, Any]:
    for entry in artifact(name)["abi"]:
        same = entry["type"] == kind and entry.get("name", "") == function
        if same and len(entry["inputs"]) == count:
            return cast("Mapping[str, Any]", entry)
    raise LookupError(f"{name} has no {kind} {function} of {count} arguments")


def _types(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_type(item) for item in inputs]


def _type(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_types(item['components']))}){kind.removeprefix('tuple')}"


def _spelled(block: int | None) -> str:
    return "latest" if block is None else hex(block)


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
