"""JSON-RPC nodes of the simulated chain: two operators, each of which may have a fault."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from verifier.errors import VerifierError
from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.lab.contracts import ALLOWED_SELECTORS, encode
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from verifier.lab.chain import Chain, Log

STALE_SECONDS: Final = 6 * 3600
LATE_SECONDS: Final = 20 * 60
_INTERNAL: Final = -32000
_NOT_FOUND: Final = -32001
_METHOD_NOT_FOUND: Final = -32601
_INVALID_PARAMS: Final = -32602
_REVERTED: Final = 3
_RANGE_REFUSED: Final = -32614
_KEPT_BLOCKS: Final = 43_200
"""For how many blocks before the head (a day of them) a node keeps state, or logs when pruned."""

Method = Callable[[list[JsonValue]], JsonValue]


class RpcFault(StrEnum):
    """How one operator's node misbehaves."""

    ERROR = "error"
    NULL = "null"
    STALE_FINALIZED = "stale-finalized"
    LATE_FINALIZED = "late-finalized"
    OTHER_HASH = "other-hash"
    OTHER_CHAIN = "other-chain"
    NO_LOGS = "no-logs"
    DROPPED_LOG = "dropped-log"
    INVENTED_LOG = "invented-log"
    DUPLICATED_LOG = "duplicated-log"
    REORDERED_LOGS = "reordered-logs"
    LYING_CALL = "lying-call"
    PRUNED = "pruned"
    """Says that there are no logs below a block, and has no state of old blocks."""
    NO_ARCHIVE = "no-archive"
    """Has no state of old blocks, and says so."""
    NO_TRANSACTIONS = "no-transactions"
    FUTURE_BLOCK = "future-block"
    """Gives block times that are hours ahead."""


class RpcError(Exception):
    """An answer with an `error` member."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Node:
    """One operator's view of the chain. `log_range` limits eth_getLogs (0: no limit), `edit_logs`
    changes its answers."""

    def __init__(
        self,
        chain: "Chain",
        fault: RpcFault | None,
        log_range: int,
        edit_logs: Callable[[list[JsonObject]], list[JsonObject]] | None = None,
    ) -> None:
        self._chain = chain
        self._fault = fault
        self._log_range = log_range
        self._edit_logs = edit_logs
        self._methods: dict[str, Method] = {
            "eth_chainId": lambda _: hex(self._chain_id()),
            "net_version": lambda _: str(self._chain_id()),
            "eth_blockNumber": lambda _: hex(chain.head),
            "eth_getBlockByNumber": lambda params: self._block(self._number(_at(params, 0))),
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_call": self._call,
            "eth_getLogs": self._logs,
            "eth_getTransactionByHash": self._transaction,
        }

    def answer(self, body: bytes) -> JsonValue:
        """The answer to one request, or to a batch."""
        request = codec.parse_json(body, "JSON-RPC request")
        if isinstance(request, list):
            return [self._answer_one(codec.as_object(item, "JSON-RPC request")) for item in request]
        return self._answer_one(codec.as_object(request, "JSON-RPC request"))

    def _answer_one(self, request: JsonObject) -> JsonObject:
        envelope: JsonObject = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            return envelope | {"result": self._result(request)}
        except RpcError as error:
            return envelope | {"error": {"code": error.code, "message": error.message}}
        except (VerifierError, ValueError) as error:
            return envelope | {"error": {"code": _INVALID_PARAMS, "message": str(error)}}

    def _result(self, request: JsonObject) -> JsonValue:
        if self._fault is RpcFault.NULL:
            return None
        if self._fault is RpcFault.ERROR:
            raise RpcError(_INTERNAL, "internal error")
        method = codec.as_str(request.get("method"), "method")
        if method not in self._methods:
            raise RpcError(_METHOD_NOT_FOUND, f"the method {method} does not exist")
        return self._methods[method](codec.as_list(request.get("params", []), "params"))

    def _chain_id(self) -> int:
        return 1 if self._fault is RpcFault.OTHER_CHAIN else self._chain.chain_id

    def _number(self, tag: JsonValue) -> int:
        """A block number from a tag, a hex quantity, or an EIP-1898 object."""
        if isinstance(tag, dict):
            if "blockHash" in tag:
                number = self._chain.number_of(_bytes(tag["blockHash"]))
                if number is None:
                    raise RpcError(_NOT_FOUND, "block not found")
                return number
            tag = tag.get("blockNumber")
        text = codec.as_str(tag, "block")
        finalized = self._chain.finalized
        if self._fault is RpcFault.STALE_FINALIZED:
            finalized -= STALE_SECONDS // 2
        if self._fault is RpcFault.LATE_FINALIZED:
            finalized -= LATE_SECONDS // 2
        tags = {
            "latest": self._chain.head,
            "pending": self._chain.head,
            "safe": max(finalized, self._chain.head - 60),
            "finalized": finalized,
            "earliest": 0,
        }
        return tags[text] if text in tags else int(text, 16)

    def _block_by_hash(self, params: list[JsonValue]) -> JsonValue:
        number = self._chain.number_of(_bytes(_at(params, 0)))
        return None if number is None else self._block(number)

    def _block(self, number: int) -> JsonValue:
        if not 0 <= number <= self._chain.head:
            return None
        block = self._chain.header(number)
        if self._fault is RpcFault.OTHER_HASH:
            block["hash"] = "0x" + "5e" * 32
        if self._fault is RpcFault.FUTURE_BLOCK:
            block["timestamp"] = hex(self._chain.timestamp(number) + STALE_SECONDS)
        return block

    def _state_block(self, params: list[JsonValue], index: int) -> int:
        number = self._number(_at(params, index) if len(params) > index else "latest")
        if number > self._chain.head:
            raise RpcError(_NOT_FOUND, "block not found")
        without = self._fault in (RpcFault.PRUNED, RpcFault.NO_ARCHIVE)
        if without and number < self._chain.head - _KEPT_BLOCKS:
            raise RpcError(_INTERNAL, "missing trie node")
        return number

    def _code(self, params: list[JsonValue]) -> JsonValue:
        code = self._chain.code(_bytes(_at(params, 0)), self._state_block(params, 1))
        return "0x" + code.hex()

    def _storage(self, params: list[JsonValue]) -> JsonValue:
        slot = int(codec.as_str(_at(params, 1), "slot"), 16)
        value = self._chain.slot(_bytes(_at(params, 0)), slot, self._state_block(params, 2))
        return "0x" + value.hex()

    def _call(self, params: list[JsonValue]) -> JsonValue:
        call = codec.as_object(_at(params, 0), "call")
        calldata = _bytes(call.get("data", call.get("input", "0x")))
        number = self._state_block(params, 1)
        if self._fault is RpcFault.LYING_CALL:
            allowed = (True, "") if calldata[:4] in ALLOWED_SELECTORS else (True,)
            return "0x" + encode(*allowed).hex()
        result = self._chain.call(_bytes(call.get("to")), calldata, number)
        if result is None:
            raise RpcError(_REVERTED, "execution reverted")
        return "0x" + result.hex()

    def _transaction(self, params: list[JsonValue]) -> JsonValue:
        if self._fault is RpcFault.NO_TRANSACTIONS:
            return None
        return self._chain.transaction(_bytes(_at(params, 0)))

    def _logs(self, params: list[JsonValue]) -> JsonValue:
        query = codec.as_object(_at(params, 0), "filter")
        if "blockHash" in query:
            number = self._number({"blockHash": query["blockHash"]})
            first = last = number
        else:
            first = self._number(query.get("fromBlock", "latest"))
            last = self._number(query.get("toBlock", "latest"))
        if last > self._chain.head:
            raise RpcError(_INVALID_PARAMS, "block range extends beyond current head block")
        if self._log_range and last - first > self._log_range:
            raise RpcError(_RANGE_REFUSED, f"eth_getLogs is limited to a {self._log_range:,} range")
        if self._fault is RpcFault.PRUNED:
            first = max(first, self._chain.head - _KEPT_BLOCKS)
        matching = [
            self._chain.log_json(log)
            for log in self._chain.logs()
            if first <= log.block <= last and _matches(log, query)
        ]
        edited = self._edit_logs(matching) if self._edit_logs else matching
        return self._distort(list[JsonValue](edited))

    def _distort(self, logs: list[JsonValue]) -> list[JsonValue]:
        match self._fault:
            case RpcFault.NO_LOGS:
                return []
            case RpcFault.DROPPED_LOG:
                return logs[:-1]
            case RpcFault.DUPLICATED_LOG:
                return logs + logs[-1:]
            case RpcFault.REORDERED_LOGS:
                return logs[::-1]
            case RpcFault.INVENTED_LOG if logs:
                last = codec.as_object(logs[-1], "log")
                return [*logs, {**last, "data": "0x" + "ab" * 32, "logIndex": "0x63"}]
            case _:
                return logs


def _at(params: list[JsonValue], index: int) -> JsonValue:
    if index >= len(params):
        raise RpcError(_INVALID_PARAMS, f"missing value for required argument {index}")
    return params[index]


def _bytes(value: JsonValue) -> bytes:
    return codec.parse_hex(value, "hex data", allow_0x=True)


def _matches(log: "Log", query: JsonObject) -> bool:
    wanted = query.get("address")
    addresses = wanted if isinstance(wanted, list) else [wanted] if wanted else []
    if addresses and log.address not in [_bytes(item) for item in addresses]:
        return False
    topics = codec.as_list(query.get("topics", []), "topics")
    if len(topics) > len(log.topics):
        return False
    return all(
        item is None
        or topic in [_bytes(one) for one in (item if isinstance(item, list) else [item])]
        for item, topic in zip(topics, log.topics, strict=False)
    )
