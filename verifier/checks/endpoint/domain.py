"""Where the name of an endpoint leads, and who else may get a certificate for it."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.chain.view import DisagreementError
from verifier.checks.case import Case
from verifier.checks.endpoint.gateway import judge_account
from verifier.checks.endpoint.ingress import judge_naming
from verifier.checks.endpoint.tls import committed, unasked, worst_met
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import MissingEvidence
from verifier.evidence.dns_message import DnsAnswer, ancestors, issuers, relevant_set
from verifier.evidence.domain import (
    Question,
    address_names,
    app_addresses,
    questions,
    read_answers,
)
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.evidence.subject import Located, certificate_source
from verifier.evidence.td.ra_tls import RaTlsChain, spki
from verifier.model.result import EvidenceRef

_RESOLVERS: Final = 2
_GATEWAY: Final = "the gateway"
_APP: Final = "the app"


class _Names:
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


@check(
    "endpoint.domain",
    "The endpoint's name leads to this app, and nobody else can be taken for it",
    requires=("application.identity",),
    unasked=unasked,
)
def domain(case: Case) -> Outcome:
    """The name of the endpoint leads to this app: below a gateway's base it holds the app's id or
    this instance's; a name of the app's own has a TXT record of that id, by which a gateway routes.
    One that names another app fails. And nobody else can be taken for the app: whoever connects
    checks a certificate with the judged quote, so that no CA's word counts; or CAA (RFC 8659), for
    the name and for a wildcard above it, lets a CA issue only for the account that a genuine quote
    names, the gateway's or that of dstack-ingress in the app, byte for byte, and which is at that
    CA by the host of its URI. A name that other accounts may get a certificate for is a warning,
    and so is an account that only the evidences of dstack-ingress name, as the key that they name.
    Two resolvers have to tell the same: one alone is no evidence, and two that differ are an error
    that names both. Where they agree they are believed: DNSSEC is not validated, and the logs of
    Certificate Transparency are not read."""
    return worst_met(case, _judged)


class _Route(Struct, frozen=True):
    """Where a name leads: in words where it is this app, and what is doubtful about it."""

    words: str
    doubts: tuple[str, ...] = ()


def _judged(case: Case, endpoint: Endpoint, peer: Located[RaTlsChain]) -> Outcome:
    names = _Names(case)
    own = {case.identity.app_id.hex(), (case.identity.instance_id or b"").hex()} - {""}
    leads = _routed(endpoint, own) if endpoint.route else _told(endpoint, names, own)
    evidence = (peer.artifact.ref, *names.evidence)
    if isinstance(leads, Outcome):
        return leads
    key = spki(peer.value.certificates[0])
    carries = certificate_source(peer.value, peer.artifact.ref) is not None
    if carries and committed(case, key):
        said = f"{leads.words}; its certificate is the judged guest's: no CA's word counts"
        return passed(said, evidence=evidence)
    return _certified(case, endpoint, key, leads, names)


def _routed(endpoint: Endpoint, own: set[str]) -> _Route | Outcome:
    """Where a name below a gateway's base leads."""
    route = endpoint.route
    named = route.identifier if route is not None else ""
    if named in own:
        return _Route(f"the name {endpoint.host} holds this app's id")
    return failed(
        f"the name {endpoint.host} holds the id of another app, or of another instance",
        expected=[*sorted(own)],
        actual=named,
        remediation="the address is not one of the app that you ask about",
    )


def _told(endpoint: Endpoint, names: _Names, own: set[str]) -> _Route | Outcome:
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
            target = names.agreed((endpoint.host, "CNAME")).aliases[1:]
            doubts = [] if target else [f"{endpoint.host} is no alias of a gateway's name"]
            if len(ids) < len(told):
                doubts.append(f"TXT of {name} has a record, too, that names no app's id")
            return _Route(f"TXT of {name} names this app", tuple(doubts))
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


def _certified(case: Case, endpoint: Endpoint, key: bytes, leads: _Route, names: _Names) -> Outcome:
    """The outcome where users rely on the word of a CA. Raises MissingEvidence."""
    asked = [names.agreed((name, "CAA")) for name in ancestors(endpoint.host)]
    evidence = tuple(names.evidence)
    account, holder = _attested_account(case, endpoint, key)
    doubts = [*leads.doubts, *_others(endpoint.host, asked, account)]
    if doubts:
        return warned(
            "; ".join(doubts),
            expected={"accounturi": account},
            evidence=evidence,
            remediation="the owner of the domain restricts it by CAA: issue and issuewild, "
            "with the accounturi of the attested account",
        )
    if holder == _APP:
        return warned(
            f"{leads.words}, and CAA lets only the account certify it that dstack-ingress names",
            expected="an account that code of the platform has quoted, and no app can name",
            actual={"accounturi": account},
            evidence=evidence,
            reason="only the app's code says that the account is its own: whoever may ask the app "
            "for quotes can have one made that names another",
            remediation="read in the manifest which containers can ask for quotes",
        )
    return passed(
        f"{leads.words}, and CAA lets only the attested account of {holder} certify it",
        actual={"accounturi": account},
        evidence=evidence,
    )


def _attested_account(case: Case, endpoint: Endpoint, key: bytes) -> tuple[str, str]:
    """The account that may get certificates, and whose it is, as a genuine quote says. Raises
    MissingEvidence, EvidenceError."""
    route = endpoint.route
    if route is not None and route.ending is Ending.GATEWAY:
        account, judged = judge_account(case)
        holder, bad = _GATEWAY, judged.failed or judged.unproven
    else:
        naming = judge_naming(case, key)
        account = naming.account if naming is not None else ""
        holder, bad = _APP, (naming.failed or naming.unproven) if naming else None
    if bad is not None:
        raise MissingEvidence(f"the account of {holder} is not attested: {bad.id}: {bad.summary}")
    if not account:
        raise MissingEvidence(
            "nothing attests which account at a CA may get certificates for this name",
            hint="dstack-ingress publishes it with a quote under /evidences/",
        )
    return account, holder


def _others(host: str, asked: list[DnsAnswer], account: str) -> list[str]:
    """Who else may get a certificate that holds for a host, in words."""
    doubts = []
    parent = host.partition(".")[2]
    for name, wildcard, shown in ((host, False, host), (parent, True, f"*.{parent}")):
        records = relevant_set(name, asked) or ()
        allowed = issuers(records, wildcard=wildcard)
        if allowed is None:
            doubts.append(f"no CAA record keeps any CA from certifying {shown}")
            continue
        for item in allowed:
            uri = (item.parameters or {}).get("accounturi")
            if uri != account:
                whom = f"the account {uri}" if uri else "any account"
                doubts.append(f"{item.issuer} may certify {shown} for {whom}")
            elif not _is_at(uri, item.issuer):
                doubts.append(
                    f"{item.issuer} may certify {shown} for any account, unless it heeds one of "
                    f"another CA: {uri}"
                )
    return list(dict.fromkeys(doubts))


def _is_at(uri: str, issuer: str) -> bool:
    """Whether an account is at the CA that a CAA record names, by the host of its URI. What a
    parameter means, each CA says for itself (RFC 8659, 4.2): one that has no such accounts issues
    as if it were not there."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return False
    return host == issuer or host.endswith(f".{issuer}")


CHECKS: Final = (domain,)
