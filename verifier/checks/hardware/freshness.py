"""How old the evidence is: its collateral, and what bounds the age of a quote."""

from typing import Final

from verifier.checks.application.app_certificate import vouched
from verifier.checks.authorization.contract import contract
from verifier.checks.authorization.history import history_of, unknown_upgrades
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, holds, passed, warned
from verifier.checks.key_management import keys as key_management
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.chain import contracts
from verifier.evidence.chain.canonical_logs import TimedLog
from verifier.model.chain import OPERATORS
from verifier.model.identifiers import format_time

_DAY: Final = 86400


@check("hardware.freshness", "The evidence is fresh", requires=("hardware.quote",))
def freshness(case: Case) -> Outcome:
    """No part of the collateral (TCB info, QE identity, PCK revocation list) is older than the
    policy allows, nor is the root's own revocation list, which is renewed once a year and has a
    limit of its own, and no newer one of the root is in the evidence; and something bounds the age
    of the quote: a challenge in its report data, or the chain, since the KMS signs the certificate
    that carries the quote only once the measured manifest is authorized; the certificate's dates
    are its requester's, and bound nothing. A quote carries no time of its own; one whose age
    nothing bounds says only that such a TD existed once."""
    demands, at = case.demands, case.question.at
    doubts = []
    age = (at - case.collateral.oldest) / _DAY
    if age > demands.max_collateral_age:
        doubts.append(f"the collateral is {age:.0f} days old")
    root_age = (at - case.collateral.root_crl_issued) / _DAY
    if root_age > demands.max_root_crl_age:
        doubts.append(f"the root's revocation list is {root_age:.0f} days old")
    if case.collateral.newest_root_crl > case.collateral.root_crl_issued:
        newest = format_time(case.collateral.newest_root_crl)
        doubts.append(f"a newer revocation list of the root, of {newest}, is in the evidence")
    since = _not_before(case)
    if since is None:
        doubts.append("nothing bounds the quote's age: such a TD existed")
    elif (at - since) / _DAY > demands.max_quote_age:
        doubts.append(f"the quote may be {(at - since) / _DAY:.0f} days old")
    if doubts:
        return warned(
            "; ".join(doubts),
            expected={
                "max_collateral_age": f"{demands.max_collateral_age} days",
                "max_root_crl_age": f"{demands.max_root_crl_age} days",
                "max_quote_age": f"{demands.max_quote_age} days",
            },
            evidence=(case.presented.evidence,),
            remediation="ask the app for a quote over a challenge of your own, and pass it with "
            "--challenge",
        )
    bound = "it answers the challenge" if since == at else f"made after {format_time(since or 0)}"
    return passed(
        f"collateral of {format_time(case.collateral.oldest)}; quote: {bound}",
        evidence=(case.presented.evidence, *case.collateral.evidence),
    )


def _not_before(case: Case) -> int | None:
    """A time (Unix seconds) before which the quote cannot have been made, or None.

    With a challenge: the time of judgement. Else the first authorization of the measured manifest,
    when two operators give the logs of the app's contract, with block times.
    """
    if case.answers_challenge:
        return case.question.at
    try:
        logs, compose_hash = _governed_logs(case), case.identity.compose_hash
    except (MissingEvidence, EvidenceError):
        return None
    added = bytes.fromhex(contracts.COMPOSE_HASH_ADDED[2:])
    times = [
        item.time
        for item in logs
        if item.log.topics[:1] == (added,) and compose_hash in (item.log.data, *item.log.topics[1:])
    ]
    first = times[0] if times else None
    return first if first is not None and first <= case.question.at else None


def _governed_logs(case: Case) -> tuple[TimedLog, ...]:
    """The logs of the app's contract, with block times, where two operators give them and known
    code wrote them: whoever wrote the contract could have written any event."""
    if case.chain_plan is None:
        return ()
    if not vouched(case):
        return ()
    if not all(holds(spec, case) for spec in (key_management.provider, contract)):
        return ()
    found = history_of(case)
    if found is None or unknown_upgrades(case, found):
        return ()
    agreed = found.app_stream.agreed
    independent = found.reader.operators_of(agreed.sources) >= OPERATORS
    return agreed.logs if independent and not agreed.pieced and not agreed.problems else ()


CHECKS: Final = (freshness,)
