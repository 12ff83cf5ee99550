"""Whatever the bytes are, a parser gives a typed value or an EvidenceError, and nothing else."""

import base64
import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import key_address, recover_key
from verifier.evidence.chain.json_rpc import parse_answer
from verifier.evidence.guest import kms_answers
from verifier.evidence.guest.cloud import parse_cloud_attestations
from verifier.evidence.guest.page import parse_page
from verifier.evidence.guest.tcb_info import parse_info, parse_quote_answer
from verifier.evidence.import_files import recognise
from verifier.evidence.subject import parse_tcb_info_bytes, read_subject
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.collateral import parse_crl, read_collateral
from verifier.evidence.td.event_log import inflate_event_log, parse_event_log, runtime_digest
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import parse_chain, spki
from verifier.lab.cert import msgpack_v1, scale_v0
from verifier.lab.world import World

# cryptography warns about serial numbers that RFC 5280 forbids, and reads them all the same.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

Parser = Callable[[bytes, str], object]


def _log(raw: bytes, what: str) -> object:
    return [runtime_digest(event) for event in parse_event_log(raw.decode("latin-1"), what)]


def _chain(raw: bytes, what: str) -> object:
    chain = parse_chain(raw.decode("latin-1"), what)
    return [spki(certificate) for certificate in chain.certificates]


def a_set(raw: bytes, what: str) -> Bundle:
    """A bundle with one set of collateral."""
    builder = BundleBuilder()
    builder.add(Kind.COLLATERAL, raw, source=what, collected_at=1)
    return builder.build()


PARSERS: dict[str, Parser] = {
    "shape": lambda raw, what: recognise(what, raw),
    "quote": parse_quote,
    "log": _log,
    "compressed log": inflate_event_log,
    "page": parse_page,
    "chain": _chain,
    "SCALE": parse_attestation,
    "msgpack": parse_attestation,
    "info": parse_info,
    "tcb_info": parse_tcb_info_bytes,
    "answer": parse_quote_answer,
    "meta": kms_answers.parse_meta,
    "env key": kms_answers.parse_env_key,
    "key chain": kms_answers.parse_signature_chain,
    "cloud": parse_cloud_attestations,
    "collateral": lambda raw, what: read_collateral(a_set(raw, what)),
    "revocation list": parse_crl,
    "rpc": parse_answer,
}
JSON_PARSERS = [
    *("log", "info", "tcb_info", "answer", "meta", "env key", "key chain", "cloud", "collateral"),
    *("rpc", "shape"),
]
DECODERS: list[Callable[[Any, str], object]] = [
    contracts.decode_logs,
    contracts.decode_bool,
    contracts.decode_address,
    contracts.decode_quantity,
    contracts.decode_kms_info,
    contracts.decode_is_app_allowed,
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["", "0x", "00", "0x1", "[]", "{}", "9" * 30, "\u202e", "\0"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 8), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(st.integers(0, 50), max_size=6)


@pytest.fixture(scope="module")
def examples(world: World) -> dict[str, bytes]:
    """One genuine input for each parser."""
    guest = world.guest
    attestation = guest.attestation(bytes(64))
    documents: dict[str, Any] = {
        "log": guest.log,
        "info": guest.info,
        "tcb_info": json.loads(guest.tcb_info),
        "answer": guest.app_key_quote("ed25519"),
        "shape": guest.get_quote(bytes(64)),
        "meta": world.kms.meta,
        "env key": world.kms.env_key(bytes.fromhex(world.app_id)),
        "key chain": {
            "app_id": "00" * 20,
            "signatureChain": {
                "derivedPubkey": "02" * 33,
                "appSignature": "00" * 65,
                "kmsSignature": "00" * 65,
            },
        },
        "cloud": {"app_id": world.app_id, "instances": [{"quote": "00", "eventlog": "[]"}]},
        "collateral": world.collateral.document(),
        "rpc": {"jsonrpc": "2.0", "id": 1, "result": {"number": "0x1"}},
    }
    return {
        "quote": guest.quote(bytes(64)),
        "compressed log": b"ELGZv1" + base64.b64decode("H4sIAAAAAAACA4uOBQApu0wNAgAAAA=="),
        "page": guest.page.encode(),
        "chain": guest.app_cert.encode(),
        "revocation list": world.pki.pck_crl,
        "SCALE": scale_v0(attestation),
        "msgpack": msgpack_v1(attestation),
        **{name: json.dumps(document).encode() for name, document in documents.items()},
    }


def mutated(raw: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """The bytes after replacing a few short runs with others."""
    for place, count, new in edits:
        at = int(place * (len(raw) + 1))
        raw = raw[:at] + new + raw[at + count :]
    return raw


def replaced(document: Any, steps: list[int], value: Any) -> Any:
    """The document with one value, found by walking `steps`, replaced by another."""
    if not steps or not isinstance(document, dict | list) or not document:
        return value
    changed = copy.copy(document)
    keys = list(changed) if isinstance(changed, dict) else range(len(changed))
    key = keys[steps[0] % len(keys)]
    changed[key] = replaced(changed[key], steps[1:], value)
    return changed


@pytest.mark.parametrize("name", PARSERS)
def test_the_genuine_input_parses(name: str, examples: dict[str, bytes]) -> None:
    assert PARSERS[name](examples[name], "x") is not None


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(raw=st.binary(max_size=300) | st.text(max_size=60).map(str.encode))
def test_arbitrary_bytes(name: str, raw: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        PARSERS[name](raw, "x")


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(edits=EDITS)
def test_mutated_bytes(
    name: str, examples: dict[str, bytes], edits: list[tuple[float, int, bytes]]
) -> None:
    with contextlib.suppress(EvidenceError):
        PARSERS[name](mutated(examples[name], edits), "x")


@pytest.mark.parametrize("name", JSON_PARSERS)
@settings(max_examples=40)
@given(steps=STEPS, value=VALUES)
def test_documents_with_one_other_value(
    name: str, examples: dict[str, bytes], steps: list[int], value: Any
) -> None:
    document = replaced(json.loads(examples[name]), steps, value)
    with contextlib.suppress(EvidenceError):
        PARSERS[name](json.dumps(document).encode(), "x")


@settings(max_examples=60)
@given(edits=EDITS)
def test_certificates_with_changed_der(
    examples: dict[str, bytes], edits: list[tuple[float, int, bytes]]
) -> None:
    leaf = examples["chain"].split(b"-----")[2]
    der = mutated(base64.b64decode(b"".join(leaf.split())), edits)
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(der)
    with contextlib.suppress(EvidenceError):
        _chain(pem, "x")


@pytest.mark.parametrize("place", range(5))
def test_certificates_with_every_header_byte_changed(
    examples: dict[str, bytes], place: int
) -> None:
    """The start of a certificate, where version, names and algorithms are."""
    leaf = examples["chain"].split(b"-----")[2]
    der = base64.b64decode(b"".join(leaf.split()))
    for at in range(place, 400, 5):
        for value in (0x00, 0x30, 0x80, 0xFF):
            raw = base64.encodebytes(der[:at] + bytes([value]) + der[at + 1 :])
            pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % raw
            with contextlib.suppress(EvidenceError):
                _chain(pem, "x")


@settings(max_examples=100)
@given(value=VALUES | st.binary(max_size=200).map(lambda raw: "0x" + raw.hex()))
def test_contract_answers(value: Any) -> None:
    for decode in DECODERS:
        with contextlib.suppress(EvidenceError):
            decode(value, "x")


@settings(max_examples=100)
@given(st.binary(min_size=30, max_size=70), st.binary(min_size=60, max_size=66))
def test_keys_and_signatures(key: bytes, signature: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        key_address(key)
    with contextlib.suppress(EvidenceError):
        recover_key(bytes(32), signature, "x")


@settings(max_examples=60)
@given(data=st.data())
def test_a_bundle_of_anything_is_read_and_nothing_is_lost(
    examples: dict[str, bytes], data: st.DataObject
) -> None:
    """Malformed artifacts are set aside with their error; they hide nothing and raise nothing."""
    builder = BundleBuilder()
    kinds = [kind for kind in Kind if kind is not Kind.JSON_RPC]
    for number in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(kinds))
        raw = mutated(data.draw(st.sampled_from(list(examples.values()))), data.draw(EDITS))
        builder.add(kind, raw, source=f"s{number}", collected_at=1)
    bundle = builder.build()
    subject = read_subject(bundle, "")
    for source in subject.quotes:
        with contextlib.suppress(EvidenceError):
            source.events()
    read_collateral(bundle)
