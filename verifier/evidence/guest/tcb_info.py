"""The guest agent's own account of a CVM: the tcb_info document, Info answers, Quote answers.

Nobody signed any of this text. What it carries that proves itself (a certificate with a quote in
it, an event log, a manifest) is taken out of it as raw bytes.

Formats: Dstack-TEE/dstack guest-agent/rpc/proto/agent_rpc.proto, releases 0.3.1 to 0.6.0.
`tcb_info`, `vm_config` and `event_log` are JSON documents inside JSON strings; providers that
relay an answer often parse them first, so either form is read.
"""

import json
from typing import Final

from msgspec import Struct

from verifier.evidence import codec
from verifier.model.result import JsonValue

_STATED: Final = (
    "app_id",
    "instance_id",
    "app_name",
    "device_id",
    "compose_hash",
    "os_image_hash",
    "mr_aggregated",
    "mr_image",
    "mr_key_provider",
    "key_provider_info",
    "cloud_vendor",
    "cloud_product",
)
REGISTERS: Final = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")


class TcbInfo(Struct, frozen=True, kw_only=True):
    """The tcb_info document. `stated` holds its plain string fields by name, as they are written.

    `event_log` is its log, unparsed; None when absent. `app_compose` is the raw manifest text.
    """

    stated: dict[str, str]
    event_log: JsonValue
    app_compose: str | None


class Info(Struct, frozen=True, kw_only=True):
    """An Info answer. `tcb_info` is None when the app hides it (`public_tcbinfo: false`).

    `app_cert` is the PEM chain, possibly empty; `app_compose` is the manifest that the 0.6.0 v1
    answer carries itself; `vm_config` is the raw text.
    """

    stated: dict[str, str]
    tcb_info: TcbInfo | None
    app_cert: str
    app_compose: str | None
    vm_config: str


class QuoteAnswer(Struct, frozen=True, kw_only=True):
    """A GetQuote-shaped answer: quote bytes and, where given, log, vm_config and report data."""

    quote: bytes
    event_log: JsonValue
    report_data: str
    vm_config: str


def parse_tcb_info(value: JsonValue, what: str) -> TcbInfo:
    """Parse a tcb_info document (object, or text of one). Raises EvidenceError."""
    document = codec.as_object(codec.nested_json(value, what), what)
    compose = document.get("app_compose")
    return TcbInfo(
        stated=_stated(document, (*REGISTERS, *_STATED, "rootfs_hash"), what),
        event_log=document.get("event_log"),
        app_compose=None if compose is None else codec.as_str(compose, f"{what}.app_compose"),
    )


def parse_info(raw: bytes, what: str) -> Info:
    """Parse an Info answer of any version; unknown fields are tolerated. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what)
    tcb_info = document.get("tcb_info")
    compose = document.get("app_compose")
    return Info(
        stated=_stated(document, _STATED, what),
        tcb_info=parse_tcb_info(tcb_info, f"{what}: tcb_info") if tcb_info else None,
        app_cert=codec.text_field(document, "app_cert", what),
        app_compose=codec.as_str(compose, f"{what}.app_compose") if compose else None,
        vm_config=_json_text(document.get("vm_config")),
    )


def parse_quote_answer(raw: bytes, what: str) -> QuoteAnswer:
    """Parse the answer of GetQuote, RawQuote, TdxQuote or GetAttestationForAppKey.

    Raises EvidenceError.
    """
    document = codec.parse_json_object(raw, what)
    return QuoteAnswer(
        quote=codec.parse_hex(document.get("quote"), f"{what}.quote", allow_0x=True),
        event_log=document.get("event_log") or None,
        report_data=codec.text_field(document, "report_data", what),
        vm_config=_json_text(document.get("vm_config")),
    )


def _stated(document: codec.JsonObject, names: tuple[str, ...], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        value = document.get(name)
        if isinstance(value, dict):
            value = _json_text(value)
        if value is not None and value != "":
            found[name] = codec.as_str(value, f"{what}.{name}")
    return found


def _json_text(value: JsonValue) -> str:
    """The text of a nested document; an already parsed one is spelled canonically for display."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
