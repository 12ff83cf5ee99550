"""Whether NVIDIA signed it: a GPU's report, a verdict of its service, a reference manifest."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from cryptography import x509

from verifier.checks.hardware.anchors import chain_failure, signature_holds
from verifier.evidence.gpu.nras import ERROR, OVERALL, NrasAnswer, NrasKeys, Token
from verifier.evidence.gpu.payload import GpuEvidence
from verifier.evidence.gpu.report import GpuReport
from verifier.evidence.gpu.rim import Rim
from verifier.reference.values import TrustAnchor

DEVICE: Final = "nvidia-device"
RIM: Final = "nvidia-rim"
NRAS: Final = "nvidia-nras"
_ISSUER: Final = "https://nras.attestation.nvidia.com"
_DICE: Final = x509.ObjectIdentifier("2.23.133.5.4.1")
_FWID: Final = bytes.fromhex("303d06096086480165030402020430")
"""SEQUENCE {OID sha384, OCTET STRING of 48 bytes}: the head of the FWID that ends the extension
(TCG DICE Attestation Architecture 1.0, 5.4.1)."""

_FWID_BYTES: Final = 48
_DECODER: Final = 36


def report_failure(gpu: GpuEvidence, anchors: Iterable[TrustAnchor], at: int) -> str:
    """Why a report is not that of a genuine GPU, "" when it is: its chain leads to NVIDIA's root,
    the leaf's key signed it, and both name the same firmware for that key."""
    failure = chain_failure(gpu.chain, anchors, at)
    if failure:
        return f"its certificate chain is not NVIDIA's: {failure}"
    leaf = gpu.chain[0]
    if not signature_holds(leaf.public_key(), gpu.report.signature, gpu.report.signed):
        return "its signature is not by the key of its certificate"
    named = _firmware_of(leaf)
    if not named or named != gpu.report.fwid:
        return "its certificate names other firmware (FWID) than the report"
    return ""


def serial_of(gpu: GpuEvidence) -> str:
    """The serial number in the leaf's subject, upper-case hex: what a verdict calls `ueid`."""
    found = gpu.chain[0].subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)
    text = str(found[0].value) if len(found) == 1 else ""
    return text.upper() if text.isalnum() else ""


def architecture_of(gpu: GpuEvidence) -> str:
    """The chip that the leaf's subject names ("GH100"), "" where it names none."""
    found = gpu.chain[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    word = str(found[0].value).partition(" ")[0] if found else ""
    return word if word.isalnum() else ""


def token_failure(token: Token, keys: Iterable[NrasKeys], anchors: Iterable[TrustAnchor]) -> str:
    """Why a token is not one that NVIDIA's service signed, "" when it is. Its key has to be in
    force when it was issued."""
    if token.claims.get("iss") != _ISSUER:
        return "it names another issuer"
    chains = [item.chains[token.key_id] for item in keys if token.key_id in item.chains]
    if not chains:
        return f"no key {token.key_id!a} was given"
    pinned = tuple(anchors)
    failures = [chain_failure(chain, pinned, token.issued) for chain in chains]
    for chain, failure in zip(chains, failures, strict=True):
        if not failure and signature_holds(chain[0].public_key(), token.signature, token.signed):
            return ""
    return next(filter(None, failures), "its signature does not hold")


def negative_verdict(answer: NrasAnswer) -> str:
    """What a genuine answer finds wrong, "" when it finds nothing; tokens that it does not name say
    nothing."""
    named = _named_tokens(answer)
    for name, token in named.items():
        match token.claims.get(ERROR):
            case None:
                pass
            case {"message": str(message)}:
                return f"{name[:24]!a}: {message[:64]!a}"
            case _:
                return f"{name[:24]!a}: an error"
    if answer.overall.claims.get(OVERALL) is not True:
        return "these GPUs are not as they should be"
    for name, token in named.items():
        claims = token.claims
        if claims.get("measres") != "success" or claims.get("secboot") is not True:
            return f"{name[:24]!a}: measurements or secure boot are not as they should be"
        if claims.get("dbgstat") != "disabled":
            return f"{name[:24]!a}: debugging is not disabled"
    return ""


def incomplete_verdict(answer: NrasAnswer) -> bool:
    """Whether a genuine answer lacks a token that it names, or has one that it does not name."""
    return not answer.digests or not (
        answer.digests.keys() == answer.detached.keys() == _named_tokens(answer).keys()
    )


def vouches(answer: NrasAnswer, gpu: GpuEvidence) -> bool:
    """Whether a genuine answer is about this GPU, over the nonce of its report."""
    nonce = gpu.report.nonce
    return answer.overall.nonce == nonce and any(
        token.nonce == nonce and _is_of(token, gpu) for token in _named_tokens(answer).values()
    )


def _is_of(token: Token, gpu: GpuEvidence) -> bool:
    serial = serial_of(gpu)
    return bool(serial) and token.claims.get("ueid") == _ueid(serial)


def _ueid(serial: str) -> str:
    """A serial number (hex) as verdicts write it: decimal."""
    try:
        return str(int(serial, 16))
    except ValueError:
        return ""


def _named_tokens(answer: NrasAnswer) -> Mapping[str, Token]:
    """The detached tokens whose text has the digest that the overall token names."""
    return {
        name: token
        for name, token in answer.detached.items()
        if hashlib.sha256(token.text.encode("ascii")).digest() == answer.digests.get(name)
    }


def rim_failure(rim: Rim, anchors: Iterable[TrustAnchor], at: int) -> str:
    """Why a manifest is not one that NVIDIA signed and stands by at a time, "" when it is."""
    failure = chain_failure(rim.chain, anchors, at)
    if failure:
        return f"its certificate chain is not NVIDIA's: {failure}"
    if hashlib.sha384(rim.document).digest() != rim.digest:
        return "what is signed is another document"
    if not signature_holds(rim.chain[0].public_key(), rim.signature, rim.signed):
        return "its signature does not hold"
    return ""


def differing(report: GpuReport, rim: Rim) -> list[int]:
    """The indices at which a report has another measurement than a manifest allows."""
    return [
        index
        for index, allowed in sorted(rim.measurements.items())
        if report.measurements.get(index) not in allowed
        and (index != _DECODER or report.decodes_video)
    ]


def _firmware_of(leaf: x509.Certificate) -> bytes:
    try:
        value = leaf.extensions.get_extension_for_oid(_DICE).value
    except x509.ExtensionNotFound:
        return b""
    raw = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    start = len(raw) - _FWID_BYTES
    held = start >= len(_FWID) and raw[start - len(_FWID) : start] == _FWID
    return raw[start:] if held else b""
