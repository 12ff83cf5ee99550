"""Endorsements for a TD quote: TCB info, QE identity and revocation lists.

They come as one `QuoteCollateralV3` JSON document, or as the four answers of Intel's Provisioning
Certification Service (PCS API v4), whose issuer chains travel percent-encoded in headers:

    tcb          body {"tcbInfo": …, "signature": hex}          TCB-Info-Issuer-Chain (or SGX-…)
    qe/identity  body {"enclaveIdentity": …, "signature": hex}  SGX-Enclave-Identity-Issuer-Chain
    pckcrl       body DER                                       SGX-PCK-CRL-Issuer-Chain
    rootcacrl    body hex text of DER, or DER

The signatures are over the exact JSON text of the inner object, so it is cut out of the answer
as it stands and never serialised again.
"""

import itertools
import json
import math
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.model.identifiers import parse_time
from verifier.model.result import EvidenceRef

MAX_COLLATERAL_BYTES: Final = 1 << 20
MAX_PCS_SETS: Final = 256
TCB_CHAIN_HEADERS: Final = ("tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain")
QE_CHAIN_HEADER: Final = "sgx-enclave-identity-issuer-chain"
PCK_CRL_CHAIN_HEADER: Final = "sgx-pck-crl-issuer-chain"
CHAIN_HEADERS: Final = (*TCB_CHAIN_HEADERS, QE_CHAIN_HEADER, PCK_CRL_CHAIN_HEADER)

_FIELDS: Final = (
    "pck_crl_issuer_chain",
    "root_ca_crl",
    "pck_crl",
    "tcb_info_issuer_chain",
    "tcb_info",
    "tcb_info_signature",
    "qe_identity_issuer_chain",
    "qe_identity",
    "qe_identity_signature",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """One set of endorsements.

    `document` is QuoteCollateralV3 JSON without a PCK certificate chain: a chain in it would
    take the place of the quote's own. `fmspc` is upper-case hex; `evaluation_number` the smaller
    of the two documents'; `issued` and `next_update` Unix seconds, the narrowest window of both.
    `oldest` is the first issue date among TCB info, QE identity and PCK CRL: the age of a set is
    that of its oldest part. The root's CRL does not count, which Intel renews once a year.
    """

    document: str
    fmspc: str
    evaluation_number: int
    issued: int
    oldest: int
    next_update: int
    tcb_signing_chain: str
    qe_signing_chain: str
    evidence: tuple[EvidenceRef, ...]


def find_collateral(bundle: Bundle, fmspc: str, at: int) -> Collateral | None:
    """The collateral in the bundle for a platform, or None.

    Of several sets, the one in force at `at` with the highest evaluation number: an older set
    that is kinder to the platform is never preferred. Raises EvidenceError.
    """
    found = [item for item in _all(bundle) if item.fmspc == fmspc.upper()]
    return max(
        found,
        key=lambda item: (item.issued <= at <= item.next_update, item.evaluation_number),
        default=None,
    )


def parse_collateral(raw: bytes, what: str, evidence: tuple[EvidenceRef, ...]) -> Collateral:
    """Parse a QuoteCollateralV3 document. Raises EvidenceError."""
    if len(raw) > MAX_COLLATERAL_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no collateral (a real one has 20,000)")
    document = codec.parse_json_object(raw, what)
    values = {name: codec.as_str(document.get(name), f"{what}.{name}") for name in _FIELDS}
    return _collateral(values, what, evidence)


def _all(bundle: Bundle) -> list[Collateral]:
    found = [
        parse_collateral(bundle.blob(item), item.source, (item.ref,))
        for item in bundle.of(Kind.COLLATERAL)
    ]
    answers = [
        bundle.of(kind)
        for kind in (
            Kind.PCS_TCB_INFO,
            Kind.PCS_QE_IDENTITY,
            Kind.PCS_PCK_CRL,
            Kind.PCS_ROOT_CA_CRL,
        )
    ]
    if math.prod(map(len, answers)) > MAX_PCS_SETS:
        raise EvidenceError(f"PCS answers combine to more than {MAX_PCS_SETS} sets of collateral")
    found.extend(_from_pcs(bundle, *chosen) for chosen in itertools.product(*answers))
    return found


def _from_pcs(
    bundle: Bundle, tcb: Artifact, identity: Artifact, crl: Artifact, root: Artifact
) -> Collateral:
    tcb_info, tcb_signature = _signed(bundle.blob(tcb), "tcbInfo", tcb.source)
    qe_identity, qe_signature = _signed(bundle.blob(identity), "enclaveIdentity", identity.source)
    root_crl = bundle.blob(root)
    values = {
        "pck_crl_issuer_chain": unquote(crl.header(PCK_CRL_CHAIN_HEADER)),
        "root_ca_crl": root_crl.hex()
        if root_crl[:1] == b"0" and root_crl[1:2] >= b"\x80"
        else codec.parse_utf8(root_crl.strip(), root.source),
        "pck_crl": bundle.blob(crl).hex(),
        "tcb_info_issuer_chain": unquote(
            next((tcb.header(name) for name in TCB_CHAIN_HEADERS if tcb.header(name)), "")
        ),
        "tcb_info": tcb_info,
        "tcb_info_signature": tcb_signature,
        "qe_identity_issuer_chain": unquote(identity.header(QE_CHAIN_HEADER)),
        "qe_identity": qe_identity,
        "qe_identity_signature": qe_signature,
    }
    return _collateral(values, tcb.source, (tcb.ref, identity.ref, crl.ref, root.ref))


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


def _collateral(values: dict[str, str], what: str, evidence: tuple[EvidenceRef, ...]) -> Collateral:
    tcb_info = codec.parse_json_object(values["tcb_info"], f"{what}: tcb_info")
    identity = codec.parse_json_object(values["qe_identity"], f"{what}: qe_identity")
    for name in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
        codec.parse_hex(values[name], f"{what}: {name}")
    issued = [_moment(item, "issueDate", what) for item in (tcb_info, identity)]
    return Collateral(
        document=json.dumps(values),
        fmspc=codec.text_field(tcb_info, "fmspc", what).upper(),
        evaluation_number=min(
            codec.as_int(item.get("tcbEvaluationDataNumber"), f"{what}: evaluation number")
            for item in (tcb_info, identity)
        ),
        issued=max(issued),
        oldest=min(*issued, _crl_moment(values["pck_crl"], f"{what}: pck_crl")),
        next_update=min(_moment(item, "nextUpdate", what) for item in (tcb_info, identity)),
        tcb_signing_chain=values["tcb_info_issuer_chain"],
        qe_signing_chain=values["qe_identity_issuer_chain"],
        evidence=evidence,
    )


def _crl_moment(text: str, what: str) -> int:
    from cryptography import x509  # noqa: PLC0415 - only where collateral is

    try:
        crl = x509.load_der_x509_crl(codec.parse_hex(text, what))
        return int(crl.last_update_utc.timestamp())
    except (ValueError, x509.InvalidVersion) as error:
        raise EvidenceError(f"{what}: not a DER revocation list") from error


def _moment(document: codec.JsonObject, name: str, what: str) -> int:
    text = codec.text_field(document, name, what)
    moment = parse_time(text)
    if moment is None:
        raise EvidenceError(f"{what}: {name} {text!r} is not a date")
    return moment
