"""One report of a site: from its JSON to its page, its badge, and what other pages say of it."""

import hashlib
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.report.audit import badge
from verifier.report.audit.earlier import read_report
from verifier.report.audit.html import render_html
from verifier.report.audit.json import render_json
from verifier.report.masking import masked_report
from verifier.report.site.entry import Entry, entry_of
from verifier.watch.processes import Loss
from verifier.watch.publish.folder import read_limited

SKEW_SECONDS: Final = 120
"""By how much the clock of who made a report may be ahead."""


class Page(Struct, frozen=True):
    """A report to render: where it is, the sha256 (hex) of its bytes, and when it is shown (Unix
    seconds)."""

    path: str
    digest: str
    shown_at: int


class Rendered(Struct, frozen=True, kw_only=True):
    """What became of a report.

    digest   sha256 of its JSON as it was given, hex
    why      why it is not shown; "" where it is
    entry    what other pages say of it; None where it is not shown
    html     its page
    json     its JSON, with secrets masked
    svg      its badge
    shields  the document of its shields.io badge
    """

    digest: str
    why: str = ""
    entry: Entry | None = None
    html: bytes = b""
    json: bytes = b""
    svg: bytes = b""
    shields: bytes = b""


def render_page(_: None, page: Page) -> Rendered:
    """Render a report; whatever is wrong with it is the result."""
    try:
        return _rendered(page)
    except EvidenceError as error:
        return Rendered(digest=page.digest, why=error.message)
    except OSError as error:
        return Rendered(digest=page.digest, why=f"cannot read it: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - one report never stops the others
        why = f"it could not be rendered: {type(error).__name__}: {error}"
        return Rendered(digest=page.digest, why=why)


def lost_page(page: Page, loss: Loss) -> Rendered:
    """What is said of a report whose worker died or hung."""
    return Rendered(digest=page.digest, why=f"it could not be rendered: {loss.value}")


def _rendered(page: Page) -> Rendered:
    raw = read_limited(Path(page.path))
    if hashlib.sha256(raw).hexdigest() != page.digest:
        raise EvidenceError("it changed while it was read")
    given = read_report(raw)
    report = masked_report(given)
    if report.evaluated_at > page.shown_at + SKEW_SECONDS:
        raise EvidenceError("it is dated later than the present")
    shown = replace(report, shown_at=page.shown_at)
    return Rendered(
        digest=page.digest,
        entry=entry_of(page.digest, report),
        html=render_html(shown).encode("utf-8"),
        json=raw if report == given else render_json(report),
        svg=badge.render_svg(shown).encode("utf-8"),
        shields=badge.render_shields(shown).encode("utf-8"),
    )
