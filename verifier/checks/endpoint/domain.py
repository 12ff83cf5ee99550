"""Where the name of an endpoint leads, and who else may get a certificate for it."""

from collections.abc import Iterable, Iterator
from typing import Final

from verifier.checks.case import Case
from verifier.checks.endpoint.gateway import judge_account
from verifier.checks.endpoint.ingress import judge_naming
from verifier.checks.endpoint.names import Names, Route, route_of
from verifier.checks.endpoint.tls import committed, unasked, worst_met
from verifier.checks.engine import Outcome, check, passed, warned
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.dns_message import DnsAnswer, ancestors, issuers, relevant_set
from verifier.evidence.domain import (
    Standing,
    is_account_of,
    standing_permissions,
    standing_questions,
)
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.evidence.subject import Located, certificate_source
from verifier.evidence.td.ra_tls import RaTlsChain, spki

_GATEWAY: Final = "the gateway"
_APP: Final = "the app"
_ROUTE: Final = (
    "whoever answers there decides whom users of this name meet; if it is a gateway that you know, "
    "name it with --gateway"
)


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
    The name is an alias of a gateway's that the relying party knows, and where the measured
    manifest names one (GATEWAY_DOMAIN), of that one; any other is a warning. So is a standing
    permission in the DNS (TXT of _validation-persist, ACME's dns-persist-01) for another account.
    Two resolvers have to tell the same: one alone is no evidence, and two that differ are an error
    that names both. Where they agree they are believed: DNSSEC is not validated."""
    return worst_met(case, _judged)


def _judged(case: Case, endpoint: Endpoint, peer: Located[RaTlsChain]) -> Outcome:
    names = Names(case)
    leads = route_of(case, endpoint, names)
    evidence = (peer.artifact.ref, *names.evidence)
    if isinstance(leads, Outcome):
        return leads
    key = spki(peer.value.certificates[0])
    carries = certificate_source(peer.value, peer.artifact.ref) is not None
    own = carries and committed(case, key)
    if own and leads.doubts:
        return warned("; ".join(leads.doubts), evidence=evidence, remediation=_ROUTE)
    if own:
        said = f"{leads.words}; its certificate is the judged guest's: no CA's word counts"
        return passed(said, evidence=evidence)
    return _certified(case, endpoint, key, leads, names)


def _certified(case: Case, endpoint: Endpoint, key: bytes, leads: Route, names: Names) -> Outcome:
    """The outcome where users rely on the word of a CA. Raises MissingEvidence."""
    asked = [names.agreed((name, "CAA")) for name in ancestors(endpoint.host)]
    standing = [
        item
        for name, kind in standing_questions(endpoint.host)
        for item in standing_permissions(names.agreed((name, kind)), case.question.at)
    ]
    evidence = tuple(names.evidence)
    account, holder = _attested_account(case, endpoint, key)
    doubts = [
        *leads.doubts,
        *_others(endpoint.host, asked, account),
        *_standing(endpoint.host, standing, account),
    ]
    if doubts:
        return warned(
            "; ".join(doubts),
            expected={"accounturi": account},
            evidence=evidence,
            remediation=_ROUTE
            if leads.doubts
            else "the owner of the domain lets the attested account alone certify it, by its "
            "accounturi in CAA (issue and issuewild) and in TXT of _validation-persist",
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
    if endpoint.ending is Ending.GATEWAY:
        account, judged = judge_account(case)
        holder, bad = _GATEWAY, judged.failed or judged.unproven
    else:
        naming = judge_naming(case, key)
        if naming is not None and len(naming.accounts) > 1:
            raise EvidenceError(
                "the evidences of the endpoint name two accounts: " + " and ".join(naming.accounts)
            )
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
            elif not is_account_of(uri, item.issuer):
                doubts.append(
                    f"{item.issuer} may certify {shown} for any account, unless it heeds one of "
                    f"another CA: {uri}"
                )
    return list(dict.fromkeys(doubts))


def _standing(host: str, found: Iterable[Standing], account: str) -> Iterator[str]:
    """Which other accounts have proven for good that they may get a certificate that holds for a
    host, in words: CAA may keep them from it, as long as it does."""
    for item in found:
        if item.name != host and not item.wildcard:
            continue
        shown = host if item.name == host else f"names below {item.name}"
        if item.account != account or not is_account_of(item.account, item.issuer):
            yield (
                f"TXT of _validation-persist.{item.name} lets the account {item.account} get "
                f"certificates of {item.issuer} for {shown}"
            )


CHECKS: Final = (domain,)
