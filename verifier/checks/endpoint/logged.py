"""Which other keys public CAs certified for the endpoint's name, by a search of their logs."""

from typing import Final
from urllib.parse import urlsplit

from verifier.checks.case import Case
from verifier.checks.endpoint import tls
from verifier.checks.endpoint.gateway import judge_gateway
from verifier.checks.endpoint.ingress import judge_naming
from verifier.checks.engine import Outcome, check, missing, not_applicable, passed, warned
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.certificate_log import Logged, Search, read_search, shown_keys
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.evidence.subject import Located
from verifier.evidence.td.ra_tls import RaTlsChain
from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue

_SHOWN: Final = 4


def unasked(case: Case) -> Outcome | None:
    """The outcome where the relying party names no endpoint, or no search of logs."""
    if case.question.endpoint is not None and not case.question.ct_searches:
        return not_applicable("no search of certificate logs was named (--ct-url)")
    return tls.unasked(case)


@check(
    "endpoint.logged",
    "Every certificate that was logged for the endpoint's name is for an attested key",
    requires=("application.identity",),
    unasked=unasked,
)
def logged(case: Case) -> Outcome:
    """Each certificate that a search of Certificate Transparency logs lists for the endpoint's
    name, or for the wildcard above it, and that is in force, is for a key that a genuine quote
    commits to: that of the judged guest, of its dstack-ingress, or of the gateway. Any other is
    named, and a warning: an earlier certificate of the app may be one, and so may somebody else's.
    It is never more, since nobody signs what a search says; and a pass is its word, too: what it
    leaves out nobody sees. A search that does not answer, or shows less than it lists, is missing.
    Names below a gateway's base that the guest itself ends are not looked at: the gateway's
    certificate is for them, too, and who connects there checks the guest's own. It does not apply
    where no search was named (--ct-url)."""
    return tls.worst_met(case, _judged)


def _judged(case: Case, endpoint: Endpoint, peer: Located[RaTlsChain]) -> Outcome:
    if endpoint.ending is Ending.GUEST or not endpoint.is_name:
        return not_applicable(f"whoever connects to {endpoint.host} checks the guest's own key")
    bundle, at = case.evidence.bundle, case.question.at
    foreign: dict[tuple[str, int], Logged] = {}
    lacking, count = list[str](), 0
    for base in case.question.ct_searches:
        search = read_search(bundle, base, endpoint, at)
        keys = shown_keys(bundle, base, search.listed)
        attested = {key: _is_attested(case, endpoint, key) for key in set(keys.values())}
        foreign |= {(row.issuer, row.serial): row for row, key in keys.items() if not attested[key]}
        lacking += _lacking(search, len(search.listed) - len(keys))
        count = max(count, len(keys))
    rows = sorted(foreign.values(), key=lambda row: (-row.not_before, row.serial))
    named: list[JsonValue] = [_json(row) for row in rows]
    words = [f"{row.issuer} certified another key, from {_day(row)} on" for row in rows[:_SHOWN]]
    words += [f"and {len(rows) - _SHOWN} more"] * (len(rows) > _SHOWN)
    evidence = (peer.artifact.ref,)
    if lacking:
        reason = "; ".join((*lacking, *words))
        hint = "ask again later, or name another search that answers as crt.sh does"
        return missing(reason, reason=reason, actual=named, evidence=evidence, remediation=hint)
    if rows:
        return warned(
            "; ".join(words),
            expected="certificates for attested keys alone",
            actual=named,
            evidence=evidence,
            reason="nothing attests these keys, by the word of the search alone; an earlier "
            "certificate of the app's own may be among them",
            remediation="ask the app's developers whose these are; the owner of the name can have "
            "them revoked",
        )
    return passed(
        f"{count} certificates in force were logged for {endpoint.host}, each for an attested key",
        evidence=evidence,
        reason="by the word of the search alone: what it leaves out nobody sees",
    )


def _lacking(search: Search, unshown: int) -> list[str]:
    """What one search did not tell, in words."""
    host = urlsplit(search.base).hostname or search.base
    said = [f"{host} does not tell every logged certificate: {search.problem}"]
    unseen = [f"{host} shows no certificate for {unshown} that it lists"]
    return (said if search.problem else []) + (unseen if unshown else [])


def _is_attested(case: Case, endpoint: Endpoint, key: bytes) -> bool:
    """Whether a genuine quote commits to a key: the judged one, or one of whoever ends connections
    to this address."""
    if tls.committed(case, key):
        return True
    try:
        holder = judge_gateway(case, key) if endpoint.route else judge_naming(case, key)
    except (MissingEvidence, EvidenceError):
        return False
    return holder is not None and not (holder.failed or holder.unproven)


def _day(row: Logged) -> str:
    return format_time(row.not_before)[:10]


def _json(row: Logged) -> JsonValue:
    return {
        "issuer": row.issuer,
        "serial": f"{row.serial:x}",
        "not_before": format_time(row.not_before),
        "not_after": format_time(row.not_after),
        "names": [*sorted(row.names)],
    }


CHECKS: Final = (logged,)
