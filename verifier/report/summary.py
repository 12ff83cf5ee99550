"""The words that every format shares: the verdict, the weakest link, what is proven and what not.

Sentences here are plain text with evidence in them; each renderer escapes them once.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from verifier.model.identifiers import format_time
from verifier.model.result import (
    Basis,
    CheckResult,
    Claim,
    Finding,
    JsonValue,
    Report,
    Requirement,
    Status,
    SubjectReport,
    Verdict,
)
from verifier.report.chain import Mark, mark, needs_attention, weakest
from verifier.report.escape import visible

HEADLINES: Final = {
    Verdict.AFFIRMING: "the attestation holds",
    Verdict.WARNING: "the attestation holds, with reservations",
    Verdict.NONE: "not enough evidence to tell",
    Verdict.CONTRAINDICATED: "do not rely on this app as attested",
}


class Standing(StrEnum):
    """How much a claim is worth once its basis and its conditions are taken together."""

    PROVEN = "Proven"
    MATCHED = "Recognised"
    SAID = "Only said"
    NOT_KNOWN = "Not known"


_STANDING: Final = {
    Basis.HARDWARE: Standing.PROVEN,
    Basis.MEASURED: Standing.PROVEN,
    Basis.CHAIN: Standing.PROVEN,
    Basis.KMS: Standing.PROVEN,
    Basis.REFERENCE: Standing.MATCHED,
    Basis.WITNESS: Standing.MATCHED,
    Basis.ASSERTED: Standing.SAID,
    Basis.UNKNOWN: Standing.NOT_KNOWN,
}

_SUPPORT: Final = {
    Basis.HARDWARE: "signed by the CPU",
    Basis.MEASURED: "measured into registers that the CPU signed",
    Basis.CHAIN: "contract state at a finalized block",
    Basis.KMS: "signed by the identified KMS",
    Basis.REFERENCE: "equal to a reference value of this auditor",
    Basis.WITNESS: "seen by this auditor before",
    Basis.ASSERTED: "claimed by whoever served it, and by nothing else",
    Basis.UNKNOWN: "nothing supports it",
}
_UNSUPPORTED: Final = "a check that it rests on does not hold"

# The claims that a person asks for first, in that order.
_WORDS: Final = {
    "tcb_status": "TCB status",
    "os_image": "OS image",
    "app_id": "app id",
    "compose_hash": "manifest hash",
    "key_provider": "key provider",
    "kms": "KMS",
}
MAX_FACTS: Final = 6

_PLAIN_VALUE: Final = re.compile(r"[0-9A-Za-z._:/+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """Facts of one standing and one support: `label` and value each, and how many more exist."""

    standing: Standing
    support: str
    facts: tuple[tuple[str, str], ...]
    more: int


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
    subject = worst_subject(report)
    reason = outcome(link) if link else tally(subject.checks)
    notes = _in_brackets(report.root_note, report.time_note)
    app = f"app {report.requested_app_id}" if report.requested_app_id else about(report)
    return visible(
        f"{report.verdict.value}, {_acceptance(report)}: {app}: {reason} "
        f"({format_time(report.evaluated_at)}){notes}"
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
    return f"{_meaning(subject)}{which} The verdict is {_acceptance(report)}."


def outcome(check: CheckResult) -> str:
    """One check in one line: id, mark and summary."""
    return f"{check.id} {mark(check).value}: {check.summary}"


def what_to_do(check: CheckResult) -> str:
    """The remediation of the weakest link, or where to look when it has none."""
    return check.remediation or f"See {check.id} below."


def tally(checks: Iterable[CheckResult]) -> str:
    """How many checks have which mark, such as `18 ok, 1 warn, 3 n/a`."""
    counts = Counter(mark(check) for check in checks)
    return ", ".join(f"{counts[item]} {item.value}" for item in Mark if counts[item]) or "no checks"


def check_note(report: Report, check: CheckResult) -> str:
    """What has to be said beside a check, in brackets: its requirement, an unsafe trust anchor."""
    plain = check.requirement is Requirement.REQUIRED or not needs_attention(check)
    return _in_brackets(
        "" if plain else check.requirement.value,
        _unsafe(report) if check.status in (Status.PASS, Status.WARN) else "",
    )


def claim_note(report: Report, worth: Standing) -> str:
    """What has to be said beside claims that hold only under another anchor than Intel's."""
    return _in_brackets(_unsafe(report) if worth in (Standing.PROVEN, Standing.MATCHED) else "")


def standing(claim: Claim, checks: Iterable[CheckResult]) -> Standing:
    """What a claim is worth: its basis counts only while every condition is pass or warn.

    What is merely said stays said, whatever its conditions.
    """
    support = _STANDING[claim.basis]
    if support is Standing.SAID:
        return support
    holding = {check.id for check in checks if check.status in (Status.PASS, Status.WARN)}
    return support if holding.issuperset(claim.conditions) else Standing.NOT_KNOWN


def statements(subject: SubjectReport) -> tuple[Statement, ...]:
    """The claims of an attester by what they are worth, strongest first."""
    groups: dict[tuple[Standing, str], list[Claim]] = {}
    for item in Standing:
        for basis in Basis:
            for claim in subject.claims:
                if claim.basis is basis and standing(claim, subject.checks) is item:
                    broken = item is Standing.NOT_KNOWN and basis is not Basis.UNKNOWN
                    support = _UNSUPPORTED if broken else _SUPPORT[basis]
                    groups.setdefault((item, support), []).append(claim)
    return tuple(_statement(item, support, found) for (item, support), found in groups.items())


def value_text(value: JsonValue) -> str:
    """A value as text that cannot be mistaken for the sentence around it.

    Plain words stand as they are; any other string is quoted, and structures are compact JSON.
    """
    if isinstance(value, str) and _PLAIN_VALUE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


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
    words += ["--unsafe-root", "FILE"] if report.root_note else []
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


def _unsafe(report: Report) -> str:
    return "unsafe root" if report.root_note else ""


def _in_brackets(*notes: str) -> str:
    return "".join(f" ({note})" for note in notes if note)


def _acceptance(report: Report) -> str:
    return f"{'accepted' if report.accepted else 'not accepted'} by policy {report.policy_name}"


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


def _statement(item: Standing, support: str, claims: list[Claim]) -> Statement:
    order = list(_WORDS)
    ranked = sorted(
        claims, key=lambda claim: order.index(claim.name) if claim.name in _WORDS else len(order)
    )
    facts = tuple(
        (_WORDS.get(claim.name, claim.name), value_text(claim.value))
        for claim in ranked[:MAX_FACTS]
    )
    return Statement(item, support, facts, len(ranked) - len(facts))
