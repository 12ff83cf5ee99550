"""A second reading of every recorded JSON-RPC exchange, by the codec of `web3`.

This project reads answers itself, strictly; `web3` reads them again from the recorded bytes: its
JSON, its formatters of results, its ABI codec for what was asked and answered, and the ABI of each
event. Arguments and values are encoded again too, and have to give the same bytes. What this
project refuses counts nowhere, so that it is not read again; what it reads and `web3` refuses, or
reads otherwise, is a disagreement.

A pure function of the bundle. `web3` is imported when a second opinion is asked for, here alone,
and its connections and keys are never touched.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from verifier.chain import calls
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contract_events import DECLARATIONS, UNDECODABLE, UNKNOWN, decode_event
from verifier.evidence.chain.contracts import Log
from verifier.evidence.chain.json_rpc import parse_answer
from verifier.evidence.chain.log_scan import parse_scan
from verifier.evidence.chain.storage_proofs import Proof, parse_proof
from verifier.model.report import SecondOpinion
from verifier.model.result import JsonValue
from verifier.patterns import pattern
from verifier.version import DISTRIBUTION

_BOOT_INFO: Final = "(address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[])"
_LARGEST_NUMBER: Final = 2**53
_SELECTOR: Final = 4
_ARGUMENT: Final = pattern(r"([a-z0-9\[\]]+)( indexed\??)? (\w+)", re.ASCII)
Ours = Callable[[JsonValue, str], Any]
Theirs = Callable[[Any], Any]


class _Function(Struct, frozen=True):
    """A contract's function: its name, the types of arguments and results, this project's reading
    of an answer, and what brings the results of `web3` into the same form."""

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    ours: Ours
    theirs: Theirs = lambda values: values[0]

    @property
    def signature(self) -> str:
        return f"{self.name}({','.join(self.takes)})"


def _flag(name: str, *takes: str) -> _Function:
    return _Function(name, takes, ("bool",), contracts.decode_bool)


_FUNCTIONS: Final = (
    _Function("kmsInfo", (), ("bytes",) * 4, lambda *of: astuple(contracts.decode_kms_info(*of)),
              tuple),
    _Function("isAppAllowed", (_BOOT_INFO,), ("bool", "string"), contracts.decode_is_app_allowed,
              tuple),
    _Function("apps", ("address",), ("bool", "address"), contracts.decode_controller,
              lambda values: values[1] if values[0] else ""),
    _Function("getModulesPaginated", ("address", "uint256"), ("address[]", "address"),
              contracts.decode_modules),
    _Function("getOwners", (), ("address[]",), contracts.decode_addresses),
    _Function("owner", (), ("address",), contracts.decode_address),
    *(_Function(name, (), ("uint256",), contracts.decode_uint)
      for name in ("getThreshold", "getMinDelay", "noticePeriod", "nonce")),
    _Function("getTimestamp", ("bytes32",), ("uint256",), contracts.decode_uint),
    *(_Function(name, (), ("string",), contracts.decode_string)
      for name in ("VERSION", "version", "gatewayAppId")),
    _flag("registeredApps", "address"),
    *(_flag(name, "bytes32")
      for name in ("allowedOsImages", "allowedComposeHashes", "allowedDeviceIds",
                   "kmsAllowedAggregatedMrs", "kmsAllowedDeviceIds")),
    _flag("allowAnyDevice"),
)  # fmt: skip
"""Every function that an audit calls (DstackKms.sol, DstackApp.sol, Safe, TimelockController)."""


def _block(value: JsonValue, what: str) -> tuple[int, str, int]:
    """Number, hash (hex) and time (Unix seconds) of a block."""
    header = codec.as_object(value, what)
    return (
        contracts.decode_quantity(header.get("number"), what),
        contracts.decode_word(header.get("hash"), what).hex(),
        contracts.decode_time(header.get("timestamp"), what),
    )


def _transaction(found: Mapping[str, Any]) -> tuple[str, str, str, bytes]:
    digest, data = bytes(found["hash"]).hex(), bytes(found["input"])
    return digest, found["from"], found.get("to") or "", data


def _proof(found: Mapping[str, Any]) -> Proof:
    return Proof(
        account=tuple(map(bytes, found["accountProof"])),
        slots=tuple(
            (int.from_bytes(item["key"], "big"), tuple(map(bytes, item["proof"])))
            for item in found["storageProof"]
        ),
    )


METHODS: Final[Mapping[str, tuple[Ours, Theirs]]] = {
    "eth_chainId": (contracts.decode_quantity, int),
    "eth_getCode": (contracts.decode_bytes, bytes),
    "eth_getStorageAt": (contracts.decode_word, bytes),
    "eth_getBlockByNumber": (
        _block,
        lambda found: (found["number"], bytes(found["hash"]).hex(), found["timestamp"]),
    ),
    "eth_getTransactionByHash": (calls.decode_transaction, _transaction),
    "eth_getProof": (parse_proof, _proof),
}
"""What both readers make of the answers to each method, but `eth_call` and `eth_getLogs`."""


class Web3Reader:
    """`web3` as a reader of recorded text. Every method raises whatever `web3` raises."""

    def __init__(self) -> None:
        # py_ecc, which web3 imports, lets Python recurse so deep that hostile nesting would crash.
        limit = sys.getrecursionlimit()
        import web3  # noqa: PLC0415 - takes a second that only a second opinion is worth
        from web3._utils import encoding, events, method_formatters  # noqa: PLC0415

        sys.setrecursionlimit(limit)
        self.name = f"web3 {web3.__version__}"
        self._web3 = web3.Web3
        self._codec = web3.Web3().codec
        self._json = encoding.FriendlyJsonSerde()
        self._formatters: Mapping[Any, Any] = method_formatters.PYTHONIC_RESULT_FORMATTERS
        self._get_event_data: Any = events.get_event_data
        self._functions = {self._keccak(item.signature)[:_SELECTOR]: item for item in _FUNCTIONS}
        self._events = dict(self._declared())

    def function(self, data: bytes) -> _Function | None:
        """The function that call data is for, None for one that no audit calls."""
        return self._functions.get(data[:_SELECTOR])

    def result(self, method: str, text: str) -> Any:  # noqa: ANN401 - as many forms as methods
        """The result in the text of a response."""
        return self._formatters[method](self._json.json_decode(text)["result"])

    def arguments(self, function: _Function, data: bytes) -> None:
        """Read the arguments in call data, and encode them again."""
        self._values(function.takes, data[_SELECTOR:])

    def answer(self, function: _Function, raw: bytes) -> Any:  # noqa: ANN401 - as it gives
        """The results of a call, in the form that this project reads them in."""
        return function.theirs(self._values(function.gives, raw))

    def event(self, found: Mapping[str, Any]) -> tuple[str, dict[str, JsonValue]]:
        """Name and arguments of a formatted log, as this project spells them."""
        topics = found["topics"]
        name, arguments = self._events[bytes(topics[0])]
        fixed = sum(mark == " indexed" for _, mark, _ in arguments)
        inputs = [
            {
                "type": kind,
                "name": argument,
                "indexed": mark == " indexed" or (bool(mark) and len(topics) - 1 > fixed),
            }
            for kind, mark, argument in arguments
        ]
        abi = {"type": "event", "name": name, "anonymous": False, "inputs": inputs}
        read = self._get_event_data(self._codec, abi, found)["args"]
        return name, {argument: _plain(read[argument]) for _, _, argument in arguments}

    def _values(self, types: tuple[str, ...], raw: bytes) -> tuple[Any, ...]:
        values = self._codec.decode(types, raw)
        if self._codec.encode(types, values) != raw:
            raise ValueError("encoded again, it is something else")
        return tuple(
            self._addressed(kind, value) for kind, value in zip(types, values, strict=True)
        )

    def _addressed(self, kind: str, value: Any) -> Any:  # noqa: ANN401 - any ABI value
        if kind == "address":
            return self._web3.to_checksum_address(value)
        if kind == "address[]":
            return tuple(self._web3.to_checksum_address(item) for item in value)
        return value

    def _declared(self) -> Iterator[tuple[bytes, tuple[str, list[tuple[str, str, str]]]]]:
        for declaration in DECLARATIONS:
            name, _, rest = declaration.partition("(")
            arguments = _ARGUMENT.findall(rest)
            signature = f"{name}({','.join(kind for kind, _, _ in arguments)})"
            yield self._keccak(signature), (name, arguments)

    def _keccak(self, text: str) -> bytes:
        return bytes(self._web3.keccak(text=text))


def second_opinion(bundle: Bundle) -> SecondOpinion:
    """What `web3` makes of every exchange of a bundle that this project can read."""
    reader = Web3Reader()
    calls_read, logs_read = 0, 0
    disagreements: list[str] = []
    for where, compare in _readings(bundle, reader):
        try:
            agreed_calls, agreed_logs = compare()
        except _DisagreementError as error:
            disagreements.append(f"{where}: {error}")
        else:
            calls_read += agreed_calls
            logs_read += agreed_logs
    return SecondOpinion(
        reader=reader.name,
        calls=calls_read,
        logs=logs_read,
        disagreements=tuple(disagreements),
    )


def settle(opinion: SecondOpinion) -> None:
    """Raises EvidenceError where the readers disagree about anything."""
    if opinion.disagreements:
        raise EvidenceError(
            f"two readers of the chain's answers disagree: {opinion.disagreements[0]}"
            + (f", and {more} more" if (more := len(opinion.disagreements) - 1) else ""),
            hint="the endpoint's answer is malformed, or one reader is wrong: ask another endpoint "
            "with --rpc-url, and report it if that changes nothing",
        )


class _DisagreementError(Exception):
    """Two readers do not give the same."""


Compare = Callable[[], tuple[int, int]]


def _readings(bundle: Bundle, reader: Web3Reader) -> Iterator[tuple[str, Compare]]:
    """Every exchange, where it was recorded, and what compares its two readings: it gives how many
    calls and logs both read alike."""
    for artifact in bundle.artifacts:
        if artifact.sha256 is None:
            continue
        raw = bundle.blob(artifact)
        if artifact.kind is Kind.JSON_RPC:
            with suppress(EvidenceError):
                request = codec.parse_json_object(artifact.request, "request")
                where = f"{codec.text_field(request, 'method', 'request')} at {artifact.source}"
                yield where, lambda request=request, raw=raw: _exchange(reader, request, raw)  # type: ignore[misc]
        elif artifact.kind is Kind.LOG_SCAN:
            where = f"log scan at {artifact.source}"
            with suppress(EvidenceError):
                for answer in parse_scan(raw, where).answers:
                    of = f"{where}, blocks {answer.first} to {answer.last}"
                    yield of, lambda body=answer.body: (0, _logs(reader, body))  # type: ignore[misc]


def _exchange(reader: Web3Reader, request: codec.JsonObject, raw: bytes) -> tuple[int, int]:
    method = str(request["method"])
    if method == "eth_getLogs":
        return 0, _logs(reader, raw)
    ours, theirs = METHODS.get(method, (None, None))
    if method == "eth_call":
        with suppress(EvidenceError):
            (asked, _) = codec.as_list(request.get("params"), "params")
            data = contracts.decode_bytes(codec.as_object(asked, "call").get("data"), "call data")
            function = reader.function(data)
            if function is not None:
                ours = function.ours

                def theirs(found: Any) -> Any:  # noqa: ANN401 - as the function gives
                    reader.arguments(function, data)
                    return reader.answer(function, bytes(found))

    if ours is None or theirs is None:
        return 0, 0
    try:
        read = ours(parse_answer(raw, method), method)
    except EvidenceError:
        return 0, 0
    again = _again(lambda: theirs(reader.result(method, raw.decode("utf-8"))), reader, read)
    _same(read, again, reader)
    return 1, 0


def _logs(reader: Web3Reader, raw: bytes) -> int:
    """How many logs of an answer to `eth_getLogs` both read alike."""
    try:
        read = contracts.decode_logs(parse_answer(raw, "eth_getLogs"), "eth_getLogs")
    except EvidenceError:
        return 0
    found = _again(lambda: reader.result("eth_getLogs", raw.decode("utf-8")), reader, read)
    if len(found) != len(read):
        raise _DisagreementError(f"{DISTRIBUTION} reads {len(read)} logs, {reader.name} others")
    for log, item in zip(read, found, strict=True):
        _same(log, _again(lambda item=item: _log(item), reader, log), reader)  # type: ignore[misc]
        event = decode_event(log)
        if event.name not in (UNKNOWN, UNDECODABLE):
            args = {name: value for name, value in event.args.items() if name != "policyName"}
            again = _again(lambda item=item: reader.event(item), reader, event)  # type: ignore[misc]
            _same((event.name, args), again, reader)
    return len(read)


def _log(found: Mapping[str, Any]) -> Log:
    return Log(
        address=found["address"].lower(),
        topics=tuple(map(bytes, found["topics"])),
        data=bytes(found["data"]),
        block=found["blockNumber"],
        log_index=found["logIndex"],
        transaction=bytes(found["transactionHash"]).hex(),
    )


def _again(read: Callable[[], Any], reader: Web3Reader, ours: object) -> Any:  # noqa: ANN401
    """The second reading of what this project reads as `ours`."""
    try:
        return read()
    except Exception as error:
        raise _DisagreementError(
            f"{DISTRIBUTION} reads {ours!a:.100}, {reader.name} refuses it "
            f"({type(error).__name__}: {str(error)!a:.100})"
        ) from error


def _same(ours: object, theirs: object, reader: Web3Reader) -> None:
    if ours != theirs:
        raise _DisagreementError(
            f"{DISTRIBUTION} reads {ours!a:.100}, {reader.name} reads {theirs!a:.100}"
        )


def _plain(value: Any) -> JsonValue:  # noqa: ANN401 - any ABI value
    """An argument of an event as this project spells it (see `ContractEvent`)."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if type(value) is int and value > _LARGEST_NUMBER:
        return str(value)
    plain: JsonValue = value
    return plain
