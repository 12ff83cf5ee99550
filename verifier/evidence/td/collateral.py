"""Endorsements for TD quotes: TCB info, QE identity and revocation lists, each part on its own.

They come as `QuoteCollateralV3` JSON documents, or as the answers of Intel's Provisioning
Certification Service (PCS API v4), whose issuer chains travel percent-encoded in headers:

    tcb          body {"tcbInfo": …, "signature": hex}          TCB-Info-Issuer-Chain (or SGX-…)
    qe/identity  body {"enclaveIdentity": …, "signature": hex}  SGX-Enclave-Identity-Issuer-Chain
    pckcrl       body DER
    rootcacrl    body hex text of DER, or DER

The signatures are over the exact JSON text of the inner object, so it is cut out of the answer
as it stands and never serialised again. A revocation list names its issuer itself, so that it does
not matter where it stood.
"""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.certificates import malformed
from verifier.model.identifiers import parse_time
from verifier.model.result import EvidenceRef

if TYPE_CHECKING:
    from cryptography import x509

MAX_COLLATERAL_BYTES: Final = 1 << 20
MAX_PARTS: Final = 1024
_MOST: Final = 16
"""Documents of which a process remembers how they read: apps on one platform share them."""
SIGNATURE_SIZE: Final = 64
"""Bytes of an ECDSA P-256 signature as Intel writes it: r and s, big endian."""

TCB_CHAIN_HEADERS: Final = ("tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain")
QE_CHAIN_HEADER: Final = "sgx-enclave-identity-issuer-chain"
PCK_CRL_CHAIN_HEADER: Final = "sgx-pck-crl-issuer-chain"
CHAIN_HEADERS: Final = (*TCB_CHAIN_HEADERS, QE_CHAIN_HEADER, PCK_CRL_CHAIN_HEADER)

PEM_CRL: Final = b"-----BEGIN X509 CRL-----"
DER_SEQUENCE: Final = b"\x30"
"""The first byte of a certificate or revocation list in DER."""

_ENCODED_PEM: Final = "-----BEGIN%20CERTIFICATE"


class Part(StrEnum):
    """What a part of collateral is; the value is its name in messages."""

    TCB_INFO = "TCB info"
    QE_IDENTITY = "QE identity"
    CRL = "revocation list"


_PCS: Final = {
    Kind.PCS_TCB_INFO: (Part.TCB_INFO, "tcbInfo"),
    Kind.PCS_QE_IDENTITY: (Part.QE_IDENTITY, "enclaveIdentity"),
    Kind.PCS_PCK_CRL: (Part.CRL, ""),
    Kind.PCS_ROOT_CA_CRL: (Part.CRL, ""),
}


class SignedDocument(Struct, frozen=True, kw_only=True):
    """TCB info or QE identity, and who is said to have signed it; nothing is verified.

    part               which of the two it is
    text               the signed JSON text
    signature          r and s, big endian, 64 bytes
    chain              the signer's certificates, leaf first
    id                 what it is for: `TDX` or `TD_QE` in what a TD needs; "" when absent
    fmspc              the platform family that it is about, upper-case hex; "" in a QE identity
    evaluation_number  its tcbEvaluationDataNumber
    issued             when it was issued, Unix seconds
    next_update        when it is no longer in force, Unix seconds
    evidence           where in the bundle it stands
    """

    part: Part
    text: str
    signature: bytes
    chain: "tuple[x509.Certificate, ...]"
    id: str
    fmspc: str
    evaluation_number: int
    issued: int
    next_update: int
    evidence: EvidenceRef


class RevocationList(Struct, frozen=True, kw_only=True, eq=False):
    """An X.509 revocation list, equal to itself alone; nothing is verified.

    der          its bytes
    crl          the same, parsed
    issuer       the name that it gives its issuer
    issued       when it was issued, Unix seconds
    next_update  when it is no longer in force, Unix seconds
    evidence     where in the bundle it stands
    """

    der: bytes
    crl: "x509.CertificateRevocationList"
    issuer: "x509.Name"
    issued: int
    next_update: int
    evidence: EvidenceRef


class CollateralParts(Struct, frozen=True):
    """Every part of collateral in the evidence, and what could not be read, with the reason."""

    documents: tuple[SignedDocument, ...]
    crls: tuple[RevocationList, ...]
    unreadable: tuple[tuple[Part, EvidenceError], ...]

    @property
    def evidence(self) -> tuple[EvidenceRef, ...]:
        """Where all of them stand."""
        refs = [item.evidence for item in self.documents] + [item.evidence for item in self.crls]
        return tuple(dict.fromkeys(refs))

    def error(self, part: Part) -> EvidenceError | None:
        """Why a part of this kind could not be read, or None; the same in whatever order."""
        found = [error for kind, error in self.unreadable if kind is part]
        return min(found, key=lambda error: error.message, default=None)


def read_collateral(bundle: Bundle) -> CollateralParts:
    """All parts of collateral in a bundle, about whatever platform; each different one once.

    Raises EvidenceError when there are more than `MAX_PARTS` artifacts of collateral.
    """
    artifacts = [item for kind in (Kind.COLLATERAL, *_PCS) for item in bundle.of(kind)]
    artifacts.sort(key=lambda item: item.sha256 or "")  # content decides, never a name
    if len(artifacts) > MAX_PARTS:
        raise EvidenceError(f"{len(artifacts)} pieces of collateral, over the limit of {MAX_PARTS}")
    documents: dict[object, SignedDocument] = {}
    crls: dict[bytes, RevocationList] = {}
    unreadable: list[tuple[Part, EvidenceError]] = []
    for artifact in artifacts:
        for part, read in _parts(bundle.blob(artifact), artifact):
            try:
                found = read()
            except EvidenceError as error:
                unreadable.append((part, error))
                continue
            if isinstance(found, RevocationList):
                crls.setdefault(found.der, found)
            else:
                documents.setdefault((found.text, found.signature, found.chain), found)
    return CollateralParts(tuple(documents.values()), tuple(crls.values()), tuple(unreadable))


def parse_crl(raw: bytes, what: str) -> bytes:
    """DER of a revocation list given as DER, PEM or hex text. Raises EvidenceError."""
    from cryptography import x509  # noqa: PLC0415 - only where collateral is
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    if len(raw) > MAX_COLLATERAL_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no revocation list of Intel's")
    try:
        if raw.lstrip().startswith(PEM_CRL):
            return x509.load_pem_x509_crl(raw).public_bytes(Encoding.DER)
        is_der = raw[:1] == DER_SEQUENCE and raw[1:2] >= b"\x80"
        der = raw if is_der else codec.parse_hex(codec.parse_utf8(raw.strip(), what), what)
        return x509.load_der_x509_crl(der).public_bytes(Encoding.DER)
    except malformed() as error:
        raise EvidenceError(f"{what}: not a DER revocation list") from error


def _parts(
    raw: bytes, artifact: Artifact
) -> Iterator[tuple[Part, Callable[[], SignedDocument | RevocationList]]]:
    """The parts of one artifact, and how each is read."""
    if artifact.kind is not Kind.COLLATERAL:
        part, member = _PCS[artifact.kind]
        if part is Part.CRL:
            yield part, lambda: _crl(raw, artifact.source, artifact.ref)
        else:
            yield part, lambda: _from_pcs(raw, part, member, artifact)
        return
    try:
        document = _collateral_document(raw, artifact.source)
    except EvidenceError as error:
        yield from ((part, partial(_raise, error)) for part in Part)
        return
    for part, name in ((Part.TCB_INFO, "tcb_info"), (Part.QE_IDENTITY, "qe_identity")):
        if name in document:
            yield part, partial(_from_set, document, part, name, artifact)
    for name in ("pck_crl", "root_ca_crl"):
        if name in document:
            yield Part.CRL, partial(_crl_of_set, document, name, artifact)


def _raise(error: EvidenceError) -> SignedDocument:
    raise error


@lru_cache(maxsize=2)  # parsed, a hostile one is a hundred times as large
def _collateral_document(raw: bytes, what: str) -> codec.JsonObject:
    if len(raw) > MAX_COLLATERAL_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no collateral (a real one has 20,000)")
    return codec.parse_json_object(raw, what)


def _from_set(
    document: codec.JsonObject, part: Part, name: str, artifact: Artifact
) -> SignedDocument:
    text, chain = (
        codec.as_str(document.get(field), f"{artifact.source}.{field}")
        for field in (name, f"{name}_issuer_chain")
    )
    signature = _octets(document, f"{name}_signature", artifact.source)
    return _document(part, text, signature, chain, f"{artifact.source}: {name}", artifact.ref)


def _crl_of_set(document: codec.JsonObject, name: str, artifact: Artifact) -> RevocationList:
    raw = _octets(document, name, artifact.source)
    return _crl(raw, f"{artifact.source}: {name}", artifact.ref)


def _octets(document: codec.JsonObject, name: str, what: str) -> bytes:
    """A binary field of a set: hex, or an array of integers as near/mpc's nodes write it."""
    value = document.get(name)
    if not isinstance(value, list):
        return codec.parse_hex(value, f"{what}: {name}")
    found = codec.octets(value)
    if found is None:
        raise EvidenceError(f"{what}: {name}: an array of something else than bytes")
    return found


def _from_pcs(raw: bytes, part: Part, member: str, artifact: Artifact) -> SignedDocument:
    text, spelled = _signed(raw, member, artifact.source)
    signature = codec.parse_hex(spelled, f"{artifact.source}: signature")
    headers = TCB_CHAIN_HEADERS if part is Part.TCB_INFO else (QE_CHAIN_HEADER,)
    chain = next((artifact.header(name) for name in headers if artifact.header(name)), "")
    return _document(part, text, signature, unquote(chain), artifact.source, artifact.ref)


@lru_cache(maxsize=_MOST)
def _signed(raw: bytes, name: str, what: str) -> tuple[str, str]:
    """The exact text of the signed member of a PCS answer, and its signature."""
    document = codec.parse_json_object(raw, what)
    codec.as_object(document.get(name), f"{what}.{name}")
    signature = codec.as_str(document.get("signature"), f"{what}.signature")
    text = codec.parse_utf8(raw, what)
    try:
        start = text.index(":", text.index(f'"{name}"')) + 1
        start += len(text[start:]) - len(text[start:].lstrip())
        _, end = json.JSONDecoder().raw_decode(text, start)
    except ValueError as error:
        raise EvidenceError(f"{what}: {name} is not where a PCS answer has it") from error
    return text[start:end], signature


@lru_cache(maxsize=_MOST)
def _document(  # noqa: PLR0913, PLR0917 - the three members, and whose they are
    part: Part, text: str, signature: bytes, chain: str, what: str, evidence: EvidenceRef
) -> SignedDocument:
    document = codec.parse_json_object(text, what)
    if len(signature) != SIGNATURE_SIZE:
        raise EvidenceError(
            f"{what}: its signature has {len(signature)} bytes, expected {SIGNATURE_SIZE}"
        )
    return SignedDocument(
        part=part,
        text=text,
        signature=signature,
        chain=_chain(chain, what),
        id=codec.text_field(document, "id", what),
        fmspc=codec.text_field(document, "fmspc", what).upper(),
        evaluation_number=codec.as_int(
            document.get("tcbEvaluationDataNumber"), f"{what}: evaluation number"
        ),
        issued=_moment(document, "issueDate", what),
        next_update=_moment(document, "nextUpdate", what),
        evidence=evidence,
    )


def _chain(text: str, what: str) -> "tuple[x509.Certificate, ...]":
    """The certificates of an issuer chain: PEM, or PEM percent-encoded as the PCS's headers are."""
    from cryptography import x509  # noqa: PLC0415 - only where collateral is

    spelled = unquote(text) if text.lstrip().startswith(_ENCODED_PEM) else text
    try:
        found = tuple(x509.load_pem_x509_certificates(spelled.encode("ascii")))
        found[0].subject, found[0].not_valid_before_utc, found[0].not_valid_after_utc  # read lazily
    except malformed() as error:
        raise EvidenceError(
            f"{what}: its issuer chain is empty"
            if not text.strip()
            else f"{what}: its issuer chain is not readable as PEM certificates",
            hint="hand the chain over as the PCS gave it, in PEM or percent-encoded as in its "
            "headers; a line end spelled as two characters is neither",
        ) from error
    return found


@lru_cache(maxsize=_MOST)
def _crl(raw: bytes, what: str, evidence: EvidenceRef) -> RevocationList:
    from cryptography import x509  # noqa: PLC0415 - only where collateral is

    der = parse_crl(raw, what)
    try:
        crl = x509.load_der_x509_crl(der)
        issuer, issued, until = crl.issuer, crl.last_update_utc, crl.next_update_utc
    except malformed() as error:
        raise EvidenceError(f"{what}: not a DER revocation list") from error
    if until is None:
        raise EvidenceError(f"{what}: a revocation list without its next update")
    return RevocationList(
        der=der,
        crl=crl,
        issuer=issuer,
        issued=int(issued.timestamp()),
        next_update=int(until.timestamp()),
        evidence=evidence,
    )


def _moment(document: codec.JsonObject, name: str, what: str) -> int:
    text = codec.text_field(document, name, what)
    moment = parse_time(text)
    if moment is None:
        raise EvidenceError(f"{what}: {name} {text!r} is not a date")
    return moment
