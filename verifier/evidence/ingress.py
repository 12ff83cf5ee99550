"""What dstack-ingress publishes about the certificates that it obtained, under `/evidences/`.

    sha256sum.txt       `<sha256>  <name>` for acme-account.json and every certificate
    quote.json          a GetQuote answer; report data is sha256(sha256sum.txt) || 32 zero bytes
    acme-account.json   the account at the CA: `uri`; of lego `registration.accountURL` or `.uri`
    cert-<domain>.pem   the certificate

(Dstack-TEE/dstack-examples custom-domain/dstack-ingress scripts/evidence-lib.sh). The quote names a
key; that the code which asked for the quote holds it, only that code says.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.guest.tcb_info import parse_quote_answer
from verifier.evidence.subject import CHANNEL_GET_QUOTE, PresentedQuote, parse_peer
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import spki
from verifier.patterns import pattern

FOLDER: Final = "/evidences/"
LISTING: Final = "sha256sum.txt"
ACCOUNT: Final = "acme-account.json"
QUOTE: Final = "quote.json"
_MAX_LINES: Final = 64
_LINE: Final = pattern(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_][A-Za-z0-9._-]{0,254})", re.ASCII)


class NamedKey(Struct, frozen=True):
    """A TLS key that a quote names through the list of files: the quote, the account that asked for
    its certificate ("" where none is listed), and the artifacts that say so."""

    source: PresentedQuote
    account: str
    artifacts: tuple[Artifact, ...]


def certificate_name(host: str) -> str:
    """The file of a host's certificate."""
    return f"cert-{host}.pem"


def parse_listing(raw: bytes, what: str) -> Mapping[str, str]:
    """The sha256 (hex) of each listed file, by name. Raises EvidenceError."""
    try:
        lines = raw.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise EvidenceError(f"{what}: not a list of sha256 sums") from error
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found or len(found) == _MAX_LINES:
            raise EvidenceError(f"{what}: not a list of sha256 sums, each file once")
        found[match[2]] = match[1]
    return found


def account_uri(raw: bytes, what: str) -> str:
    """The URI of an account, as certbot or lego keeps it. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what)
    registration = document.get("registration")
    nested = registration if isinstance(registration, dict) else {}
    for value in (document.get("uri"), nested.get("accountURL"), nested.get("uri")):
        if isinstance(value, str) and value:
            return value
    raise EvidenceError(f"{what}: no URI of an account")


def named_keys(bundle: Bundle, key: bytes) -> tuple[list[NamedKey], list[EvidenceError]]:
    """The quotes that name a key (DER SubjectPublicKeyInfo), and why others cannot be read."""
    files = {
        hashlib.sha256(bundle.blob(item)).hexdigest(): item for item in bundle.of(Kind.INGRESS_FILE)
    }
    found, unread = list[NamedKey](), list[EvidenceError]()
    for artifact in bundle.of(Kind.INGRESS_QUOTE):
        try:
            named = _named(bundle, artifact, files, key)
        except EvidenceError as error:
            unread.append(error)
        else:
            found += [named] if named is not None else []
    return found, sorted(unread, key=lambda error: error.message)


def _named(
    bundle: Bundle, artifact: Artifact, files: Mapping[str, Artifact], key: bytes
) -> NamedKey | None:
    """What one quote says of a key, None where it names none or another. Raises EvidenceError."""
    answer = bundle.read(artifact, parse_quote_answer, f"{QUOTE} of the endpoint")
    named = parse_quote(answer.quote, f"TD quote ({QUOTE} of the endpoint)").report_data
    listing = files.get(named[:32].hex())
    if listing is None or any(named[32:]):
        return None
    listed = bundle.read(listing, parse_listing, f"{LISTING} of the endpoint")
    there = {name: files[digest] for name, digest in listed.items() if digest in files}
    certificate = next((x for n, x in there.items() if _is_of(bundle, n, x, key)), None)
    if certificate is None:
        return None
    account = there.get(ACCOUNT)
    return NamedKey(
        PresentedQuote(
            channel=CHANNEL_GET_QUOTE,
            quote=answer.quote,
            evidence=artifact.at("/quote"),
            log=answer.event_log,
            log_evidence=artifact.at("/event_log"),
            vm_config=answer.vm_config,
        ),
        bundle.read(account, account_uri, f"{ACCOUNT} of the endpoint") if account else "",
        tuple(filter(None, (artifact, listing, certificate, account))),
    )


def _is_of(bundle: Bundle, name: str, artifact: Artifact, key: bytes) -> bool:
    """Whether a file is a certificate of a key."""
    if not name.endswith(".pem"):
        return False
    chain = bundle.read(artifact, parse_peer, f"{name} of the endpoint")
    return spki(chain.certificates[0]) == key
