"""`verify publish`: how it ends, and what it says."""

import os
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.watch.reports import fill

AT = ("--at", "2026-06-20")


def test_a_site_is_written_and_what_is_not_shown_is_named(call: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "reports")
    ran = call("publish", "reports", "-o", "site", *AT, "--base-url", "https://a.example/x")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("site: 3 reports of 2 apps, 0 not shown; ")
    assert "https://a.example/x/reports/" in (tmp_path / "site" / "feed.atom").read_text()
    (folder / "newer.json").write_text('{"schema":"dstack-audit/report/v9"}')
    again = call("publish", "reports", "-o", "site", *AT)
    assert again.code == 3
    assert "not shown: newer.json: the report has schema dstack-audit/report/v9" in again.err


def test_what_is_no_file_is_named_and_not_waited_for(run: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "reports")
    os.mkfifo(folder / "pipe.json")
    os.mkfifo(folder / "pipe.tar")
    (folder / "link.json").symlink_to("pipe.tar")
    (folder / "broken.json").symlink_to("nowhere")
    ran = run("publish", "reports", "-o", "site", *AT)
    assert ran.code == 3
    for name in ("pipe.json", "pipe.tar", "link.json"):
        assert f"not shown: {name}: cannot read it: it is no regular file" in ran.err
    assert "not shown: broken.json: cannot read it: No such file" in ran.err
    assert ran.out.startswith("site: 3 reports of 2 apps, 4 not shown; ")


@pytest.mark.parametrize("place", ["site", "reports"])
def test_no_copied_site_holds_a_run_up(run: Run, tmp_path: Path, place: str) -> None:
    fill(tmp_path / "reports")
    assert run("publish", "reports", "-o", "site", *AT).code == 0
    for path in sorted((tmp_path / place).rglob("*")):
        kept = path.name == ".publish.lock" or (path.suffix == ".json" and place == "reports")
        if path.is_file() and not kept:
            path.unlink()
            os.mkfifo(path)
    ran = run("publish", "reports", "-o", "site", *AT)
    assert (ran.code, ran.err) == (0, "")
    assert not [path for path in (tmp_path / "site").rglob("*") if path.is_fifo()]
    (tmp_path / "site/.publish.lock").unlink()
    os.mkfifo(tmp_path / "site/.publish.lock")
    ran = run("publish", "reports", "-o", "site", *AT)
    assert (ran.code, "it is no regular file" in ran.err) == (2, True)


def test_what_is_remembered_is_not_written_through_a_link(run: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "reports")
    assert run("publish", "reports", "-o", "site", *AT).code == 0
    (record,) = folder.glob(".dstack-audit-*")
    (tmp_path / "theirs").write_text("mine")
    (folder / f"{record.name}.part").symlink_to(tmp_path / "theirs")
    assert run("publish", "reports", "-o", "site", *AT).code == 0
    assert (tmp_path / "theirs").read_text() == "mine"


def test_an_empty_folder_takes_no_page_off_the_site(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "reports")
    assert run("publish", "reports", "-o", "site", *AT).code == 0
    before = {path for path in (tmp_path / "site").rglob("*") if path.is_file()}
    (tmp_path / "empty" / "below").mkdir(parents=True)
    ran = run("publish", "empty", "-o", "site", *AT)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no file in it" in ran.err
    assert {path for path in (tmp_path / "site").rglob("*") if path.is_file()} == before


def test_what_cannot_be_meant_is_said(call: Run, tmp_path: Path) -> None:
    fill(tmp_path / "reports")
    for arguments, said in (
        (("nowhere", "-o", "site"), "there is no such folder"),
        (("reports", "-o", "reports"), "in one another"),
        (("reports", "-o", "site", "--base-url", "ftp://x"), "is not a URL"),
    ):
        ran = call("publish", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
