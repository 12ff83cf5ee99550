"""What resolvers say about the name of an endpoint, as it was collected.

An answer is recorded under `<resolver>?name=NAME&type=TYPE`. What is asked of a name of the app's
own, and of one below a gateway's base:

    CAA    of the name, and of every name above it
    TXT    of `_dstack-app-address.NAME`, before dstack 0.5.4 `_tapp-address.NAME`, and since 0.5.8
           of `_dstack-app-address-wildcard.PARENT`: `<app id or instance id>:<port>`
    TXT    of `_validation-persist.NAME`, and of the names above it: which account at which CA may
           get certificates without any other proof (draft-ietf-acme-dns-persist-01)
    CNAME  of the name: `_.<base>`, or any other name, of the gateway that routes it
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.dns_message import Caa, DnsAnswer, ancestors, parse_answer
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.patterns import pattern

_APP: Final = "_dstack-app-address"
_STANDING: Final = "_validation-persist"
_MAX_NAMES: Final = 16
_MAX_DIGITS: Final = 20
_ISSUED_BY: Final = {"zerossl.com": "sectigo.com"}
"""Whose name CAA records hold for a CA that has another issue its certificates (help.zerossl.com,
Invalid CAA Records)."""

_ADDRESS: Final = pattern(rb"([0-9a-fA-F]{40}):[0-9]{1,5}", re.ASCII)

Question = tuple[str, str]
"""A name and a type."""


class Standing(Struct, frozen=True):
    """A standing permission: the account (its URI) at a CA that may get certificates for a name,
    and whether for the names below it, too."""

    name: str
    issuer: str
    account: str
    wildcard: bool


class Told(Struct, frozen=True):
    """What one resolver answered: what it says, or why that cannot be read."""

    artifact: Artifact
    answer: DnsAnswer | None
    problem: str = ""


def dns_source(resolver: str, name: str, kind: str) -> str:
    """What an answer is recorded under."""
    return f"{resolver}?name={name}&type={kind}"


def questions(endpoint: Endpoint) -> tuple[Question, ...]:
    """What is asked about the name of an endpoint; nothing where the guest ends connections to a
    name below its gateway's base: only its certificate counts there."""
    if endpoint.ending is Ending.GUEST or not endpoint.is_name:
        return ()
    caa = tuple((name, "CAA") for name in ancestors(endpoint.host)[:_MAX_NAMES])
    certified = (*caa, *standing_questions(endpoint.host))
    if endpoint.route is not None:
        return certified
    return (
        *certified,
        *((name, "TXT") for name in address_names(endpoint.host)),
        (endpoint.host, "CNAME"),
    )


def address_names(host: str) -> tuple[str, ...]:
    """Where the app of a custom domain is told, in the order in which a gateway looks."""
    parent = host.partition(".")[2]
    return (f"{_APP}.{host}", f"_tapp-address.{host}", f"{_APP}-wildcard.{parent}")


def gateway_base(name: str) -> str:
    """The base domain of the gateway that a name is said to be of: `_.BASE`, `gateway.BASE`, or the
    base itself."""
    label, _, base = name.partition(".")
    return base if label in ("_", "gateway") else name


def standing_questions(host: str) -> tuple[Question, ...]:
    """Where accounts may be named that need no other proof for a host: at the name and above it,
    but for a top-level domain."""
    return tuple((f"{_STANDING}.{name}", "TXT") for name in ancestors(host)[:_MAX_NAMES][:-1])


def standing_permissions(answer: DnsAnswer, at: int) -> tuple[Standing, ...]:
    """The permissions in an answer that are in force at a time (Unix seconds). A record that names
    no account, or is no list of parameters, gives none (draft-ietf-acme-dns-persist-01, 3); an end
    that is no number counts as none."""
    found = []
    for strings in answer.texts:
        value = Caa("issue", b"".join(strings).decode("ascii", "backslashreplace"), critical=False)
        parameters = value.parameters or {}
        until = parameters.get("persistuntil", "")
        over = until.isdigit() and len(until) < _MAX_DIGITS and int(until) < at
        if value.issuer and parameters.get("accounturi") and not over:
            wildcard = parameters.get("policy", "").lower() == "wildcard"
            name = answer.name.removeprefix(f"{_STANDING}.")
            found.append(Standing(name, value.issuer, parameters["accounturi"], wildcard))
    return tuple(found)


def is_account_of(uri: str, issuer: str) -> bool:
    """Whether an account is at the CA that a CAA record names, by the host of its URI. What a
    parameter means, each CA says for itself (RFC 8659, 4.2): one that has no such accounts issues
    as if it were not there."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return False
    names = (issuer, *(name for name, by in _ISSUED_BY.items() if by == issuer))
    return bool(host) and any(host == name or host.endswith(f".{name}") for name in names)


def app_addresses(answer: DnsAnswer) -> tuple[str, ...]:
    """The ids (hex) that TXT records name, "" for a record that names none."""
    found = (_ADDRESS.fullmatch(strings[0] if strings else b"") for strings in answer.texts)
    return tuple(match[1].decode("ascii").lower() if match else "" for match in found)


def read_answers(bundle: Bundle) -> Mapping[Question, Mapping[str, Told]]:
    """Every recorded answer, by question and by the resolver's host. One that answered twice, and
    not the same, says nothing."""
    found: dict[Question, dict[str, Told]] = {}
    for artifact in bundle.of(Kind.DNS_MESSAGE):
        parts = urlsplit(artifact.source)
        asked = parse_qs(parts.query)
        name, kind = (asked.get(key, [""])[0] for key in ("name", "type"))
        host = parts.hostname or ""
        try:
            answer = parse_answer(bundle.blob(artifact), name, kind, f"{kind} of {name} by {host}")
            told = Told(artifact, answer)
        except EvidenceError as error:
            told = Told(artifact, None, error.message)
        by_host = found.setdefault((name, kind), {})
        if host in by_host and by_host[host].answer != told.answer:
            told = Told(artifact, None, f"{host} answers twice, and not the same")
        by_host[host] = told
    return found
