"""JSON: canonical, complete, as the schema says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from verifier.model.project import ProjectFile
from verifier.model.report import Report
from verifier.model.result import JsonValue
from verifier.report.audit.earlier import read_report
from verifier.report.audit.html import render_html
from verifier.report.audit.json import canonical_json, encodable, render_json
from verifier.report.audit.markdown import render_markdown
from verifier.report.audit.sentences import verdict_line
from verifier.report.audit.terminal import render_terminal
from verifier.report.masking import masked_report

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "report-v1.schema.json").read_text())


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_matches_schema(any_report: Report) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(render_json(any_report)))


def test_a_project_file_is_in_every_form(reports: dict[str, Report]) -> None:
    settings = (("--policy", ("release.toml",)), ("--rpc-url", ("https://x.example/#0011",)))
    project = ProjectFile("dstack-audit.toml", "ab" * 32, settings)
    report = masked_report(replace(reports["affirming"], project=project))
    document = json.loads(render_json(report))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["project"]["file"] == "dstack-audit.toml"
    assert [item["option"] for item in document["project"]["sets"]] == ["--policy", "--rpc-url"]
    demo = read_report((ROOT / "reports" / "demo.json").read_bytes())
    assert read_report(render_json(replace(demo, project=report.project))).project == report.project
    terminal = " ".join(render_terminal(report, color=False, width=100).split())
    for rendered in (terminal, render_markdown(report), render_html(report)):
        text = re.sub(r"[\\`]", "", rendered)
        assert "(sha256 abababababababab" in text
        assert "(from the project file)" in text
    assert "(from the project file)" in verdict_line(report)
    own = replace(report, project=replace(project, settings=settings[1:]))
    assert "(from the project file)" not in verdict_line(own)


def test_schema_refuses_unknown_names(reports: dict[str, Report]) -> None:
    document = json.loads(render_json(reports["warning"]))
    places = [document, document["policy"], document["checks"][0], document["claims"][0]]
    places += [document["findings"][0], document["findings"][0]["location"], document["sources"][0]]
    for place in places:
        place["extra"] = 1
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
        del place["extra"]


def test_is_canonical_and_ends_with_a_newline(any_report: Report) -> None:
    rendered = render_json(any_report)
    assert rendered == rfc8785.dumps(json.loads(rendered)) + b"\n"
    assert rendered.count(b"\n") == 1


def test_no_check_and_no_claim_is_dropped(any_report: Report) -> None:
    document = json.loads(render_json(any_report))
    shown = [document, *document["other_subjects"]]
    for subject, found in zip(any_report.subjects, shown, strict=False):
        assert [item["id"] for item in found["checks"]] == [item.id for item in subject.checks]
        assert [item["name"] for item in found["claims"]] == [item.name for item in subject.claims]
    assert len(document["other_subjects"]) == max(len(any_report.subjects) - 1, 0)


def test_large_integers_are_strings(reports: dict[str, Report]) -> None:
    report = reports["affirming"]
    subject = report.subjects[0]
    values = {2**53 - 1: 2**53 - 1, 2**53: str(2**53), -(2**53): str(-(2**53)), 2**256: str(2**256)}
    for value, written in values.items():
        check = replace(subject.checks[0], expected={"deep": [value]}, actual=True)
        changed = replace(report, subjects=(replace(subject, checks=(check,)),))
        found = json.loads(render_json(changed))["checks"][0]
        assert found["expected"] == {"deep": [written]}
        assert found["actual"] is True


def test_does_not_import_rich() -> None:
    code = "import sys, verifier.report.audit.json; sys.exit('rich' in sys.modules)"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_snapshot(reports: dict[str, Report], snapshot: SnapshotAssertion) -> None:
    for name, report in reports.items():
        assert json.loads(render_json(report)) == snapshot(name=name)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@example({"\U00010000": 1, "\uffff": 2, "\x7f": '\x00\x1f\x7f\u2028"\\/', "a": [1.5e300, -0.0]})
@example({"a": ["\b\f\n\r\t", 2**53, -(2**53), True, None, {}], "A": []})
def test_canonical_json_is_that_of_the_rfc(value: JsonValue) -> None:
    assert canonical_json(value) == rfc8785.dumps(encodable(value))
