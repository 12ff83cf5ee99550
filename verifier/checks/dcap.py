"""DCAP verification of a TD quote: the one place that calls dcap_qvl.

The merged TCB status leaves two things out: a quoting enclave that needs configuration, and the
current TCB of a TD 1.5 that was launched under a better one. Their own statuses are kept apart.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.model.identifiers import parse_time

_REVOKED: Final = "Verification failed: TCB status is invalid: Revoked"
"""The whole message with which dcap_qvl 0.7 refuses a revoked TCB; it gives no value that says so.
A part of a message would not do: other messages quote what the evidence says."""


class DcapResult(Struct, frozen=True, kw_only=True):
    """What DCAP verification established.

    The fields after `revoked` mean something only where the quote verified.

    failure             why the quote did not verify; "" when it did
    revoked             whether it did not because its platform's TCB is revoked
    tcb_status          the merged status of the platform
    component_statuses  (part, status) of the parts that the merged status leaves out
    level_dates         (part, tcbDate in Unix seconds) of the TCB level that each part matches; the
                        part "" is the platform
    advisory_ids        Intel's advisories about all parts; () for none
    merged_advisories   those that belong to the merged status; () for none
    evaluation_number   tcbEvaluationDataNumber of the TCB info
    fmspc               the platform's family, 6 bytes, from the verified PCK certificate
    ppid                the platform's provisioning id, 16 bytes, from the same
    issued              when the latest part of the collateral was issued, Unix seconds
    expires             when the first part of the collateral expires, Unix seconds
    """

    failure: str
    revoked: bool = False
    tcb_status: str = ""
    component_statuses: tuple[tuple[str, str], ...] = ()
    level_dates: tuple[tuple[str, int], ...] = ()
    advisory_ids: tuple[str, ...] = ()
    merged_advisories: tuple[str, ...] = ()
    evaluation_number: int = 0
    fmspc: bytes = b""
    ppid: bytes = b""
    issued: int = 0
    expires: int = 0

    @property
    def worst_status(self) -> str:
        """The merged status, or that of a part which the merged one calls UpToDate and is not."""
        found = (self.tcb_status, *(status for _, status in self.component_statuses))
        return next((status for status in found if status != "UpToDate"), self.tcb_status)


def verifier_name() -> str:
    """Name and version of the verifier that is called here."""
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    return f"dcap_qvl {dcap_qvl.__version__}"


def platform_of(quote: bytes) -> tuple[str, str]:
    """FMSPC (upper-case hex) and CA (`platform` or `processor`) that a quote says it has.

    They come from the quote's own, unverified certificate chain: good for asking for collateral,
    for nothing else. Raises EvidenceError.
    """
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    try:
        return family_of(quote), dcap_qvl.parse_quote(quote).ca()
    except ValueError as error:
        raise _no_certificate(error) from error


def family_of(quote: bytes) -> str:
    """The FMSPC alone of `platform_of`. Raises EvidenceError."""
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    try:
        family: str = dcap_qvl.parse_quote(quote).fmspc().upper()
    except ValueError as error:
        raise _no_certificate(error) from error
    return family


def certificate_chain(quote: bytes) -> bytes:
    """The quote's own, unverified certificate chain (PEM), PCK leaf first. Raises EvidenceError."""
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    try:
        chain: bytes = dcap_qvl.parse_quote(quote).cert_chain_pem_bytes()
    except ValueError as error:
        raise _no_certificate(error) from error
    return chain


def certified_since(quote: bytes) -> int:
    """When the quote's own, unverified PCK certificate begins, Unix seconds: a quote that carries
    it is no older. Raises EvidenceError."""
    from verifier.evidence.certificates import parse_pem_chain  # noqa: PLC0415 - as above

    chain = parse_pem_chain(certificate_chain(quote), "PCK certificates of a quote")
    return int(chain[0].not_valid_before_utc.timestamp())


def verify_quote(
    quote: bytes, collateral: Mapping[str, str | bytes], root: bytes, at: int
) -> DcapResult:
    """Verify a TD quote to a root certificate (DER) with the members of a QuoteCollateralV3 at a
    time (Unix seconds)."""
    import dcap_qvl  # noqa: PLC0415 - the native module loads only where a quote is

    problem = _check_root(root)
    if problem:
        return DcapResult(failure=problem)
    endorsements = dcap_qvl.QuoteCollateralV3(**collateral)
    try:
        claims = dcap_qvl.QuoteVerifier(root).verify_with_policy(
            quote, endorsements, at, dcap_qvl.QuotePolicy.claims_only(at)
        )
    except (ValueError, OverflowError) as error:
        failure = _reason(quote, endorsements, root, at) or _first_line(error)
        return DcapResult(failure=failure, revoked=str(error) == _REVOKED)
    result = json.loads(claims.to_json())
    problem = _other_pce(result, collateral["tcb_info"])
    return DcapResult(failure=problem) if problem else _result(result)


def _other_pce(claims: dict[str, Any], tcb_info: str | bytes) -> str:
    """Why TCB info is not about the provisioning certification enclave of the PCK certificate, ""
    if it is: dcap_qvl compares the FMSPC alone (Intel's Quote Verification Library, both)."""
    certified, stated = bytes(claims["platform"]["pck"]["pce_id"]).hex(), _stated_pce(tcb_info)
    return "" if stated == certified else f"TCB info is of PCE {stated!a}, the PCK of {certified}"


@lru_cache(maxsize=16)
def _stated_pce(tcb_info: str | bytes) -> str:
    return str(json.loads(tcb_info).get("pceId", "")).lower()


def _result(claims: dict[str, Any]) -> DcapResult:
    pck, current = claims["platform"]["pck"], claims["platform"]["current_tcb_level"]
    components = (("quoting enclave", claims["qe"]["tcb_level"]), ("current TCB", current))
    merged = tuple(claims["tcb"]["advisory_ids"])
    parts = (name for _, level in components if level for name in level.get("advisoryIDs") or ())
    return DcapResult(
        failure="",
        tcb_status=claims["tcb"]["status"],
        component_statuses=tuple(
            (name, level["tcbStatus"]) for name, level in components if level is not None
        ),
        level_dates=tuple(_dated((("", claims["platform"]["tcb_level"]), *components))),
        advisory_ids=tuple(dict.fromkeys((*merged, *parts))),
        merged_advisories=merged,
        evaluation_number=claims["tcb"]["eval_data_number"],
        fmspc=bytes(pck["fmspc"]),
        ppid=bytes(pck["ppid"]),
        issued=claims["latest_issue_date"],
        expires=claims["earliest_expiration_date"],
    )


def _dated(levels: Iterable[tuple[str, dict[str, Any] | None]]) -> Iterator[tuple[str, int]]:
    """What Intel dates each TCB level: platforms that it calls OutOfDate lack what came later."""
    for part, level in levels:
        date = parse_time(str(level.get("tcbDate", ""))) if level else None
        if date is not None:
            yield part, date


def _reason(quote: bytes, endorsements: Any, root: bytes, at: int) -> str:  # noqa: ANN401 - untyped
    """Why a quote was refused: the plain call names the cause, the policy call its context."""
    import dcap_qvl  # noqa: PLC0415

    try:
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


def _no_certificate(error: ValueError) -> EvidenceError:
    return EvidenceError(f"TD quote: no readable PCK certificate: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """What an error says first, its type where it says nothing: an empty failure would be none."""
    lines = map(str.strip, str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
