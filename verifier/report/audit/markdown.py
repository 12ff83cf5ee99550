"""The report as GitHub Flavored Markdown, for an issue, a release or the summary of a step: at most
60 kB. What is longer is left out by steps, from what is asked for least, and the report says so; no
check is ever left out. The JSON has everything, and the bundle what was received.

Every string goes through `escape.markdown` (prose) or `escape.markdown_code` (values); what stands
outside of those two is fixed text of this module.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from verifier.model.identifiers import format_time
from verifier.model.report import Beside, Comparison, Report, SubjectReport
from verifier.model.result import CheckResult, EvidenceRef
from verifier.report import pending
from verifier.report.audit import beside, chosen, instances, publication, sentences
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


_DIGITS: Final = 12
_MOST_DIGESTS: Final = 3
_ERROR: Final = 200
_ERRORS: Final = 3
_WORSE: Final = (Beside.CONTRADICTED, Beside.DIFFERS)


class Room(Struct, frozen=True):
    """How much of a report there is room for: characters of a text that came with the evidence,
    whether checks that hold are told in detail, whether claims are listed, how many findings, and
    of how many other guests."""

    text: int = 2_000
    details: bool = True
    claims: bool = True
    findings: int = 200
    guests: int = 50


MAX_BYTES: Final = 60_000
ROOMS: Final = (
    Room(),
    Room(text=1_000, details=False, findings=60, guests=10),
    Room(text=300, details=False, claims=False, findings=20, guests=5),
    Room(text=100, details=False, claims=False, findings=5, guests=0),
)
"""What is tried in turn."""
_SHORTENED: Final = (
    "> [!NOTE]\n> Shortened to fit 60 kB: texts are cut, and details are left out. "
    "The JSON report has everything.\n"
)


def render_markdown(report: Report) -> str:
    """The report as a Markdown document with a newline at the end, in UTF-8 at most 60 kB."""
    for room in ROOMS:
        text = document(report, room)
        if len(text.encode("utf-8")) <= MAX_BYTES:
            return text
    # Hundreds of checks or sources of somebody's making: what comes first is what decides.
    kept = text.encode("utf-8")[: MAX_BYTES - 100].decode("utf-8", "ignore")
    return kept.rpartition("\n")[0] + "\n\nThe rest is left out: see the JSON report.\n"


def document(report: Report, room: Room) -> str:
    """The report in so much room, however long that is."""
    subject = sentences.worst_subject(report)
    others = report.subjects[1:]
    hidden = others[room.guests :]
    sections = [
        _header(report),
        [_SHORTENED.rstrip()] if room is not ROOMS[0] else [],
        _statements(report, subject),
        _links(subject, room),
        _subject(report, subject, room),
        _instances(report, room),
        *(_other_subject(report, other, room) for other in others[: room.guests]),
        [f"{len(hidden)} more guests are in the JSON report."] if hidden else [],
        *(_comparison(item) for item in report.comparisons),
        _bullets(pending.TITLE, pending.about_to_change(report.pending, report.outlook)),
        _bullets("History", sentences.history(report)),
        _bullets("Manifests that the contract allows", instances.allowed(report)),
        _findings(report, room),
        _checklist(report, subject, room),
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
    for said in filter(None, (sentences.retold(report), sentences.outdated(report))):
        yield from ("", "> [!WARNING]", f"> {markdown(said)}", "")
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
    if by_project := chosen.by_project(report):
        rows.append(("Project file", markdown(by_project)))
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


def _links(subject: SubjectReport, room: Room) -> Iterator[str]:
    """The chain of trust in one table."""
    if not subject.checks:
        return
    yield "## Chain of trust"
    yield ""
    rows = [
        (
            item.claim,
            item.verified,
            _cut(item.found, room),
            " ".join(markdown_code(digest[:_DIGITS]) for digest in item.digests[:_MOST_DIGESTS]),
        )
        for item in publication.links(subject)
    ]
    yield from _table(("Claim", "How it was verified", "What was found", "Evidence"), rows)


def _checklist(report: Report, subject: SubjectReport, room: Room) -> Iterator[str]:
    """The release checklist, as a task list."""
    if not subject.checks:
        return
    yield "## Release checklist"
    yield ""
    for item in publication.checklist(report, subject):
        yield f"- [{'x' if item.done else ' '}] {item.text}: {_cut(item.found, room)}"


def _cut(text: str, room: Room) -> str:
    """A text that came with the evidence, as far as there is room, escaped."""
    return markdown(_middle(text, room.text))


def _middle(text: str, most: int) -> str:
    """A text without its middle where it has more than so many characters; a mark at its end
    stays."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def _subject(report: Report, subject: SubjectReport, room: Room) -> Iterator[str]:
    yield "## The chain"
    yield ""
    if not subject.checks:
        yield "No check was evaluated."
        return
    yield "Each link rests on those before it."
    yield ""
    yield from _diagram(report, subject.checks)
    yield from _checks(subject, room)
    yield from _claims(report, subject, room)


def _instances(report: Report, room: Room) -> Iterator[str]:
    """A row for each guest, and what they differ in."""
    if not report.subjects:
        return
    yield "## Instances"
    yield ""
    yield markdown(f"{sentences.capital(instances.summary(report))}.")
    yield ""
    rows = [tuple(map(markdown, cells)) for cells in instances.table(report)]
    yield from _table(instances.HEAD, rows[: room.findings])
    noted = list(instances.notes(report))
    if noted:
        yield ""
    yield from (f"- {_cut(note, room)}" for note in noted[: room.findings])


def _other_subject(report: Report, subject: SubjectReport, room: Room) -> Iterator[str]:
    yield f"## Another guest: {markdown(sentences.subject_name(subject))}"
    yield ""
    yield f"**{subject.verdict.value}**: {sentences.tally(subject.checks)}"
    if subject.checks:
        yield from _checks(subject, room)
        yield from _claims(report, subject, room)


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


def _checks(subject: SubjectReport, room: Room) -> Iterator[str]:
    for family, members in by_family(subject.checks):
        yield ""
        yield f"### {markdown(family.title)}: {family.about}"
        yield ""
        rows = [
            (
                f"**{mark(check).value}**" if needs_attention(check) else mark(check).value,
                markdown_code(check.id),
                _found(check, room) + sentences.requirement_note(check),
            )
            for check in members
        ]
        yield from _table(("Result", "Check", "Summary"), rows)
        for check in filter(sentences.explains, members):
            yield from _details(check, subject.checks, room)
    marks = {mark(check) for check in subject.checks}
    yield ""
    yield "; ".join(f"{item.value} = {MEANINGS[item]}" for item in Mark if item in marks) + "."
    others = [item for item in in_chain_order(subject.checks) if not sentences.explains(item)]
    if others and room.details:
        which = "The other checks" if len(others) < len(subject.checks) else "Every check"
        yield from ("", f"<details><summary>{which} in detail</summary>")
        for check in others:
            yield from _details(check, subject.checks, room)
        yield from ("", "</details>")


def _details(check: CheckResult, checks: Iterable[CheckResult], room: Room) -> Iterator[str]:
    yield ""
    wanted = sentences.requirement_words(check)
    yield f"{markdown_code(check.id)} **{mark(check).value}** ({wanted})"
    yield ""
    yield f"- Holds if: {markdown(check.title)}"
    for label, text in sentences.details(check, checks):
        yield f"- {label.capitalize()}: {_cut(text, room)}"
    if check.requires:
        yield f"- Rests on: {_codes(check.requires)}"
    for blob, pointers in sentences.evidence_by_blob(check):
        yield f"- Evidence: {' '.join((markdown_code(blob), _codes(pointers))).rstrip()}"


def _claims(report: Report, subject: SubjectReport, room: Room) -> Iterator[str]:
    if not subject.claims or not room.claims:
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
                    markdown_code(_middle(value_text(claim.value), room.text)),
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
        yield from ("", markdown(beside.sentence(comparison)), "")
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


def _findings(report: Report, room: Room) -> Iterator[str]:
    if not report.findings:
        return
    yield "## Findings about the manifest"
    yield ""
    found = [item for group in sentences.grouped(report.findings) for item in group]
    rows = [
        (
            markdown(item.severity),
            _cut(sentences.finding_title(item), room),
            _cut(item.message, room),
            _cut(item.fix, room) if sentences.has_fix(item.fix) else "",
        )
        for item in found[: room.findings]
    ]
    yield from _table(("Severity", "Finding", "What it means", "Fix"), rows)
    if len(found) > room.findings:
        yield f"\n{len(found) - room.findings} more are in the JSON report."


def _sources(report: Report) -> Iterator[str]:
    """What was asked for, by kind; what came is in the bundle, and named in the JSON."""
    if not report.sources:
        return
    yield "## Sources"
    yield ""
    rows = []
    for kind in dict.fromkeys(item.kind for item in report.sources):
        asked = [item for item in report.sources if item.kind == kind]
        silent = [item for item in asked if item.error]
        why = dict.fromkeys(item.error for item in silent)
        told = "; ".join(markdown(_middle(error, _ERROR)) for error in list(why)[:_ERRORS])
        rows.append((markdown(kind), str(len(asked)), str(len(silent)) if silent else "", told))
    yield from _table(("Kind", "Asked for", "Without an answer", "Why"), rows)
    yield from ("", "The JSON report lists each of them, with the sha256 of what came.")


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
    yield f"{sentences.REPEAT_NOTE} (--expect-…, --kms, --challenge, --bind):"
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


def _found(check: CheckResult, room: Room = ROOMS[0]) -> str:
    """What a check found; the mark of its anchor is our own text, which no link is made of."""
    return _cut(check.summary, room) + sentences.anchor_note(check)


def _codes(ids: Iterable[str]) -> str:
    return ", ".join(map(markdown_code, ids))


def _ref(ref: EvidenceRef) -> str:
    return f"{markdown_code(ref.blob)} {markdown_code(ref.pointer) if ref.pointer else ''}".strip()
