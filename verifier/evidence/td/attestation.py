"""Versioned attestation blobs (certificate extension 8, `Attest`, KMS bootstrap attestation).

The first byte selects (Dstack-TEE/dstack dstack-attest/src/attestation.rs, v1.rs):

    00              SCALE, version 0: variant u8 (0 = dstack-tdx, 1 = dstack-gcp-tdx) |
                    quote Vec<u8> |
                    event_log Vec<{imr u32, event_type u32, digest Vec, event String,
                    payload Vec}> |
                    of variant 1 a TPM quote: message Vec | signature Vec | pcr_values Vec<{index
                    u32, algorithm String, value Vec}> | ak_cert Vec | platform u8 | event_log
                    Vec<{pcr_index u32, digest Vec}> (tpm-types/src/lib.rs) |
                    runtime_events Vec<{event String, payload Vec}> | report_data [u8; 64] |
                    config String; all little endian, lengths SCALE-compact
    80-8f, de, df   msgpack map, version 1: {version: 1, platform: {kind, data: {quote, event_log}},
                    stack: {kind, data: {report_data, runtime_events, config}}}; byte vectors
                    appear as bin or as arrays of integers; kind `tdx`, or `gcp-tdx`, whose data has
                    a tpm_quote besides

On Google Cloud a TD has a virtual TPM too. Its quote is read over: what is judged is the TD quote.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import (
    MAX_EVENTS,
    RUNTIME_EVENT_TYPE,
    RUNTIME_IMR,
    Event,
)

MAX_BLOB_BYTES: Final = 10 << 20
FIRST_BYTES: Final = bytes((0, *range(0x80, 0x90), 0xDE, 0xDF))
"""SCALE version 0, or a msgpack map."""

TDX: Final = "tdx"
GCP_TDX: Final = "gcp-tdx"
PLATFORMS: Final = (TDX, GCP_TDX, "nitro-enclave", "sev-snp", "aws-nitro-tpm")
"""What version 1 calls them, in the order of their numbers in version 0."""

_TDX_KINDS: Final = (TDX, GCP_TDX)
_TDX_VARIANTS: Final = (0, 1)


class AttestationBlob(Struct, frozen=True, kw_only=True):
    """A TDX attestation blob.

    version      of the envelope, 0 or 1
    quote        its bytes
    events       the event log and the runtime events
    report_data  64 bytes that the envelope says the guest chose
    config       vm_config JSON, or a sys-config that contains it; "" for none
    platform     `tdx`, or `gcp-tdx`, whose quote of a virtual TPM is not read
    """

    version: int
    quote: bytes
    events: tuple[Event, ...]
    report_data: bytes
    config: str
    platform: str = TDX


def platform_of(raw: bytes) -> str:
    """The platform that a blob says it is of, as `PLATFORMS` names it; "" for no known one, and for
    what is no blob."""
    if raw[:1] == b"\0":
        return PLATFORMS[raw[1]] if len(raw) > 1 and raw[1] < len(PLATFORMS) else ""
    if not raw or raw[0] not in FIRST_BYTES or len(raw) > MAX_BLOB_BYTES:
        return ""
    try:
        kind = unpacked(raw, "blob")["platform"]["kind"]
    except (EvidenceError, KeyError, TypeError):
        return ""
    return kind if kind in PLATFORMS else ""


def parse_attestation(raw: bytes, what: str) -> AttestationBlob:
    """Parse a TDX attestation blob of version 0 or 1. Raises EvidenceError, for other TEEs too."""
    if not raw or len(raw) > MAX_BLOB_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no attestation blob")
    if raw[0] == 0:
        return _parse_scale(Scale(raw[1:], what), what)
    if raw[0] in FIRST_BYTES:
        return _parse_msgpack(raw, what)
    raise EvidenceError(f"{what}: starts with byte {raw[0]:#04x}, which no attestation blob does")


class Scale:
    """Reader of SCALE-encoded values; every read is bounds-checked."""

    def __init__(self, raw: bytes, what: str) -> None:
        self._raw, self._at, self._what = raw, 0, what

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises EvidenceError."""
        if count > len(self._raw) - self._at:
            raise EvidenceError(f"{self._what}: truncated at byte {self._at + 1}")
        self._at += count
        return self._raw[self._at - count : self._at]

    def u32(self) -> int:
        """A 32-bit number."""
        return int.from_bytes(self.take(4), "little")

    def compact(self) -> int:
        """A compact number below 2^30."""
        first = self.take(1)[0]
        mode = first & 3
        if mode == 3:  # noqa: PLR2004 - big-integer mode, longer than any blob may be
            raise EvidenceError(f"{self._what}: length out of range at byte {self._at}")
        rest = self.take((0, 1, 3)[mode])
        return int.from_bytes(bytes([first]) + rest, "little") >> 2

    def blob(self) -> bytes:
        """Bytes after their compact length."""
        return self.take(self.compact())

    def text(self) -> str:
        """UTF-8 text after its compact length."""
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError as error:
            raise EvidenceError(f"{self._what}: a string is not UTF-8") from error

    def count(self) -> int:
        """The number of entries of a list, no more than a log may have."""
        number = self.compact()
        if number > MAX_EVENTS:
            raise EvidenceError(f"{self._what}: {number} events, more than {MAX_EVENTS}")
        return number

    def finish(self) -> None:
        """Raise EvidenceError where bytes are left over."""
        if self._at != len(self._raw):
            raise EvidenceError(f"{self._what}: {len(self._raw) - self._at} bytes left over")


def _parse_scale(scale: Scale, what: str) -> AttestationBlob:
    variant = scale.take(1)[0]
    if variant not in _TDX_VARIANTS:
        raise EvidenceError(f"{what}: variant {variant} is not a TDX attestation")
    quote = scale.blob()
    events: list[Event] = []
    for _ in range(scale.count()):
        imr, event_type, digest = scale.u32(), scale.u32(), scale.blob()
        events.append(_event(imr, event_type, digest, scale.text(), scale.blob(), what))
    if variant == 1:
        _skip_tpm_quote(scale)
    runtime = [_runtime_event(scale.text(), scale.blob()) for _ in range(scale.count())]
    report_data, config = scale.take(64), scale.text()
    scale.finish()
    return AttestationBlob(
        version=0,
        quote=quote,
        events=_with_runtime(events, runtime),
        report_data=report_data,
        config=config,
        platform=PLATFORMS[variant],
    )


def _skip_tpm_quote(scale: Scale) -> None:
    scale.blob(), scale.blob()
    for _ in range(scale.count()):
        scale.u32(), scale.text(), scale.blob()
    scale.blob(), scale.take(1)
    for _ in range(scale.count()):
        scale.u32(), scale.blob()


def _parse_msgpack(raw: bytes, what: str) -> AttestationBlob:
    document = unpacked(raw, what)
    try:
        platform, stack = document["platform"], document["stack"]
        if document["version"] != 1 or platform["kind"] not in _TDX_KINDS:
            raise EvidenceError(  # noqa: TRY301
                f"{what}: version {document['version']!r}, platform {platform['kind']!r}: "
                "not a TDX attestation"
            )
        data, body = platform["data"], stack["data"]
        events = [
            _event(
                item["imr"],
                item["event_type"],
                octets(item.get("digest", b"")),
                item["event"],
                octets(item.get("event_payload", item.get("payload", b""))),
                what,
                item.get("version", 1),
            )
            for item in data["event_log"]
        ]
        runtime = [
            _runtime_event(item["event"], octets(item["payload"]), item.get("version", 1))
            for item in body["runtime_events"]
        ]
        return AttestationBlob(
            version=1,
            quote=octets(data["quote"]),
            events=_with_runtime(events, runtime),
            report_data=octets(body["report_data"]),
            config=str(body.get("config", "")),
            platform=str(platform["kind"]),
        )
    except EvidenceError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"{what}: not an attestation blob: {error!r}") from error


def unpacked(raw: bytes, what: str) -> Any:  # noqa: ANN401 - any document
    """The document of a msgpack blob, in which no key stands twice. Raises EvidenceError."""
    import msgpack  # noqa: PLC0415 - only where such a blob is

    try:
        return msgpack.unpackb(raw, strict_map_key=True, object_pairs_hook=_unique)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise EvidenceError(f"{what}: not an attestation blob: {error!r}") from error


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def octets(value: object) -> bytes:
    """Bytes, as such or as a list of integers. Raises TypeError, and ValueError for other lists."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(type(item) is int for item in value):
        return bytes(value)
    raise TypeError(f"expected bytes, found {type(value).__name__}")


def _event(  # noqa: PLR0913, PLR0917 - the fields of one entry
    imr: object,
    event_type: object,
    digest: bytes,
    name: object,
    payload: bytes,
    what: str,
    version: object = 1,
) -> Event:
    if type(imr) is not int or type(event_type) is not int or not isinstance(name, str):
        raise EvidenceError(f"{what}: an event with fields of the wrong type")
    if (
        not 0 <= imr <= RUNTIME_IMR
        or not 0 <= event_type < 1 << 32
        or len(digest) not in (0, 48)
        or version not in (1, 2)
    ):
        raise EvidenceError(f"{what}: event {name!r} in imr {imr} is no TD event")
    return Event(imr, event_type, digest or None, name, payload, 2 if version == 2 else 1)  # noqa: PLR2004


def _runtime_event(name: str, payload: bytes, version: object = 1) -> Event:
    return _event(RUNTIME_IMR, RUNTIME_EVENT_TYPE, b"", name, payload, "runtime event", version)


def _with_runtime(events: list[Event], runtime: list[Event]) -> tuple[Event, ...]:
    """The whole log: runtime events stand in their own list when imr 3 is stripped from the log."""
    if any(event.imr == RUNTIME_IMR for event in events):
        return tuple(events)
    return (*events, *runtime)
