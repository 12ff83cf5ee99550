"""The words that every format shares: the verdict, the weakest link, what each check found.

Sentences here are plain text with evidence in them; each renderer escapes them once.
"""

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Final

from verifier.model.identifiers import format_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import (
    BASIS_ORDER,
    Basis,
    CheckResult,
    Claim,
    Finding,
    Requirement,
    Verdict,
)
from verifier.report.chain import Mark, in_chain_order, mark, needs_attention, weakest
from verifier.report.escape import visible
from verifier.report.facts import Standing, other_claims, standing, value_text

HEADLINES: Final = {
    Verdict.AFFIRMING: "the attestation holds",
    Verdict.WARNING: "the attestation holds, with reservations",
    Verdict.NONE: "not enough evidence to tell",
    Verdict.CONTRAINDICATED: "do not rely on this app as attested",
}


def worst_subject(report: Report) -> SubjectReport:
    """The attester that decides; one without checks when none was audited."""
    if report.subjects:
        return report.subjects[0]
    return SubjectReport(name="", verdict=report.verdict, checks=(), claims=())


def subject_name(subject: SubjectReport) -> str:
    """The name of an attester for a heading."""
    return subject.name or "unnamed"


def about(report: Report) -> str:
    """Which app the report is about."""
    if report.requested_app_id is None:
        return "the app that the bundle names (none was asked for)"
    return report.requested_app_id


def verdict_line(report: Report) -> str:
    """The whole result in one line, safe to print."""
    link = weakest_link(report)
    checks = worst_subject(report).checks
    app = f"app {report.requested_app_id}" if report.requested_app_id else about(report)
    anchor = f" [{report.anchor.value}]" if report.anchor is not None else ""
    return visible(
        f"{report.verdict.value}{anchor}, "
        f"{'accepted' if report.accepted else 'not accepted'} by policy {report.policy_name}: "
        f"{app}, "
        f"{f'weakest link {link.id} {mark(link).value}' if link else tally(checks)}, "
        f"as of {format_time(report.evaluated_at)}"
    )


def weakest_link(report: Report) -> CheckResult | None:
    """The check that weighs most against the app; None when the verdict is affirming."""
    return subject_weakest_link(worst_subject(report))


def subject_weakest_link(subject: SubjectReport) -> CheckResult | None:
    """The same for one attester."""
    return None if subject.verdict is Verdict.AFFIRMING else weakest(subject.checks)


def verdict_sentence(report: Report) -> str:
    """What the verdict means and what it rests on, for a person who has to act."""
    subject = worst_subject(report)
    guests = len(report.subjects)
    which = f" This is the worst of {guests} guests, {subject_name(subject)}." if guests > 1 else ""
    return f"{_meaning(subject)}{which} {_acceptance(report)}."


def outcome(check: CheckResult) -> str:
    """One check in one line: id, mark, and what it found."""
    return f"{check.id} {mark(check).value}: {check.summary}"


def anchor_note(check: CheckResult) -> str:
    """What has to be said beside a result that holds only under another anchor than Intel's."""
    return check.anchor.mark if check.anchor is not None else ""


def requirement_note(check: CheckResult) -> str:
    """That a check which needs attention is not required."""
    plain = check.requirement is Requirement.REQUIRED or not explains(check)
    return "" if plain else f" ({check.requirement.value})"


def explains(check: CheckResult) -> bool:
    """Whether a check has more to say than one line: it needs attention, and is not blocked."""
    return needs_attention(check) and mark(check) is not Mark.BLOCKED


def details(check: CheckResult, checks: Iterable[CheckResult]) -> tuple[tuple[str, str], ...]:
    """What to know about a check beyond its summary, and no sentence twice: labels and texts.

    `checks` are those it stands among: the first of several with one remediation gives it.
    """
    rows = [
        (label, value_text(value))
        for label, value in (("expected", check.expected), ("actual", check.actual))
        if value is not None
    ]
    if check.reason and check.reason not in check.summary:
        rows.append(("why", check.reason))
    if check.remediation:
        alike = (item for item in in_chain_order(checks) if item.remediation == check.remediation)
        first = next(filter(explains, alike), check)
        rows.append(("do", check.remediation if first is check else f"as for {first.id}"))
    return tuple(rows)


def what_to_do(check: CheckResult) -> str:
    """The remediation of the weakest link, or where to look when it has none."""
    return check.remediation or f"See {check.id} below."


def when(report: Report) -> str:
    """As of which time it was judged, and what else there is to say about that."""
    time, note = format_time(report.evaluated_at), report.time_note
    if time in note:
        return note
    return "; ".join(filter(None, (f"Judged as of {time}", note)))


def second_reader(report: Report) -> str:
    """What another reader makes of the chain's answers, "" where none was asked."""
    opinion = report.second_opinion
    if opinion is None:
        return ""
    differs = f"; it disagrees about {len(opinion.disagreements)}" if opinion.disagreements else ""
    return (
        f"{opinion.reader} reads {opinion.calls} calls and {opinion.logs} logs of the chain as "
        f"this auditor does{differs}"
    )


def history(report: Report) -> tuple[str, ...]:
    """The app's history in a few lines, none where it is not known."""
    if report.timeline is None:
        return ()
    from verifier.report.timeline_overview import (  # noqa: PLC0415 - for apps on a chain
        timeline_summary,
    )

    return tuple(timeline_summary(report.timeline))


def tally(checks: Iterable[CheckResult]) -> str:
    """How many checks have which mark, such as `18 ok, 1 warn, 3 n/a`."""
    counts = Counter(mark(check) for check in checks)
    return ", ".join(f"{counts[item]} {item.value}" for item in Mark if counts[item]) or "no checks"


def claim_note(report: Report, worth: Standing) -> str:
    """What has to be said beside a claim that holds only under another anchor than Intel's."""
    holds = worth in (Standing.PROVEN, Standing.MATCHED)
    return report.anchor.mark if report.anchor is not None and holds else ""


def more_claims(report: Report, subject: SubjectReport) -> str:
    """How many claims answer none of the first questions, by what they are worth; or nothing."""
    others = other_claims(subject)
    counts = Counter(standing(claim, subject.checks) for claim in others)
    listed = ", ".join(
        f"{counts[item]} {item.value.lower()}{claim_note(report, item)}"
        for item in Standing
        if counts[item]
    )
    return f"{len(others)} claims ({listed})" if others else ""


def groups(
    claims: Iterable[Claim],
) -> tuple[tuple[tuple[Basis, tuple[str, ...]], tuple[Claim, ...]], ...]:
    """Claims with one basis and the same conditions, strongest basis first."""
    found_by: dict[tuple[Basis, tuple[str, ...]], list[Claim]] = {}
    for claim in claims:
        found_by.setdefault((claim.basis, claim.conditions), []).append(claim)
    order = sorted(found_by, key=lambda key: (BASIS_ORDER.index(key[0]), key[1]))
    return tuple((key, tuple(found_by[key])) for key in order)


def finding_title(finding: Finding) -> str:
    """A manifest finding in one line: rule, title, service, place, and whether it is certain."""
    place = finding.location
    line = f" line {place.line}:{place.column}" if place.line else ""
    service = f", service {finding.service}" if finding.service else ""
    sure = " (conditional)" if finding.conditional else ""
    return f"{finding.rule}: {finding.title}{sure}{service}, at {place.pointer or '/'}{line}"


def repeat_command(report: Report) -> str:
    """The shell command that repeats this audit without the network, on one line."""
    words = ["verify"]
    words += [report.requested_app_id, "--bundle"] if report.requested_app_id else []
    words += ["BUNDLE"]
    if report.bundle_trusted:
        words += ["--trust-bundle", f"sha256:{report.bundle_digest}"]
    words += ["--policy", report.policy_name, "--at", format_time(report.evaluated_at)]
    words += ["--unsafe-root", "FILE"] if report.anchor is not None else []
    return shlex.join(words)


def provenance(report: Report) -> tuple[tuple[str, str], ...]:
    """What the result was computed from: labels, and values (digests are sha256)."""
    return (
        ("Bundle", report.bundle_digest),
        (
            "Bundle trust",
            "trusted: collected in this run, or vouched for by who ran it"
            if report.bundle_trusted
            else "untrusted: what its collector witnessed counts as said only",
        ),
        ("Policy", report.policy_name),
        ("Policy digest", report.policy_digest),
        ("Reference", report.reference_digest),
        ("Tool", report.tool),
    )


def _acceptance(report: Report) -> str:
    return f"Policy {report.policy_name} {'accepts' if report.accepted else 'does not accept'} this"


def _meaning(subject: SubjectReport) -> str:
    counts = Counter(mark(check) for check in subject.checks)
    if not subject.checks:
        return "No check was evaluated, so nothing is known."
    if subject.verdict is Verdict.AFFIRMING:
        return "Every check that applies and that the policy asks for holds."
    if subject.verdict is Verdict.CONTRAINDICATED:
        return f"The evidence contradicts {_checks(counts[Mark.FAIL])}."
    without_result = [
        check for check in subject.checks if mark(check) in (Mark.MISSING, Mark.BLOCKED, Mark.ERROR)
    ]
    required = sum(check.requirement is Requirement.REQUIRED for check in without_result)
    if subject.verdict is Verdict.NONE:
        missing = _checks(required, "required") if required else "what the policy asks for"
        return f"Nothing is contradicted, but {missing} gave no result."
    advisory = sum(check.requirement is Requirement.ADVISORY for check in without_result)
    warned = counts[Mark.WARN]
    found = [f"{_checks(warned)} hold{'s' * (warned == 1)} with a reservation"] if warned else []
    found += [f"{_checks(advisory, 'advisory')} gave no result"] if advisory else []
    return f"Nothing is contradicted, but {' and '.join(found) or 'the policy has reservations'}."


def _checks(count: int, kind: str = "") -> str:
    words = [str(count), *([kind] if kind else []), "check" if count == 1 else "checks"]
    return " ".join(words)
