"""Targets: what nodes, explorers and services answer about contracts."""

import json
from typing import Final

from tests.fuzz.of_guests import JSON
from tests.fuzz.target import Reader, Target, each
from verifier.chain import calls
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain import contracts
from verifier.evidence.chain.calldata import decode_call, inner_calls
from verifier.evidence.chain.canonical_logs import read_canonical_logs
from verifier.evidence.chain.constructor import (
    constructor_terms,
    decode_creation,
    decode_creations,
)
from verifier.evidence.chain.contract_events import decode_event
from verifier.evidence.chain.creation_calldata import initial_terms
from verifier.evidence.chain.ethereum import keccak256, key_address, recover_key
from verifier.evidence.chain.explorer_logs import decode_answer as decode_explorer
from verifier.evidence.chain.explorer_logs import encode_explorer_logs, parse_explorer_logs
from verifier.evidence.chain.json_rpc import Reverted, parse_answer
from verifier.evidence.chain.log_scan import (
    LogFilter,
    RangeAnswer,
    decode_answer,
    parse_scan,
)
from verifier.evidence.chain.safe_service import parse_queue, proven_signers
from verifier.evidence.chain.storage_proofs import (
    decode_rlp,
    encode_rlp,
    parse_header,
    parse_proof,
    prove,
)
from verifier.model.result import JsonValue
from verifier.reference.values import embedded

_SAFE: Final = "0x5AFE000000000000000000000000000000005afE"
_ADDRESS: Final = "0x" + "0a" * 20
_TRANSFER: Final = {
    "address": _ADDRESS,
    "topics": ["0x" + "0b" * 32],
    "data": "0x",
    "blockNumber": "0x10",
    "logIndex": "0x0",
    "transactionHash": "0x" + "0c" * 32,
    "blockHash": "0x" + "0d" * 32,
    "blockTimestamp": "0x65000000",
    "removed": False,
}
_CREATION: Final = {
    "from": "0x" + "0a" * 20,
    "hash": "0x" + "0b" * 32,
    "nonce": "0x1",
    "blockNumber": "0x10",
    "blockHash": "0x" + "0c" * 32,
    "input": "0x6001",
    "to": None,
}
_VALUES: Final = (
    *(contracts.decode_bytes, contracts.decode_quantity, contracts.decode_time),
    *(contracts.decode_word, contracts.decode_bool, contracts.decode_address),
    *(contracts.decode_uint, contracts.decode_addresses, contracts.decode_modules),
    *(contracts.decode_string, contracts.decode_is_app_allowed, contracts.decode_controller),
    *(contracts.decode_kms_info, calls.decode_transaction),
    *(calls.decode_account, calls.decode_optional_account),
)


def _of_json(decode: object) -> Reader:
    """A reader of JSON values as a reader of its bytes."""
    return lambda raw: decode(codec.parse_json(raw, "x"), "x")  # type: ignore[operator]


def _logs(raw: bytes) -> object:
    """Both readers of logs, and what the logs are. Where the quick one reads, so does the other,
    and the same."""
    value = codec.parse_json(raw, "logs")
    quick = read_canonical_logs(value)
    strict = contracts.decode_timed_logs(value, "logs")
    if quick is not None and [(item.log, item.time) for item in quick] != list(strict):
        raise AssertionError("two readers of logs differ")
    wanted = LogFilter(chain_id=1, address=strict[0][0].address if strict else "", topics=())
    return [decode_event(log) for log, _ in strict], decode_answer(wanted, value, "logs")


def _scan(raw: bytes) -> object:
    return parse_scan(raw, "scan").logs("scan")


def _explored(raw: bytes) -> object:
    found = parse_explorer_logs(raw, "explorer")
    return [decode_explorer(found.filter, topic, item, "logs") for topic, item in found.answers]


def _proven(raw: bytes) -> object:
    proof = parse_proof(codec.parse_json(raw, "proof"), "proof")
    if not proof.account:
        raise EvidenceError("no node")
    return prove(proof, bytes(20), keccak256(proof.account[0]), "proof")


def _rlp(raw: bytes) -> object:
    item = decode_rlp(raw, "RLP")
    if encode_rlp(item) != raw:
        raise AssertionError("another spelling than the canonical one")
    return item


def _call(raw: bytes) -> object:
    known = embedded().contracts
    terms = initial_terms(raw, None), constructor_terms(known, raw)
    return decode_call(raw), inner_calls("0x" + "0a" * 20, raw), terms


def _queue(raw: bytes) -> object:
    queue = parse_queue(raw, _SAFE, "queue")
    return [proven_signers(item, bytes(32), (_SAFE,), ()) for item in queue.proposals]


def _creations(value: JsonValue, what: str) -> object:
    return decode_creation(value, what)


def _proof() -> bytes:
    """A trie of one account, and one of one word, each of one leaf."""
    path = b"\x20" + keccak256(bytes(20)), b"\x20" + keccak256(bytes(32))
    storage = encode_rlp([path[1], encode_rlp(b"\7")])
    account = encode_rlp([b"\1", b"", keccak256(storage), keccak256(b"")])
    return json.dumps(
        {
            "accountProof": ["0x" + encode_rlp([path[0], account]).hex()],
            "storageProof": [{"key": "0x0", "proof": ["0x" + storage.hex()]}],
        }
    ).encode()


def _explorer() -> bytes:
    listed = {**_TRANSFER, "timeStamp": "0x65000000"}
    body = json.dumps({"status": "1", "message": "OK", "result": [listed]}).encode()
    wanted = LogFilter(chain_id=1, address=_ADDRESS, topics=())
    answer = RangeAnswer(first=0, last=16, at=1, body=body)
    return encode_explorer_logs(wanted, [("", answer)])


TARGETS: Final = (
    Target(
        name="rpc-answer",
        parse=lambda raw: parse_answer(raw, "answer"),
        records=(parse_answer,),
        refuses=(EvidenceError, Reverted),
        tokens=JSON,
    ),
    Target(
        name="contract-values",
        parse=each(*map(_of_json, _VALUES)),
        records=_VALUES,
        tokens=(*JSON, b"00" * 32, b"00" * 31 + b"20", b"ff" * 32),
    ),
    Target(
        name="logs",
        parse=_logs,
        records=(read_canonical_logs, contracts.decode_logs, contracts.decode_timed_logs),
        given=lambda: [json.dumps([_TRANSFER]).encode()],
        tokens=JSON,
    ),
    Target(name="log-scan", parse=_scan, records=(parse_scan,), tokens=JSON),
    Target(
        name="explorer-logs",
        parse=_explored,
        records=(parse_explorer_logs,),
        given=lambda: [_explorer()],
        tokens=JSON,
    ),
    Target(
        name="block-header",
        parse=each(
            _of_json(parse_header),
            _of_json(_creations),
            _of_json(decode_creations),
        ),
        records=(parse_header, decode_creation, decode_creations),
        given=lambda: [
            json.dumps(_CREATION).encode(),
            json.dumps({"transactions": [_CREATION]}).encode(),
        ],
        tokens=JSON,
    ),
    Target(
        name="storage-proof",
        parse=_proven,
        records=(parse_proof,),
        given=lambda: [_proof()],
        tokens=JSON,
    ),
    Target(name="rlp", parse=_rlp, given=lambda: [encode_rlp([b"a", [b"b" * 60, b""]])]),
    Target(
        name="calldata",
        parse=_call,
        records=(decode_call, initial_terms),
        tokens=(b"\0" * 32, b"\0" * 31 + b"\x20", b"\xff" * 32),
    ),
    Target(name="safe-queue", parse=_queue, records=(parse_queue,), tokens=JSON),
    Target(
        name="signature",
        parse=each(lambda raw: recover_key(bytes(32), raw, "signature"), key_address),
        given=lambda: [bytes(64) + b"\0", b"\2" * 33],
    ),
)
