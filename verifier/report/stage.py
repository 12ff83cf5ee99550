"""A stage assessment for people and for machines (schema `dstack-audit/stage/v1`).

Reasons hold text of the evidence. The terminal form makes it visible; JSON is canonical (RFC 8785)
with everything beyond ASCII escaped, so that nothing in it acts on a terminal either.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from verifier.model.identifiers import format_time
from verifier.model.report import Report
from verifier.model.result import Finding
from verifier.policy.stage import (
    Assessed,
    Standing,
    conclusion,
    measured_manifests,
    minor_findings,
    stage_of,
    was_measured,
)
from verifier.report.audit.families import mark
from verifier.report.audit.sentences import about, anchor_note, weakest_link, what_to_do
from verifier.report.escape import visible, without_surrogates

SCHEMA: Final = "dstack-audit/stage/v1"
_STANDINGS: Final = {
    Standing.MET: "met",
    Standing.NOT_MET: "NOT MET",
    Standing.NOT_KNOWN: "not known, for want of evidence",
    Standing.NOT_CHECKABLE: "open: what a machine can tell holds",
}


def render_stage(report: Report, assessed: tuple[Assessed, ...], width: int) -> str:
    """The assessment as text, without an escape byte."""
    lines = [line for text in _lines(report, assessed) for line in _wrapped(visible(text), width)]
    return "\n".join(lines) + "\n"


def render_stage_json(report: Report, assessed: tuple[Assessed, ...]) -> bytes:
    """The assessment as one line of JSON. `stage` is 0, 1, or null while it is undecided."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": report.tool,
        "target": report.target,
        "requested_app_id": report.requested_app_id,
        "evaluated_at": format_time(report.evaluated_at),
        "bundle_digest": report.bundle_digest,
        "bundle_trust": "trusted" if report.bundle_trusted else "untrusted",
        "policy": {"name": report.policy_name, "digest": report.policy_digest},
        "reference_digest": report.reference_digest,
        "root_note": report.root_note,
        "stage": stage_of(report, assessed),
        "conclusion": conclusion(assessed),
        "requirements": [
            {
                "number": number,
                "title": item.requirement.title,
                "standing": item.standing.value,
                "reasons": list(item.reasons),
                "reviews": [review.to_json() for review in item.reviews],
                "checks": list(item.requirement.checks),
                "rules": list(item.requirement.rules),
            }
            for number, item in enumerate(assessed, 1)
        ],
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return without_surrogates(text).encode("ascii") + b"\n"


def _lines(report: Report, assessed: tuple[Assessed, ...]) -> Iterator[str]:
    yield f"ERC-733 stage of {about(report)}, as of {format_time(report.evaluated_at)}"
    yield conclusion(assessed)
    for compose_hash in dict.fromkeys(filter(None, measured_manifests(report))):
        yield f"Manifest  {compose_hash}"
    if report.root_note:
        yield report.root_note
    if not report.bundle_trusted:
        yield "Nobody vouches for this bundle: what only its collector saw counts for nothing."
    yield from _next(report, assessed)
    if not was_measured(report):
        yield from ("", "Nothing was measured, so that no requirement could be looked at:")
        yield from (f"   {n}. {item.requirement.title}" for n, item in enumerate(assessed, 1))
        return
    for number, item in enumerate(assessed, 1):
        yield ""
        yield f"{number}. {item.requirement.title}: {_STANDINGS[item.standing]}"
        left = () if item.reviews else (item.requirement.remains,)
        for reason in _grouped(reason for reason in item.reasons if reason not in left):
            yield f"   - {reason}"
        for reason in left:
            yield from [f"   - for you to judge: {reason}"] if reason else []
        for review in item.reviews:
            yield f"   - judged by {review.reviewer} until {review.expires}: {review.reason}"
        if minor := minor_findings(item.requirement, report):
            yield f"   Findings about it, too slight to break it: {_named(minor)}"
        rests = ", ".join((*item.requirement.checks, *item.requirement.rules))
        yield f"   Rests on {rests}"


def _next(report: Report, assessed: tuple[Assessed, ...]) -> Iterator[str]:
    """The weakest link and what to do about it, or what a person is asked for once machines have
    said what they can."""
    standings = {item.standing for item in assessed}
    if standings <= {Standing.MET, Standing.NOT_CHECKABLE} and was_measured(report):
        if Standing.NOT_CHECKABLE in standings:
            yield (
                "Next  judge what is left open below, and write what you found as [[reviews]] of "
                "this manifest into a policy (docs/policy.md), and name that with --policy"
            )
    elif (link := weakest_link(report)) is not None:
        yield f"Weakest link  {link.id} {mark(link).value}: {link.summary}{anchor_note(link)}"
        yield f"Next  {what_to_do(link)}"


def _named(findings: Iterable[Finding]) -> str:
    """Findings by their rule, with their severity and how many there are."""
    counts = Counter((item.rule, item.severity) for item in findings)
    return ", ".join(
        f"{rule} {severity}{f' ({count})' if count > 1 else ''}"
        for (rule, severity), count in counts.items()
    )


def _grouped(reasons: Iterable[str]) -> Iterator[str]:
    """Reasons with one text once, with every id that gives it."""
    found: dict[str, list[str]] = {}
    for reason in reasons:
        name, colon, text = reason.partition(": ")
        found.setdefault(text if colon else "", []).append(name)
    for text, names in found.items():
        yield from [f"{', '.join(names)}: {text}"] if text else names


def _wrapped(text: str, width: int) -> list[str]:
    lead = text[: len(text) - len(text.lstrip())] + ("  " if text.lstrip().startswith("- ") else "")
    return textwrap.wrap(text, max(width, 40), subsequent_indent=lead, break_on_hyphens=False) or [
        ""
    ]
