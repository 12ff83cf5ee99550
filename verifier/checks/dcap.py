"""DCAP verification of a TD quote: the one place that calls dcap_qvl.

dcap_qvl accepts TCB info and QE identity signed by any end-entity certificate under the root, so
the signing certificate is checked here: Intel signs both with the certificate named "Intel SGX TCB
Signing", issued directly by the root (Intel PCS API v4, TCB Info and QE Identity issuer chains).
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from verifier.errors import EvidenceError
from verifier.evidence.collateral import Collateral

TCB_SIGNING_NAME: Final = "Intel SGX TCB Signing"
_REVOKED: Final = "TCB status is invalid: Revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class DcapResult:
    """What DCAP verification established.

    `failure` is empty when the quote verified; the other fields mean something only then.
    `fmspc` and `ppid` come from the verified PCK certificate. Times are Unix seconds.
    """

    failure: str
    tcb_status: str = ""
    advisory_ids: tuple[str, ...] = ()
    evaluation_number: int = 0
    fmspc: bytes = b""
    ppid: bytes = b""
    issued: int = 0
    expires: int = 0

    @property
    def revoked(self) -> bool:
        """Whether the quote is refused because its platform's TCB is revoked."""
        return _REVOKED in self.failure


def platform_of(quote: bytes) -> tuple[str, str]:
    """FMSPC (upper-case hex) and CA (`platform` or `processor`) that a quote says it has.

    They come from the quote's own, unverified certificate chain: good for asking for collateral,
    for nothing else. Raises EvidenceError.
    """
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    try:
        parsed = dcap_qvl.parse_quote(quote)
        return parsed.fmspc().upper(), parsed.ca()
    except ValueError as error:
        raise EvidenceError(
            f"TD quote: no readable PCK certificate: {_first_line(error)}"
        ) from error


def verify_quote(quote: bytes, collateral: Collateral, root: bytes, at: int) -> DcapResult:
    """Verify a TD quote to a root certificate (DER) with this collateral at a time."""
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    problem = _check_root(root) or next(
        filter(
            None,
            (
                _check_signer(collateral.tcb_signing_chain, "TCB info", root),
                _check_signer(collateral.qe_signing_chain, "QE identity", root)
                if collateral.qe_signing_chain != collateral.tcb_signing_chain
                else "",
            ),
        ),
        "",
    )
    if problem:
        return DcapResult(failure=problem)
    try:
        endorsements = dcap_qvl.QuoteCollateralV3.from_json(collateral.document)
        claims = dcap_qvl.QuoteVerifier(root).verify_with_policy(
            quote, endorsements, at, dcap_qvl.QuotePolicy.claims_only(at)
        )
    except (ValueError, OverflowError) as error:
        return DcapResult(failure=_reason(quote, collateral, root, at) or _first_line(error))
    return _result(json.loads(claims.to_json()))


def _result(claims: dict[str, Any]) -> DcapResult:
    pck = claims["platform"]["pck"]
    return DcapResult(
        failure="",
        tcb_status=claims["tcb"]["status"],
        advisory_ids=tuple(claims["tcb"]["advisory_ids"]),
        evaluation_number=claims["tcb"]["eval_data_number"],
        fmspc=bytes(pck["fmspc"]),
        ppid=bytes(pck["ppid"]),
        issued=claims["latest_issue_date"],
        expires=claims["earliest_expiration_date"],
    )


def _reason(quote: bytes, collateral: Collateral, root: bytes, at: int) -> str:
    """Why a quote was refused: the plain call names the cause, the policy call its context."""
    import dcap_qvl  # noqa: PLC0415

    try:
        endorsements = dcap_qvl.QuoteCollateralV3.from_json(collateral.document)
        dcap_qvl.verify_with_root_ca(quote, endorsements, root, at)
    except (ValueError, OverflowError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ": ".join(
            line.removeprefix("Verification failed: ") for line in lines if line != "Caused by:"
        )
    return ""


def _check_root(root: bytes) -> str:
    """A root that does not issue itself aborts the process inside dcap_qvl's path building."""
    from cryptography import x509  # noqa: PLC0415

    try:
        certificate = x509.load_der_x509_certificate(root)
    except ValueError:
        return "the trust anchor is not a DER certificate"
    return "" if certificate.issuer == certificate.subject else "the trust anchor is not a root"


def _check_signer(chain: str, what: str, root: bytes) -> str:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415

    try:
        leaf = x509.load_pem_x509_certificates(chain.encode("ascii"))[0]
        anchor = x509.load_der_x509_certificate(root)
        name = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        leaf.verify_directly_issued_by(anchor)
    except (
        ValueError,
        TypeError,
        IndexError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
    ):
        return f"{what} is not signed by a certificate that the root issued for it"
    if name != TCB_SIGNING_NAME:
        return f"{what} is signed by {str(name)!r}, not by {TCB_SIGNING_NAME!r}"
    return ""


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
