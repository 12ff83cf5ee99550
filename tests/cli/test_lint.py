"""`verify lint` with many arguments: files, directories, standard input, baselines."""

import io
import json
import os
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer
import yaml
from typer.testing import CliRunner

from tests.cli.command import Ran, Run
from tests.manifest.dockerfiles import HONEST, stage
from tests.manifest.vectors import app
from verifier.cli import lint_given
from verifier.cli.commands.lint import lint_manifest
from verifier.errors import EvidenceError, UsageError, VerifierError
from verifier.manifest.ignore import parse_baseline
from verifier.report.rule_docs import rule_pages

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "lint-v1.schema.json").read_text())
BAD = "services:\n  web:\n    image: redis:7-alpine\n"
WORSE = stage("RUN curl https://example.org/i | sh")


APP = typer.Typer()
APP.command()(lint_manifest)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in an empty directory, in this process: its start takes longer than its work."""
    monkeypatch.chdir(tmp_path)

    def run_command(_: str | Path, *arguments: str | Path, **_more: str) -> Ran:
        done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
        error = done.exception
        if isinstance(error, VerifierError):
            return Ran(2 if isinstance(error, UsageError) else 3, done.stdout, error.message)
        assert error is None or isinstance(error, SystemExit), error
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run_command


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with what lint takes, and what it does not."""
    files = {
        "app/docker-compose.yml": BAD,
        "app/Dockerfile": WORSE,
        "app/web.Dockerfile": HONEST,
        "app/app-compose.json": app().raw.decode(),
        "app/.git/docker-compose.yml": BAD,
        "app/node_modules/x/Dockerfile": WORSE,
        "app/deploy/stack.yaml": BAD,
        "app/deploy/values.yaml": "image: x\n",
        "app/package.json": "{}",
        "app/manifest.json": '{"name": "a web app"}',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "app" / "Dockerfile.pipe")
    os.mkfifo(tmp_path / "app" / "compose.pipe.yaml")
    (tmp_path / "app" / "Dockerfile.dockerignore").write_text("*")
    (tmp_path / "app" / "loop").symlink_to(tmp_path / "app")
    return tmp_path


def linted(run: Run, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    ran = run("lint", *arguments, "--format", "json")
    document = json.loads(ran.out)
    jsonschema.validate(document, SCHEMA)
    assert "Traceback" not in ran.err
    return ran.code, document


def test_a_directory_is_searched(run: Run, tree: Path) -> None:
    code, document = linted(run, "app")
    assert code == 4
    found = {item["name"]: item["kind"] for item in document["files"]}
    assert found == {
        "app/Dockerfile": "dockerfile",
        "app/app-compose.json": "app-compose",
        "app/deploy/stack.yaml": "compose",
        "app/docker-compose.yml": "compose",
        "app/web.Dockerfile": "dockerfile",
    }
    (tree / "empty").mkdir()
    ran = run("lint", "empty")
    assert (ran.code, ran.out) == (3, "")
    assert "no manifest, compose file or Dockerfile" in ran.err


def test_many_files_are_judged_and_one_failure_hides_no_other(run: Run, tree: Path) -> None:
    names = ["app/web.Dockerfile", "missing.yaml", "app/app-compose.json", "app/web.Dockerfile"]
    code, document = linted(run, *names)
    assert code == 3
    assert [item["name"] for item in document["files"]] == [names[0], names[2]]
    assert [item["name"] for item in document["unread"]] == ["missing.yaml"]
    code, _ = linted(run, *names, "app/Dockerfile")
    assert code == 4
    assert linted(run, names[0], names[2])[0] == 0
    ran = run("lint", *names, "--format", "sarif")
    invocation = json.loads(ran.out)["runs"][0]["invocations"][0]
    assert not invocation["executionSuccessful"]
    assert "missing.yaml" in invocation["toolExecutionNotifications"][-1]["message"]["text"]
    assert "::error file=missing.yaml" in run("lint", *names, "--format", "github").out
    assert (tree / "app").is_dir()


def test_a_bundle_is_no_source_directory(tree: Path) -> None:
    bundle = tree / "bundle"
    with tarfile.open(ROOT / "fixtures" / "demo-bundle.tar") as archive:
        archive.extractall(bundle, filter="data")
    assert not lint_given.is_source_directory(str(bundle))
    assert lint_given.is_source_directory(str(tree / "app"))


@pytest.mark.parametrize(
    ("text", "kind"), [(BAD, "compose"), (WORSE, "dockerfile"), ("{", ""), ("", "compose")]
)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, text: str, kind: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    if not kind:
        with pytest.raises(EvidenceError):
            lint_given.read_given(["-"], None)  # type: ignore[arg-type]
        return
    (given,), unread = lint_given.read_given(["-"], None)  # type: ignore[arg-type]
    assert (given.name, given.dockerfile, unread) == ("stdin", kind == "dockerfile", [])


def test_a_dockerfile_is_told_by_its_shape_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "build.txt").write_text(WORSE)
    code, document = linted(run, "build.txt")
    assert (code, document["files"][0]["kind"]) == (4, "dockerfile")
    (tmp_path / "Dockerfile").write_text("FROM x\nFROBNICATE\n")
    code, document = linted(run, "Dockerfile")
    assert code == 3
    assert "is no instruction" in document["files"][0]["problem"]
    ran = run("lint", "Dockerfile")
    assert "Not judged" in ran.out


@pytest.mark.parametrize("name", ["Dockerfile", "app.Dockerfile", "compose.yaml", "./x"])
def test_a_file_that_is_not_there_is_a_usage_error(run: Run, name: str) -> None:
    ran = run("lint", name)
    assert (ran.code, "no such file" in ran.err) == (2, True)


def test_a_baseline_is_written_and_read(run: Run, tree: Path) -> None:
    at = ("--at", "2026-12-01T00:00:00Z")
    ran = run("lint", "app", "--write-baseline", "b.toml", *at)
    assert ran.code == 4, ran.err
    entries = parse_baseline((tree / "b.toml").read_bytes())
    assert {entry.expires.isoformat() for entry in entries} == {"2027-03-01"}
    ran = run("lint", "app", "--baseline", "b.toml", *at)
    assert ran.code == 0, ran.out
    assert "matches nothing" not in ran.out
    # Its entries are kept, and nobody's reasons are lost.
    assert run("lint", "app", "--write-baseline", "b.toml", *at).code == 2
    text = (tree / "b.toml").read_text().replace("stood there", "is known: stood there", 1)
    (tree / "b.toml").write_text(text)
    (tree / "app" / "Dockerfile").write_text(WORSE + "RUN uuidgen\n")
    ran = run("lint", "app", "--baseline", "b.toml", "--write-baseline", "b.toml", *at)
    assert ran.code == 4
    kept = tomllib.loads((tree / "b.toml").read_text())["ignore"]
    assert len(kept) == len(entries) + 1
    assert kept[0]["reason"].startswith("is known")
    assert run("lint", "app", "--baseline", "b.toml", *at).code == 0
    assert run("lint", "app", "--baseline", "b.toml", "--at", "2027-06-01T00:00:00Z").code == 4


def test_hostile_names_make_a_readable_baseline(run: Run, tmp_path: Path) -> None:
    name = json.dumps('a"\\\x1b\u202e]')
    (tmp_path / "c.yaml").write_text(f"services:\n  {name}:\n    image: redis:7\n")
    assert run("lint", "c.yaml", "--write-baseline", "b.toml").code == 4
    assert run("lint", "c.yaml", "--baseline", "b.toml").code == 0


def test_an_entry_that_no_file_needs_is_said_once(run: Run, tree: Path) -> None:
    (tree / "b.toml").write_text(
        '[[ignore]]\nrule = "SVC-002"\nreason = "x"\nexpires = 2099-01-01\n'
        '[[ignore]]\nrule = "BLD-006"\nreason = "x"\nexpires = 2099-01-01\n'
    )
    ran = run("lint", "app/Dockerfile", "app/docker-compose.yml", "--baseline", "b.toml")
    assert ran.out.count("matches nothing") == 1
    assert "SVC-002 matches nothing" in " ".join(ran.out.split())


def test_sarif_names_files_from_the_working_directory(run: Run, tree: Path) -> None:
    for name in ("app/Dockerfile", "./app/../app/Dockerfile", tree / "app" / "Dockerfile"):
        log = json.loads(run("lint", name, "--format", "sarif").out)["runs"][0]
        uris = {
            item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            for item in log["results"]
        }
        assert uris == {"app/Dockerfile"}


HOMEPAGE = "https://project.example/dstack-audit"


@pytest.mark.parametrize("published", [HOMEPAGE, ""])
def test_sarif_links_the_pages_of_rules_where_the_project_is_published(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch, published: str
) -> None:
    monkeypatch.setattr("verifier.report.lint.sarif.homepage", lambda: published)
    log = json.loads(run("lint", tree / "app" / "Dockerfile", "--format", "sarif").out)
    driver = log["runs"][0]["tool"]["driver"]
    if not published:
        assert "informationUri" not in driver
        assert not [rule for rule in driver["rules"] if "helpUri" in rule]
        return
    assert driver["informationUri"] == HOMEPAGE
    pages = rule_pages()
    for rule in driver["rules"]:
        assert rule["name"].isalnum()
        page, _, anchor = rule["helpUri"].rpartition("/")[2].partition("#")
        heading = f"## {rule['id']}: {rule['shortDescription']['text']}"
        assert heading in pages[page]
        assert anchor.startswith(rule["id"].lower())


def test_hooks_for_pre_commit_name_the_command() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for hook in hooks:
        program, command = hook["entry"].split()
        assert program in project["scripts"]
        assert command == "lint"
        assert hook["language"] == "python"
