"""What page, API and certificate say, held against what was measured."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from verifier.checks.application import proof
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.guest.proof import Proof
from verifier.evidence.guest.tcb_info import REGISTERS, Info
from verifier.evidence.subject import Located
from verifier.evidence.td.event_log import (
    RUNTIME_IMR,
    Event,
    parse_event_log,
    replay,
    runtime_digest,
    system_events,
)
from verifier.evidence.td.measurements import mr_aggregated, mr_key_provider
from verifier.evidence.td.quote import TdQuote, parse_quote
from verifier.evidence.td.ra_tls import EXT_APP_ID
from verifier.model.result import EvidenceRef, JsonValue

_LABELS: Final = {
    "App ID": "app_id",
    "Instance ID": "instance_id",
    "Device ID": "device_id",
    "Key Provider Info": "key_provider_info",
}
_SINCE_0_4: Final = ("compose_hash", "device_id", "mr_aggregated", "key_provider_info")
"""What Info and page state since dstack 0.4; a document with one of them has the others."""

Statement = tuple[str, str, str, EvidenceRef]
"""Field, value as stated, who states it, where."""


@check(
    "application.consistency",
    "What the app and its host say equals what was measured",
    requires=("runtime.events",),
)
def consistency(case: Case) -> Outcome:
    """Ids, hashes, registers, key provider and manifests that the page, the Info answer, the
    certificate, an attestation proof and other quotes state are those of the quote; the root
    address in a proof is that of its signature, its source that which signatures show the images to
    be built from, its KMS the measured one where it is a known one's name, and its time none at
    which its quote cannot have been made. A proof of another app says nothing of this one: it is
    named, and a warning. Differences that dstack versions are
    known for are allowed: a device id may be sha256 of the platform id, of the quote's user data,
    or of nothing. A vm_config that names another OS image than the os-image-hash event is a
    warning: the host writes the one, a KMS says the other, and the registers alone tell. Evidence
    that could not be read counts against this check, and what an answer leaves out that every such
    answer states is missing, as is that by which a proof's source is judged: it might have
    contradicted."""
    statements = list(_statements(case))
    wrong = [item for item in statements if not _agrees(case, item[0], item[1])]
    wrong.extend(_other_quotes(case))
    contradicted = list(proof.contradictions(case))
    expected: dict[str, JsonValue] = {name: _expected(case, name) for name, *_ in wrong}
    expected |= {item[0]: value for item, value in contradicted}
    wrong.extend(item for item, _ in contradicted)
    if wrong:
        return failed(
            "stated and measured values differ: " + ", ".join(sorted({item[0] for item in wrong})),
            expected=expected,
            actual={f"{name} ({who})": value for name, value, who, _ in wrong},
            evidence=tuple(dict.fromkeys(item[3] for item in wrong)),
            remediation="evidence of several guests was mixed, or somebody states what is not so",
        )
    if case.evidence.malformed:
        artifact, error = case.evidence.malformed[0]
        raise EvidenceError(f"{artifact.source}: {error.message}", hint=error.hint)
    images = _configured_images(case)
    measured = case.identity.os_image_hash
    if measured is not None and any(value != measured.hex() for value, _ in images):
        return warned(
            "vm_config names another OS image than the os-image-hash event",
            expected=measured.hex(),
            actual=[*sorted({value for value, _ in images})],
            evidence=tuple(dict.fromkeys(ref for _, ref in images)),
            remediation="boot.image tells by the registers which image it is",
        )
    if not statements and not images:
        raise MissingEvidence("only the quote and its log were given: nothing is stated")
    left_out = (f"{text}, which every such answer states" for text in _withheld(case))
    unjudged = next(left_out, "") or next(proof.withheld(case), "")
    if unjudged:
        raise MissingEvidence(
            unjudged, hint="collect it again from the guest, and hand it over whole"
        )
    foreign = proof.set_aside(case)
    if foreign:
        return _set_aside(case, foreign)
    return passed(
        f"{len(statements) + len(images)} stated values agree",
        evidence=tuple(dict.fromkeys([*(x[3] for x in statements), *(ref for _, ref in images)])),
    )


def _set_aside(case: Case, foreign: Iterable[Located[Proof]]) -> Outcome:
    """The outcome where everything agrees, and proofs of other apps came beside it."""
    apps = sorted({item.value.app_id.hex() for item in foreign})
    return warned(
        f"set aside: the attestation proof of another app ({', '.join(apps)})",
        expected=case.identity.app_id.hex(),
        actual=list(apps),
        evidence=tuple(item.artifact.ref for item in foreign),
        remediation="ask for the proof of this app; the other one proves nothing about it",
    )


def _statements(case: Case) -> Iterator[Statement]:
    evidence = case.evidence
    for info in evidence.infos:
        yield from _fields(info.value.stated, "Info", info.artifact)
    for tcb_info in evidence.tcb_infos:
        yield from _fields(tcb_info.value.stated, "tcb_info", tcb_info.artifact)
    for page in evidence.pages:
        for label, name in _LABELS.items():
            if page.value.labels.get(label):
                yield name, page.value.labels[label], "page", page.artifact.ref
    for manifest in evidence.manifests:
        digest = hashlib.sha256(manifest.value).hexdigest()
        yield "compose_hash", digest, "manifest", manifest.artifact.ref
    for source in evidence.quotes:
        for extensions in source.certificate_chain.extensions if source.certificate_chain else ():
            if EXT_APP_ID in extensions:
                yield "app_id", extensions[EXT_APP_ID].hex(), "certificate", source.evidence
    yield from proof.statements(case)


def _withheld(case: Case) -> Iterator[str]:
    """What answers of the guest leave out although every one of their release states it. A field of
    which nothing was measured is empty in them."""
    evidence, identity = case.evidence, case.identity
    shown = bool(evidence.tcb_infos)
    always = ["app_id", *(["instance_id"] if identity.instance_id else [])]
    for info in evidence.infos:
        stated, seen = info.value.stated, info.value.tcb_info or info.value.app_compose
        names = [*always, *_since_0_4(stated, hidden=() if seen else ("key_provider_info",))]
        yield from (f"Info has no {name}" for name in names if name not in stated)
        if shown and not seen:
            yield "Info has no tcb_info"
        yield from _unnamed_image(case, info.value)
    for item in evidence.tcb_infos:
        stated = item.value.stated
        newer = bool({"compose_hash", "device_id", "mr_aggregated"} & stated.keys())
        more = ("compose_hash", "device_id") if newer else ()
        yield from (f"tcb_info has no {name}" for name in (*REGISTERS, *more) if name not in stated)
        if item.artifact.kind in (Kind.INFO, Kind.PAGE) and item.value.app_compose is None:
            yield "tcb_info has no app_compose"
    for page in evidence.pages:
        stated = {
            _LABELS[label]: text for label, text in page.value.labels.items() if label in _LABELS
        }
        names = [*always, *_since_0_4(stated, hidden=("compose_hash", "mr_aggregated"))]
        yield from (f"the page has no {name}" for name in names if not stated.get(name))
        if shown and page.value.tcb_info is None:
            yield "the page has no TCB Info"


def _since_0_4(stated: Iterable[str], hidden: tuple[str, ...]) -> tuple[str, ...]:
    """What is stated besides the ids, by a document that states some of it."""
    expected = tuple(name for name in _SINCE_0_4 if name not in hidden)
    return expected if set(expected) & set(stated) else ()


def _unnamed_image(case: Case, info: Info) -> Iterator[str]:
    """Since dstack 0.5.1 Info names the OS image that was measured, and so does its vm_config where
    the app shows that; earlier releases state mr_image in its place."""
    if (
        case.identity.os_image_hash is None
        or "mr_image" in info.stated
        or not info.stated.keys() & {*_SINCE_0_4}
    ):
        return
    if "os_image_hash" not in info.stated:
        yield "Info has no os_image_hash"
    elif (info.tcb_info or info.app_compose) and not _named_by(info.vm_config):
        yield "Info has no vm_config that names an OS image"


def _configured_images(case: Case) -> list[tuple[str, EvidenceRef]]:
    """The OS image hashes (hex) that a vm_config names, and where: one stands beside a quote, in an
    Info answer, or as text in the sys-config of an attestation blob. Raises EvidenceError."""
    given = [(source.vm_config, source.evidence) for source in case.evidence.quotes]
    given += [
        (info.value.vm_config, info.artifact.at("/vm_config")) for info in case.evidence.infos
    ]
    found: list[tuple[str, EvidenceRef]] = []
    for text, evidence in given:
        value = _named_by(text)
        if value:
            found.append((value, evidence))
    return found


def _named_by(text: str) -> str:
    """The OS image hash (hex) that a vm_config names, "" for none. Raises EvidenceError."""
    if not text.strip():
        return ""
    config = codec.parse_json_object(text, "vm_config")
    inner = config.get("vm_config")
    if inner:
        config = codec.as_object(codec.nested_json(inner, "vm_config"), "vm_config")
    return codec.text_field(config, "os_image_hash", "vm_config").lower().removeprefix("0x")


def _fields(stated: dict[str, str], who: str, artifact: Artifact) -> Iterator[Statement]:
    for name, value in stated.items():
        yield name, value, who, artifact.at(f"/{name}")


def _agrees(case: Case, name: str, value: str) -> bool:
    expected = _expected(case, name)
    if expected is None:
        return True
    if name == "key_provider_info":
        return _same_json(value, str(expected))
    spelled = value.lower().removeprefix("0x")
    return spelled in expected if isinstance(expected, list) else spelled == expected


def _expected(case: Case, name: str) -> JsonValue:
    """The measured value of a stated field: a string, the list of allowed ones, or None when
    nothing measured speaks of it."""
    quote, identity = case.quote, case.identity
    if name in REGISTERS:
        return _expected_register(case, name)
    if name in ("td_report", "mr_config_id"):
        return (quote.td_state if name == "td_report" else quote.mr_config_id).hex()
    if name == "device_id":
        return [*(item.hex() for item in case.device_ids), hashlib.sha256(b"").hexdigest()]
    payload = identity.provider_payload
    values = {
        "app_id": identity.app_id,
        "instance_id": identity.instance_id,
        "compose_hash": identity.compose_hash,
        "os_image_hash": identity.os_image_hash,
        "mr_key_provider": mr_key_provider(payload),
    }
    if name == "mr_aggregated":
        return [item for state in _runtime_states(case) for item in _aggregated(quote, state)]
    if name == "key_provider_info":
        return payload.decode("utf-8", "replace") if payload is not None else None
    value = values.get(name)
    return value.hex() if value is not None else None


def _expected_register(case: Case, name: str) -> JsonValue:
    if name == "rtmr3":
        return [value.hex() for value in _runtime_states(case)]
    return case.quote.registers[name].hex()


def _runtime_states(case: Case) -> tuple[bytes, ...]:
    return case.once("runtime states", lambda: _read_runtime_states(case))


def _read_runtime_states(case: Case) -> tuple[bytes, ...]:
    """RTMR3 as the quote has it, and as the same boot had it before or after the app appended to
    it: a certificate is made once, a page shows the present. A log counts when one of the two
    continues the other, from `system-ready` on, by recomputed digests."""
    measured = _extensions(case.events)
    boot = len(system_events(case.events))
    states = {case.quote.rtmrs[3]: None}
    logs: list[Callable[[], tuple[Event, ...]]] = [
        *(source.events for source in case.evidence.quotes),
        *(
            functools.partial(parse_event_log, item.value.event_log, "event log (tcb_info)")
            for item in case.evidence.tcb_infos
        ),
    ]
    for read in logs:
        with suppress(EvidenceError):
            other = _extensions(read())
            shared = min(len(measured), len(other))
            if shared >= boot and measured[:shared] == other[:shared]:
                states[replay(other)] = None
    return tuple(states)


def _extensions(events: Iterable[Event]) -> list[bytes]:
    """The recomputed digests of a log's RTMR3 entries. Raises EvidenceError for a foreign entry."""
    found = [event for event in events if event.imr == RUNTIME_IMR]
    if not all(event.is_runtime for event in found):
        raise EvidenceError("an RTMR3 entry that is no dstack event")
    return [runtime_digest(event) for event in found]


def _aggregated(quote: TdQuote, rtmr3: bytes) -> list[JsonValue]:
    """mr_aggregated with and without the owner fields: dstack 0.5.0 began to add them."""
    bare = hashlib.sha256(quote.mr_td + b"".join((*quote.rtmrs[:3], rtmr3))).hexdigest()
    return [mr_aggregated(quote, rtmr3).hex(), bare]


def _other_quotes(case: Case) -> Iterator[Statement]:
    """What the other quotes that came for the same attester sign otherwise: registers, and any
    other field except the report data, such as TD attributes."""
    foreign = {item.value.quote for item in proof.set_aside(case)} - {b""}
    for source in case.evidence.quotes:
        if source is case.presented or source.quote in foreign:
            continue
        try:
            other = parse_quote(source.quote, f"TD quote ({source.channel})")
        except EvidenceError as error:
            yield "quote", error.message, source.channel, source.evidence
            continue
        who = f"quote from {source.channel}"
        same_boot, expected = _runtime_states(case), case.quote.registers
        for name, actual in other.registers.items():
            if actual != expected[name] and not (name == "rtmr3" and actual in same_boot):
                yield name, actual.hex(), who, source.evidence
        if (other.td_state, other.user_data) != (case.quote.td_state, case.quote.user_data):
            yield "td_report", other.td_state.hex(), who, source.evidence


def _same_json(left: str, right: str) -> bool:
    try:
        return codec.parse_json(left, "left") == codec.parse_json(right, "right")
    except EvidenceError:
        return False


CHECKS: Final = (consistency,)
