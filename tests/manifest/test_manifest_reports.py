"""Lints rendered: places, carets, hostile text, SARIF's shape, documentation, the command."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest
from markdown_it import MarkdownIt

from tests.cli.command import Run
from tests.manifest.vectors import Case, app, env, manifest
from verifier.evidence.compose.app_compose import ComposePositions
from verifier.manifest.audit import audit_compose_file, audit_manifest
from verifier.manifest.ignore import parse_baseline, sift
from verifier.manifest.rules.catalogue import RULES
from verifier.model.result import Severity
from verifier.report.lint.places import Lint, spots
from verifier.report.lint.sarif import render_github, render_lint_json, render_sarif
from verifier.report.lint.text import render_lint, render_lint_markdown
from verifier.report.lint.told import ToldLint, ToldLints, read_lints, tell
from verifier.report.rule_docs import rule_pages

DOCS = Path(__file__).parents[2] / "docs" / "rules"
HOSTILE: Final = "evil\x1b[31m\u202egnp\u200b::error::%0A|`<b>"
TODAY = date(2026, 12, 1)
MESSAGE: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
    "additionalProperties": False,
}
POSITION: Final = {"type": "integer", "minimum": 1}
RESULT: Final = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": MESSAGE,
        "locations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "physicalLocation": {
                        "type": "object",
                        "required": ["artifactLocation"],
                        "properties": {
                            "artifactLocation": {
                                "type": "object",
                                "properties": {
                                    "uri": {"type": "string", "format": "uri-reference"}
                                },
                                "additionalProperties": False,
                            },
                            "region": {
                                "type": "object",
                                "properties": {
                                    "startLine": POSITION,
                                    "startColumn": POSITION,
                                    "snippet": MESSAGE,
                                },
                                "additionalProperties": False,
                            },
                        },
                        "additionalProperties": False,
                    },
                    "logicalLocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "fullyQualifiedName": {"type": "string"},
                                "kind": {"type": "string"},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "suppressions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["inSource", "external"]},
                    "justification": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
SARIF: Final = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "informationUri": {"type": "string", "format": "uri"},
                                    "semanticVersion": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "id": {"type": "string"},
                                                "name": {
                                                    "type": "string",
                                                    "pattern": "^([A-Z][A-Za-z0-9]*|[0-9]+)+$",
                                                },
                                                "shortDescription": MESSAGE,
                                                "fullDescription": MESSAGE,
                                                "help": MESSAGE,
                                                "helpUri": {"type": "string", "format": "uri"},
                                                "defaultConfiguration": {"type": "object"},
                                                "properties": {"type": "object"},
                                            },
                                            "additionalProperties": False,
                                        },
                                    },
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": RESULT},
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["message"],
                                        "properties": {
                                            "level": {"enum": ["none", "note", "warning", "error"]},
                                            "message": MESSAGE,
                                        },
                                        "additionalProperties": False,
                                    },
                                },
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""The part of OASIS sarif-schema-2.1.0.json that is used here, nothing else allowed."""


def lint(case: Case | str, baseline: str = "", **changes: Any) -> Lint:
    whole = isinstance(case, Case)
    raw = case.raw if isinstance(case, Case) else case.encode()
    audit = audit_manifest(raw) if whole else audit_compose_file(raw)
    sifted = sift(audit, parse_baseline(baseline.encode()), TODAY, comments=True)
    fields: dict[str, Any] = {
        "name": "compose.yaml",
        "raw": raw,
        "whole": whole,
        "audit": audit,
        "findings": sifted.findings,
        "ignored": sifted.ignored,
        "notes": sifted.notes,
        "min_severity": Severity.MEDIUM,
    }
    return Lint(**(fields | changes))


def told(*given: Lint) -> ToldLints:
    """What every form tells of lints, read back from its JSON."""
    first = tell(given, "dstack-audit 0.1.0")
    again = read_lints(render_lint_json(first).encode())
    assert again == first
    return again


def one(given: Lint) -> ToldLint:
    """The same of one."""
    (found,) = told(given).files
    return found


COMPOSE: Final = (
    "services:\n  web:\n    image: redis:7-alpine\n    ports: ['22:22']\n"
    "    environment:\n      - API_URL=${API_URL}\n"
)
BASELINE: Final = '[[ignore]]\nrule = "IMG-005"\nreason = "known"\nexpires = 2027-01-01\n'


def test_the_caret_stands_under_the_column() -> None:
    lines = render_lint(one(lint(COMPOSE)), color=False, width=100).splitlines()
    place = next(number for number, line in enumerate(lines) if "image: redis" in line)
    assert lines[place].index("redis") == lines[place + 1].index("^")


def test_ignored_findings_are_listed() -> None:
    given = lint(COMPOSE, BASELINE)
    text = render_lint(one(given), color=False, width=100)
    assert "1 ignored" in text
    assert re.search(r"Ignored\n +high IMG-005 web: .* — known", text)
    assert "Reason: known" in render_lint_markdown(one(given))
    assert json.loads(render_lint_json(told(given)))["files"][0]["ignored"][0]["reason"] == "known"


def test_colour_is_asked_for() -> None:
    assert "\x1b" not in render_lint(one(lint(COMPOSE)), color=False, width=80)
    assert "\x1b[31m" in render_lint(one(lint(COMPOSE)), color=True, width=80)


@pytest.mark.parametrize("verbose", [False, True])
def test_lines_fit(verbose: bool) -> None:  # noqa: FBT001 - both ways
    for width in (60, 100):
        text = render_lint(one(lint(COMPOSE)), color=False, width=width, verbose=verbose)
        assert all(len(line) <= width or "sha256" in line for line in text.splitlines())


def hostile() -> Lint:
    name = json.dumps(HOSTILE)
    text = f"services:\n  {name}:\n    image: {name}\n    ports: ['22:22']\n"
    return lint(manifest(text), name=f"a{HOSTILE}.yaml", min_severity=Severity.INFO)


def test_hostile_text_cannot_act() -> None:
    given = hostile()
    for text in (
        render_lint(one(given), color=False, width=100, verbose=True),
        render_lint_markdown(one(given)),
        render_github(told(given)),
        render_sarif(told(given)),
        render_lint_json(told(given)),
    ):
        assert not set("\x1b\u202e\u200b") & set(text)
    for line in render_github(told(given)).splitlines():
        assert line.startswith(("::error ", "::warning ", "::notice "))
    html = MarkdownIt().enable("table").render(render_lint_markdown(one(given)))
    assert "<b>" not in html


@pytest.mark.parametrize(
    "given", [lint(COMPOSE, BASELINE), lint(app("privileged: true")), hostile()]
)
def test_sarif_has_the_standards_shape(given: Lint) -> None:
    document = json.loads(render_sarif(told(given)))
    jsonschema.validate(document, SARIF, format_checker=jsonschema.FormatChecker())
    run_ = document["runs"][0]
    rules = run_["tool"]["driver"]["rules"]
    assert len(rules) == len(RULES)
    prints = set()
    for result in run_["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        prints.add(result["partialFingerprints"]["verifyFinding/v1"])
    assert len(prints) == len(run_["results"])
    suppressed = [result for result in run_["results"] if "suppressions" in result]
    assert len(suppressed) == len(given.ignored)


@pytest.mark.parametrize(
    "text",
    [COMPOSE, COMPOSE.replace("\n", "\r\n"), '# "quoted" \\ \t é\n' + COMPOSE],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_places_in_the_raw_manifest(text: str, indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001
    document = {"docker_compose_file": text, "runner": "docker-compose", "manifest_version": 2}
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    given = lint(Case(raw))
    finding = next(f for f in given.findings if f.rule == "IMG-005")
    spot = spots(given)[finding]
    line = raw.decode().split("\n")[spot.line - 1]
    assert line[spot.column - 1 :].startswith("redis:7-alpine")


def test_places_outside_of_the_text_are_none() -> None:
    positions = ComposePositions(b'{"docker_compose_file": "a\\nb"}')
    assert positions.raw_place(3, 1) == (0, 0)
    assert positions.raw_place(0, 1) == (0, 0)
    assert ComposePositions(b"{}").raw_place(1, 1) == (0, 0)


def test_the_documentation_is_current_and_complete() -> None:
    pages = rule_pages()
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, "python docs/rules/regenerate.py"
    assert {path.name for path in DOCS.glob("*.md")} == set(pages)
    for rule in RULES:
        assert f"## {rule.id}: {rule.title}\n" in pages[f"{rule.group.lower()}.md"]


def test_links_of_the_index_lead_somewhere() -> None:
    pages = rule_pages()
    for page, anchor in re.findall(r"\]\((\w+\.md)#([^)]+)\)", pages["README.md"]):
        headings = re.findall(r"^## (.*)$", pages[page], re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        (COMPOSE, (), 4),
        (app().raw.decode(), (), 0),
        (app().raw.decode(), ("--min-severity", "info"), 4),
        (env("A", "A").raw.decode(), ("--min-severity", "high"), 0),
        ("services: [", (), 3),
        ("a: 1\na: 2\n", (), 4),
        ('{"runner": "bash", "runner": "x"}', (), 4),
        ('{"services": {"a": {"image": "x"}}}', (), 4),
        ("{", (), 3),
        ("<html></html>", (), 3),
        ("\x00", (), 3),
        (app().raw.decode(), ("--expect-compose-hash", "00" * 32), 4),
        (app().raw.decode(), ("--expect-compose-hash", "zz"), 2),
        (app().raw.decode(), ("--baseline", "none.toml"), 2),
        (app().raw.decode(), ("--format", "nothing"), 2),
    ],
)
def test_exit_codes(
    run: Run, tmp_path: Path, text: str, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "given").write_text(text)
    ran = run("lint", "given", *arguments)
    assert ran.code == code, ran.out + ran.err
    assert "Traceback" not in ran.err


def test_formats_of_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    assert json.loads(run("lint", "compose.yaml", "--format", "sarif").out)["version"] == "2.1.0"
    assert json.loads(run("lint", "compose.yaml", "--format", "json").out)["files"]
    assert run("lint", "compose.yaml", "--format", "github").out.startswith("::error file=")
    assert run("lint", "compose.yaml", "--format", "markdown").out.startswith("# Lint")
    assert run("lint", "compose.yaml", "-o", "out.txt").out == ""
    assert "IMG-005" in (tmp_path / "out.txt").read_text()
    assert run("lint", "missing.yaml").code == 2


def test_evidence_cannot_be_silenced(run: Run, tmp_path: Path) -> None:
    text = COMPOSE.replace("alpine", "alpine # verify: ignore IMG-005 trust me")
    info = {"app_id": "00" * 20, "tcb_info": {"mrtd": "00" * 48, "rtmr3": "00" * 48}}
    info["tcb_info"] |= {"app_compose": manifest(text).raw.decode()}  # type: ignore[operator]
    (tmp_path / "info.json").write_text(json.dumps(info))
    (tmp_path / "base.toml").write_text(BASELINE)
    ran = run("lint", "info.json", "--baseline", "base.toml", "--format", "json")
    files = json.loads(ran.out)["files"]
    assert "IMG-005" in {finding["rule"] for finding in files[0]["findings"]}
    assert not files[0]["ignored"]


def test_a_bundle_is_linted(run: Run) -> None:
    bundle = Path(__file__).parents[2] / "fixtures" / "demo-bundle.tar"
    ran = run("lint", bundle, "--format", "json", "--min-severity", "info")
    assert ran.code == 4, ran.err
    assert json.loads(ran.out)["files"][0]["kind"] == "app-compose"
