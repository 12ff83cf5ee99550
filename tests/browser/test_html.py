"""HTML reports in a real browser: nothing is asked for, nothing runs, everybody can read them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.report.conftest import REPORTS
from tests.report.test_html import HOSTILE, spoiled
from tests.worlds.audited import Audited, audit
from verifier.lab.dashboard import dashboard_report
from verifier.lab.knobs import Knobs
from verifier.report.audit.beside import compare_with_dashboard
from verifier.report.audit.html import render_html

HERE: Final = Path(__file__).parent
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
YEARS: Final = 100_000_000
ACTIVE: Final = (
    "<script>__ran()</script><img src=x onerror=__ran()><svg onload=__ran()>"
    "<iframe src='javascript:parent.__ran()'></iframe><a href='javascript:__ran()' autofocus>x</a>"
)


def needed() -> tuple[str, str]:
    """Node and a Chromium. Skips, and says why, where either is missing."""
    node = shutil.which("node")
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), "")
    if node is None or not (HERE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("no Node packages in tests/browser: `make browser` installs them")
    if not browser:
        pytest.skip("no Chromium: install Debian's `chromium`, or name one in CHROMIUM")
    return node, browser


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.fixture(scope="module")
def look(honest: Audited, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser saw of every page."""
    node, browser = needed()
    report = honest.report
    claims = {item.name: item.value for item in report.subjects[0].claims}
    forged = dashboard_report(
        claims, report.evaluated_at, app_id=honest.world.app_id, edit={"app-os.os": ACTIVE}
    )
    hostile = spoiled(report)
    pages = {
        "honest": replace(
            report, comparisons=(compare_with_dashboard(report, forged, "report.json"),)
        ),
        "several": REPORTS["two-subjects"],
        "empty and old": replace(REPORTS["no-subjects"], shown_at=report.evaluated_at + YEARS),
        "hostile": replace(hostile, target=ACTIVE, root_note=ACTIVE, gaps=(ACTIVE, HOSTILE)),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(render_html(page), encoding="utf-8")
    shots = os.environ.get("SCREENSHOTS", "-")
    paths = [str(folder / f"{name}.html") for name in pages]
    done = subprocess.run(
        [node, str(HERE / "look.mjs"), browser, shots, *paths],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert len(seen) == len(pages)
    return seen


@pytest.mark.parametrize(
    ("what", "holds"),
    [
        ("asks for nothing", lambda page: page["requests"] == []),
        ("runs nothing", lambda page: not (page["ran"] or page["dialogs"] or page["popups"])),
        ("complains about nothing", lambda page: page["messages"] == []),
        ("keeps within every width", lambda page: page["overflows"] == []),
        ("has no barrier that axe finds", lambda page: page["violations"] == []),
        ("prints", lambda page: page["printed"] > 0),
        ("is named by its verdict", lambda page: "attestation report of" in page["title"]),
    ],
)
def test_every_page(look: dict[str, Any], what: str, holds: Callable[[Any], bool]) -> None:
    failing = {name: page for name, page in look.items() if not holds(page)}
    assert not failing, f"{what}: {json.dumps(failing)[:3000]}"
