"""Which of the collateral in the evidence endorses a quote: what verifies, the newest of each kind.

Every part (TCB info, QE identity, revocation lists) is judged by itself, so that neither the names
of files nor what they are packed with decides anything. A part that does not verify is set aside
while another one of its kind does. Of those that verify, the newest in force counts, even where an
older one would accept more. Revocation is the exception: any list of the issuer that was issued by
then revokes a certificate.

dcap_qvl accepts TCB info and QE identity signed by any end-entity certificate under the root, so
the signing certificate is checked here: Intel signs both with the certificate named "Intel SGX TCB
Signing", issued directly by the root (Intel PCS API v4, TCB Info and QE Identity issuer chains).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.checks.dcap import certificate_chain, family_of
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.certificates import malformed
from verifier.evidence.td.collateral import CollateralParts, Part, RevocationList, SignedDocument
from verifier.model.identifiers import format_time
from verifier.model.result import EvidenceRef

if TYPE_CHECKING:
    from cryptography import x509

TCB_SIGNING_NAME: Final = "Intel SGX TCB Signing"
_IDS: Final = {Part.TCB_INFO: "TDX", Part.QE_IDENTITY: "TD_QE"}
"""Intel PCS API v4: the `id` of the documents that are about TDs."""

_MOST: Final = 64
"""Signatures of which a process remembers whether they verify: all platforms of one family share
those of their collateral."""

Window = tuple[int, int]
"""First and last Unix second at which something is in force."""


class Endorsements(Struct, frozen=True, kw_only=True):
    """The endorsements that a quote is judged by. Times are Unix seconds.

    The fields after `failure`, except `evidence`, mean something only where it is "". The root's
    own revocation list is renewed once a year, so its age counts apart from that of the other
    parts.

    failure          what is forged or revoked; "" when nothing is
    members          the members of a QuoteCollateralV3 without a PCK certificate chain, which would
                     take the place of the quote's own
    window           first and last second at which every part and every certificate is in force
    oldest           the first issue date among TCB info, QE identity and PCK revocation list: the
                     age of a set is that of its oldest part
    root_crl_issued  when the root's revocation list was issued
    newest_root_crl  the latest issue date of all the root's revocation lists in the evidence, also
                     of those from after the time of judgement
    set_aside        what did not count, and why; () for nothing
    evidence         where in the bundle the parts stand
    """

    failure: str = ""
    members: Mapping[str, str | bytes] = {}
    window: Window = (0, 0)
    oldest: int = 0
    root_crl_issued: int = 0
    newest_root_crl: int = 0
    set_aside: tuple[str, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()


class _UnfitError(Exception):
    """A part that is readable and does not verify."""


def choose_endorsements(parts: CollateralParts, quote: bytes, root: bytes, at: int) -> Endorsements:
    """The endorsements for a quote as of `at` (Unix seconds); `root` is the trust anchor (DER).

    Raises MissingEvidence when a part is absent, EvidenceError when the only ones cannot be read,
    or the quote's own certificates.
    """
    chain, fmspc = certificate_chain(quote), family_of(quote)
    try:
        return _Chooser(parts, chain, root, at).choose(fmspc)
    except _UnfitError as error:
        return Endorsements(
            failure=str(error),
            evidence=parts.evidence,
        )


class _Chooser:
    def __init__(self, parts: CollateralParts, quote_chain: bytes, root: bytes, at: int) -> None:
        from cryptography import x509  # noqa: PLC0415 - only where collateral is

        self._parts, self._at = parts, at
        self._set_aside: list[str] = [error.message for _, error in parts.unreadable]
        try:
            self._root = x509.load_der_x509_certificate(root)
        except ValueError as error:
            raise EvidenceError("the trust anchor is not a DER certificate") from error
        try:
            self._leaf, *above = x509.load_pem_x509_certificates(quote_chain.rstrip(b"\0"))
            self._ca = next((item for item in above if item.subject == self._leaf.issuer), None)
        except malformed() as error:
            raise EvidenceError("TD quote: no readable PCK certificate chain") from error

    def choose(self, fmspc: str) -> Endorsements:
        if self._ca is None or not _issued(self._ca, self._root):
            raise _UnfitError("the PCK certificate's issuer is not issued by the root")
        if not _issued(self._leaf, self._ca):
            raise _UnfitError("the PCK certificate is not signed by its issuer")
        root_crls = self._lists_of(self._root, "root")
        pck_crls = self._lists_of(self._ca, "PCK")
        self._refuse_revoked(self._ca, root_crls, "the PCK certificate's issuer")
        self._refuse_revoked(self._leaf, pck_crls, "the PCK certificate")
        tcb_info = self._newest_document(Part.TCB_INFO, fmspc, root_crls)
        identity = self._newest_document(Part.QE_IDENTITY, "", root_crls)
        root_crl, pck_crl = self._newest(root_crls), self._newest(pck_crls)
        signers = (tcb_info.chain[0], identity.chain[0])
        chosen = (tcb_info, identity, pck_crl, root_crl)
        windows = [
            *((item.issued, item.next_update - 1) for item in chosen),
            *map(_validity, (self._leaf, self._ca, self._root, *signers)),
        ]
        return Endorsements(
            members=_members(tcb_info, identity, pck_crl, root_crl, self._ca, self._root),
            window=(max(start for start, _ in windows), min(end for _, end in windows)),
            oldest=min(tcb_info.issued, identity.issued, pck_crl.issued),
            root_crl_issued=root_crl.issued,
            newest_root_crl=max(item.issued for item in root_crls),
            set_aside=tuple(sorted(set(self._set_aside))),
            evidence=tuple(dict.fromkeys(item.evidence for item in chosen)),
        )

    def _lists_of(self, issuer: "x509.Certificate", name: str) -> list[RevocationList]:
        """The revocation lists that a CA signed."""
        named = [item for item in self._parts.crls if item.issuer == issuer.subject]
        found = [item for item in named if _signed_list(item, issuer)]
        forged = f"the {name} revocation list is not signed by its issuer"
        if len(found) < len(named):
            self._set_aside.append(forged)
        if not found and named:
            raise _UnfitError(forged)
        if not found:
            raise self._lacking(Part.CRL, f"no {name} revocation list is in the evidence")
        return found

    def _refuse_revoked(
        self, certificate: "x509.Certificate", lists: Iterable[RevocationList], name: str
    ) -> None:
        dates = [
            item.issued
            for item in lists
            if item.issued <= self._at
            and item.crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        ]
        if dates:
            raise _UnfitError(f"{name} is revoked by a list of {format_time(min(dates))}")

    def _newest_document(
        self, part: Part, fmspc: str, root_crls: Iterable[RevocationList]
    ) -> SignedDocument:
        named = [
            item
            for item in self._parts.documents
            if (item.part, item.id, item.fmspc) == (part, _IDS[part], fmspc)
        ]
        found: list[SignedDocument] = []
        problems: list[str] = []
        for item in named:
            try:
                self._check_signer(item, root_crls)
                found.append(item)
            except _UnfitError as error:
                problems.append(str(error))
        self._set_aside.extend(problems)
        if not found and problems:
            raise _UnfitError(min(problems))
        if not found:
            about = f" for the platform with FMSPC {fmspc}" if fmspc else ""
            raise self._lacking(part, f"no {part}{about} is in the evidence")
        best = max(found, key=self._rank)
        rivals = {item.text for item in found if self._rank(item) == self._rank(best)}
        if len(rivals) > 1:
            raise EvidenceError(f"{len(rivals)} different {part}s of one number and date")
        return best

    def _check_signer(self, item: SignedDocument, root_crls: Iterable[RevocationList]) -> None:
        """Raises _UnfitError unless Intel's TCB signing certificate signed the document."""
        leaf = item.chain[0]
        if not _issued(leaf, self._root):
            raise _UnfitError(
                f"{item.part} is not signed by a certificate that the root issued for it"
            )
        name = _common_name(leaf)
        if name != TCB_SIGNING_NAME:
            raise _UnfitError(f"{item.part} is signed by {name!a}, not by {TCB_SIGNING_NAME!r}")
        if not _signed_text(item, leaf):
            raise _UnfitError(f"the signature of the {item.part} does not verify")
        self._refuse_revoked(leaf, root_crls, f"the certificate that signed the {item.part}")

    def _newest(self, lists: Iterable[RevocationList]) -> RevocationList:
        return max(lists, key=lambda item: (self._in_force(item), item.issued, item.der))

    def _rank(self, item: SignedDocument) -> tuple[bool, int, int]:
        return self._in_force(item), item.evaluation_number, item.issued

    def _in_force(self, item: SignedDocument | RevocationList) -> bool:
        return item.issued <= self._at < item.next_update

    def _lacking(self, part: Part, message: str) -> EvidenceError | MissingEvidence:
        unreadable = self._parts.error(part)
        return unreadable or MissingEvidence(
            message,
            hint="audit online, or import the platform's collateral with the quote: TCB info, QE "
            "identity, and the revocation lists of the PCK's issuer and of the root",
        )


@lru_cache(maxsize=_MOST)
def _issued(certificate: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    refusals: tuple[type[Exception], ...] = (InvalidSignature, *malformed())
    try:
        certificate.verify_directly_issued_by(issuer)
    except refusals:
        return False
    return True


@lru_cache(maxsize=_MOST)
def _signed_list(item: RevocationList, issuer: "x509.Certificate") -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    try:
        return item.crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


@lru_cache(maxsize=_MOST)
def _signed_text(item: SignedDocument, signer: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    r, s = (int.from_bytes(item.signature[i : i + 32], "big") for i in (0, 32))
    try:
        key = signer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        spelled = utils.encode_dss_signature(r, s)
        key.verify(spelled, item.text.encode("utf-8"), ec.ECDSA(SHA256()))
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _common_name(certificate: "x509.Certificate") -> str:
    from cryptography.x509 import NameOID  # noqa: PLC0415

    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(names[0].value) if names else ""


def _validity(certificate: "x509.Certificate") -> Window:
    return (
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


def _members(  # noqa: PLR0913, PLR0917 - the parts of one document
    tcb_info: SignedDocument,
    identity: SignedDocument,
    pck_crl: RevocationList,
    root_crl: RevocationList,
    ca: "x509.Certificate",
    root: "x509.Certificate",
) -> dict[str, str | bytes]:
    """The members of a QuoteCollateralV3. PEM readers differ about blocks with odd labels, and what
    else stood in a chain was not checked, so the chains are spelled from the certificates that
    were."""
    return {
        "pck_crl_issuer_chain": _pem((ca, root)),
        "root_ca_crl": root_crl.der,
        "pck_crl": pck_crl.der,
        "tcb_info_issuer_chain": _pem((tcb_info.chain[0], root)),
        "tcb_info": tcb_info.text,
        "tcb_info_signature": tcb_info.signature,
        "qe_identity_issuer_chain": _pem((identity.chain[0], root)),
        "qe_identity": identity.text,
        "qe_identity_signature": identity.signature,
    }


def _pem(chain: "Iterable[x509.Certificate]") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return "".join(item.public_bytes(Encoding.PEM).decode("ascii") for item in chain)
