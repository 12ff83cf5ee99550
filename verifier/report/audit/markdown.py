"""The report as GitHub Flavored Markdown, for publishing: everything in full.

Every string goes through `escape.markdown` (prose) or `escape.markdown_code` (values); what stands
outside of those two is fixed text of this module.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from verifier.model.identifiers import format_time
from verifier.model.report import Beside, Comparison, Report, SubjectReport
from verifier.model.result import CheckResult, EvidenceRef
from verifier.report.audit import beside, sentences
from verifier.report.audit.answers import Standing, standing, statements, value_text
from verifier.report.audit.families import (
    FAMILIES,
    MEANINGS,
    RESTS_ON,
    Mark,
    by_family,
    family_mark,
    in_chain_order,
    mark,
    needs_attention,
)
from verifier.report.escape import markdown, markdown_code, visible
from verifier.report.limits import LIMITS
from verifier.report.words import AUDIT_WORDS, explained

# Mermaid classes: text on fill with a contrast of at least 4.5 in light and dark themes.
_CLASSES: Final = {
    Mark.PASS: "fill:#1a7f37,color:#ffffff,stroke:#1a7f37",
    Mark.WARN: "fill:#9a6700,color:#ffffff,stroke:#9a6700",
    Mark.FAIL: "fill:#cf222e,color:#ffffff,stroke:#cf222e",
    Mark.ERROR: "fill:#cf222e,color:#ffffff,stroke:#cf222e",
    Mark.MISSING: "fill:#8250df,color:#ffffff,stroke:#8250df",
    Mark.BLOCKED: "fill:#57606a,color:#ffffff,stroke:#57606a",
    Mark.NOT_APPLICABLE: "fill:#eaeef2,color:#57606a,stroke:#57606a,stroke-dasharray:4",
    Mark.NOT_ASKED: "fill:#eaeef2,color:#57606a,stroke:#57606a,stroke-dasharray:4",
}


_WORSE: Final = (Beside.CONTRADICTED, Beside.DIFFERS)


def render_markdown(report: Report) -> str:
    """The report as a Markdown document with a newline at the end."""
    subject = sentences.worst_subject(report)
    sections = [
        _header(report),
        _statements(report, subject),
        _subject(report, subject),
        *(_other_subject(report, other) for other in report.subjects[1:]),
        *(_comparison(item) for item in report.comparisons),
        _bullets("History", sentences.history(report)),
        _findings(report),
        _sources(report),
        _bullets("Not covered by this audit", report.gaps),
        _bullets("What attestation cannot prove", LIMITS),
        _words(),
        _footer(report),
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def _header(report: Report) -> Iterator[str]:
    subject = sentences.worst_subject(report)
    yield f"# Attestation report: {_value(sentences.about(report))}"
    yield ""
    yield f"**{report.verdict.value.upper()}: {sentences.HEADLINES[report.verdict]}.**"
    if report.root_note:
        yield from ("", "> [!CAUTION]", f"> **Unsafe root:** {markdown(report.root_note)}", "")
    meaning = sentences.plain_meaning(report)
    yield markdown(sentences.verdict_sentence(report))
    yield from (["", markdown(meaning)] if meaning else [])
    yield ""
    rows = [("App", _value(sentences.about(report)))]
    rows += [("Guest", markdown_code(subject.name))] if subject.name else []
    rows += [
        ("Time", markdown(sentences.when(report))),
        ("Checks", sentences.tally(subject.checks)),
    ]
    if reader := sentences.second_reader(report):
        rows.append(("Second reader", markdown(reader)))
    if link := sentences.weakest_link(report):
        rows += [
            ("Weakest link", f"{markdown_code(link.id)} {mark(link).value}: {_found(link)}"),
            ("Next", markdown(sentences.what_to_do(link))),
        ]
    yield from _table(("", ""), rows)


def _statements(report: Report, subject: SubjectReport) -> Iterator[str]:
    for number, item in enumerate(statements(subject)):
        if number:
            yield ""
        if item.standing is Standing.PROVEN and not item.facts:
            yield "> [!WARNING]"
            yield f"> **{item.standing.value}: {markdown(item.why)}**"
            continue
        yield f"**{item.standing.value}**: {markdown(item.why)}"
        if item.facts:
            note = sentences.claim_note(report, item.standing)
            yield ""
            yield from (f"- {label}: {markdown(value)}{note}" for label, value in item.facts)


def _subject(report: Report, subject: SubjectReport) -> Iterator[str]:
    yield "## The chain"
    yield ""
    if not subject.checks:
        yield "No check was evaluated."
        return
    yield "Each link rests on those before it."
    yield ""
    yield from _diagram(report, subject.checks)
    yield from _checks(subject)
    yield from _claims(report, subject)


def _other_subject(report: Report, subject: SubjectReport) -> Iterator[str]:
    yield f"## Another guest: {markdown(sentences.subject_name(subject))}"
    yield ""
    yield f"**{subject.verdict.value}**: {sentences.tally(subject.checks)}"
    if subject.checks:
        yield from _checks(subject)
        yield from _claims(report, subject)


def _diagram(report: Report, checks: Iterable[CheckResult]) -> Iterator[str]:
    """A flowchart of the families that have checks. Its labels are fixed text."""
    fixed = {family.key for family in FAMILIES}
    marks = {
        family.key: family_mark(members)
        for family, members in by_family(checks)
        if family.key in fixed
    }
    if not marks:
        return
    yield "```mermaid"
    yield "flowchart LR"
    for family in FAMILIES:
        if family.key in marks:
            outcome = marks[family.key]
            holds = outcome in (Mark.PASS, Mark.WARN)
            note = report.anchor.mark if report.anchor is not None and holds else ""
            label = f"{family.title}: {outcome.value}{note}"
            yield f'  {family.key}["{label}"]:::{outcome.name.lower()}'
    for family in FAMILIES:
        parent = RESTS_ON.get(family.key)
        while parent and parent not in marks:
            parent = RESTS_ON.get(parent)
        if family.key in marks and parent:
            yield f"  {parent} --> {family.key}"
    for outcome in Mark:
        if outcome in marks.values():
            yield f"  classDef {outcome.name.lower()} {_CLASSES[outcome]}"
    yield "```"


def _checks(subject: SubjectReport) -> Iterator[str]:
    for family, members in by_family(subject.checks):
        yield ""
        yield f"### {markdown(family.title)}: {family.about}"
        yield ""
        rows = [
            (
                f"**{mark(check).value}**" if needs_attention(check) else mark(check).value,
                markdown_code(check.id),
                _found(check) + sentences.requirement_note(check),
            )
            for check in members
        ]
        yield from _table(("Result", "Check", "Summary"), rows)
        for check in filter(sentences.explains, members):
            yield from _details(check, subject.checks)
    marks = {mark(check) for check in subject.checks}
    yield ""
    yield "; ".join(f"{item.value} = {MEANINGS[item]}" for item in Mark if item in marks) + "."
    others = [item for item in in_chain_order(subject.checks) if not sentences.explains(item)]
    if others:
        which = "The other checks" if len(others) < len(subject.checks) else "Every check"
        yield from ("", f"<details><summary>{which} in detail</summary>")
        for check in others:
            yield from _details(check, subject.checks)
        yield from ("", "</details>")


def _details(check: CheckResult, checks: Iterable[CheckResult]) -> Iterator[str]:
    yield ""
    wanted = sentences.requirement_words(check)
    yield f"{markdown_code(check.id)} **{mark(check).value}** ({wanted})"
    yield ""
    yield f"- Holds if: {markdown(check.title)}"
    for label, text in sentences.details(check, checks):
        yield f"- {label.capitalize()}: {markdown(text)}"
    if check.requires:
        yield f"- Rests on: {_codes(check.requires)}"
    for blob, pointers in sentences.evidence_by_blob(check):
        yield f"- Evidence: {' '.join((markdown_code(blob), _codes(pointers))).rstrip()}"


def _claims(report: Report, subject: SubjectReport) -> Iterator[str]:
    if not subject.claims:
        return
    yield ""
    yield "### Claims: facts, and what supports them"
    yield ""
    rows = []
    for (basis, conditions), members in sentences.groups(subject.claims):
        for claim in members:
            worth = standing(claim, subject.checks)
            rows.append(
                (
                    markdown_code(claim.name),
                    markdown_code(value_text(claim.value)),
                    f"{basis.value}{sentences.claim_note(report, worth)}",
                    worth.value,
                    _codes(conditions),
                    ", ".join(map(_ref, claim.evidence)),
                )
            )
    yield from _table(("Claim", "Value", "Basis", "Worth", "Rests on", "Evidence"), rows)


def _comparison(comparison: Comparison) -> Iterator[str]:
    """What a dashboard says, beside this audit."""
    made = f", of {format_time(comparison.made_at)}" if comparison.made_at is not None else ""
    yield f"## Beside the dashboard: {markdown(comparison.name)}"
    yield ""
    source = f"{markdown_code(comparison.source)}, sha256 {markdown_code(comparison.sha256)}"
    yield f"Its report ({source}){made} shows: {markdown(comparison.shows)}."
    if comparison.note:
        yield from ("", f"**{markdown(sentences.capital(comparison.note))}.**")
    if comparison.rows:
        yield from ("", markdown(beside.SENTENCE), "")
        rows = [
            (
                markdown(row.topic),
                markdown_code(row.theirs),
                markdown(row.ours),
                f"**{row.beside.value}**" if row.beside in _WORSE else row.beside.value,
            )
            for row in comparison.rows
        ]
        yield from _table(("What", "They say (asserted)", "Here", "Standing"), rows)
    if comparison.unseen:
        yield ""
        found = [(markdown(question), markdown(ours)) for question, ours in comparison.unseen]
        yield from _table(("What it does not look at", "Here"), found)


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        return
    yield "## Findings about the manifest"
    yield ""
    rows = []
    for group in sentences.grouped(report.findings):
        rows += [
            (
                markdown(item.severity),
                markdown(sentences.finding_title(item)),
                markdown(item.message),
                markdown(item.fix) if sentences.has_fix(item.fix) else "",
            )
            for item in group
        ]
    yield from _table(("Severity", "Finding", "What it means", "Fix"), rows)


def _sources(report: Report) -> Iterator[str]:
    if not report.sources:
        return
    yield "## Sources"
    yield ""
    rows = [
        (
            markdown(item.kind),
            markdown(item.subject),
            markdown_code(item.source),
            markdown(item.error) if item.error else markdown_code(item.blob or ""),
        )
        for item in report.sources
    ]
    yield f"<details><summary>What was asked for: {len(rows)}</summary>"
    yield ""
    yield from _table(("Kind", "Guest", "Source", "sha256, or why there is none"), rows)
    yield from ("", "</details>")


def _bullets(title: str, items: Iterable[str]) -> Iterator[str]:
    lines = [f"- {markdown(item)}" for item in items]
    if lines:
        yield from (f"## {title}", "", *lines)


def _words() -> Iterator[str]:
    yield "## Words"
    yield ""
    yield from (f"- **{word}**: {markdown(text)}" for word, text in explained(AUDIT_WORDS))


def _footer(report: Report) -> Iterator[str]:
    yield "## To repeat this audit offline"
    yield ""
    yield f"{sentences.REPEAT_NOTE.capitalize()} (--expect-…, --kms, --challenge, --bind):"
    yield ""
    yield from ("```sh", visible(sentences.repeat_command(report)), "```", "")
    rows = [(label, _value(text)) for label, text in sentences.provenance(report)]
    yield from _table(("", ""), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def _value(text: str) -> str:
    """One word is a value; more are a sentence."""
    return markdown(text) if " " in text else markdown_code(text)


def _found(check: CheckResult) -> str:
    """What a check found; the mark of its anchor is our own text, which no link is made of."""
    return markdown(check.summary) + sentences.anchor_note(check)


def _codes(ids: Iterable[str]) -> str:
    return ", ".join(map(markdown_code, ids))


def _ref(ref: EvidenceRef) -> str:
    return f"{markdown_code(ref.blob)} {markdown_code(ref.pointer) if ref.pointer else ''}".strip()
