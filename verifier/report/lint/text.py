"""A lint for people: the terminal, with the source line and a caret, and Markdown."""

import textwrap
import unicodedata
from collections.abc import Iterator
from typing import Final

from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.result import Severity
from verifier.report.audit.sentences import has_fix
from verifier.report.escape import markdown, markdown_code, visible
from verifier.report.lint.told import ToldFinding, ToldLint, tally

_STYLES: Final = {
    Severity.CRITICAL: "1;31",
    Severity.HIGH: "31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.INFO: "2",
}
_INDENT: Final = "      "
_CONTEXT: Final = 60  # characters of a source line before and after its column
_MAX_LISTED: Final = 12
_KINDS: Final = {
    "app-compose": "app-compose manifest",
    "compose": "compose file alone",
    "dockerfile": "Dockerfile",
}


def render_lint(lint: ToldLint, *, color: bool, width: int, verbose: bool = False) -> str:
    """One lint as text; without `color` there is no escape byte in it."""
    return "\n".join(_lines(lint, color=color, width=max(width, 40), verbose=verbose)) + "\n"


def _lines(lint: ToldLint, *, color: bool, width: int, verbose: bool) -> Iterator[str]:
    yield from _summary(lint, width)
    shown = lint.findings if verbose else lint.counted
    for rule_id, found in _by_rule(shown):
        rule = TEXTS[rule_id]
        worst = min((item.severity for item in found), key=lambda severity: severity.rank)
        yield ""
        yield f"{_paint(f'{worst.value:8}', _STYLES[worst], color=color)} {rule_id}  {rule.title}"
        for finding in found:
            yield from _place(lint, finding, worst, width)
        yield from _wrapped("Why:  ", rule.why, width)
        if has_fix(rule.fix):
            yield from _wrapped("Fix:  ", rule.fix, width)
    seen = set(shown)
    below = [finding for finding in lint.findings if finding not in seen]
    if below:
        yield from ("", f"Below {lint.min_severity.value} (-v shows them)")
        yield from _wrapped(_INDENT, ", ".join(_counts(below)), width)
    if any(finding.conditional for finding in shown):
        text = "as far as it rests on what the manifest alone does not show"
        yield from ("", *_wrapped("(conditional): ", text, width))
    yield from _rest(lint, width, verbose=verbose)


def _summary(lint: ToldLint, width: int) -> Iterator[str]:
    yield from _wrapped("", f"{visible(lint.name)}: {_KINDS[lint.kind]}", width)
    yield f"sha256 {lint.sha256}"
    if lint.problem:
        yield from _wrapped("Not judged: ", visible(lint.problem), width)
    counted = lint.counted
    word = "finding" if len(counted) == 1 else "findings"
    ignored = f", {len(lint.ignored)} ignored" if lint.ignored else ""
    level = f"at {lint.min_severity.value} or above"
    listed = f" ({tally(counted)})" if counted else ""
    yield f"{len(counted)} {word} {level}{listed}{ignored}"
    if lint.kind == "compose":
        text = "allowed_envs is not known: what an operator may set is marked as conditional."
        yield from _wrapped("", text, width)


def _place(lint: ToldLint, finding: ToldFinding, shown: Severity, width: int) -> Iterator[str]:
    severity = f"{finding.severity.value}: " if finding.severity != shown else ""
    conditional = " (conditional)" if finding.conditional else ""
    service = f"{visible(finding.service)}: " if finding.service else ""
    yield from _wrapped(
        _INDENT, f"{severity}{service}{visible(finding.message)}{conditional}", width
    )
    place = finding.location
    if place.source_line:
        number = str(place.source_line)
        line, caret = _excerpt(lint.source(finding), place.column)
        yield f"{_INDENT}  {number} | {line}"
        yield f"{_INDENT}  {' ' * len(number)} | {caret}^"
    else:
        line = f", line {place.file_line}" if place.file_line > 1 else ""
        yield f"{_INDENT}  at {visible(place.pointer) or '/'}{line}"


def _excerpt(source: str, column: int) -> tuple[str, str]:
    """A part of a source line around a column, made visible, and the space before its caret."""
    start = max(0, column - 1 - _CONTEXT)
    before = visible(source[start : column - 1])
    after = visible(source[column - 1 : column - 1 + _CONTEXT])
    lead = "…" if start else ""
    stripped = before.lstrip(" ") if not start else before
    return f"{lead}{stripped}{after}", " " * _cells(lead + stripped)


def _cells(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _rest(lint: ToldLint, width: int, *, verbose: bool) -> Iterator[str]:
    if lint.ignored:
        yield from ("", "Ignored")
        for item in lint.ignored:
            where = f"{item.rule} {visible(item.service)}".strip()
            text = f"{item.severity.value} {where}: {visible(item.message)}"
            yield from _wrapped(_INDENT, f"{text} — {visible(item.reason)}", width)
    for note in lint.notes:
        yield from _wrapped("Note: ", visible(note), width)
    reasons = lint.missing_reasons()
    if reasons:
        count = len(lint.not_evaluable)
        what = "1 rule" if count == 1 else f"{count} rules"
        yield from ("", f"Not evaluable: {what}, for want of evidence")
        for reason, rules in reasons.items():
            names = rules if verbose or len(rules) <= _MAX_LISTED else [f"{len(rules)} rules"]
            yield from _wrapped(_INDENT, f"{', '.join(names)}: {reason}", width)


def _wrapped(lead: str, text: str, width: int) -> Iterator[str]:
    lead = (
        lead if lead.startswith(" ") or lead in {"", "Note: ", "Not judged: "} else _INDENT + lead
    )
    yield from textwrap.wrap(
        text,
        width,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    ) or [lead]


def _by_rule(findings: tuple[ToldFinding, ...]) -> list[tuple[str, list[ToldFinding]]]:
    """Findings by rule, in the order of each rule's worst one."""
    groups: dict[str, list[ToldFinding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    return list(groups.items())


def _counts(findings: list[ToldFinding]) -> list[str]:
    return [
        f"{rule} ({len(found)})" if len(found) > 1 else rule
        for rule, found in _by_rule(tuple(findings))
    ]


def _paint(text: str, style: str, *, color: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if color else text


def render_lint_markdown(lint: ToldLint) -> str:
    """One lint as Markdown."""
    return "\n".join(_markdown_lines(lint)) + "\n"


def _markdown_lines(lint: ToldLint) -> Iterator[str]:
    yield f"# Lint of {markdown_code(lint.name)}"
    yield ""
    yield f"sha256 {markdown_code(lint.sha256)}. Findings at {lint.min_severity.value} or"
    yield f"above: {tally(lint.counted)}. Ignored: {len(lint.ignored)}."
    if lint.problem:
        yield from ("", f"**Not judged:** {markdown(lint.problem)}")
    if lint.findings:
        yield from (
            "",
            "| Severity | Rule | Service | Line | Finding | Fix |",
            "|---|---|---|--:|---|---|",
        )
    for finding in lint.findings:
        rule = TEXTS[finding.rule]
        conditional = " (conditional)" if finding.conditional else ""
        cells = (
            finding.severity.value,
            finding.rule,
            markdown_code(finding.service) if finding.service else "",
            str(finding.location.source_line or ""),
            f"{rule.title}: {markdown(finding.message)}{conditional}",
            markdown(rule.fix) if has_fix(rule.fix) else "",
        )
        yield f"| {' | '.join(cells)} |"
    if lint.ignored:
        yield from ("", "## Ignored", "")
    for item in lint.ignored:
        yield f"- {item.rule}: {markdown(item.message)}. Reason: {markdown(item.reason)}"
    for note in lint.notes:
        yield from ("", f"Note: {markdown(note)}")
    reasons = lint.missing_reasons()
    if reasons:
        yield from ("", "## Not evaluable", "")
        for reason, rules in reasons.items():
            yield f"- {', '.join(rules)}: {markdown(reason)}"
