"""No secret that an app has published is found in anything that the command writes about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import Ran, Run
from tests.manifest.secrets import TOKENS, compose_file, found_in, script
from tests.worlds.audited import audit
from verifier.cli.commands.diff import Format as DiffFormat
from verifier.cli.commands.lint import LintFormat
from verifier.cli.options import Format
from verifier.evidence.bundle import save
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import format_time

KNOBS: Final = Knobs(
    edit_manifest=lambda manifest: (
        manifest | {"docker_compose_file": compose_file(), "pre_launch_script": script()}
    )
)


@dataclass(frozen=True, slots=True)
class Published:
    """An app that gives away every kind of secret: its bundle, and how it is asked about."""

    bundle: Path
    asked: tuple[str, ...]
    folder: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    audited = audit(KNOBS)
    save(audited.bundle, folder / "bundle")
    (folder / "reference.json").write_bytes(audited.world.reference())
    (folder / "app-compose.json").write_text(manifest_text(KNOBS))
    (folder / "honest.json").write_text(manifest_text(Knobs()))
    (folder / "compose.yaml").write_text(compose_file())
    asked = (
        *("--unsafe-root", str(folder / "reference.json"), "--offline"),
        *("--trust-bundle", f"sha256:{audited.bundle.digest}"),
        *("--at", format_time(audited.world.now)),
    )
    return Published(folder / "bundle", asked, folder)


def silent(ran: Ran) -> str:
    """What a run wrote, with no secret in it."""
    assert ran.code in {0, 3, 4, 5}, ran.err
    assert not found_in(ran.out), found_in(ran.out)
    assert not found_in(ran.err), found_in(ran.err)
    return ran.out


def test_the_bundle_holds_them(published: Published) -> None:
    raw = "".join(
        path.read_text(errors="replace") for path in published.bundle.rglob("*") if path.is_file()
    )
    assert found_in(raw)


def test_no_report_of_an_audit_holds_them(call: Run, published: Published, tmp_path: Path) -> None:
    forms = [words for form in Format for words in ("--report", f"{form}={tmp_path / form}")]
    shown = silent(call("app", published.bundle, *published.asked, "-v", *forms))
    assert "SEC-001" in shown
    for form in Format:
        text = (tmp_path / form).read_text()
        assert text
        assert not found_in(text), (form, found_in(text))


@pytest.mark.parametrize("form", list(LintFormat))
def test_no_lint_holds_them(call: Run, published: Published, form: str) -> None:
    for name in ("compose.yaml", "app-compose.json"):
        ran = call(
            "lint", published.folder / name, "--format", form, "-v", "--min-severity", "info"
        )
        assert "SEC-001" in silent(ran)
    silent(call("lint", published.bundle, *published.asked, "--format", form, "-v"))


@pytest.mark.parametrize("form", list(DiffFormat))
def test_no_comparison_holds_them(call: Run, published: Published, form: str) -> None:
    names = ("app-compose.json", "honest.json")
    for old, new in (names, names[::-1]):
        words = (
            published.folder / old,
            published.folder / new,
            "--format",
            form,
            *(["-v"] if form == "terminal" else []),
        )
        assert "environment" in silent(call("diff", *words)).lower()


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_nothing_else_holds_them(call: Run, published: Published, form: str) -> None:
    for words in (
        ("stage", published.bundle, *published.asked),
        ("compose-hash", published.folder / "app-compose.json"),
        ("checklist", published.folder / "app-compose.json", published.folder / "compose.yaml"),
    ):
        silent(call(*words, "--format", form))


def test_a_file_that_cannot_be_read_is_not_quoted(call: Run, published: Published) -> None:
    broken = published.folder / "broken.yaml"
    broken.write_text(compose_file() + "    ports: 'x'\n  - " + TOKENS["github"] + ": [\n")
    silent(call("lint", broken))


def test_what_is_kept_is_said_to_hold_them(call: Run) -> None:
    said = " ".join(call("app", "--help").out.split())
    assert "with secrets that reports mask" in " ".join(said.replace("│", " ").split())
