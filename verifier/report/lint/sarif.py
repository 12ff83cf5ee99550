"""Lints for machines: JSON, SARIF 2.1.0 (OASIS standard), GitHub workflow annotations.

SARIF regions are places in the file that was given: for a manifest, within its one JSON string.
Fingerprints stay when lines move. JSON is ASCII, so that nothing in it acts on a terminal.
"""

import json
import re
from pathlib import PurePath
from posixpath import normpath
from typing import Any, Final
from urllib.parse import quote

import msgspec

from verifier.manifest.rule import RuleText
from verifier.manifest.rules.catalogue import BUILD_RULES, RULES
from verifier.model.result import JsonValue, Severity
from verifier.report.audit.json import encodable
from verifier.report.escape import visible, without_surrogates
from verifier.report.lint.told import ToldFinding, ToldIgnored, ToldLint, ToldLints, ToldUnread
from verifier.report.rule_docs import anchor
from verifier.version import homepage

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT: Final = "verifyFinding/v1"
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFO: "0.0",
}
"""`security-severity` as code scanning groups it: critical from 9, high 7, medium 4."""
_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def render_lint_json(told: ToldLints) -> str:
    """Lints as one JSON document (docs/schema/lint-v1.schema.json)."""
    return _dump(encodable(msgspec.to_builtins(told)))


def render_sarif(told: ToldLints, root: PurePath | None = None) -> str:
    """Lints as one SARIF run. Findings below the least severity are in it, as notes.

    A file below `root`, the working directory, is named relative to it, as code scanning wants it.
    """
    lints, unread = told.files, told.unread
    rules = rules_of(lints)
    driver = {
        "name": "dstack-audit",
        **({"informationUri": homepage()} if homepage() else {}),
        "semanticVersion": told.tool.partition(" ")[2],
        "rules": [_rule(rule) for rule in rules],
    }
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [result for lint in lints for result in _results(lint, rules, root)],
        "invocations": [
            {
                "executionSuccessful": not unread,
                "toolExecutionNotifications": [
                    *(note for lint in lints for note in _notifications(lint)),
                    *(_failure(item) for item in unread),
                ],
            }
        ],
    }
    return _dump({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def render_github(told: ToldLints) -> str:
    """The findings that count as workflow commands, one per line."""
    lines: list[str] = []
    for lint in told.files:
        for finding in lint.counted:
            place = finding.location
            properties = {"file": lint.name, "line": str(max(place.file_line, 1))}
            properties |= {"col": str(place.file_column)} if place.file_column else {}
            properties["title"] = f"{finding.rule} {finding.title}"
            command = _COMMANDS[_LEVELS[finding.severity]]
            said = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
            lines.append(f"::{command} {said}::{_command_text(finding_text(lint, finding))}")
        if lint.problem:
            problem = _command_text(lint.problem)
            lines.append(f"::error file={_property(lint.name)}::{problem}")
    lines += [
        f"::error file={_property(item.name)}::{_command_text(item.problem)}"
        for item in told.unread
    ]
    return "".join(f"{line}\n" for line in lines)


def _page_of(rule: RuleText) -> str:
    return f"blob/main/docs/rules/{rule.group.lower()}.md#{anchor(rule)}"


def _rule(rule: RuleText) -> dict[str, Any]:
    help_text = f"{rule.what}\n\nWhy: {rule.why}\n\nFix: {rule.fix}\n\nSource: {rule.source}"
    return {
        "id": rule.id,
        "name": _name(rule.title),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.what},
        "help": {"text": help_text, "markdown": help_text},
        **({"helpUri": f"{homepage()}/{_page_of(rule)}"} if homepage() else {}),
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "security-severity": _SCORES[rule.severity],
            "tags": ["security", rule.group],
        },
    }


def _name(title: str) -> str:
    """A title as one Pascal-case identifier (SARIF 2.1.0, 3.49.7)."""
    words = re.findall(r"[A-Za-z0-9]+", title)
    return "".join(word[:1].upper() + word[1:] for word in words)


def rules_of(lints: tuple[ToldLint, ...]) -> tuple[RuleText, ...]:
    """The rules that were asked: of manifests, of Dockerfiles (inline ones too), or of both."""
    builds = [lint.kind == "dockerfile" for lint in lints]
    manifests: tuple[RuleText, ...] = () if builds and all(builds) else RULES
    asked = {rule.id for rule in BUILD_RULES}
    found = any(item.rule in asked for lint in lints for item in (*lint.findings, *lint.ignored))
    return (*manifests, *(BUILD_RULES if any(builds) or found else ()))


def _results(
    lint: ToldLint, rules: tuple[RuleText, ...], root: PurePath | None
) -> list[dict[str, Any]]:
    index = {rule.id: place for place, rule in enumerate(rules)}
    results: list[dict[str, Any]] = []
    for finding in (*lint.findings, *lint.ignored):
        result: dict[str, Any] = {
            "ruleId": finding.rule,
            "ruleIndex": index[finding.rule],
            "level": _LEVELS[finding.severity],
            "message": {"text": _linkless(finding_text(lint, finding))},
            "locations": [_location(lint, finding, root)],
            "partialFingerprints": {FINGERPRINT: finding.fingerprint},
            "properties": {"severity": finding.severity.value, "conditional": finding.conditional},
        }
        if isinstance(finding, ToldIgnored):
            result["suppressions"] = [{"kind": "external", "justification": finding.reason}]
        results.append(result)
    return results


def _location(lint: ToldLint, finding: ToldFinding, root: PurePath | None) -> dict[str, Any]:
    place = finding.location
    region: dict[str, Any] = {"startLine": max(place.file_line, 1)}
    if place.file_column:
        region["startColumn"] = place.file_column
    if place.source_line and not lint.whole:
        region["snippet"] = {"text": lint.source(finding)}
    return {
        "physicalLocation": {"artifactLocation": {"uri": _uri(lint.name, root)}, "region": region},
        "logicalLocations": [
            {"fullyQualifiedName": finding.location.pointer or "/", "kind": "member"}
        ],
    }


def _uri(name: str, root: PurePath | None) -> str:
    """The URI of a file: relative to the root if it lies below it, else absolute if its name is."""
    path = PurePath(normpath(name))
    if root is not None and path.is_absolute() and path.is_relative_to(root):
        path = path.relative_to(root)
    scheme = "file://" if path.is_absolute() else ""
    return scheme + quote(path.as_posix(), safe="/")


def _failure(item: ToldUnread) -> dict[str, Any]:
    text = _linkless(f"{visible(item.name)}: {visible(item.problem)}")
    return {"level": "error", "message": {"text": text}}


def _notifications(lint: ToldLint) -> list[dict[str, Any]]:
    said = [lint.problem] if lint.problem else []
    said += [f"{item.rule} was not evaluated: {item.reason}" for item in lint.not_evaluable]
    texts = (_linkless(f"{lint.name}: {text}") for text in said)
    return [{"level": "note", "message": {"text": text}} for text in texts]


def _linkless(text: str) -> str:
    """A message of which nothing reads as a link: `[text](target)` is one in SARIF, and a backslash
    takes that from a bracket (SARIF 2.1.0, 3.11.6)."""
    return re.sub(r"([\\\[\]])", r"\\\1", text)


def finding_text(lint: ToldLint, finding: ToldFinding) -> str:
    """What is wrong and what to do; of a manifest, with the line in its compose file, which the
    region cannot tell."""
    service = f"{finding.service}: " if finding.service else ""
    in_compose = lint.whole and finding.location.source_line
    place = f" (line {finding.location.line} of the compose file)" if in_compose else ""
    conditional = " [conditional]" if finding.conditional else ""
    return f"{service}{visible(finding.message)}{place}{conditional}. {finding.fix}"


def _command_text(text: str) -> str:
    """The data of a workflow command (GitHub actions toolkit, command.ts)."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _command_text(text).replace(":", "%3A").replace(",", "%2C")


def _dump(document: JsonValue) -> str:
    return without_surrogates(json.dumps(document, indent=2)) + "\n"
