"""The pages of docs/ hold what they say: links lead somewhere, examples run, and the threat model
names checks and vectors as they are. The site itself is built by `make docs`."""

import contextlib
import io
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml
from markdown_it import MarkdownIt

from verifier.checks.catalogue import CHECKS
from verifier.evidence.bundle import Kind, trust_of
from verifier.lab.attacks import ATTACKS
from verifier.version import VERSION

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("fixtures/*.md")])
THREAT_MODEL: Final = (DOCS / "threat-model.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(r"^\| ([^|]+) \| (\[[^|]+) \| (\[`[^|]+) \|$", THREAT_MODEL, re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page, and those that GitHub and mkdocs make of headings as here."""
    page_text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", page_text, re.MULTILINE)
    return set(re.findall(r'<a id="([^"]+)"></a>', page_text)) | {
        re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings
    }


def links(page: Path) -> list[str]:
    """Where the links and images of a page lead, code aside."""
    found = []
    for block in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for token in block.children or ():
            target = token.attrGet("href") or token.attrGet("src")
            found += [str(target)] if target else []
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_page_has_links_to_find() -> None:
    assert "docs/doctor.md" in links(ROOT / "README.md")
    assert "what-remains" in anchors(DOCS / "threat-model.md")


def test_every_page_has_its_place_in_the_site() -> None:
    places = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert navigation[0] == {"Start": "index.md"}
    assert len(places) == len(set(places))
    here = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    measured = {place for place in places if place.startswith("results/")}
    assert here == set(places) - {"changes.md", "security.md"} - measured
    hooks = (ROOT / "tests" / "docs" / "hooks.py").read_text()
    for name in (Path(place).stem for place in measured):
        assert (ROOT / "benchmarks" / f"{name}.md").is_file()
        assert f'"{name}"' in hooks


def test_what_pages_link_to_outside_of_docs_is_in_the_site() -> None:
    """A link out of docs/ leads to a page that the hooks of the site put there."""
    places = (ROOT / "mkdocs.yml").read_text()
    found = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in DOCS.rglob("*.md")
        for link in links(page)
        if link.startswith("../")
    }
    outside = {path.relative_to(ROOT) for path in found if DOCS not in path.parents}
    measured = {path for path in outside if path.parts[0] == "benchmarks"}
    assert {str(path) for path in outside - measured} <= {"CHANGELOG.md", "SECURITY.md"}
    assert all(f": results/{path.name}\n" in places for path in measured)
    assert measured


def test_examples_of_the_api_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one program; what one prints is the block of text after it."""
    for name in ("demo-bundle.tar", "demo-reference.json"):
        shutil.copy(ROOT / "fixtures" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", page, re.MULTILINE | re.DOTALL
    )
    assert len(blocks) > 4
    names: dict[str, object] = {}
    for code, expected in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)  # noqa: S102 - the page under test
        assert printed.getvalue() == expected


def test_the_kinds_of_evidence_are_those_of_bundles() -> None:
    page = (DOCS / "evidence.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+) \| .+ \| (witnessed|self-authenticating) \|$", page, re.MULTILINE)
    listed = [(kind, trust) for kinds, trust in rows for kind in re.findall("`(.+?)`", kinds)]
    assert sorted(listed) == sorted((kind.value, trust_of(kind).value) for kind in Kind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_checks_of_a_threat_notice_its_vectors(row: tuple[str, str, str]) -> None:
    checks = set(re.findall(r"\[([a-z_.]+)\]\(checks\.md#", row[1]))
    shown = re.findall(r"\[`(.+?)`\]\(attacks\.md#(.+?)\)", row[2])
    vectors = {name for name, _ in shown}
    assert all(name == anchor for name, anchor in shown)
    assert len(shown) == row[2].count("`") // 2
    noticed = {item.name: set(item.refused_by) & checks for item in ATTACKS if item.name in vectors}
    assert set(noticed) == vectors
    assert all(noticed.values()), noticed
    assert set().union(*noticed.values()) == checks


def test_every_check_stands_in_the_threat_model() -> None:
    assert len(ROWS) == len(re.findall(r"\]\(checks\.md#[^|]+\| \[`", THREAT_MODEL))
    named = {check for row in ROWS for check in re.findall(r"\[([a-z_.]+)\]", row[1])}
    assert named == {spec.id for spec in CHECKS}


def test_the_changelog_begins_with_the_version_of_the_sources() -> None:
    """Before its release it has no date; every earlier one has, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+)\] - (unreleased|\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert len(sections) == len(re.findall("^## ", text, re.MULTILINE))
    assert sections[0][0] == VERSION
    days = [day for _, day in sections]
    assert "unreleased" not in days[1:]
    assert days[1:] == sorted(days[1:], reverse=True)
