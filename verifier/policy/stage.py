"""ERC-733 stage 1, "dev-proof", from a report: what is met, what is not, what no machine can tell.

The ERC-733 draft (v4, https://draft.erc733.org) calls an app stage 0 while its developer can change
what runs, or take what it holds, unnoticed and at once. Its seven requirements for stage 1, as the
checklist of amiller/devproof-audits-guide (framework/STAGE-1-CHECKLIST.md) reads them, rest on
checks of this audit and on rules of manifest.rules; most also ask for what only a reader of the
source can judge. What such a reader found stands in the policy, as a review of one manifest
(`verifier.policy.reviews`); it adds to what the audit shows, and never stands in for it.

A policy can waive a result and rate a rule otherwise; neither counts here. Failing one requirement
is stage 0, and an app is stage 1 only when all of them are met.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.checks.demands import ENDPOINT_DOMAIN, ENDPOINT_TLS, MANIFEST_RULES
from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Basis, CheckResult, Finding, Severity, SkipKind, Status
from verifier.policy.policy import Policy
from verifier.policy.reviews import Review, review_of

_BREAKS: Final = (Severity.CRITICAL, Severity.HIGH)


class Standing(StrEnum):
    """How one requirement stands: shown, contradicted or in doubt, without the evidence that would
    tell, or for a person to judge."""

    MET = "met"
    NOT_MET = "not met"
    NOT_KNOWN = "not known"
    NOT_CHECKABLE = "not machine-checkable"


class StageRequirement(Struct, frozen=True, kw_only=True):
    """One requirement: the checks and rules (an id, or `GROUP-*`) that it rests on, and what
    remains for a person to judge ("" = nothing)."""

    title: str
    checks: tuple[str, ...]
    rules: tuple[str, ...]
    remains: str = ""


class Assessed(Struct, frozen=True, kw_only=True):
    """A requirement, how it stands, why it is not met, or not known to be, and the reviews that
    answer what a person has to judge."""

    requirement: StageRequirement
    standing: Standing
    reasons: tuple[str, ...]
    reviews: tuple[Review, ...] = ()


REQUIREMENTS: Final = (
    StageRequirement(
        title="Attestation, with a public log on chain of every version",
        checks=(
            "hardware.quote",
            "hardware.td",
            "hardware.tcb",
            "boot.image",
            "runtime.replay",
            "runtime.events",
            "application.identity",
            "application.manifest",
            "key_management.provider",
            "authorization.contract",
            "authorization.allowed",
            "authorization.history",
        ),
        rules=(
            *("MAN-001", "MAN-003", "MAN-005", "RUN-001", "PLT-002"),
            *("KMS-001", "KMS-005"),
        ),
    ),
    StageRequirement(
        title="Code that can be audited",
        checks=("provenance.images",),
        rules=("ENV-017", "MAN-002"),
        remains="whether the source is public, and whether somebody has read it",
    ),
    StageRequirement(
        title="A measurement that can be reproduced",
        checks=("application.manifest", "provenance.images"),
        rules=("IMG-*", "BLD-*", "SVC-012", "SVC-013", "PLS-005"),
        remains="whether a rebuild from source gives the same digests",
    ),
    StageRequirement(
        title="No access of the developer to secrets",
        checks=(
            "boot.image",
            "key_management.provider",
            "key_management.root",
            "key_management.attestation",
        ),
        rules=(
            *(f"ENV-{number:03}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 13, 18)),
            *("KMS-009", "SVC-005", "SVC-006", "SVC-016"),
            *("SEC-001", "SEC-002", "SEC-003", "PLS-004", "PLS-006", "PLS-007", "PLT-001"),
        ),
        remains="whether the code falls back to keys of the developer's",
    ),
    StageRequirement(
        title="Upgrades with notice, so that users can leave",
        checks=(
            "authorization.contract",
            "authorization.history",
            "authorization.governance",
            ENDPOINT_DOMAIN,
        ),
        rules=("KMS-006", "KMS-007", "KMS-008"),
        remains="whether users can take out what is theirs within the notice",
    ),
    StageRequirement(
        title="No dependency, for integrity or privacy, on central parties other than TEE vendors",
        checks=(ENDPOINT_TLS, ENDPOINT_DOMAIN),
        rules=("SEC-008", "ENV-001", "ENV-006", "ENV-015", "NET-007"),
        remains="whether a service that it calls could falsify what it answers, or read what its "
        "users send; that it stops without that service does not count",
    ),
    StageRequirement(
        title="No backdoor and no debug access",
        checks=("hardware.td", "boot.image"),
        rules=(
            *("ENV-003", "ENV-004", "ENV-007", "ENV-011", "SEC-006", "SEC-007", "RTF-001"),
            *(f"SVC-{number:03}" for number in (1, 2, 3, 4, 8, 11, 17)),
            *("NET-003", "NET-004", "NET-010", "PLS-*"),
        ),
        remains="whether the code has administrative endpoints of its own",
    ),
)


def assess_stage(report: Report, policy: Policy) -> tuple[Assessed, ...]:
    """How each requirement stands, for every attester of the report at once."""
    return tuple(_assess(number, report, policy) for number in range(1, len(REQUIREMENTS) + 1))


def minor_findings(requirement: StageRequirement, report: Report) -> tuple[Finding, ...]:
    """The findings about what a requirement rests on that are too slight to break it."""
    return tuple(
        item
        for item in report.findings
        if _rests_on(requirement, item.rule) and item.severity not in _BREAKS
    )


def measured_manifests(report: Report) -> tuple[str, ...]:
    """The hash of the manifest that each attester measured, "" where that is not proven."""
    return tuple(
        "".join(
            str(item.value)
            for item in subject.claims
            if item.name == "compose_hash" and item.basis is Basis.MEASURED
        )
        for subject in report.subjects
    )


def was_measured(report: Report) -> bool:
    """Whether any attester gave a quote that could be looked at."""
    return any(_measured(subject) for subject in report.subjects)


def conclusion(assessed: tuple[Assessed, ...]) -> str:
    """The stage in one sentence."""
    places = {
        standing: [str(n) for n, item in enumerate(assessed, 1) if item.standing is standing]
        for standing in Standing
    }
    if places[Standing.NOT_MET]:
        return f"Stage 0: not met: {', '.join(places[Standing.NOT_MET])}."
    if assessed and all(item.standing is Standing.MET for item in assessed):
        judged = [str(number) for number, item in enumerate(assessed, 1) if item.reviews]
        by_whom = f", {', '.join(judged)} also by reviews that the policy names" if judged else ""
        return f"Stage 1: every requirement is met{by_whom}."
    if assessed and not places[Standing.NOT_KNOWN]:
        return (
            "Undecided: all that a machine can tell of stage 1 holds; for a person to judge: "
            f"{', '.join(places[Standing.NOT_CHECKABLE])}."
        )
    open_ends = (
        ("evidence is missing for", places[Standing.NOT_KNOWN]),
        ("for a person to judge:", places[Standing.NOT_CHECKABLE]),
    )
    said = "; ".join(f"{why} {', '.join(numbers)}" for why, numbers in open_ends if numbers)
    return f"Undecided: {said or 'nothing was assessed'}."


def stage_of(report: Report, assessed: tuple[Assessed, ...]) -> int | None:
    """0 or 1; None while it is undecided, and for want of any evidence that was measured."""
    standings = {item.standing for item in assessed}
    if not was_measured(report) or not assessed:
        return None
    if Standing.NOT_MET in standings:
        return 0
    return 1 if standings == {Standing.MET} else None


def _measured(subject: SubjectReport) -> bool:
    """Whether an attester gave a quote that could be looked at."""
    return any(
        item.id == "hardware.quote" and item.status is not Status.SKIP for item in subject.checks
    )


def _assess(number: int, report: Report, policy: Policy) -> Assessed:
    requirement = REQUIREMENTS[number - 1]
    broken: list[str] = []
    missing: list[str] = []
    left: list[str] = []
    for subject in report.subjects:
        results = {item.id: item for item in subject.checks}
        for check_id in requirement.checks:
            if check_id not in results:
                left.append(f"{check_id}: no check of this version decides it")
            elif results[check_id].status is not Status.PASS:
                says = missing if _is_missing(results[check_id]) else broken
                says.append(f"{check_id}: {_said(results[check_id])}")
        rules = results.get(MANIFEST_RULES)
        if rules is None or _is_missing(rules):
            missing.append(f"{MANIFEST_RULES}: {_said(rules) if rules else 'not evaluated'}")
        else:
            broken.extend(_broken_rules(requirement, subject, rules, report, policy))
        missing.extend(_unknown_rules(requirement, rules))
    if not report.subjects:
        missing.append("there is no evidence")
    reviews = _reviews(number, report, policy) if requirement.remains else ()
    left += [requirement.remains] if requirement.remains and not reviews else []
    found = (
        (Standing.NOT_MET, broken),
        (Standing.NOT_KNOWN, missing),
        (Standing.NOT_CHECKABLE, left),
    )
    return Assessed(
        requirement=requirement,
        standing=next((standing for standing, said in found if said), Standing.MET),
        reasons=tuple(dict.fromkeys((*broken, *missing, *left))),
        reviews=reviews,
    )


def _reviews(number: int, report: Report, policy: Policy) -> tuple[Review, ...]:
    """The reviews of a requirement for the manifests that were measured, one for each; () where an
    attester's manifest is not known, or nobody reviewed it."""
    found: list[Review] = []
    for measured in measured_manifests(report):
        review = review_of(policy.reviews, number, measured, report.evaluated_at)
        if review is None:
            return ()
        found.append(review)
    return tuple(dict.fromkeys(found))


def _is_missing(result: CheckResult) -> bool:
    """Whether a check gave no result: nothing was shown, and nothing contradicted. What does not
    apply, and what is in doubt, is a result: it does not prove its title. Where users connect to
    has to be named before anybody can look."""
    asked_of_users = result.id in (ENDPOINT_TLS, ENDPOINT_DOMAIN)
    if asked_of_users and result.skip_kind is SkipKind.NOT_APPLICABLE:
        return True
    return result.status is Status.ERROR or (
        result.status is Status.SKIP and result.skip_kind is not SkipKind.NOT_APPLICABLE
    )


def _said(result: CheckResult) -> str:
    """What a check found, and that it rests on another anchor than Intel's, where it does."""
    return f"{result.summary}{result.anchor.mark if result.anchor else ''}"


def _broken_rules(
    requirement: StageRequirement,
    subject: SubjectReport,
    result: CheckResult,
    report: Report,
    policy: Policy,
) -> Iterator[str]:
    """The findings that break a requirement, or where they are to be seen."""
    if subject is report.subjects[0]:
        yield from (
            f"{item.rule}: {item.title}: {item.message}"
            for item in report.findings
            if _names(requirement, item, policy)
        )
    elif result.status is not Status.PASS or policy.demands.rules or policy.demands.waivers:
        yield f"{MANIFEST_RULES}: see the findings about {subject.name}"


def _names(requirement: StageRequirement, finding: Finding, policy: Policy) -> bool:
    """Whether a finding breaks the requirement; a critical one also means a backdoor."""
    rule = TEXTS.get(finding.rule)
    rated = policy.demands.rules.get(finding.rule)
    severity = rule.severity if rule and rated else Severity(finding.severity)
    if requirement is REQUIREMENTS[-1] and rule and severity is Severity.CRITICAL:
        return True
    return severity in _BREAKS and _rests_on(requirement, finding.rule)


def _unknown_rules(requirement: StageRequirement, result: CheckResult | None) -> Iterator[str]:
    """The rules that were not evaluable for want of evidence."""
    actual = result.actual if result is not None else None
    told = actual if isinstance(actual, dict) else {}
    rules, texts = told.get("not_evaluable_rules"), told.get("not_evaluable")
    if isinstance(rules, list) and isinstance(texts, list):
        for rule, text in zip(rules, texts, strict=True):
            if _rests_on(requirement, str(rule)):
                yield str(text)


def _rests_on(requirement: StageRequirement, rule: str) -> bool:
    return rule in requirement.rules or f"{rule.partition('-')[0]}-*" in requirement.rules
