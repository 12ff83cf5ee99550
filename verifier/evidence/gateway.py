"""What a gateway shows about itself: its guest agent's Info, and the TLS keys that it quoted.

    https://gateway.<base>/.dstack/app-info    the Info answer of the gateway's own guest agent
    https://gateway.<base>/.dstack/acme-info   {account_uri, quoted_hist_keys: [{public_key, quote,
                                               attestation}], account_quote, account_attestation}

`public_key` is the hex of a DER SubjectPublicKeyInfo, `quote` the text of a GetQuote answer and
`attestation` that of an Attest answer, {attestation: hex}; either is "" where the gateway could not
make it. The list holds the keys of every name that the cluster serves, in no order of time
(Dstack-TEE/dstack gateway/src/main_service.rs, 0.5.4 to 0.6.0).

Report data is sha512(tag || ":" || content): tag `zt-cert` over a key, `acme-account` over the URI
of the account that asks a CA for certificates (dstack-attest/src/attestation.rs).
"""

import hashlib
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.guest.tcb_info import parse_quote_answer
from verifier.evidence.subject import (
    CHANNEL_BLOB,
    CHANNEL_GET_QUOTE,
    PresentedQuote,
    SubjectEvidence,
    read_subject,
)
from verifier.evidence.td.attestation import parse_attestation

MAX_KEYS: Final = 1024
_OWN: Final = frozenset(
    {
        *(Kind.PAGE, Kind.INFO, Kind.QUOTE, Kind.GET_QUOTE, Kind.APP_KEY_QUOTE, Kind.ATTESTATION),
        *(Kind.EVENT_LOG, Kind.TCB_INFO, Kind.APP_COMPOSE, Kind.APP_CERT, Kind.SIGNATURE_CHAIN),
        *(Kind.CLOUD_ATTESTATIONS, Kind.TLS_PEER, Kind.KMS_ENV_KEY),
    }
)
"""Kinds of evidence about one guest, which is another one here."""


class Quoted(Struct, frozen=True):
    """Something that the gateway quoted: its bytes, and the two answers as text, "" for none."""

    content: bytes
    quote: str
    attestation: str
    pointer: str


class AcmeInfo(Struct, frozen=True):
    """The gateway's TLS keys, and the account that asks for their certificates."""

    account_uri: str
    account: Quoted
    keys: tuple[Quoted, ...]


def parse_acme_info(raw: bytes, what: str) -> AcmeInfo:
    """Parse an acme-info answer; the quotes in it are left as text. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what)
    uri = codec.text_field(document, "account_uri", what)
    listed = codec.as_list(document.get("quoted_hist_keys", []), f"{what}: quoted_hist_keys")
    if len(listed) > MAX_KEYS:
        raise EvidenceError(f"{what}: {len(listed)} keys, more than {MAX_KEYS}")
    keys = []
    for index, item in enumerate(listed):
        pointer = f"/quoted_hist_keys/{index}"
        entry = codec.as_object(item, f"{what}: {pointer}")
        key = codec.parse_hex(entry.get("public_key"), f"{what}: {pointer}/public_key")
        keys.append(_quoted(entry, key, "quote", "attestation", f"{what}: {pointer}", pointer))
    account = _quoted(
        document, uri.encode("utf-8"), "account_quote", "account_attestation", what, ""
    )
    return AcmeInfo(uri, account, tuple(keys))


def key_report_data(key: bytes) -> bytes:
    """Report data of a quote over a TLS key (DER SubjectPublicKeyInfo)."""
    return hashlib.sha512(b"zt-cert:" + key).digest()


def account_report_data(uri: str) -> bytes:
    """Report data of a quote over the account at a CA."""
    return hashlib.sha512(b"acme-account:" + uri.encode("utf-8")).digest()


def presented_quote(item: Quoted, artifact: Artifact) -> PresentedQuote | None:
    """The quote over a key or account, None where the gateway made none. Raises EvidenceError."""
    what = f"{artifact.kind.value} from {artifact.source}, {item.pointer or 'account'}"
    evidence = artifact.at(item.pointer)
    if item.quote:
        answer = parse_quote_answer(item.quote.encode("utf-8"), what)
        return PresentedQuote(
            channel=CHANNEL_GET_QUOTE,
            quote=answer.quote,
            evidence=evidence,
            log=answer.event_log,
            log_evidence=evidence,
            vm_config=answer.vm_config,
        )
    if item.attestation:
        document = codec.parse_json_object(item.attestation.encode("utf-8"), what)
        blob = parse_attestation(
            codec.parse_hex(document.get("attestation"), f"{what}: attestation"), what
        )
        return PresentedQuote(
            channel=CHANNEL_BLOB,
            quote=blob.quote,
            evidence=evidence,
            parsed_events=blob.events,
            log_evidence=evidence,
            vm_config=blob.config,
        )
    return None


def gateway_evidence(bundle: Bundle, source: PresentedQuote) -> SubjectEvidence:
    """The evidence about the gateway that made a quote: what it says of itself, and what all
    guests share."""
    view = Bundle(
        tuple(
            replace(item, kind=Kind.INFO, subject="") if item.kind is Kind.GATEWAY_INFO else item
            for item in bundle.artifacts
            if item.kind not in _OWN
        ),
        bundle.blobs,
        bundle.readings,
    )
    evidence = read_subject(view, "")
    evidence.quotes.insert(0, source)
    return evidence


def _quoted(  # noqa: PLR0913, PLR0917 - the names of one entry's fields
    entry: codec.JsonObject, content: bytes, quote: str, attestation: str, what: str, pointer: str
) -> Quoted:
    return Quoted(
        content,
        codec.text_field(entry, quote, what),
        codec.text_field(entry, attestation, what),
        pointer,
    )
