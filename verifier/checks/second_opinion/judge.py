"""The judgement of a quote: from the root to the TD, and the state of the platform's TCB."""

from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from msgspec import Struct

from verifier.checks.second_opinion import certificates, documents, layout, levels
from verifier.checks.second_opinion.refusal import RefusedError, RevokedError, need
from verifier.checks.second_opinion.signatures import need_signature

REFUSALS: Final = (
    RefusedError,
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for certificates that it cannot read, and its own refusals."""


class Judgement(Struct, frozen=True, kw_only=True):
    """What this verifier makes of a quote.

    The fields after `revoked` mean something only where it verified.

    failure            why it does not verify; "" when it does
    revoked            whether that is because its TCB is revoked
    status             the status of the platform's TCB
    parts              (part, status, date of its level in Unix seconds) of the quoting enclave, and
                       of the current TCB where the body states one
    date               the date of the platform's level, Unix seconds
    advisories         Intel's advisories about all parts
    merged_advisories  those about the platform as it was launched
    evaluation         the lower tcbEvaluationDataNumber of TCB info and QE identity
    fmspc              the platform's family, 6 bytes
    ppid               the platform's provisioning id, 16 bytes
    issued             when the latest part of what it rests on begins, Unix seconds
    expires            when the first part of it ends, Unix seconds
    """

    failure: str = ""
    revoked: bool = False
    status: str = ""
    parts: tuple[tuple[str, str, int], ...] = ()
    date: int = 0
    advisories: frozenset[str] = frozenset()
    merged_advisories: frozenset[str] = frozenset()
    evaluation: int = 0
    fmspc: bytes = b""
    ppid: bytes = b""
    issued: int = 0
    expires: int = 0


def judge_quote(
    quote: bytes, collateral: Mapping[str, str | bytes], root: bytes, at: int
) -> Judgement:
    """Judge a quote without padding, under a root certificate (DER), with the members of a
    QuoteCollateralV3, as of a time (Unix seconds)."""
    try:
        return _judge(quote, collateral, root, at)
    except REFUSALS as error:
        words = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__} {error}"
        return Judgement(failure=words.strip(), revoked=isinstance(error, RevokedError))


def _judge(raw: bytes, collateral: Mapping[str, str | bytes], trusted: bytes, at: int) -> Judgement:
    quote = layout.read_quote(raw)
    root = certificates.root_authority(trusted, _octets(collateral, "root_ca_crl"), at)
    pck = certificates.pck_certificate(quote.chain, root, _octets(collateral, "pck_crl"), at)
    layout.need_signed(quote, pck.public_key())
    info = documents.read_tcb_info(_signed(collateral, "tcb_info", root))
    identity = documents.read_qe_identity(_signed(collateral, "qe_identity", root))
    for window in (info.window, identity.window):
        need(window[0] <= at <= window[1], "TCB info or QE identity is not in force")
    platform = certificates.platform_of(pck)
    need(platform.fmspc == info.fmspc, "TCB info is of another family of platforms")
    need(platform.pce_id == info.pce_id, "TCB info is of another PCE")
    enclave = levels.enclave_level(quote.qe, identity)
    levels.need_module(quote, info)
    launch = levels.platform_level(info, platform, quote.tee_tcb_svn)
    status = levels.with_part(launch.status, enclave.status)
    parts = [("quoting enclave", enclave)]
    if quote.tee_tcb_svn2 is not None:
        current = levels.platform_level(info, platform, quote.tee_tcb_svn2)
        parts.append(("current TCB", current))
        now = levels.with_part(current.status, enclave.status)
        status = now if now == "Revoked" else levels.relaunched(status, now)
    if status == "Revoked":
        raise RevokedError("the platform's TCB is revoked")
    layout.need_closed(quote)
    windows = (info.window, identity.window, *root.windows)
    merged = frozenset((*launch.advisories, *enclave.advisories))
    return Judgement(
        status=status,
        parts=tuple((name, level.status, level.date) for name, level in parts),
        date=launch.date,
        advisories=merged.union(*(level.advisories for _, level in parts)),
        merged_advisories=merged,
        evaluation=min(info.evaluation, identity.evaluation),
        fmspc=platform.fmspc,
        ppid=platform.ppid,
        issued=max(start for start, _ in windows),
        expires=min(end for _, end in windows),
    )


def _signed(collateral: Mapping[str, str | bytes], name: str, root: certificates.Authority) -> str:
    """The text of a document that Intel's TCB signing certificate signed. Raises RefusedError."""
    text = str(collateral[name])
    signer = certificates.tcb_signer(str(collateral[f"{name}_issuer_chain"]), root)
    signature = _octets(collateral, f"{name}_signature")
    need_signature(signer.public_key(), signature, text.encode(), name)
    return text


def _octets(collateral: Mapping[str, str | bytes], name: str) -> bytes:
    found = collateral[name]
    need(isinstance(found, bytes), f"{name} is no bytes")
    return found if isinstance(found, bytes) else b""
