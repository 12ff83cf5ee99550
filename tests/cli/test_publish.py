"""`verify publish`: how it ends, and what it says."""

from pathlib import Path

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
