"""`nvidia_payload`: the reports of all GPUs of one guest, each with its certificate chain.

    {"nonce": hex, "arch": "HOPPER", "evidence_list": [{"certificate", "evidence"}]}

Both members of an entry are base64: of a PEM chain, leaf first, and of a report. NVIDIA's
attestation service takes the same document; providers serve it as text inside their own report.
"""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.certificates import MAX_PEM_BYTES, parse_pem_chain
from verifier.evidence.gpu.report import MAX_REPORT_BYTES, GpuReport, parse_report
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_GPUS: Final = 64


class GpuEvidence(Struct, frozen=True):
    """One GPU's report, and the chain of its attestation key, leaf first; nothing is verified."""

    report: GpuReport
    chain: "tuple[Certificate, ...]"


class GpuPayload(Struct, frozen=True, kw_only=True):
    """What one document holds. `nonce` is what it says that the reports answer, b"" where it does
    not; `architecture` is its word too."""

    nonce: bytes
    architecture: str
    gpus: tuple[GpuEvidence, ...]


def parse_payload(raw: bytes, what: str) -> GpuPayload:
    """Parse a payload: an object, text of one in a JSON string, or the bare list. Raises
    EvidenceError."""
    value = codec.nested_json(codec.parse_json(raw, what), what)
    if isinstance(value, list):
        value = {"evidence_list": value}
    document = codec.as_object(value, what)
    items = codec.as_list(document.get("evidence_list"), f"{what}.evidence_list")
    if not 0 < len(items) <= MAX_GPUS:
        raise EvidenceError(f"{what}: evidence of {len(items)} GPUs, not of 1 to {MAX_GPUS}")
    stated = {_nonce(document, what)}
    gpus = []
    for index, item in enumerate(items):
        where = f"{what}: GPU {index}"
        entry = codec.as_object(item, where)
        stated.add(_nonce(entry, where))
        gpus.append(_gpu(entry, where))
    nonces = stated - {b""}
    if len(nonces) > 1:
        raise EvidenceError(f"{what}: names {len(nonces)} nonces")
    return GpuPayload(
        nonce=next(iter(nonces), b""),
        architecture=codec.text_field(document, "arch", what)[:32],
        gpus=tuple(gpus),
    )


def is_payload(value: JsonValue) -> bool:
    """Whether a JSON document has the shape of a payload."""
    items = value.get("evidence_list") if isinstance(value, dict) else value
    return (
        isinstance(items, list)
        and bool(items)
        and all(
            isinstance(item, dict) and {"certificate", "evidence"} <= item.keys() for item in items
        )
    )


def _nonce(document: codec.JsonObject, what: str) -> bytes:
    text = codec.text_field(document, "nonce", what)
    return codec.parse_hex(text, f"{what}.nonce", length=32, allow_0x=True) if text else b""


def _gpu(entry: codec.JsonObject, what: str) -> GpuEvidence:
    texts = [
        codec.as_str(entry.get(name), f"{what}.{name}") for name in ("certificate", "evidence")
    ]
    if max(map(len, texts)) > 2 * max(MAX_PEM_BYTES, MAX_REPORT_BYTES):
        raise EvidenceError(f"{what}: larger than any report or certificate chain")
    pem, raw = (codec.parse_base64(text, what) for text in texts)
    return GpuEvidence(
        parse_report(raw, f"{what}: report"), parse_pem_chain(pem, f"{what}: certificate")
    )
