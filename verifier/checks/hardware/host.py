"""Whose machine it is, and where it stands, as far as a policy names machines and signers.

A CPU signs which machine it is. Nothing that it signs says where the machine stands, or who can
touch it: that is always somebody's word, and stays `asserted` however it is signed.
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, not_applicable, passed
from verifier.errors import MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.platforms.place import ED25519, RSA, PlaceStatement
from verifier.evidence.subject import Located
from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue

_DAY: Final = 86400
_SKEW: Final = 300
"""Seconds that a signer's clock may be ahead."""

_ED25519_BYTES: Final = 32


def _unasked(case: Case) -> Outcome | None:
    if case.demands.ppids or case.demands.place_keys:
        return None
    return not_applicable("the policy names no machine, and nobody who says where one stands")


@check(
    "hardware.host",
    "The machine, and who says where it stands, are those that the policy names",
    requires=("hardware.quote",),
    unasked=_unasked,
)
def host(case: Case) -> Outcome:
    """The PPID in the PCK certificate that the quote verified under, which Intel gives to one
    machine, is among those that the policy names; another one fails. Where the policy asks for a
    Proof of Cloud, a statement in the evidence is signed by a key that the policy names, is about
    this machine or this very quote, and is no older than the policy allows. A statement of another
    signer, about another machine, or too old is set aside: it speaks neither for this machine nor
    against it, and evidence is missing. What a signer says of the place is his word: nothing that a
    CPU signs says where it stands. The check applies only where the policy names machines or
    signers."""
    demands = case.demands
    ppid = case.verified.ppid.hex()
    if demands.ppids and ppid not in demands.ppids:
        return failed(
            f"the machine with the PPID {ppid} is none that the policy names",
            expected=list(demands.ppids),
            actual={"ppid": ppid},
            evidence=(case.presented.evidence,),
            remediation="the evidence is genuine, but of another machine: ask its operator why",
        )
    named = "it is one that the policy names" if demands.ppids else "the policy names no machine"
    summary, actual = f"PPID {ppid}: {named}", dict[str, JsonValue]({"ppid": ppid})
    if not demands.place_keys:
        return passed(summary, actual=actual, evidence=(case.presented.evidence,))
    places = _believed(case)
    labels = list(dict.fromkeys(item.value.label for item in places))
    return passed(
        f"{summary}; a signer that the policy names calls it {', '.join(map(ascii, labels))}",
        actual={**actual, "labels": list[JsonValue](labels)},
        reason="where it stands is the signer's word, of "
        f"{format_time(max(item.value.stated for item in places))}",
        evidence=(case.presented.evidence, *(item.artifact.ref for item in places)),
    )


def about_this_machine(case: Case) -> list[Located[PlaceStatement]]:
    """The statements about the machine of the judged quote, by their labels, whoever signed."""
    device, quote = case.device_ids[0], hashlib.sha256(case.presented.quote).digest()
    found = [item for item in case.evidence.places if item.value.is_about(device, quote)]
    return sorted(found, key=lambda item: (item.value.label, item.artifact.sha256 or ""))


def _believed(case: Case) -> list[Located[PlaceStatement]]:
    """The statements that satisfy the policy. Raises MissingEvidence without one, EvidenceError for
    one that cannot be read."""
    malformed = [error for item, error in case.evidence.malformed if item.kind is Kind.PLACE]
    if malformed:
        raise malformed[0]
    mine = about_this_machine(case)
    judged = [(item, _doubt(case, item.value)) for item in mine]
    believed = [item for item, doubt in judged if not doubt]
    if believed:
        return believed
    reasons = sorted({doubt for _, doubt in judged})
    others = len(case.evidence.places) - len(mine)
    if others:
        reasons.append(f"{others} given, about another machine")
    raise MissingEvidence(
        "no statement that counts says where this machine stands"
        + (f": {'; '.join(reasons)}" if reasons else ""),
        hint="have a trust server of Proof of Cloud sign for the quote (POST /get_jwt), and import "
        "its answer",
    )


def _doubt(case: Case, statement: PlaceStatement) -> str:
    """Why a statement about this machine does not count, "" when it does."""
    at, days = case.question.at, case.demands.place_days
    if not any(_signed_by(statement, bytes.fromhex(key)) for key in case.demands.place_keys):
        return "it is signed by no key that the policy names"
    if statement.stated > at + _SKEW:
        return f"it is of {format_time(statement.stated)}, which is later than this audit"
    if at - statement.stated > days * _DAY:
        return f"it is of {format_time(statement.stated)}, older than {days} days"
    if statement.expires is not None and statement.expires <= at:
        return f"it held until {format_time(statement.expires)}"
    return ""


def _signed_by(statement: PlaceStatement, key: bytes) -> bool:
    """Whether a key signed a statement: an Ed25519 key (32 bytes), or an RSA key (DER
    SubjectPublicKeyInfo), each by the one algorithm that it is for."""
    try:
        if len(key) == _ED25519_BYTES:
            if statement.algorithm != ED25519:
                return False
            Ed25519PublicKey.from_public_bytes(key).verify(statement.signature, statement.signed)
            return True
        public = serialization.load_der_public_key(key)
        if not isinstance(public, RSAPublicKey) or statement.algorithm != RSA:
            return False
        public.verify(statement.signature, statement.signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


CHECKS: Final = (host,)
