"""Quotes, event logs and what is derived from them."""

import gzip
import hashlib
import json
from typing import Any

import pytest

from tests.evidence.variants import each
from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import (
    MAX_EVENTS,
    RUNTIME_EVENT_TYPE,
    Event,
    first_payload,
    inflate_event_log,
    parse_event_log,
    replay,
    runtime_digest,
    runtime_preimage_v2,
    system_events,
)
from verifier.evidence.td.measurements import (
    boot_rtmr3,
    mr_aggregated,
    mr_config_id_v1,
    mr_config_id_v2,
    mr_config_id_v3,
    mr_key_provider,
)
from verifier.evidence.td.quote import MAX_PADDING_BYTES, parse_quote
from verifier.lab.knobs import Knobs
from verifier.lab.quote import QuoteFormat
from verifier.lab.world import World, build

ENTRY: dict[str, Any] = {
    "imr": 3,
    "event_type": RUNTIME_EVENT_TYPE,
    "digest": "00" * 48,
    "event": "app-id",
    "event_payload": "aabb",
}
BAD_FIELDS: list[dict[str, Any]] = [
    *each("imr", [True, "3", 3.0, None, -1, 4, [], 1 << 70]),
    *each("event_type", [True, "1", -1, 1 << 32, None, 1.0]),
    *each("digest", ["00" * 47, "00" * 49, "0", "AA" * 48, " " + "00" * 48]),
    *each("digest", ["0x" + "00" * 48, None, 0, "\u0660\u0660" * 48, "00\n"]),
    *each("event_payload", ["AABB", "abc", "0xab", False, 0, [], {}, "a a"]),
    *each("event", [1, True, [], {}]),
    *each("version", [True, 0, 3, "2", 2.0, None]),
    *each("preimage", ["zz", 1, "AA"]),
]


@pytest.mark.parametrize(
    ("quote_format", "size"), [("v4", 632), ("v5-td10", 638), ("v5-td15", 702)]
)
def test_versions_and_bodies(quote_format: QuoteFormat, size: int) -> None:
    world = build(Knobs(quote_format=quote_format))
    raw = world.guest.quote(bytes(range(64)))
    quote = parse_quote(raw, "quote")
    assert quote.version == int(quote_format[1])
    assert len(quote.signed_region) == size
    assert quote.report_data == bytes(range(64))
    assert quote.mr_td == world.guest.td_report.mr_td
    assert quote.rtmrs == world.guest.td_report.rtmrs
    assert quote.mr_service_td == (bytes(48) if quote_format == "v5-td15" else None)
    assert quote.td_attributes == 1 << 28
    assert raw.startswith(quote.raw)
    assert not raw[len(quote.raw) :].strip(b"\0")


@pytest.mark.parametrize("quote_format", ["v4", "v5-td10", "v5-td15"])
def test_every_truncation_is_refused(quote_format: QuoteFormat) -> None:
    raw = parse_quote(build(Knobs(quote_format=quote_format)).guest.quote(bytes(64)), "q").raw
    for end in range(len(raw)):
        with pytest.raises(EvidenceError, match=r"^q: "):
            parse_quote(raw[:end], "q")


def test_only_zeros_follow_a_quote(quote: bytes) -> None:
    bare = parse_quote(quote, "q").raw
    for padding in (b"", bytes(70), bytes(MAX_PADDING_BYTES)):
        assert parse_quote(bare + padding, "q").raw == bare
    for padding in (b"A" * 100, bytes(69) + b"\1", b"\1", b"\n", bytes(MAX_PADDING_BYTES + 1)):
        with pytest.raises(EvidenceError, match="not zero padding"):
            parse_quote(bare + padding, "q")


def test_other_quotes_are_refused(quote: bytes) -> None:
    sgx = bytes.fromhex("0300020000000000") + quote[8:]
    body_1 = b"\5\0" + quote[2:48] + bytes.fromhex("0100") + bytes.fromhex("48020000") + quote[48:]
    for raw in (sgx, body_1, b"\6" + quote[1:], quote[:4] + bytes(4) + quote[8:]):
        with pytest.raises(EvidenceError):
            parse_quote(raw, "q")
    with pytest.raises(EvidenceError, match="no TD quote"):
        parse_quote(quote + bytes(1 << 20), "q")


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=repr)
def test_fields_that_another_reader_might_read_differently(fields: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        parse_event_log([{**ENTRY, **fields}], "log")


def test_what_channels_leave_out_is_accepted() -> None:
    (event,) = parse_event_log([{**ENTRY, "digest": "", "event_payload": ""}], "log")
    assert (event.digest, event.payload) == (None, b"")
    short = {key: ENTRY[key] for key in ("imr", "event_type", "event")}
    assert parse_event_log([short], "log") == (event,)
    assert parse_event_log(json.dumps([short]), "log") == (event,)
    others: list[Any] = ["{}", "[1]", 5, None, "", "[", [[]]]
    for bad in others:
        with pytest.raises(EvidenceError):
            parse_event_log(bad, "log")
    with pytest.raises(EvidenceError, match="more than"):
        parse_event_log([{}] * (MAX_EVENTS + 1), "log")


def test_runtime_digest_vectors() -> None:
    """The os-image-hash event of dstack 0.5.9, as its SDK pins it."""
    payload = bytes.fromhex("bd369a8c2f9edb2b52dad48ac8e0b32dde5f1337c423a506b48d07403a7d8033")
    event = Event(3, RUNTIME_EVENT_TYPE, None, "os-image-hash", payload)
    assert runtime_digest(event).hex().startswith("c936f709")
    second = Event(3, RUNTIME_EVENT_TYPE, None, "app-id", b"\xab", 2)
    preimage = b'{"name":"app-id","payload":"ab","type":134217729}'
    assert runtime_preimage_v2(second) == preimage
    assert runtime_digest(second) == hashlib.sha384(preimage).digest()


def test_a_preimage_can_be_split_at_another_colon() -> None:
    """Why names have a grammar: both events have one digest."""
    one = Event(3, RUNTIME_EVENT_TYPE, None, "key-provider", b'{"name":"kms"}')
    two = Event(3, RUNTIME_EVENT_TYPE, None, 'key-provider:{"name"', b'"kms"}')
    assert runtime_digest(one) == runtime_digest(two)


def test_replay_and_first_facts(world: World) -> None:
    events = parse_event_log(list(world.guest.log), "log")
    registers = parse_quote(world.guest.quote(bytes(64)), "q").rtmrs
    for imr in range(4):
        digests = [event.digest or b"" for event in events if event.imr == imr]
        assert replay(digests) == registers[imr]
    assert replay([]) == bytes(48)
    system = system_events(events)
    assert system[-1].name == "system-ready"
    late = Event(3, RUNTIME_EVENT_TYPE, None, "app-id", b"late")
    early = Event(0, RUNTIME_EVENT_TYPE, None, "app-id", b"early")
    other = Event(3, 1, None, "app-id", b"other")
    assert system_events((early, other, *events, late)) == system
    assert (first_payload((early, other, *events, late), "app-id") or b"").hex() == world.app_id
    assert first_payload(events, "nothing") is None
    assert boot_rtmr3(events) != registers[3]


def test_compressed_logs() -> None:
    text = b'[{"imr":0}]'
    packed = b"ELGZv1" + gzip.compress(text)
    assert inflate_event_log(packed, "x") == text
    assert inflate_event_log(text, "x") == text
    for end in range(6, len(packed)):
        with pytest.raises(EvidenceError, match="broken gzip stream"):
            inflate_event_log(packed[:end] if end > 6 else b"ELGZv1junk", "x")
    for at in range(16, len(packed) - 8):
        broken = packed[:at] + b"\xff" + packed[at + 1 :]
        try:
            assert inflate_event_log(broken, "x") == text
        except EvidenceError as error:
            assert "gzip" in error.message  # noqa: PT017 - either outcome is right
    with pytest.raises(EvidenceError, match="inflates to over"):
        inflate_event_log(b"ELGZv1" + gzip.compress(bytes(9 << 20)), "x")
    with pytest.raises(EvidenceError, match="broken gzip stream"):
        inflate_event_log(packed + b"trailing", "x")


def test_config_ids() -> None:
    manifest_hash, app_id, key = bytes(range(32)), bytes(range(20)), b"key"
    assert mr_config_id_v1(manifest_hash) == b"\1" + manifest_hash + bytes(15)
    second = mr_config_id_v2(manifest_hash, app_id, "kms", key)
    assert (second[:1], len(second), second[33:]) == (b"\2", 48, bytes(15))
    assert second != mr_config_id_v2(manifest_hash, app_id, "tpm", key)
    third = mr_config_id_v3(manifest_hash, app_id, "kms", key, b"", None, ())
    assert {(value[:1], len(value)) for value in third} == {(b"\3", 48)}
    document = (
        f'{{"compose_hash":"{manifest_hash.hex()}","key_provider":"kms","version":3}}'
    ).encode()
    digest = hashlib.sha256(b"dstack-mr-config-v3:\0" + document).digest()
    assert b"\3" + digest + bytes(15) in third
    with_policy = mr_config_id_v3(manifest_hash, app_id, "kms", key, b"", bytes(32), ())
    assert third < with_policy


def test_mr_aggregated(world: World) -> None:
    quote = parse_quote(world.guest.quote(bytes(64)), "q")
    assert mr_aggregated(quote) == world.guest.mr_aggregated
    assert mr_aggregated(quote, bytes(48)) != mr_aggregated(quote)
    assert mr_key_provider(None) == bytes(32)
    assert mr_key_provider(b"") == hashlib.sha256(b"").digest()
