"""Which instance of an app answered, as its answer claims: that decides what is asked next."""

import hashlib
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.guest.cloud import parse_cloud_attestations
from verifier.evidence.guest.page import parse_page
from verifier.evidence.guest.tcb_info import parse_info, parse_quote_answer
from verifier.evidence.subject import certificate_source, parse_peer
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.event_log import first_payload, parse_event_log
from verifier.model.result import EvidenceRef

MAX_INSTANCES: Final = 64
"""How many instances of one app are followed."""


def claimed_instance(kind: Kind, body: bytes) -> str:
    """The instance id that a guest's answer claims, "" when it claims none or is malformed."""
    try:
        if kind is Kind.PAGE:
            return _hex_id(parse_page(body, "page").labels.get("Instance ID", ""))
        return claimed_ids(kind, body)[1]
    except EvidenceError:
        return ""


def claimed_ids(kind: Kind, body: bytes) -> tuple[str, str]:
    """The app id and the instance id (hex) that evidence about one guest claims, "" for none.
    Raises EvidenceError for what is malformed."""
    if kind is Kind.INFO:
        stated = parse_info(body, "Info").stated
        return _hex_id(stated.get("app_id", "")), _hex_id(stated.get("instance_id", ""))
    if kind is Kind.ATTESTATION:
        events = parse_attestation(body, "attestation").events
    elif kind in (Kind.GET_QUOTE, Kind.APP_KEY_QUOTE):
        answer = parse_quote_answer(body, "quote answer")
        events = parse_event_log(answer.event_log, "event log")
    elif kind is Kind.EVENT_LOG:
        events = parse_event_log(body, "event log")
    else:
        return "", ""
    app_id, instance = (first_payload(events, name) or b"" for name in ("app-id", "instance-id"))
    return _hex_id(app_id.hex()), _hex_id(instance.hex())


def instance_in_certificate(pem: bytes) -> str:
    """The instance id that the log in a certificate claims, "" where there is none."""
    try:
        source = certificate_source(parse_peer(pem, "certificate"), EvidenceRef(""))
        events = source.events() if source is not None and source.has_log else ()
        return _hex_id((first_payload(events, "instance-id") or b"").hex())
    except EvidenceError:
        return ""


def listed_instances(body: bytes) -> list[str]:
    """The instance ids with a quote in a vendor's account, at most as many as are followed."""
    try:
        listed = parse_cloud_attestations(body, "cloud attestations")
    except EvidenceError:
        return []
    ids = (_hex_id(item.instance_id) for item in listed if item.quote)
    return sorted({item for item in ids if item})[:MAX_INSTANCES]


def _hex_id(text: str) -> str:
    lowered = text.lower()
    return lowered if len(lowered) == 40 and set(lowered) <= set("0123456789abcdef") else ""  # noqa: PLR2004


def session_certificate(kind: Kind, certificate: bytes | None) -> str:
    """The sha256 (hex) of the certificate in whose TLS session an answer came, "" for kinds that it
    does not matter for."""
    if kind is not Kind.GET_QUOTE or certificate is None:
        return ""
    return hashlib.sha256(certificate).hexdigest()
