"""TCB status and freshness: facts of the platform that a policy finds acceptable or not."""

from typing import Final

from verifier.chain.view import OPERATORS
from verifier.checks import authorization, key_management
from verifier.checks.case import Case
from verifier.checks.history import history_of
from verifier.checks.spec import CheckSpec, Outcome, check, failed, holds, passed, warned
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence import contracts
from verifier.evidence.log_scan import TimedLog
from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue
from verifier.policy.policy import Policy

_DAY: Final = 86400


@check("hardware.tcb", "The platform's TCB is acceptable")
def tcb(given: tuple[Case, Policy]) -> Outcome:
    """The platform's TCB status, its quoting enclave's, and the current one of a TD that was
    launched under another, are among those that the policy accepts, none of its security advisories
    is rejected, and the collateral is of a TCB evaluation at least as new as the one in force at
    the time of judgement: the same quote can be UpToDate under an old evaluation and OutOfDate
    under the current one, so a kinder, older set is refused."""
    case, policy = given
    if case.dcap.failure:
        if case.dcap.revoked:
            return failed("the platform's TCB is revoked", actual="Revoked")
        raise Blocked("hardware.quote")
    verified = case.verified
    components = dict(verified.component_statuses)
    actual: JsonValue = {
        "status": verified.tcb_status,
        "components": {**components},
        "advisories": list(verified.advisory_ids),
        "evaluation_number": verified.evaluation_number,
    }
    minimum, dated = _minimum_evaluation(case, policy)
    rejected = sorted(set(verified.advisory_ids) & set(policy.reject_advisories))
    problems = []
    if verified.tcb_status not in policy.tcb_statuses:
        problems.append(f"TCB status {verified.tcb_status}")
    problems.extend(
        f"{name}: {status}"
        for name, status in components.items()
        if status not in policy.tcb_statuses
    )
    if rejected:
        problems.append(f"rejected advisories {', '.join(rejected)}")
    if verified.evaluation_number < minimum:
        problems.append(f"TCB evaluation {verified.evaluation_number}, below {minimum}")
    expected: JsonValue = {
        "status": list(policy.tcb_statuses),
        "evaluation_number": minimum,
    }
    if problems:
        return failed(
            "; ".join(problems),
            expected=expected,
            actual=actual,
            evidence=case.collateral.evidence,
            remediation="the operator has to update the platform's firmware, or the collateral "
            "has to be collected again",
        )
    summary = f"{verified.tcb_status}, TCB evaluation {verified.evaluation_number}"
    if not dated:
        return warned(
            f"{summary}; no reference says which evaluation was in force then",
            expected=expected,
            actual=actual,
        )
    return passed(summary, expected=expected, actual=actual, evidence=case.collateral.evidence)


@check("hardware.freshness", "The evidence is fresh", requires=("hardware.quote",))
def freshness(given: tuple[Case, Policy]) -> Outcome:
    """No part of the collateral (TCB info, QE identity, PCK revocation list) is older than the
    policy allows, nor is the root's own revocation list, which is renewed once a year and has a
    limit of its own, and no newer one of the root is in the evidence; and something bounds the age
    of the quote: a challenge in its report data, or the chain, since the KMS gives a guest its keys
    only once the measured manifest is authorized. A quote carries no time of its own; one whose age
    nothing bounds says only that such a TD existed once."""
    case, policy = given
    at = case.question.at
    doubts = []
    age = (at - case.collateral.oldest) / _DAY
    if age > policy.max_collateral_age:
        doubts.append(f"the collateral is {age:.0f} days old")
    root_age = (at - case.collateral.root_crl_issued) / _DAY
    if root_age > policy.max_root_crl_age:
        doubts.append(f"the root's revocation list is {root_age:.0f} days old")
    if case.collateral.newest_root_crl > case.collateral.root_crl_issued:
        newest = format_time(case.collateral.newest_root_crl)
        doubts.append(f"a newer revocation list of the root, of {newest}, is in the evidence")
    since = _not_before(case)
    if since is None:
        doubts.append("nothing bounds the quote's age: such a TD existed")
    elif (at - since) / _DAY > policy.max_quote_age:
        doubts.append(f"the quote may be {(at - since) / _DAY:.0f} days old")
    if doubts:
        return warned(
            "; ".join(doubts),
            expected={
                "max_collateral_age": policy.max_collateral_age,
                "max_root_crl_age": policy.max_root_crl_age,
                "max_quote_age": policy.max_quote_age,
            },
            evidence=(case.source.evidence,),
            remediation="ask the app for a quote over a challenge of your own, and pass it with "
            "--challenge",
        )
    bound = "it answers the challenge" if since == at else f"made after {format_time(since or 0)}"
    return passed(
        f"collateral of {format_time(case.collateral.oldest)}; quote: {bound}",
        evidence=(case.source.evidence, *case.collateral.evidence),
    )


def _minimum_evaluation(case: Case, policy: Policy) -> tuple[int, bool]:
    """The least acceptable evaluation number, and whether a reference dates it."""
    rows = [
        row.number for row in case.reference.tcb_evaluations if row.valid_from <= case.question.at
    ]
    return max([policy.minimum_evaluation_number, *rows]), bool(rows)


def _not_before(case: Case) -> int | None:
    """A time (Unix seconds) before which the quote cannot have been made, or None.

    With a challenge: the time of judgement. Else the first authorization of the measured manifest,
    when two operators give the logs of the app's contract, with block times.
    """
    challenge, report_data = case.question.challenge, case.quote.report_data
    if challenge and challenge in (report_data[: len(challenge)], report_data[-len(challenge) :]):
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
    if not all(holds(spec, case) for spec in (key_management.provider, authorization.contract)):
        return ()
    found = history_of(case)
    if found is None:
        return ()
    agreed = found.app_stream.agreed
    independent = found.reader.operators_of(agreed.sources) >= OPERATORS
    return agreed.logs if independent and not agreed.pieced and not agreed.problems else ()


POLICY_CHECKS: Final[tuple[CheckSpec[tuple[Case, Policy]], ...]] = (tcb, freshness)
