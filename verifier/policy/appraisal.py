"""From check results to a verdict, under a policy."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from verifier.model.result import (
    Basis,
    CheckResult,
    Claim,
    Requirement,
    SkipKind,
    Status,
    Verdict,
)
from verifier.policy.policy import Policy

EXPECTED_BY: Final = {
    "app_id": "application.identity",
    "compose_hash": "application.manifest",
    "os_image_hash": "boot.image",
    "device": "hardware.tcb",
}
"""Which check an expectation of the relying party decides."""

_PROVEN: Final = (Basis.HARDWARE, Basis.MEASURED, Basis.REFERENCE)


def appraise(
    results: Iterable[CheckResult], claims: Mapping[str, Claim], policy: Policy
) -> tuple[Verdict, tuple[CheckResult, ...]]:
    """The verdict, and the results with what the policy asks and expects of each."""
    judged = tuple(
        replace(_expect(result, claims, policy), requirement=_asked(result.id, policy))
        for result in results
    )
    return verdict_of(judged), judged


def verdict_of(results: Iterable[CheckResult]) -> Verdict:
    """Any failure is contraindicated; else a required check that is missing gives none; else an
    advisory one that is missing, or any warning, gives warning; else affirming. No check, none."""
    asked = [item for item in results if item.requirement is not Requirement.NOT_ASKED]
    if any(item.status is Status.FAIL for item in asked):
        return Verdict.CONTRAINDICATED
    missing = {item.requirement for item in asked if _is_missing(item)}
    if not asked or Requirement.REQUIRED in missing:
        return Verdict.NONE
    if missing or any(item.status is Status.WARN for item in asked):
        return Verdict.WARNING
    return Verdict.AFFIRMING


def _asked(check_id: str, policy: Policy) -> Requirement:
    """What is asked of a check; one that decides an expectation is always required."""
    if any(
        policy.expect.get(name) and decides == check_id for name, decides in EXPECTED_BY.items()
    ):
        return Requirement.REQUIRED
    return policy.requirement(check_id)


def _is_missing(result: CheckResult) -> bool:
    return result.status is Status.ERROR or (
        result.status is Status.SKIP and result.skip_kind is not SkipKind.NOT_APPLICABLE
    )


def _expect(result: CheckResult, claims: Mapping[str, Claim], policy: Policy) -> CheckResult:
    """The result after the relying party's own reference values: only a proven equal value keeps
    a check from failing; one that is not proven makes it missing."""
    for name, check_id in EXPECTED_BY.items():
        allowed = policy.expect.get(name)
        if check_id != result.id or not allowed or result.status is Status.FAIL:
            continue
        claim = claims.get("device_id" if name == "device" else name)
        if claim is None or claim.basis not in _PROVEN:
            return replace(
                result,
                status=Status.SKIP,
                skip_kind=SkipKind.MISSING_EVIDENCE,
                summary=f"not evaluated: an expected {name} was given, and none is proven",
                reason=f"{name} is expected and not proven",
            )
        if claim.value not in allowed:
            return replace(
                result,
                status=Status.FAIL,
                skip_kind=None,
                summary=f"{name} is not the expected one",
                expected=list(allowed),
                actual=claim.value,
                evidence=claim.evidence,
                remediation="the evidence is genuine, but not of what you expect",
            )
    return result
