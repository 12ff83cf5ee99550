"""From check results to a verdict, under a policy."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeGuard

from msgspec.structs import replace

from verifier.checks.demands import BOOT_MACHINE, Waiver, waiver_for
from verifier.model.result import (
    Basis,
    CheckResult,
    Claim,
    JsonValue,
    Requirement,
    SkipKind,
    Status,
    Verdict,
)
from verifier.policy.policy import DECIDED_BY, Policy

_CLAIM_OF: Final = {"device": "device_id", "os_release": "os_image"}
_PROVEN: Final = (Basis.HARDWARE, Basis.MEASURED, Basis.REFERENCE)
_COMPARED: Final = ("image", "kms")
"""By their checks themselves: no claim names each image, and a KMS has several names."""
_COUNTS: Final = (Status.FAIL, Status.WARN)


def appraise(
    results: Iterable[CheckResult], claims: Mapping[str, Claim], policy: Policy, now: int
) -> tuple[Verdict, tuple[CheckResult, ...]]:
    """The verdict, and the results with what the policy asks and expects of each.

    `now` (Unix seconds) is when waivers are judged: the later of the time of judgement and that of
    collection.
    """
    judged = tuple(_judge(result, claims, policy, now) for result in results)
    absent = policy.undecided(item.id for item in judged)
    return verdict_of(judged, (policy.requirement(check_id) for check_id in absent)), judged


def verdict_of(results: Iterable[CheckResult], absent: Iterable[Requirement] = ()) -> Verdict:
    """Any failure is contraindicated; else any error, or a required check that is missing, gives
    none; else an advisory one that is missing, or any warning, gives warning; else affirming. No
    check, none.

    An error counts wherever it is asked about: whoever can spoil the evidence of a failure would
    otherwise turn it into a warning. `absent` is what is asked of checks that are not among the
    results."""
    asked = [item for item in results if item.requirement is not Requirement.NOT_ASKED]
    if any(item.status is Status.FAIL for item in asked):
        return Verdict.CONTRAINDICATED
    missing = {*absent, *(item.requirement for item in asked if _is_missing(item))}
    erred = any(item.status is Status.ERROR for item in asked)
    if not asked or erred or Requirement.REQUIRED in missing:
        return Verdict.NONE
    if missing or any(item.status is Status.WARN for item in asked):
        return Verdict.WARNING
    return Verdict.AFFIRMING


def _judge(
    result: CheckResult, claims: Mapping[str, Claim], policy: Policy, now: int
) -> CheckResult:
    """The result with what is asked of it. A waived one is not asked; one that contradicts what
    the relying party expects cannot be waived."""
    asked = policy.requirement(result.id)
    judged = replace(_expect(result, claims, policy), requirement=asked)
    app_id = claims.get("app_id")
    if asked is Requirement.NOT_ASKED or result.status not in _COUNTS or not _is_proven(app_id):
        return judged
    waiver = waiver_for(policy.demands.waivers, result.id, str(app_id.value), now)
    if waiver is None or not _covers(waiver, result):
        return judged
    words = waiver.words(now)
    judged = replace(judged, reason=f"{words}; {judged.reason}" if judged.reason else words)
    as_expected = _expect(replace(result, status=Status.PASS), claims, policy)
    decided = {DECIDED_BY[name] for name in _COMPARED if policy.demands.expect.get(name)}
    contradicts = as_expected.status is not Status.PASS or (
        result.id in decided and result.status is Status.FAIL
    )
    if not waiver.holds(now) or contradicts:
        return judged
    summary = f"{judged.summary} [waived until {waiver.expires}]"
    return replace(judged, summary=summary, requirement=Requirement.NOT_ASKED)


def _covers(waiver: Waiver, result: CheckResult) -> bool:
    """Whether a waiver names all that its check cannot explain; of other checks it covers all."""
    if result.id != BOOT_MACHINE:
        return True
    match result.actual:
        case {"unexplained": list(digests)} if result.status is Status.WARN:
            return bool(digests) and {*digests} <= {*waiver.digests}
    return False


def _is_missing(result: CheckResult) -> bool:
    return result.status is Status.ERROR or (
        result.status is Status.SKIP and result.skip_kind is not SkipKind.NOT_APPLICABLE
    )


def _is_proven(claim: Claim | None) -> TypeGuard[Claim]:
    return claim is not None and claim.basis in _PROVEN


def _expect(result: CheckResult, claims: Mapping[str, Claim], policy: Policy) -> CheckResult:
    """The result after the relying party's own reference values: only a proven equal value keeps
    a check from failing; one that is not proven makes it missing."""
    demands = policy.demands
    expected = {**demands.expect, "os_release": demands.os_releases}
    for name, allowed in expected.items():
        decides = DECIDED_BY[name] == result.id and name not in _COMPARED
        if not decides or not allowed or result.status is Status.FAIL:
            continue
        claim = claims.get(_CLAIM_OF.get(name, name))
        if not _is_proven(claim):
            return replace(
                result,
                status=Status.SKIP,
                skip_kind=SkipKind.MISSING_EVIDENCE,
                summary=f"an expected {name} was given, and none is proven",
                reason=f"{name} is expected and not proven",
            )
        actual = _release(claim.value) if name == "os_release" else claim.value
        if actual not in allowed:
            return replace(
                result,
                status=Status.FAIL,
                skip_kind=None,
                summary=f"{name} is not the expected one",
                expected=list(allowed),
                actual=actual,
                evidence=claim.evidence,
                remediation="the evidence is genuine, but not of what you expect",
            )
    return result


def _release(image: JsonValue) -> JsonValue:
    return image.get("release") if isinstance(image, dict) else None
