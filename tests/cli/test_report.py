"""`verify report FILE`: an earlier report in another form, and a bundle audited again."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.gates.test_action import APP_ID, BUNDLE, DIGEST

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "reports" / "demo.json"


def test_renders_a_report_in_every_form_at_once(call: Run, tmp_path: Path) -> None:
    forms = ("json", "markdown", "html", "junit", "badge", "shields", "summary")
    also = [word for form in forms for word in ("--report", f"{form}=r.{form}")]
    ran = call("report", DEMO, "-q", *also)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("affirming [simulated], accepted by policy baseline")
    assert "nothing was verified again" in ran.err
    again, before = (json.loads(path.read_bytes()) for path in (tmp_path / "r.json", DEMO))
    assert before.items() <= again.items()
    assert all((tmp_path / f"r.{form}").stat().st_size for form in forms)
    assert "SIMULATED" in (tmp_path / "r.html").read_text().upper()


def test_a_report_that_was_refused_is_refused_again(call: Run, tmp_path: Path) -> None:
    document = json.loads(DEMO.read_bytes())
    document["checks"][0] |= {"status": "fail"}
    document |= {"verdict": "contraindicated", "accepted": False}
    (tmp_path / "r.json").write_text(json.dumps(document))
    assert call("report", "r.json", "-q").code == 4


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"schema": "dstack-audit/report/v9"}, 3, "dstack-audit/report/v9, and this version reads"),
        ({"schema": "dstack-audit/lint/v1"}, 3, "the lint cannot be rendered again"),
        ({"schema": "dstack-audit/stage/v1"}, 3, "it is the JSON of a stage"),
        ({"verdict": "none"}, 3, "contradicts itself"),
        ({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}, 2, "--key key.pub"),
    ],
)
def test_what_is_no_such_report_is_one_line(
    call: Run, tmp_path: Path, change: dict[str, str], code: int, said: str
) -> None:
    (tmp_path / "r.json").write_text(json.dumps(json.loads(DEMO.read_bytes()) | change))
    ran = call("report", "r.json")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(
    "words",
    [
        (APP_ID,),
        ("--bundle", "evidence"),
        ("--offline",),
        ("--policy", "baseline"),
        ("--expect-compose-hash", "ab" * 32),
        ("--format", "statement"),
    ],
)
def test_a_report_is_not_judged_anew(call: Run, words: tuple[str, ...]) -> None:
    ran = call("report", DEMO, *words)
    assert (ran.code, ran.out) == (2, "")
    assert "verify APP_ID --bundle BUNDLE" in ran.err


def test_what_a_project_says_of_audits_is_no_judgement_of_a_report(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = f'policy = "strict"\n[expect]\ncompose_hash = ["{"ab" * 32}"]\n'
    (tmp_path / "dstack-audit.toml").write_text(expect)
    monkeypatch.setenv("VERIFY_OFFLINE", "1")
    ran = call("report", DEMO, "-q")
    assert ran.code == 0, ran.err
    assert "by policy baseline" in ran.out


def test_a_bundle_is_audited_again(call: Run) -> None:
    words = ("--trust-bundle", DIGEST, "--at", "2026-06-15T12:00:00Z", "--unsafe-root")
    root = ROOT / "fixtures" / "demo-reference.json"
    ran = call("report", BUNDLE, APP_ID, *words, root, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["verdict"] == "affirming"
    assert call("report", BUNDLE, APP_ID, "--bundle", BUNDLE).code == 2


def test_a_report_that_is_shown_too_late_is_grey_in_every_form(call: Run, tmp_path: Path) -> None:
    document = json.loads(DEMO.read_bytes()) | {"max_age_days": 30}
    (tmp_path / "r.json").write_text(json.dumps(document))
    soon = call("report", "r.json", "--at", "2026-07-15T12:00:00Z", "--report", "html=r.html")
    late = call("report", "r.json", "--at", "2026-07-16T12:00:00Z", "--report", "html=late.html")
    assert soon.code == late.code == 0
    assert "Outdated" not in soon.out
    assert "Outdated" in late.out
    assert "31 days ago" in (tmp_path / "late.html").read_text()
    assert 'class="verdict affirming"' in (tmp_path / "r.html").read_text()
    assert 'class="verdict blocked"' in (tmp_path / "late.html").read_text()


def test_a_missing_file_is_a_usage_error(call: Run) -> None:
    ran = call("report", "nothing.json")
    assert ran.code == 2
    assert "there is no such file" in ran.err


def test_a_report_that_nobody_signed_is_held_against_its_evidence(
    call: Run, tmp_path: Path
) -> None:
    root = ("--unsafe-root", ROOT / "fixtures" / "demo-reference.json", "--trust-bundle", DIGEST)
    made = ("app", APP_ID, "--bundle", BUNDLE, *root, "--at", "2026-06-15T12:00:00Z", "-q")
    assert call(*made, "--report", "json=r.json").code == 0
    held = ("report", "r.json", APP_ID, "--check", "--bundle", BUNDLE, *root)
    words = (*held, "--at", "2026-07-15T12:00:00Z")
    ran = call(*words, "--report", "badge=b.svg")
    assert ran.code == 0, ran.err
    assert call("report", "r.json", "-q", "--report", "badge=copy.svg").code == 0
    copied, checked = ((tmp_path / f"{name}.svg").read_text() for name in ("copy", "b"))
    assert ("unverified copy" in copied, "unverified copy" in checked) == (True, False)
    assert "this evidence gives this very report, which nobody signed" in ran.err
    late = call(*held, "--at", "2026-07-16T12:00:00Z")
    assert (late.code, "relies on evidence for 30 days" in late.err) == (3, True), late.err
    document = json.loads((tmp_path / "r.json").read_bytes())
    for change, code, said in (
        ({"target": "another"}, 4, "do not give this report"),
        ({"bundle_digest": "ab" * 32}, 4, "about other evidence"),
        ({"policy": document["policy"] | {"digest": "ab" * 32}}, 4, "by another policy, baseline"),
        ({"tool": "dstack-audit 9.0"}, 3, "the report is of dstack-audit 9.0"),
    ):
        (tmp_path / "r.json").write_text(json.dumps(document | change))
        ran = call(*words)
        assert (ran.code, said in ran.err) == (code, True), ran.err
    assert call("report", "r.json", "--check", "--bundle", BUNDLE).code == 2
    assert call("report", BUNDLE, APP_ID, "--check").code == 2


COMPOSE = "services:\n  web:\n    image: redis:7\n    ports: ['22:22']\n    privileged: true\n"
TIMELINE = (
    *("timeline", APP_ID, "--bundle", BUNDLE, "--trust-bundle", DIGEST),
    *("--at", "2026-06-15T12:00:00Z"),
    *("--unsafe-root", str(ROOT / "fixtures" / "demo-reference.json")),
)


@pytest.mark.parametrize(
    ("words", "forms"),
    [
        (
            ("lint", "old.yaml", "Dockerfile", "missing.json"),
            ("terminal", "markdown", "json", "sarif", "github", "junit"),
        ),
        (("diff", "old.yaml", "new.yaml"), ("terminal", "markdown", "json")),
        (TIMELINE, ("terminal", "markdown", "json", "csv")),
    ],
    ids=["lint", "diff", "timeline"],
)
def test_every_form_is_the_same_when_it_is_rendered_again(
    call: Run, tmp_path: Path, words: tuple[str, ...], forms: tuple[str, ...]
) -> None:
    (tmp_path / "old.yaml").write_text(COMPOSE)
    (tmp_path / "new.yaml").write_text(COMPOSE.replace("redis:7", "redis:8"))
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\n")
    # What is missing is told with the name of a file that is like it.
    for folder in ("first", "again"):
        (tmp_path / folder).mkdir()
    codes = {call(*words, "--format", form, "-o", f"first/r.{form}").code for form in forms}
    also = [word for form in forms for word in ("--report", f"{form}=again/r.{form}")]
    ran = call("report", "first/r.json", *also, "-o", "again/r.terminal")
    assert codes == {ran.code}, ran.err
    assert "nothing was verified again" in ran.err
    for form in forms:
        first, again = ((tmp_path / item / f"r.{form}").read_bytes() for item in ("first", "again"))
        assert first == again, form
    for more in (("--format", "html"), ("--report", "badge=b.svg"), ("-q",), ("--offline",)):
        assert call("report", "first/r.json", *more).code == 2


@pytest.mark.parametrize("kind", ["lint", "diff", "timeline"])
def test_what_lacks_a_member_is_one_line(call: Run, tmp_path: Path, kind: str) -> None:
    for document in ({}, {"files": [], "documents": 1, "comparisons": [], "events": [[]]}):
        raw = json.dumps({"schema": f"dstack-audit/{kind}/v1"} | document)
        (tmp_path / "d.json").write_text(raw)
        ran = call("report", "d.json")
        assert (ran.code, ran.out) == (3, "")
        assert "cannot be rendered again" in ran.err


def test_lints_and_comparisons_that_contradict_themselves_are_one_line(
    call: Run, tmp_path: Path
) -> None:
    (tmp_path / "old.yaml").write_text(COMPOSE)
    (tmp_path / "new.yaml").write_text(COMPOSE.replace("redis:7", "redis:8"))
    assert call("lint", "old.yaml", "--format", "json", "-o", "lint.json").code == 4
    call("diff", "old.yaml", "new.yaml", "--format", "json", "-o", "diff.json")
    lint, diff = (json.loads((tmp_path / f"{name}.json").read_bytes()) for name in ("lint", "diff"))
    for document in (
        lint | {"files": [lint["files"][0] | {"exit_code": 0}]},
        lint | {"files": [lint["files"][0] | {"kind": "another"}]},
        diff | {"documents": diff["documents"][:1]},
        diff | {"table": [diff["table"][0] | {"values": []}]},
        diff | {"comparisons": [diff["comparisons"][0] | {"new": 1 << 70}]},
    ):
        (tmp_path / "d.json").write_text(json.dumps(document))
        ran = call("report", "d.json")
        assert (ran.code, ran.out) == (3, ""), ran.err
    change = diff["comparisons"][0]["changes"][0]
    change["location"]["column"] = 1 << 70
    (tmp_path / "d.json").write_text(json.dumps(diff))
    assert call("report", "d.json", "--format", "json").code in {0, 4}
