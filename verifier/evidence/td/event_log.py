"""The TD event log: entries, runtime digests, replay.

An entry is `{imr: 0..3, event_type: u32, digest: hex48, event: str, event_payload: hex}`; dstack
0.6.0 adds `version: 2` and `preimage: hex`. A register is replayed as
`mr = 0^48; mr = sha384(mr || digest)` over its entries in order (Intel TDX module,
TDG.MR.RTMR.EXTEND).

Runtime events (event type 0x08000001, imr 3) are written by dstack. Their digest is never taken
from the log (Dstack-TEE/dstack cc-eventlog/src/runtime_events.rs):

    V1  sha384( u32le(event_type) || ":" || name || ":" || payload )
    V2  sha384( JCS {"name": name, "payload": hex(payload), "type": event_type} )
"""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterable
from typing import Final

import rfc8785
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue
from verifier.patterns import pattern

RUNTIME_EVENT_TYPE: Final = 0x08000001
RUNTIME_IMR: Final = 3
SYSTEM_READY: Final = "system-ready"
DIGEST_SIZE: Final = 48
MAX_EVENTS: Final = 4096
_MAX_INFLATED: Final = 8 << 20
_GZIP_MAGIC: Final = b"ELGZv1"
_NAME: Final = pattern(r"[a-z0-9-]{1,64}", re.ASCII)


class Event(Struct, frozen=True, gc=False):
    """One entry.

    imr         the register that it extends, 0 to 3 for RTMR0 to RTMR3
    event_type  u32
    digest      what extends the register, 48 bytes; None where the channel strips digests
    name        the event's name; "" when absent
    payload     bytes of any number; b"" when absent
    version     the version of the digest of a runtime event, 1 or 2
    preimage    what the entry says that its digest is taken over; None when absent
    """

    imr: int
    event_type: int
    digest: bytes | None
    name: str
    payload: bytes
    version: int = 1
    preimage: bytes | None = None

    @property
    def is_runtime(self) -> bool:
        """Whether this is an event that dstack or the app wrote at run time."""
        return self.event_type == RUNTIME_EVENT_TYPE


def parse_event_log(value: JsonValue | bytes, what: str) -> tuple[Event, ...]:
    """Entries of a log given as a JSON array, or as text of one.

    Raises EvidenceError for anything that another reader might read differently: an imr that is
    no plain integer of 0-3, a digest of another size, upper-case or odd hex.
    """
    items = codec.as_list(codec.nested_json(value, what), what)
    if len(items) > MAX_EVENTS:
        raise EvidenceError(f"{what}: {len(items)} events, more than {MAX_EVENTS}")
    return tuple(_parse_event(item, f"{what}[{index}]") for index, item in enumerate(items))


def inflate_event_log(raw: bytes, what: str) -> bytes:
    """JSON text of a log from a certificate extension: plain, or `ELGZv1` and a gzip stream.

    Raises EvidenceError.
    """
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw[len(_GZIP_MAGIC) :])) as stream:
            text = stream.read(_MAX_INFLATED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise EvidenceError(f"{what}: broken gzip stream: {error}") from error
    if len(text) > _MAX_INFLATED:
        raise EvidenceError(f"{what}: the gzip stream inflates to over {_MAX_INFLATED} bytes")
    return text


def runtime_digest(event: Event) -> bytes:
    """The digest that dstack extends for a runtime event, from its name and payload alone."""
    if event.version == 2:  # noqa: PLR2004 - event log version
        return hashlib.sha384(runtime_preimage_v2(event)).digest()
    return hashlib.sha384(
        event.event_type.to_bytes(4, "little")
        + b":"
        + event.name.encode("utf-8")
        + b":"
        + event.payload
    ).digest()


def runtime_preimage_v2(event: Event) -> bytes:
    """The canonical JSON that a V2 digest is taken over."""
    return rfc8785.dumps(
        {"name": event.name, "payload": event.payload.hex(), "type": event.event_type}
    )


def checked_digest(event: Event) -> bytes:
    """What an entry of RTMR3 extends it by. Raises EvidenceError where what it states of that is
    not what follows from its name and payload."""
    if not event.is_runtime:
        if event.digest is None:
            raise EvidenceError(f"event {event.name!r}: no digest, and none can be recomputed")
        return event.digest
    digest = runtime_digest(event)
    if event.digest is not None and event.digest != digest:
        raise EvidenceError(f"event {event.name!r}: its digest is not that of its name and payload")
    if event.version == 2 and event.preimage not in (None, runtime_preimage_v2(event)):  # noqa: PLR2004 - as above
        raise EvidenceError(f"event {event.name!r}: its preimage is not canonical")
    return digest


def is_event_name(name: str) -> bool:
    """Whether dstack writes such a name: one with a colon may hide another event (see V1)."""
    return _NAME.fullmatch(name) is not None


def replay(digests: Iterable[bytes]) -> bytes:
    """The register value after extending these 48-byte digests in order."""
    value = bytes(DIGEST_SIZE)
    for digest in digests:
        value = hashlib.sha384(value + digest).digest()
    return value


def system_events(events: Iterable[Event]) -> tuple[Event, ...]:
    """The runtime events that the system wrote: those of imr 3 up to the first `system-ready`.

    Whatever stands after it was written by the app and says nothing about its identity.
    """
    found: list[Event] = []
    for event in events:
        if event.imr != RUNTIME_IMR or not event.is_runtime:
            continue
        found.append(event)
        if event.name == SYSTEM_READY:
            break
    return tuple(found)


def first_payload(events: Iterable[Event], name: str) -> bytes | None:
    """Payload of the first system event of that name, or None."""
    return next((event.payload for event in system_events(events) if event.name == name), None)


def _parse_event(item: JsonValue, what: str) -> Event:
    entry = codec.as_object(item, what)
    imr = codec.as_int(entry.get("imr"), f"{what}.imr")
    event_type = codec.as_int(entry.get("event_type"), f"{what}.event_type")
    if not 0 <= imr <= RUNTIME_IMR or not 0 <= event_type < 1 << 32:
        raise EvidenceError(f"{what}: imr {imr} with event type {event_type} is no TD event")
    digest = codec.parse_hex(entry.get("digest", ""), f"{what}.digest", lower=True)
    if len(digest) not in (0, DIGEST_SIZE):
        raise EvidenceError(f"{what}.digest: expected {DIGEST_SIZE} bytes, found {len(digest)}")
    version = codec.as_int(entry.get("version", 1), f"{what}.version")
    if version not in (1, 2):
        raise EvidenceError(f"{what}.version: unknown event version {version}")
    payload, preimage = entry.get("event_payload"), entry.get("preimage")
    return Event(
        imr=imr,
        event_type=event_type,
        digest=digest or None,
        name=codec.text_field(entry, "event", what),
        payload=b""
        if payload is None
        else codec.parse_hex(payload, f"{what}.event_payload", lower=True),
        version=version,
        preimage=None
        if preimage is None
        else codec.parse_hex(preimage, f"{what}.preimage", lower=True),
    )
