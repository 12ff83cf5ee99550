"""What resolvers say about the name of an endpoint, as it was collected.

An answer is recorded under `<resolver>?name=NAME&type=TYPE`. What is asked of a name of the app's
own, and of one below a gateway's base:

    CAA    of the name, and of every name above it
    TXT    of `_dstack-app-address.NAME`, before dstack 0.5.4 `_tapp-address.NAME`, and since 0.5.8
           of `_dstack-app-address-wildcard.PARENT`: `<app id or instance id>:<port>`
    CNAME  of the name: `_.<base>` of the gateway that routes it
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.dns_message import DnsAnswer, ancestors, parse_answer
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.patterns import pattern

_APP: Final = "_dstack-app-address"
_MAX_NAMES: Final = 16
_ADDRESS: Final = pattern(rb"([0-9a-fA-F]{40}):[0-9]{1,5}", re.ASCII)

Question = tuple[str, str]
"""A name and a type."""


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
    route = endpoint.route
    if (route is not None and route.ending is Ending.GUEST) or not endpoint.is_name:
        return ()
    caa = tuple((name, "CAA") for name in ancestors(endpoint.host)[:_MAX_NAMES])
    if route is not None:
        return caa
    return (
        *caa,
        *((name, "TXT") for name in address_names(endpoint.host)),
        (endpoint.host, "CNAME"),
    )


def address_names(host: str) -> tuple[str, ...]:
    """Where the app of a custom domain is told, in the order in which a gateway looks."""
    parent = host.partition(".")[2]
    return (f"{_APP}.{host}", f"_tapp-address.{host}", f"{_APP}-wildcard.{parent}")


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
