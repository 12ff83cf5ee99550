"""A verdict as a badge: an SVG image, and the JSON that the endpoint badge of shields.io reads.

A badge stays where it was put while an app changes. So it names the day that the verdict is of and
the first digits of the manifest that the verdict is about, and nothing that would hold later. The
day is that of the evidence where this is older than the judgement. Only a verdict that holds for
real hardware, that the policy accepts and that has no reservations is green; one that is shown
later than the policy relies on such evidence is grey. So is one that is made of a report's JSON,
which anybody may have written, and not of evidence: it is called an unverified copy.
"""

import json
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from msgspec import Struct

from verifier.model.identifiers import format_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Verdict
from verifier.report.audit.answers import Standing, standing
from verifier.report.audit.sentences import outdated, retold, verdict_line
from verifier.report.escape import visible

LABEL: Final = "dstack audit"
CACHE_SECONDS: Final = 3600
"""How long a cache may show a badge; shields.io takes no less than 300."""
_DIGITS: Final = 8
_COLORS: Final = {
    Verdict.AFFIRMING: ("brightgreen", "#2f7d32"),
    Verdict.WARNING: ("yellow", "#8a6100"),
    Verdict.NONE: ("lightgrey", "#5c5c5c"),
    Verdict.CONTRAINDICATED: ("red", "#b3261e"),
}
"""By name (shields.io) and as white text needs it behind: contrast 4.5:1 and more (WCAG 2.2)."""
_CELL: Final = 7
_MARGIN: Final = 10
_HEIGHT: Final = 20


class Badge(Struct, frozen=True):
    """What a badge shows. `color` is a name of shields.io, `fill` the same for an image."""

    message: str
    color: str
    fill: str
    certain: bool
    """Whether the verdict is affirming, accepted, and about real hardware."""


def badge_of(report: Report) -> Badge:
    """The words and the colour of a report's badge."""
    old, copied = bool(outdated(report)), bool(retold(report))
    good = report.verdict is Verdict.AFFIRMING and report.accepted and report.anchor is None
    certain = good and not old and not copied
    held_back = (
        old
        or copied
        or report.anchor is not None
        or (report.verdict is Verdict.AFFIRMING and not report.accepted)
    )
    color, fill = _COLORS[Verdict.NONE if held_back else report.verdict]
    said = f"{report.verdict.value}" + ("" if report.accepted else ", not accepted")
    said = f"outdated: {said}" if old else said
    said = f"unverified copy: {said}" if copied else said
    anchor = f"{report.anchor.value.upper()}: " if report.anchor is not None else ""
    manifest = visible(proven_manifest(report)[:_DIGITS])
    parts = (f"{anchor}{said}", _day(report), *([f"manifest {manifest}"] if manifest else []))
    return Badge(" · ".join(parts), color, fill, certain)


def render_shields(report: Report) -> str:
    """The document of a shields.io endpoint badge, ASCII JSON.

    With `isError`, a page that embeds the badge cannot choose another colour for it.
    """
    badge = badge_of(report)
    document = {
        "schemaVersion": 1,
        "label": LABEL,
        "message": badge.message,
        "color": badge.color,
        "isError": not badge.certain,
        "cacheSeconds": CACHE_SECONDS,
    }
    return json.dumps(document, sort_keys=True) + "\n"


def render_svg(report: Report) -> str:
    """The badge as an SVG image without script, link or outside request, its text for the ear."""
    badge = badge_of(report)
    left, right = (len(text) * _CELL + _MARGIN for text in (LABEL, badge.message))
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(left + right),
            "height": str(_HEIGHT),
            "role": "img",
            "aria-label": f"{LABEL}: {badge.message}",
        },
    )
    SubElement(root, "title").text = visible(f"{verdict_line(report)}. {report.root_note}".strip())
    for start, width, fill in ((0, left, "#3b3b3b"), (left, right, badge.fill)):
        place = {"x": str(start), "width": str(width), "height": str(_HEIGHT), "fill": fill}
        SubElement(root, "rect", place)
    font = {"fill": "#fff", "font-family": "Verdana,DejaVu Sans,sans-serif", "font-size": "11"}
    group = SubElement(root, "g", {**font, "text-anchor": "middle"})
    for start, width, text in ((0, left, LABEL), (left, right, badge.message)):
        place = {"x": str(start + width // 2), "y": "14", "textLength": str(width - _MARGIN)}
        SubElement(group, "text", place).text = text
    return tostring(root, encoding="unicode") + "\n"


def _day(report: Report) -> str:
    """The day (UTC) of the verdict, or of its evidence where that is older."""
    times = (report.evaluated_at, report.collected_until)
    return format_time(min(item for item in times if item is not None)).partition("T")[0]


def proven_manifest(report: Report) -> str:
    """The compose hash that every attester is proven to run, lower-case hex, "" without one."""
    found = {_proven_hash(subject) for subject in report.subjects}
    return found.pop() if len(found) == 1 else ""


def _proven_hash(subject: SubjectReport) -> str:
    """The compose hash of an attester, "" where it is not proven."""
    for claim in subject.claims:
        proven = standing(claim, subject.checks) is Standing.PROVEN
        if claim.name == "compose_hash" and proven and isinstance(claim.value, str):
            return claim.value
    return ""
