"""The project file and the variables of options: what counts, and what is refused in one line."""

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.command import Ran, Run
from tests.gates.test_action import APP_ID, BUNDLE, DIGEST
from verifier.api import Past
from verifier.cli.gather import gather
from verifier.cli.main import app, register
from verifier.cli.options import Reach
from verifier.cli.project import Project, parse_project
from verifier.cli.variables import _NAMES, _NEVER_SET, long_name
from verifier.errors import UsageError
from verifier.model.project import ProjectFile

ROOT: Final = Path(__file__).parents[2]
OTHER: Final = "89abcdef0123456789abcdef0123456789abcdef"
PROJECT: Final = f"""
policy = "release.toml"
[endpoints]
rpc_url = ["https://one.example", "https://two.example"]
[apps.demo-app]
id = "{APP_ID}"
expect.compose_hash = ["{"00" * 32}"]
[apps.other]
id = "{OTHER}"
policy = "genuine"
"""
ASKED: Final = (
    *("--bundle", BUNDLE, "--trust-bundle", DIGEST, "--at", "2026-06-15T12:00:00Z"),
    *("--unsafe-root", str(ROOT / "fixtures" / "demo-reference.json"), "-q"),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "release.toml").write_text('extends = "genuine"\n')
    path = tmp_path / "dstack-audit.toml"
    path.write_text(PROJECT)
    return path


@pytest.mark.usefixtures("project")
def test_settings_are_those_of_the_app_that_is_named(call: Run) -> None:
    ran = call("demo-app", *ASKED)
    assert "application.manifest FAIL" in ran.out
    assert ran.code == 4  # by the manifest that the project expects
    assert "by policy release.toml" in ran.out
    assert ran.err == (
        "verify: dstack-audit.toml sets --policy, --rpc-url, --expect-compose-hash\n"
    )
    assert call(APP_ID, *ASKED) == ran  # by its id too
    assert "by policy genuine" in call("other", *ASKED).out


@pytest.mark.usefixtures("project")
def test_the_command_line_counts_before_the_environment_and_both_before_the_file(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_POLICY", "strict")
    assert "by policy strict" in call("demo-app", *ASKED).out
    ran = call("demo-app", *ASKED, "--policy", "stage1", "--expect-compose-hash", "11" * 32)
    assert "by policy stage1" in ran.out
    assert ran.err == "verify: dstack-audit.toml sets --rpc-url\n"
    monkeypatch.setenv("VERIFY_POLICY", "")
    assert "by policy release.toml" in call("demo-app", *ASKED).out


@pytest.mark.usefixtures("project")
def test_several_apps_have_the_settings_of_all(call: Run) -> None:
    ran = call("diff", "demo-app", "other", "--offline")
    assert ran.err.startswith("verify: dstack-audit.toml sets --rpc-url\n")
    assert "--offline needs a bundle" in ran.err


def test_no_project_file_is_read_for_the_demo_and_where_none_is_wanted(
    call: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("polcy = 1")
    assert call("demo", "-q").code == 0
    assert call("app", "--help").code == 0
    assert call("checks", "hardware.quote").code == 2
    monkeypatch.setenv("VERIFY_PROJECT", "-")
    assert call("checks", "hardware.quote").code == 0
    monkeypatch.setenv("VERIFY_PROJECT", "none.toml")
    assert "VERIFY_PROJECT=none.toml: there is no such file" in call("checks").err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('polcy = "strict"', "unknown key 'polcy'|did you mean policy?"),
        ("[endpoints]\nrpc_ulr = []", "endpoints: unknown key 'rpc_ulr'|did you mean rpc_url?"),
        ("[expect]\ncompose_hsh = []", "expect: unknown key 'compose_hsh'|compose_hash?"),
        ('[apps.x]\nidd = "1"', "[apps.x]: unknown key 'idd'|did you mean id?"),
        ("[apps.x]", "[apps.x]: id is not a text"),
        ('[apps.x]\nid = "12"', "id is no app id"),
        ("apps.x = 1", "[apps.x] is not a table"),
        ('[apps.X]\nid = "12"', "'X' is no name of an app"),
        ("expect = 1", "expect is not a table"),
        ("policy = 1", "policy is not a text"),
        ("policy = []", "policy is not a text"),
        ('policy = ""', "policy is not a text"),
        ("[expect]\ncompose_hash = []", "compose_hash is empty"),
        ("[expect]\ncompose_hash = [1]", "compose_hash is not a text"),
        ("unsafe_root = 'x'", "unknown key 'unsafe_root'"),
        ("trust_bundle = 'x'", "unknown key 'trust_bundle'"),
        ("at = 'x'", "unknown key 'at'"),
        ("policy = ", "not TOML"),
        ("\ud800", "not TOML"),
        ("a = " + "1" * 5000, "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_what_is_mistyped_is_one_line(call: Run, tmp_path: Path, text: str, said: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    (tmp_path / "dstack-audit.toml").write_bytes(raw)
    ran = call("timeline", APP_ID)
    assert (ran.code, ran.out) == (2, "")
    assert all(part in ran.err for part in said.split("|")), ran.err
    assert ran.err.startswith("verify: dstack-audit.toml: ")


@pytest.mark.usefixtures("project")
def test_a_name_that_is_a_file_too_is_refused(call: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert "write ./other for the file" in call("other").err


def test_a_wrong_variable_is_said(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFY_FORMAT", "htm")
    assert "verify: VERIFY_FORMAT: Invalid value" in call("app", APP_ID).err
    monkeypatch.delenv("VERIFY_FORMAT")
    monkeypatch.setenv("VERIFY_POLICI", "strict")
    ran: Ran = call("explain", "quote")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean VERIFY_POLICY?" in ran.err
    monkeypatch.delenv("VERIFY_POLICI")
    monkeypatch.setenv("VERIFY_PEER", "1")
    monkeypatch.setenv("VERIFY_UNSAFE_ROOT", "missing.pem")
    assert call("explain", "quote").code == 0
    assert "missing.pem" not in call("app", APP_ID, "--offline").err


def test_every_option_of_every_command_has_a_variable() -> None:
    register([])
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = {long_name(item) for command in commands.values() for item in command.params}
    assert found - {"", *_NEVER_SET} == {f"--{name}" for name in _NAMES.split()}


def test_the_example_of_the_documents_is_one() -> None:
    text = (ROOT / "docs" / "project.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]
    found = parse_project(example.encode(), Path("dstack-audit.toml"))
    assert set(found.apps) == {"api", "api-staging"}
    assert found.settings["--timeout"] == ("300",)
    assert found.settings_for(["api-staging"])["--policy"] == ("genuine",)
    assert "--expect-compose-hash" in found.settings_for([found.apps["api"].app_id])


@settings(max_examples=60, deadline=None)
@given(
    raw=st.binary(max_size=60) | st.text(alphabet="[]=\"'.\nab1{}#", max_size=60).map(str.encode)
)
def test_any_bytes_are_a_project_or_one_error(raw: bytes) -> None:
    with suppress(UsageError):
        assert isinstance(parse_project(raw, Path("dstack-audit.toml")), Project)


@pytest.mark.usefixtures("project")
def test_a_report_names_the_file_and_what_it_chose(call: Run, tmp_path: Path) -> None:
    ran = call("demo-app", *ASKED, "--report", "json=r.json", "--report", "markdown=r.md")
    project = json.loads((tmp_path / "r.json").read_bytes())["project"]
    raw = (tmp_path / "dstack-audit.toml").read_bytes()
    assert project["file"] == "dstack-audit.toml"
    assert project["sha256"] == hashlib.sha256(raw).hexdigest()
    assert {item["option"]: item["values"] for item in project["sets"]} == {
        "--policy": ["release.toml"],
        "--rpc-url": ["https://one.example", "https://two.example"],
        "--expect-compose-hash": ["00" * 32],
    }
    assert "by policy release.toml (from the project file)" in ran.out
    assert "Whoever wrote that file chose" in (tmp_path / "r.md").read_text()
    own = call("demo-app", *ASKED, "--policy", "genuine", "--report", "json=own.json")
    assert "by policy genuine:" in own.out
    options = [
        item["option"]
        for item in json.loads((tmp_path / "own.json").read_bytes())["project"]["sets"]
    ]
    assert options == ["--rpc-url", "--expect-compose-hash"]


def test_no_key_of_an_endpoint_is_told(call: Run, tmp_path: Path) -> None:
    key = "Zq3xT9vLk2PwYb7RmN4sHd8JcF6gAe1U"
    rpc = f'rpc_url = ["https://x.example/v2/{key}", "https://u:{key}@y.example"]'
    (tmp_path / "dstack-audit.toml").write_text(f"[endpoints]\n{rpc}\n")
    forms = ("json", "markdown", "html", "summary", "junit")
    call(APP_ID, *ASKED, *(word for form in forms for word in ("--report", f"{form}=r.{form}")))
    for form in forms:
        assert key not in (tmp_path / f"r.{form}").read_text()
    assert "https://x.example/#" in (tmp_path / "r.json").read_text()


def test_a_path_is_told_as_the_file_has_it(call: Run, tmp_path: Path, project: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in (project.name, "release.toml"):
        (tmp_path / name).rename(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERIFY_PROJECT", str(folder / project.name))
        ran = call("demo-app", *ASKED, "--report", "json=r.json")
    assert "(from the project file)" in ran.out
    assert str(folder) not in (tmp_path / "r.json").read_text()


def test_endpoints_that_a_project_file_names_are_lent() -> None:
    chosen = (("--rpc-url", ("https://one.example",)), ("--explorer-url", ("https://e.example",)))
    project = ProjectFile("dstack-audit.toml", "00" * 32, (*chosen, ("--policy", ("genuine",))))
    for reach, lent in (
        (Reach(project=project), ("https://one.example", "https://e.example")),
        (Reach(rpc_url=["https://one.example"]), ()),
    ):
        question = gather(APP_ID, reach, past=Past.NONE, bundle=Path(BUNDLE)).question
        assert (question.reference.lent, question.project) == (lent, reach.project)
