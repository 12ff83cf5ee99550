"""A site: what it says, that it is a function of the reports, and what a broken run leaves."""

import errno
import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest

from tests.watch.reports import APP, NOW, OTHER, fill, report
from verifier.errors import UsageError
from verifier.report.site.pages import Site
from verifier.watch.publish.pages import Page, Rendered, render_page
from verifier.watch.publish.site import STATE, Published, publish
from verifier.watch.publish.staged import STAGE, Staged

ATOM: Final = "{http://www.w3.org/2005/Atom}"
SITE: Final = Site(title="Our <apps>", published_at=NOW)
HOSTILE: Final = "<script>alert(1)</script>\u202e'\"&{{ 7*7 }}"


def render(wanted: tuple[Page, ...]) -> Iterator[Rendered]:
    return (render_page(None, page) for page in wanted)


def site_of(folder: Path, output: Path, site: Site = SITE) -> Published:
    return publish(folder, output, site, render)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a site but the lock."""
    files = (item for item in folder.rglob("*") if item.is_file() and item.name != ".publish.lock")
    return {str(item.relative_to(folder)): item.read_bytes() for item in files}


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return fill(tmp_path / "reports")


class Links(HTMLParser):
    """Where a page leads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note every address."""
        self.found += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_every_link_leads_to_a_file_of_the_site(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    pages = sorted(output.rglob("*.html"))
    assert len(pages) == 1 + 2 + 3
    linked = set()
    for page in pages:
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        for link in links.found:
            parts = urlsplit(link)
            assert (parts.scheme, parts.netloc) == ("", ""), link
            if parts.path:
                target = (page.parent / unquote(parts.path)).resolve()
                assert target.is_file(), f"{page}: {link}"
                linked.add(target)
    feeds = {output / "feed.json", output / f"apps/{APP}/badge.svg"}
    assert feeds <= linked
    for feed in sorted(output.rglob("feed.json")):
        for item in json.loads(feed.read_bytes())["items"]:
            assert (feed.parent / item["url"]).resolve().is_file()


def test_what_changed_is_told_from_values(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    done = site_of(reports, output)
    assert (done.reports, done.apps, done.not_shown) == (3, 2, ())
    page = (output / f"apps/{APP}/index.html").read_text(encoding="utf-8")
    assert re.search(r"Manifest: 0b8afe0d\w+ \(proven\) → (cd)+ \(proven\)", page)
    assert "TCB status: UpToDate (proven) → OutOfDate (proven)" in page
    other = (output / f"apps/{OTHER}/index.html").read_text(encoding="utf-8")
    assert "→" not in other
    items = json.loads((output / "feed.json").read_bytes())["items"]
    assert [item["date_published"][:10] for item in items] == ["2026-06-16"] + ["2026-06-15"] * 2
    assert "TCB status: UpToDate" in items[0]["content_text"]
    atom = ET.fromstring((output / "feed.atom").read_bytes())  # noqa: S314 - our own
    assert [entry.findtext(f"{ATOM}id") for entry in atom.iter(f"{ATOM}entry")] == [
        item["id"] for item in items
    ]


def test_a_report_stands_where_its_digest_says(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    raw = report()
    digest = hashlib.sha256(raw).hexdigest()
    assert (output / f"reports/{digest}.json").read_bytes() == raw
    assert APP in (output / f"reports/{digest}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("later", [0, 90 * 86_400])
def test_a_run_that_finds_most_written_gives_the_same_bytes(
    reports: Path, tmp_path: Path, later: int
) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    again = site_of(reports, output)
    assert (again.written, again.removed) == (0, 0)
    # One report more, one less, and another day.
    (reports / "new.json").write_bytes(report(evaluated_at="2026-06-17T12:00:00Z"))
    (reports / "deep" / "other.json").unlink()
    site = Site(title=SITE.title, published_at=NOW + later)
    changed = site_of(reports, output, site)
    assert changed.removed == 2 + 5
    cold = tmp_path / "cold"
    site_of(reports, cold, site)
    assert contents(output) == contents(cold)
    if not later:
        assert changed.written < 12


def test_old_audits_are_grey(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output, Site(title="", published_at=NOW + 90 * 86_400))
    index = (output / "index.html").read_text(encoding="utf-8")
    assert index.count('class="old"') == 2
    digest = hashlib.sha256(report()).hexdigest()
    assert "days ago" in (output / f"reports/{digest}.html").read_text(encoding="utf-8")
    assert "outdated" in (output / f"apps/{APP}/badge.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"schema":"dstack-audit/report/v2"}', "schema dstack-audit/report/v2"),
        (b'{"schema":"dstack-audit/timeline/v1"}', "the JSON of a timeline"),
        (b"[]", "JSON"),
        (b"", "JSON"),
        (report(evaluated_at="2031-01-01T00:00:00Z"), "later than the present"),
        (report(verdict="none", accepted=True), "contradicts itself"),
    ],
)
def test_what_cannot_be_shown_is_named(reports: Path, tmp_path: Path, raw: bytes, why: str) -> None:
    name = "<b>odd.json"
    (reports / name).write_bytes(raw)
    output = tmp_path / "site"
    done = site_of(reports, output)
    assert [item.name for item in done.not_shown] == [name]
    assert why in done.not_shown[0].why
    index = (output / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;odd.json" in index
    assert done.reports == 3


def test_a_bundle_is_named_and_not_shown(reports: Path, tmp_path: Path) -> None:
    (reports / "evidence" / "blobs").mkdir(parents=True)
    (reports / "evidence" / "manifest.json").write_bytes(b"{}")
    done = site_of(reports, tmp_path / "site")
    assert [item.name for item in done.not_shown] == ["evidence"]
    assert "it is a bundle" in done.not_shown[0].why


def test_hostile_text_is_inert_and_secrets_are_masked(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    token = "ghp_" + "a1B2" * 9
    raw = report({"tcb_status": HOSTILE, "app_name": token}, target=f"{HOSTILE} {token}")
    (folder / f"{token}.json").write_bytes(b"{}")
    (folder / "hostile.json").write_bytes(raw)
    (folder / "earlier.json").write_bytes(report(evaluated_at="2026-06-14T12:00:00Z"))
    output = tmp_path / "site"
    site_of(folder, output)
    for name, text in contents(output).items():
        assert token.encode() not in text, name
        if name.endswith((".html", ".svg", ".atom")):
            assert b"<script>alert" not in text, name
            assert "\u202e".encode() not in text, name
    page = (output / f"apps/{APP}/index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_one_script_runs_by_its_hash_alone(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    page = (output / "index.html").read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in page
    assert page.count("<script>") == 1
    assert "unsafe-inline" not in page


class Broken(Exception):
    """What a test breaks a run with."""


def breaking(monkeypatch: pytest.MonkeyPatch, method: str, after: int) -> None:
    """Let a method of `Staged` break after so many calls."""
    whole: Callable[..., None] = getattr(Staged, method)
    calls = iter(range(after))

    def broken(*arguments: object) -> None:
        if next(calls, None) is None:
            raise Broken
        whole(*arguments)

    monkeypatch.setattr(Staged, method, broken)


@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_run_that_breaks_leaves_the_old_site(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    before = contents(output)
    (reports / "new.json").write_bytes(report(evaluated_at="2026-06-17T12:00:00Z"))
    with monkeypatch.context() as patch:
        breaking(patch, "write", after)
        with pytest.raises(Broken):
            site_of(reports, output)
    found = contents(output)
    assert {name: found[name] for name in before} == before
    assert all(name.startswith(".publish/") for name in found.keys() - before.keys())
    site_of(reports, output)
    site_of(reports, tmp_path / "cold")
    assert contents(output) == contents(tmp_path / "cold")


@pytest.mark.parametrize("first", [True, False])
def test_a_run_that_breaks_while_files_take_their_places_is_completed(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    output = tmp_path / "site"
    if not first:
        site_of(reports, output)
        (reports / "new.json").write_bytes(report(evaluated_at="2026-06-17T12:00:00Z"))
    moved = iter(range(4))
    whole = Path.replace

    def broken(path: Path, target: Path) -> Path:
        if "new" in path.parts and next(moved, None) is None:
            raise Broken
        return whole(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        with pytest.raises(Broken):
            site_of(reports, output)
    site_of(reports, tmp_path / "cold")
    completed = site_of(reports, output)
    assert completed.written == 0
    assert contents(output) == contents(tmp_path / "cold")


def test_a_damaged_or_missing_file_is_written_again(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    before = contents(output)
    (output / "index.html").write_bytes(b"")
    shutil.rmtree(output / "apps")
    (output / ".dstack-audit.json").write_bytes(before[".dstack-audit.json"])
    site_of(reports, output)
    assert contents(output) == before
    (output / ".dstack-audit.json").write_bytes(b"nonsense")
    site_of(reports, output)
    assert contents(output) == before


def test_what_somebody_edits_in_a_site_is_not_believed(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    before = contents(output)
    page = next(name for name in before if name.startswith("reports/") and name.endswith(".html"))
    assert site_of(reports, output).written == 0
    # A page alone, of the same length.
    forged = before[page].replace(b"<h1", b"<h2")
    (output / page).write_bytes(forged)
    assert site_of(reports, output).written > 0
    assert contents(output) == before
    # The state, and a page with it.
    old, new = (hashlib.sha256(raw).hexdigest().encode() for raw in (before[page], forged))
    state = before[STATE].replace(old, new).replace(b"contraindicated", b"affirming")
    assert state != before[STATE]
    (output / page).write_bytes(forged)
    (output / STATE).write_bytes(state)
    site_of(reports, output)
    assert contents(output) == before


def test_reports_that_cannot_be_written_beside_give_the_same_site(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "site"
    opened: Callable[..., Any] = Path.open

    def refused(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if path.parent == reports and mode.startswith("x"):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, mode, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        site_of(reports, output)
        before = contents(output)
        assert site_of(reports, output).written == len(before) - 1
    assert contents(output) == before


def test_places_that_are_not_the_site_s_are_refused(reports: Path, tmp_path: Path) -> None:
    for output, said in (
        (reports, "in one another"),
        (reports / "site", "in one another"),
        (tmp_path, "in one another"),
    ):
        with pytest.raises(UsageError, match=said):
            site_of(reports, output)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        site_of(reports, other)
    output = tmp_path / "site"
    site_of(reports, output)
    with (output / ".publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run"):
            site_of(reports, output)


def test_reports_about_no_named_app_are_listed_and_never_compared(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for day in (15, 16):
        raw = report(
            {"compose_hash": f"{day}" * 32},
            requested_app_id=None,
            evaluated_at=f"2026-06-{day}T12:00:00Z",
        )
        (folder / f"{day}.json").write_bytes(raw)
    output = tmp_path / "site"
    assert site_of(folder, output).reports == 2
    page = (output / "apps/unnamed/index.html").read_text(encoding="utf-8")
    assert "each is about the app that its evidence names" in page
    assert "→" not in page
    assert not (output / "apps/unnamed/badge.svg").exists()
    items = json.loads((output / "feed.json").read_bytes())["items"]
    assert all("→" not in item["content_text"] for item in items)


@pytest.mark.parametrize("names", [("a.json", "b.json"), ("b.json", "a.json")])
def test_of_two_reports_of_one_moment_the_worse_counts(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    refused = (Path(__file__).parents[2] / "reports" / "refused.json").read_bytes()
    for name, raw in zip(names, (report(), refused), strict=True):
        (folder / name).write_bytes(raw)
    output = tmp_path / "site"
    assert site_of(folder, output).apps == 1
    index = (output / "index.html").read_text(encoding="utf-8")
    assert '<span class="mark contraindicated">' in index
    assert '<span class="mark affirming">' not in index
    assert "contraindicated" in (output / f"apps/{APP}/badge.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("named", ["../kept", "{outside}/kept", "away/kept", "a\0b"])
def test_a_site_of_somebody_else_changes_nothing_beside_it(
    reports: Path, tmp_path: Path, named: str
) -> None:
    output, kept = tmp_path / "site", tmp_path / "kept"
    kept.write_text("not of the site")
    site_of(reports, output)
    (output / "away").symlink_to(tmp_path)
    path = named.format(outside=tmp_path)
    state = output / STATE
    document = json.loads(state.read_text())
    document["files"][path] = ["", ""]
    state.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="leads out of the site"):
        site_of(reports, output)
    assert kept.is_file()


def test_a_link_in_the_place_of_the_lock_is_not_followed(reports: Path, tmp_path: Path) -> None:
    output, own = tmp_path / "site", tmp_path / "own"
    site_of(reports, output)
    own.write_text("kept", encoding="utf-8")
    lock = output / ".publish.lock"
    lock.unlink()
    lock.symlink_to(own)
    with pytest.raises(UsageError, match="it is a link"):
        site_of(reports, output)
    assert own.read_text(encoding="utf-8") == "kept"
    lock.unlink()
    site_of(reports, output)


@pytest.mark.parametrize("raw", ["{", "{}", '{"move": ["../../../kept"], "remove": []}'])
def test_a_list_of_moves_that_nobody_here_wrote_is_refused(
    reports: Path, tmp_path: Path, raw: str
) -> None:
    output = tmp_path / "site"
    site_of(reports, output)
    (output / STAGE / "new").mkdir(parents=True)
    (output / STAGE / "moves.json").write_text(raw)
    with pytest.raises(UsageError) as refused:
        site_of(reports, output)
    assert "new folder" in refused.value.hint
    assert not (tmp_path / "kept").exists()
