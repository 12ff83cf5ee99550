"""The words that every format shares: the verdict, the weakest link, what each check found.

Sentences here are plain text with evidence in them; each renderer escapes them once.
"""

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Final

from verifier.checks.demands import MANIFEST_RULES
from verifier.evidence.unanswered import why_unanswered
from verifier.model.identifiers import format_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import (
    BASIS_ORDER,
    Anchor,
    Basis,
    CheckResult,
    Claim,
    Finding,
    Requirement,
    Severity,
    Verdict,
)
from verifier.report.audit import chosen
from verifier.report.audit.answers import Standing, value_words
from verifier.report.audit.families import Mark, in_chain_order, mark, needs_attention, weakest
from verifier.report.escape import visible

HEADLINES: Final = {
    Verdict.AFFIRMING: "the attestation holds",
    Verdict.WARNING: "the attestation holds, with reservations",
    Verdict.NONE: "not enough evidence to tell",
    Verdict.CONTRAINDICATED: "do not rely on this app as attested",
}


BUNDLE_NOTE: Final = "BUNDLE is what --save kept"
REPEAT_NOTE: Final = f"{BUNDLE_NOTE}; add your other options, if any"
_GRAVE: Final = ("critical", "high", "medium")
_DAY: Final = 86_400
_VALID_DAYS: Final = 7
_NO_FIX: Final = ("", "None.")
_GRAVEST: Final = ("PLS", "SEC", "SVC", "IMG", "KMS", "ENV")
"""Families of rules, those first whose findings give keys or the guest to somebody at once."""


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
    if report.requested_app_id is not None:
        return report.requested_app_id
    if any(claim.name == "app_id" for claim in worst_subject(report).claims):
        return "the app that the bundle names (none was asked for)"
    return "none: no app id was given, and the evidence names none"


def verdict_line(report: Report) -> str:
    """The whole result in one line, safe to print."""
    link = weakest_link(report)
    checks = worst_subject(report).checks
    app = f"app {report.requested_app_id}" if report.requested_app_id else about(report)
    app = app.removeprefix("none: ")
    anchor = f" [{report.anchor.value}]" if report.anchor is not None else ""
    return visible(
        f"{report.verdict.value}{anchor}, "
        f"{'accepted' if report.accepted else 'not accepted'} by policy {report.policy_name}"
        f"{chosen.policy_origin(report)}: "
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
    return f"{_meaning(report)}{which} {_acceptance(report)}."


def anchor_note(check: CheckResult) -> str:
    """What has to be said beside a result that holds only under another anchor than Intel's."""
    return check.anchor.mark if check.anchor is not None else ""


def requirement_note(check: CheckResult) -> str:
    """That a check is not asked for, or, where it needs attention, that it is not required."""
    if check.requirement is Requirement.NOT_ASKED:
        return " (not asked)"
    decides = check.requirement is Requirement.REQUIRED or mark(check) is Mark.FAIL
    plain = decides or not explains(check)
    return "" if plain else f" ({check.requirement.value})"


def requirement_words(check: CheckResult) -> str:
    """What the policy asks of a check, in the words of every report."""
    return check.requirement.value.replace("-", " ")


def explains(check: CheckResult) -> bool:
    """Whether a check has more to say than one line: it needs attention, and is not blocked."""
    return needs_attention(check) and mark(check) is not Mark.BLOCKED


def details(check: CheckResult, checks: Iterable[CheckResult]) -> tuple[tuple[str, str], ...]:
    """What to know about a check beyond its summary, and no sentence twice: labels and texts.

    `checks` are those it stands among: the first of several with one remediation gives it.
    """
    rows = [
        (label, value_words(value))
        for label, value in (("expected", check.expected), ("actual", check.actual))
        if value is not None and not (isinstance(value, str) and value in check.summary)
    ]
    told = mark(check) is Mark.BLOCKED or check.reason in check.summary
    if check.reason and not told:
        rows.append(("why", check.reason))
    if check.remediation:
        alike = (item for item in in_chain_order(checks) if item.remediation == check.remediation)
        first = next(filter(explains, alike), check)
        rows.append(("do", check.remediation if first is check else f"as for {first.id}"))
    return tuple(rows)


def evidence_by_blob(check: CheckResult) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The evidence of a check: each blob once, with the places in it."""
    found: dict[str, dict[str, None]] = {}
    for ref in check.evidence:
        found.setdefault(ref.blob, {}).update({ref.pointer: None} if ref.pointer else {})
    return tuple((blob, tuple(pointers)) for blob, pointers in found.items())


def what_to_do(check: CheckResult) -> str:
    """The remediation of the weakest link, or where to look when it has none."""
    return check.remediation or f"see {check.id}: -v, and `verify explain {check.id}`"


def plain_meaning(report: Report) -> str:
    """What is known of hardware, app and contract in plain words; "" where no guest is proven."""
    subject = worst_subject(report)
    marks = {check.id: mark(check) for check in subject.checks}

    def holds(*ids: str) -> bool:
        return all(marks.get(item) in (Mark.PASS, Mark.WARN) for item in ids)

    if not holds("hardware.quote", "hardware.td"):
        return ""
    runs = holds("boot.image", "runtime.replay", "application.identity", "application.manifest")
    what = "runs this app from the manifest below" if runs else "runs what is not proven"
    if holds("authorization.contract", "authorization.allowed"):
        change = "the contract's owner decides what else may run"
    elif marks.get("authorization.contract") is Mark.NOT_APPLICABLE and runs:
        change = "no contract decides about it"
    else:
        change = "who may change it is not known"
    hardware = {
        None: "Genuine Intel TDX hardware",
        Anchor.SIMULATED: "A simulated TDX guest, and no real hardware,",
        Anchor.UNSAFE_ROOT: "A TDX guest under another root than Intel's",
    }[report.anchor]
    return f"{hardware} {what}; {change}."


def silent_sources(report: Report) -> str:
    """How many of the sources that were asked gave nothing, and why; "" where all answered."""
    silent = {item.source: item.error for item in report.sources if item.error}
    if not silent:
        return ""
    asked = len({item.source for item in report.sources})
    return f"{len(silent)} of {asked} gave nothing: {why_unanswered(silent.items())}"


def more(report: Report) -> str:
    """How to see what the first screen leaves out."""
    subject = worst_subject(report)
    counted = (
        (len(subject.checks), "check"),
        (len(subject.claims), "claim"),
        (len(report.findings), "finding"),
    )
    listed = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counted if count)
    return f"-v: {listed or 'what was asked'}; words: verify explain WORD"


def change_of_app(report: Report) -> str:
    """Who can change the app, as its history tells it; "" where none is known."""
    if report.timeline is None:
        return ""
    from verifier.report.timeline.overview import owners_of_app  # noqa: PLC0415 - as in `history`

    return owners_of_app(report.timeline)


def as_of(report: Report) -> str:
    """As of which time it was judged."""
    return f"judged as of {format_time(report.evaluated_at)}"


def when(report: Report) -> str:
    """As of which time it was judged, and what else there is to say about that."""
    time, note = format_time(report.evaluated_at), report.time_note
    if time in note:
        return note
    return "; ".join(filter(None, (f"Judged as of {time}", note)))


def second_reader(report: Report) -> str:
    """What another reader makes of the chain's answers, and another verifier of the quotes, ""
    where none was asked."""
    opinion = report.second_opinion
    if opinion is None:
        return ""
    said = (
        f"{opinion.reader} reads {opinion.calls} calls and {opinion.logs} logs of the chain as "
        f"this auditor does{_differs(opinion.disagreements)}"
    )
    if opinion.quote is None:
        return said
    quotes = f"{opinion.quote.quotes} quote{'s' * (opinion.quote.quotes != 1)}"
    differs = _differs(opinion.quote.disagreements)
    return f"{said}; {opinion.quote.reader} judges {quotes} as dcap_qvl does{differs}"


def _differs(disagreements: tuple[str, ...]) -> str:
    return f", and disagrees about {len(disagreements)}" if disagreements else ""


def history(report: Report) -> tuple[str, ...]:
    """The app's history in a few lines, none where it is not known."""
    if report.timeline is None:
        return report.told_history
    from verifier.report.timeline.overview import (  # noqa: PLC0415 - for apps on a chain
        timeline_summary,
    )

    return tuple(timeline_summary(report.timeline))


def tally(checks: Iterable[CheckResult]) -> str:
    """How many checks have which outcome, such as `18 pass, 1 warn, 3 n/a`; those that the policy
    does not ask for are counted apart."""
    listed = tuple(checks)
    asked = [check for check in listed if check.requirement is not Requirement.NOT_ASKED]
    counts = Counter(mark(check) for check in asked)
    said = ", ".join(f"{counts[item]} {item.value}" for item in Mark if counts[item])
    if len(asked) < len(listed):
        said += f"{'; ' * bool(said)}{len(listed) - len(asked)} not asked"
    return said or "no checks"


def not_counted(subject: SubjectReport) -> tuple[CheckResult, ...]:
    """The checks that fail or warn without weight, because the policy waives them or does not ask
    for them; failures first."""
    found = [
        check
        for check in in_chain_order(subject.checks)
        if check.requirement is Requirement.NOT_ASKED and mark(check) in (Mark.FAIL, Mark.WARN)
    ]
    return tuple(sorted(found, key=lambda check: mark(check) is Mark.WARN))


def claim_note(report: Report, worth: Standing) -> str:
    """What has to be said beside a claim that holds only under another anchor than Intel's."""
    holds = worth in (Standing.PROVEN, Standing.MATCHED)
    return report.anchor.mark if report.anchor is not None and holds else ""


def groups(
    claims: Iterable[Claim],
) -> tuple[tuple[tuple[Basis, tuple[str, ...]], tuple[Claim, ...]], ...]:
    """Claims with one basis and the same conditions, strongest basis first."""
    found_by: dict[tuple[Basis, tuple[str, ...]], list[Claim]] = {}
    for claim in claims:
        found_by.setdefault((claim.basis, claim.conditions), []).append(claim)
    order = sorted(found_by, key=lambda key: (BASIS_ORDER.index(key[0]), key[1]))
    return tuple((key, tuple(found_by[key])) for key in order)


def grouped(findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], ...]:
    """Findings of one rule, severity and certainty together, the worst first: of one severity, what
    is certain, and what gives away keys or the guest before what only may."""
    found: dict[tuple[str, str, bool], list[Finding]] = {}
    for item in findings:
        found.setdefault((item.severity, item.rule, item.conditional), []).append(item)
    order = sorted(found, key=lambda key: (_rank(key[0]), key[2], _family(key[1]), key[1]))
    return tuple(tuple(found[key]) for key in order)


def _rank(severity: str) -> int:
    names = [item.value for item in Severity]
    return names.index(severity) if severity in names else len(names)


def _family(rule: str) -> int:
    family = rule.partition("-")[0]
    return _GRAVEST.index(family) if family in _GRAVEST else len(_GRAVEST)


def group_title(group: tuple[Finding, ...]) -> str:
    """What the findings of one group have in common: rule, title, and whether it is certain."""
    sure = " (conditional)" if group[0].conditional else ""
    return f"{group[0].rule}: {group[0].title}{sure}"


def brief(group: tuple[Finding, ...]) -> str:
    """One group of findings in one line: rule, title, and the services that it is about."""
    services = tuple(dict.fromkeys(item.service for item in group if item.service))
    where = ", ".join(services)
    places = f"{len(group)} places" if len(group) > max(1, len(services)) else ""
    about = "; ".join(filter(None, (where, places)))
    return f"{group_title(group)}{f': {about}' if about else ''}"


def place(finding: Finding) -> str:
    """Where a finding stands: service, pointer and line."""
    where = finding.location
    line = f" line {where.line}:{where.column}" if where.line else ""
    service = f"{finding.service}, " if finding.service else ""
    return f"{service}{where.pointer or '/'}{line}"


def short_place(finding: Finding) -> str:
    """The same for a row under its rule: the pointer only where there is no line."""
    where = finding.location
    spot = f"line {where.line}:{where.column}" if where.line else where.pointer or "/"
    return f"{finding.service} {spot}".strip()


def finding_title(finding: Finding) -> str:
    """A manifest finding in one line: rule, title, service, place, and whether it is certain."""
    return f"{group_title((finding,))}, at {place(finding)}"


def has_fix(fix: str) -> bool:
    """Whether a rule has anything to mend."""
    return fix not in _NO_FIX


def is_grave(group: tuple[Finding, ...]) -> bool:
    """Whether findings weigh in a verdict."""
    return group[0].severity in _GRAVE


def tally_findings(findings: Iterable[Finding]) -> str:
    """How many findings have which severity, and that the worst ones follow."""
    counts = Counter(item.severity for item in findings)
    listed = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    worst = "; the worst:" if set(counts) & set(_GRAVE) else ""
    return f"{listed} in the manifest{worst}"


def asks_for_findings(subject: SubjectReport) -> bool:
    """Whether the policy asks for what the findings say."""
    return any(
        check.id == MANIFEST_RULES and check.requirement is not Requirement.NOT_ASKED
        for check in subject.checks
    )


def repeat_command(report: Report) -> str:
    """The shell command that repeats this audit without the network, on one line."""
    return " ".join(repeat_words(report))


def repeat_words(report: Report, bundle: str = "BUNDLE") -> tuple[str, ...]:
    """The words of that command, each quoted for a shell; `bundle` is where the evidence is."""
    words = ["verify"]
    words += [report.requested_app_id, "--bundle"] if report.requested_app_id else []
    words += [bundle]
    if report.bundle_trusted:
        words += ["--trust-bundle", f"sha256:{report.bundle_digest}"]
    words += ["--policy", report.policy_name, "--at", format_time(report.evaluated_at)]
    words += ["--unsafe-root", "FILE"] if report.anchor is not None else []
    return tuple(map(shlex.quote, words))


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
        ("Policy", f"{report.policy_name}{chosen.policy_origin(report)}"),
        ("Policy digest", report.policy_digest),
        ("Reference", report.reference_digest),
        ("Tool", report.tool),
    )


def retold(report: Report) -> str:
    """That a report is shown from a file, which anybody may have written; "" for a new one."""
    if report.shown_at is None:
        return ""
    return (
        "Shown from a file: nothing in it was verified again, and its author is the author of the "
        "verdict. To verify it, audit the evidence."
    )


def outdated(report: Report) -> str:
    """That a report is shown longer after its day than its policy relies on such evidence; "" for
    one that is not. One that does not say how long is relied on for as long as a signed result."""
    if report.shown_at is None or report.shown_at <= relied_until(report):
        return ""
    made, limit = _made(report), _relied_days(report)
    days = (report.shown_at - made) // _DAY
    return (
        f"Of {format_time(made)}, {days} days ago: its policy relies on evidence for {limit} days. "
        "What it says of then may no longer hold."
    )


def relied_until(report: Report) -> int:
    """The last second (Unix) in which its policy relies on evidence of that day."""
    return _made(report) + (_relied_days(report) + 1) * _DAY - 1


def _made(report: Report) -> int:
    """When it was made, or its evidence where that is older (Unix seconds)."""
    times = (report.evaluated_at, report.collected_until)
    return min(item for item in times if item is not None)


def _relied_days(report: Report) -> int:
    return _VALID_DAYS if report.max_age_days is None else report.max_age_days


def capital(text: str) -> str:
    """A text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _acceptance(report: Report) -> str:
    policy = f"{report.policy_name}{chosen.policy_origin(report)}"
    return f"Policy {policy} {'accepts' if report.accepted else 'does not accept'} this"


def _meaning(report: Report) -> str:
    subject = worst_subject(report)
    if not subject.checks:
        return "No check was evaluated, so nothing is known."
    asked = [item for item in subject.checks if item.requirement is not Requirement.NOT_ASKED]
    counts = Counter(mark(check) for check in asked)
    if subject.verdict is Verdict.AFFIRMING:
        return "Every check that applies and that the policy asks for holds."
    if subject.verdict is Verdict.CONTRAINDICATED:
        return f"The evidence contradicts {_checks(counts[Mark.FAIL])}."
    if report.sources and all(item.error for item in report.sources):
        return "No source that was asked gave evidence, so nothing is known."
    without_result = [
        check for check in asked if mark(check) in (Mark.MISSING, Mark.BLOCKED, Mark.ERROR)
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
