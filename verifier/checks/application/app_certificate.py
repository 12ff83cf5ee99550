"""What a KMS signed for a quote: the app certificate that carries it.

The key-provider event is the guest's word about a server that its host chose. A KMS signs an app
certificate over the quote in the request, and only for what it has authorized, so that a
certificate under its CA shows that it authorized this very quote; where the guest's keys came from
it does not show, since a certificate request can be relayed. A certificate that carries another
quote is about another TD, unless something named here ties the two: the report data of one holds
the other's key, by a convention of the app's code; or it came in a TLS session of that key, whose
certificate carries a genuine quote of the same boot. Equal registers alone do not.
"""

import hashlib
import itertools
from typing import Final

from msgspec.structs import replace

from verifier.checks.case import Case
from verifier.checks.key_management.key_holder import confirmed_kms
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.subject import PresentedQuote, is_of_leaf
from verifier.evidence.td.event_log import RUNTIME_IMR, replay, runtime_digest
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import (
    EXT_APP_ID,
    EXT_USAGE,
    RaTlsChain,
    fingerprint,
    leaf_report_data,
    spki,
)
from verifier.evidence.td.report_data import CHALLENGE_LEAF
from verifier.model.identifiers import format_time

UNTIED_HINT: Final = (
    "audit the quote of the certificate itself, without --challenge; or where the app's code makes "
    f"such quotes, name its convention: --bind {CHALLENGE_LEAF}=COMPOSE_HASH"
)


def vouched(case: Case) -> str:
    """How the identified KMS signed for the judged quote, in words; "" where nothing shows it.

    Raises MissingEvidence where the contract of a KMS that the relying party named does not tell
    its CA key, EvidenceError for what is malformed.
    """
    return case.once(vouched, lambda: _vouched(case))


def _vouched(case: Case) -> str:
    record = confirmed_kms(case)
    if record is None:
        return ""
    for source in certificates(case):
        words = tie(case, source)
        if words and not problems_of(case, source):
            return f"{words} under the CA of {record.name}"
    return ""


def certificates(case: Case) -> tuple[PresentedQuote, ...]:
    """The app certificates in the evidence: first those that are about the judged quote, and of
    these the ones that the KMS issued, so that what anybody can put beside one changes nothing."""
    found = [source for source in case.evidence.quotes if source.certificate_chain is not None]
    if len(found) == 1:
        return tuple(found)
    return tuple(sorted(found, key=lambda x: (not tie(case, x), bool(problems_of(case, x)))))


def leaf_key(source: PresentedQuote) -> bytes:
    """The key (DER SubjectPublicKeyInfo) of the certificate that a quote stood in, b"" where it
    stood in none."""
    chain = source.certificate_chain
    return b"" if chain is None else spki(chain.certificates[0])


def tie(case: Case, source: PresentedQuote) -> str:
    """What makes a certificate one about the judged quote, in words; "" where nothing does."""
    if source.certificate_chain is None:
        return ""
    if source.quote == case.presented.quote:
        return "a certificate carries this very quote"
    challenge, report_data = case.question.challenge, case.quote.report_data
    leaf = hashlib.sha256(leaf_key(source)).digest()
    shown = fingerprint(source.certificate_chain.certificates[0])
    in_session = case.question.trusted and case.presented.peer == shown
    if in_session and _of_same_boot(case, source):
        return "the judged quote came in a TLS session whose server showed a certificate"
    if _named(case) and report_data == challenge + leaf:
        return (
            "the report data commits to the challenge and to the key of a certificate (convention "
            f"{CHALLENGE_LEAF}, named for this manifest)"
        )
    return ""


def _of_same_boot(case: Case, source: PresentedQuote) -> bool:
    """Whether the quote in a certificate is genuine, was made for the certificate's key, and shows
    a guest that booted and measured the very same: what holds the key of another manifest's
    certificate may pass on another guest's quote."""
    other = Case(
        replace(case.evidence, quotes=[source]),
        replace(case.question, challenge=b"", binds=(), endpoint=None),
        case.exchanges,
    )
    try:
        registers = (other.quote.mr_td, other.quote.rtmrs[:3])
        runtime = [runtime_digest(item) for item in other.events if item.is_runtime]
        return (
            not other.dcap.failure
            and is_of_leaf(source)
            and registers == (case.quote.mr_td, case.quote.rtmrs[:3])
            and other.quote.td_attributes == case.quote.td_attributes
            and replay(runtime) == other.quote.rtmrs[RUNTIME_IMR]
            and other.identity == case.identity
        )
    except (EvidenceError, MissingEvidence, Blocked):
        return False


def _named(case: Case) -> bool:
    """Whether the relying party named the convention for the manifest that was measured."""
    named = (item.values for item in case.question.binds if item.kind == CHALLENGE_LEAF)
    return (case.identity.compose_hash or b"",) in named


def problems_of(case: Case, source: PresentedQuote) -> list[str]:
    """Why a certificate is not one that the CA which the guest names issued to this app."""
    key = (problems_of, source.channel, source.evidence)
    return case.once(key, lambda: _problems_of(case, source))


def _problems_of(case: Case, source: PresentedQuote) -> list[str]:
    chain = source.certificate_chain
    if chain is None:
        return ["there is no certificate"]
    problems = chain_problems(case, chain)
    carried = parse_quote(source.quote, "TD quote (app certificate)")
    if carried.report_data != leaf_report_data(spki(chain.certificates[0])):
        problems.append("the quote that it carries was made for another key")
    return problems


def chain_problems(case: Case, chain: RaTlsChain) -> list[str]:
    """Why a chain is not one of this app under the CA that the guest names, whatever its leaf
    carries. Every app of that CA has a CA of its own, and signs what it likes with it."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415

    problems: list[str] = []
    certificates = chain.certificates
    for child, issuer in itertools.pairwise(certificates):
        try:
            child.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            problems.append(f"{issuer.subject.rfc4514_string()} did not sign the one below it")
    try:
        certificates[-1].verify_directly_issued_by(certificates[-1])
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        problems.append("the chain does not end in a self-signed CA")
    if spki(certificates[-1]) != case.identity.provider_id:
        problems.append("the chain ends in another CA than the key-provider event names")
    for place, item in enumerate(certificates):
        problems.extend(_check_place(case, chain, place))
        if (
            not item.not_valid_before_utc.timestamp()
            <= case.question.at
            <= (item.not_valid_after_utc.timestamp())
        ):
            problems.append(f"a certificate is not in force at {format_time(case.question.at)}")
    return problems


def _check_place(case: Case, chain: RaTlsChain, place: int) -> list[str]:
    """CA rights, path length and dstack extensions of one certificate; 0 is the leaf."""
    from cryptography import x509  # noqa: PLC0415

    try:
        constraints = chain.certificates[place].extensions.get_extension_for_class(
            x509.BasicConstraints
        )
        is_ca, path_length = constraints.value.ca, constraints.value.path_length
    except x509.ExtensionNotFound:
        is_ca, path_length = False, None
    problems: list[str] = []
    is_leaf, is_root = place == 0, place == len(chain.certificates) - 1
    if is_ca is is_leaf:
        problems.append("the leaf has CA rights" if is_leaf else "an issuer has no CA rights")
    if not is_leaf and path_length is not None and path_length < place - 1:
        problems.append("the chain is longer than a CA allows")
    if is_root and not is_leaf:
        return problems
    extensions = chain.extensions[place]
    if extensions.get(EXT_APP_ID) != case.identity.app_id:
        problems.append("a certificate is not for this app id")
    usage = b"app:custom" if is_leaf else b"app:ca"
    if extensions.get(EXT_USAGE) != usage:
        problems.append(f"a certificate is not for the use {usage.decode('ascii')}")
    return problems
