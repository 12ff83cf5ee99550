"""Where the name of an endpoint leads, as resolvers say it and as the guest measured it."""

from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.chain.view import DisagreementError
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, failed
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.dns_message import DnsAnswer
from verifier.evidence.domain import (
    Question,
    address_names,
    app_addresses,
    gateway_base,
    questions,
    read_answers,
)
from verifier.evidence.endpoint import Endpoint
from verifier.manifest.read import read_manifest
from verifier.model.result import EvidenceRef

_RESOLVERS: Final = 2
_GATEWAY_DOMAIN: Final = "GATEWAY_DOMAIN"
"""The variable by which dstack-ingress is told which gateway serves it (dstack-examples
custom-domain/dstack-ingress): `_.BASE` or `gateway.BASE`."""


class Names:
    """What resolvers agree on about the names of one endpoint."""

    def __init__(self, case: Case) -> None:
        self._told = read_answers(case.evidence.bundle)
        self.evidence: list[EvidenceRef] = []

    def agreed(self, asked: Question) -> DnsAnswer:
        """What two resolvers say alike. Raises MissingEvidence where fewer say anything that can be
        read, DisagreementError where two differ."""
        name, kind = asked
        told = {
            host: item.answer
            for host, item in sorted(self._told.get(asked, {}).items())
            if item.answer is not None
        }
        if len(told) < _RESOLVERS:
            alone = f"{next(iter(told))} alone tells" if told else "no resolver tells"
            raise MissingEvidence(
                f"{alone} the {kind} records of {name}{self._why(asked)}",
                hint="collect again, where two resolvers can be asked by DNS over HTTPS",
            )
        (first_host, first), *others = told.items()
        for host, other in others:
            if _records(first) != _records(other):
                raise DisagreementError(
                    f"{first_host} and {host} differ about the {kind} records of {name}",
                    hint="the records may just be changing: collect again in an hour; if they "
                    "still differ, one of the two is lied to",
                )
        self.evidence += [item.artifact.ref for item in self._told[asked].values()]
        return first

    def _why(self, asked: Question) -> str:
        problems = sorted(filter(None, (x.problem for x in self._told.get(asked, {}).values())))
        return f": {problems[0]}" if problems else ""


def _records(answer: DnsAnswer) -> tuple[object, ...]:
    return answer.aliases[1:], answer.texts, answer.caa


class Route(Struct, frozen=True):
    """Where a name leads: in words where it is this app, and what is doubtful about it."""

    words: str
    doubts: tuple[str, ...] = ()


def route_of(case: Case, endpoint: Endpoint, names: Names) -> Route | Outcome:
    """Where the name of an endpoint leads, or what is false about it. Raises MissingEvidence,
    DisagreementError."""
    own = {case.identity.app_id.hex(), case.identity.instance} - {""}
    return _routed(endpoint, own) if endpoint.route else _told(case, endpoint, names, own)


def _routed(endpoint: Endpoint, own: set[str]) -> Route | Outcome:
    """Where a name below a gateway's base leads."""
    route = endpoint.route
    named = route.identifier if route is not None else ""
    if named in own:
        return Route(f"the name {endpoint.host} holds this app's id")
    return failed(
        f"the name {endpoint.host} holds the id of another app, or of another instance",
        expected=[*sorted(own)],
        actual=named,
        remediation="the address is not one of the app that you ask about",
    )


def _told(case: Case, endpoint: Endpoint, names: Names, own: set[str]) -> Route | Outcome:
    """Where a name of the app's own leads. Raises MissingEvidence, DisagreementError."""
    if not questions(endpoint):
        raise MissingEvidence(
            f"{endpoint.host} is no name of the DNS",
            hint="name the endpoint as its users do",
        )
    for name in address_names(endpoint.host):
        told = app_addresses(names.agreed((name, "TXT")))
        ids = tuple(filter(None, told))
        if not ids:
            continue
        if set(ids) <= own:
            through = _through(case, endpoint.host, names)
            doubts = list(through.doubts)
            if len(ids) < len(told):
                doubts.append(f"TXT of {name} has a record, too, that names no app's id")
            return Route(f"TXT of {name} names this app{through.words}", tuple(doubts))
        return failed(
            f"TXT of {name} names another app",
            expected=[*sorted(own)],
            actual=[*sorted(set(ids))],
            evidence=tuple(names.evidence),
            remediation="gateways lead users of this name elsewhere: do not use it for this app",
        )
    raise MissingEvidence(
        f"no TXT record of {endpoint.host} names an app, so that no gateway routes it",
        hint=f"its owner sets TXT {address_names(endpoint.host)[0]} to <app id>:<port>",
    )


def _through(case: Case, host: str, names: Names) -> Route:
    """The gateway that a name of the app's own is an alias of: one that somebody knows, and where
    the measured manifest names one, that one. Raises MissingEvidence, DisagreementError."""
    aliases = names.agreed((host, "CNAME")).aliases[1:]
    # An alias may lead over a delegated zone; only another question is followed to its end.
    aliases = names.agreed((host, "CAA")).aliases[1:] or aliases
    if not aliases:
        return Route("", (f"{host} is no alias of a gateway's name",))
    # Every name right below a gateway's base leads to the gateway.
    bases = {base for name in aliases for base in (gateway_base(name), name.partition(".")[2])}
    measured, decided_later = _measured_gateways(case)
    if measured and not bases & measured:
        named = ", ".join(sorted(measured))
        said = f"{host} is an alias of {aliases[-1]}; the measured {_GATEWAY_DOMAIN} is {named}"
        return Route("", (said,))
    met = sorted(bases & (measured | _known_gateways(case)))
    if not met:
        return Route("", (f"{host} is an alias of {aliases[-1]}, which is no known gateway",))
    later = f" ({_GATEWAY_DOMAIN} is set at deployment)" if decided_later else ""
    return Route(f", by the gateway {met[0]}{later}")


def _known_gateways(case: Case) -> set[str]:
    """The base domains of the gateways that the relying party knows."""
    known = {urlsplit(row.url).hostname or "" for row in case.reference.gateways}
    return (known | set(case.question.gateways)) - {""}


def _measured_gateways(case: Case) -> tuple[set[str], bool]:
    """The base domains of the gateways that the measured manifest names for its ingress, and
    whether somebody else names one when it is deployed."""
    bases, decided_later = set[str](), False
    with suppress(MissingEvidence, EvidenceError):
        for service in read_manifest(case.measured_manifest.value).services:
            entry = service.environment.get(_GATEWAY_DOMAIN)
            if entry is not None and entry.literal:
                bases.add(gateway_base(entry.literal.strip().rstrip(".").lower()))
            elif entry is not None:
                decided_later = True
    return bases, decided_later
