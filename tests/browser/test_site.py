"""A published site in a real browser: found by search, grey when old, whole without script."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_html import ACTIVE, HERE, needed
from tests.watch.reports import APP, OTHER, fill, report
from tests.watch.test_publish import SITE, render
from verifier.watch.publish.site import publish


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of two apps, one of which says hostile things."""
    folder = tmp_path_factory.mktemp("site")
    reports = fill(folder / "reports")
    hostile = report(
        {"tcb_status": ACTIVE},
        target=ACTIVE,
        requested_app_id=OTHER,
        evaluated_at="2026-06-17T12:00:00Z",
    )
    (reports / "hostile.json").write_bytes(hostile)
    (reports / "<img src=x onerror=__ran()>.json").write_bytes(b"{}")
    publish(reports, folder / "site", SITE, render)
    return folder / "site"


def ran(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_pages_are_inert_and_have_no_barrier(site: Path, tmp_path: Path) -> None:
    node, browser = needed()
    app = tmp_path / "app.html"
    app.write_bytes((site / f"apps/{OTHER}/index.html").read_bytes())
    found = ran(node, HERE / "look.mjs", browser, "-", site / "index.html", app)
    for name, page in found.items():
        for problem in ("requests", "messages", "overflows", "violations"):
            assert page[problem] == [], f"{name}: {page}"
        assert (page["ran"], page["dialogs"], page["popups"]) == (False, 0, 0), name


def test_an_app_is_found_and_an_old_audit_grey(site: Path) -> None:
    node, browser = needed()
    found = ran(node, HERE / "site.mjs", browser, site / "index.html", APP[:9].upper())
    assert found["all"] == [[APP, ""], [OTHER, ""]]
    assert found["searched"] == [[APP, ""]]
    assert found["told"] == "1 of 2 apps"
    assert found["linked"].endswith(f"/apps/{APP}/index.html")
    assert found["later"] == [[APP, "old"], [OTHER, "old"]]
    assert (found["plain"], found["form"]) == ([[APP, ""], [OTHER, ""]], False)
