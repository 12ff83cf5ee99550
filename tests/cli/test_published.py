"""What is published is what the auditor gives today."""

from pathlib import Path

from fixtures.regenerate import FORMS, published
from tests.cli.command import Run

ROOT = Path(__file__).parents[2]


def test_published_files_are_current() -> None:
    for name, raw in published().items():
        assert (ROOT / name).read_bytes() == raw, f"run `python fixtures/regenerate.py`: {name}"


def test_both_reports_say_that_they_are_simulated_in_every_form_and_agree() -> None:
    for name, verdict in (("demo", "affirming"), ("refused", "contraindicated")):
        texts = [published_text(f"reports/{name}.{end}").lower() for end in FORMS]
        assert all("simulated" in text for text in texts)
        for end in ("html", "json", "md", "txt", "xml", "svg", "shields.json"):
            assert verdict in published_text(f"reports/{name}.{end}").lower(), end


def published_text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_command_in_the_readme_gives_the_published_report(run: Run) -> None:
    text = (ROOT / "fixtures" / "README.md").read_text()
    command = text.split("```")[1].replace("\\\n", " ").split()
    arguments = [item.replace("fixtures/", f"{ROOT}/fixtures/") for item in command[1:]]
    ran = run(*arguments, "--format", "json")
    assert ran.out.encode() == (ROOT / "reports" / "demo.json").read_bytes()
    assert ran.code == 0
