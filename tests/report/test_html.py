"""The HTML report: whole in one file, inert whatever the evidence says, and true to the others."""

import base64
import hashlib
import itertools
import re

import pytest
from bs4 import BeautifulSoup, Tag
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs
from verifier.model.report import Report
from verifier.report.audit.html import render_html

HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"' \x1b]8;;\u202e{{7*7}}"
)
ADDRESSES = ("href", "src", "action", "data", "poster", "srcset", "xlink:href", "formaction")


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def page(report: Report) -> BeautifulSoup:
    return BeautifulSoup(render_html(report), "html.parser")


def elements(soup: BeautifulSoup) -> list[Tag]:
    return soup.find_all(re.compile(""))


def spoiled(report: Report) -> Report:
    """The report with hostile text wherever the evidence has a say."""
    subject = report.subjects[0]
    checks = tuple(
        replace(
            item, summary=HOSTILE, reason=HOSTILE, remediation=HOSTILE, actual={HOSTILE: HOSTILE}
        )
        for item in subject.checks
    )
    claims = tuple(replace(item, value=HOSTILE) for item in subject.claims)
    return replace(
        report,
        target=HOSTILE,
        requested_app_id=HOSTILE,
        root_note=HOSTILE,
        time_note=HOSTILE,
        gaps=(HOSTILE,),
        subjects=(replace(subject, name=HOSTILE, checks=checks, claims=claims),),
        sources=tuple(replace(item, source=HOSTILE, error=HOSTILE) for item in report.sources),
        findings=tuple(
            replace(item, service=HOSTILE, message=HOSTILE, fix=HOSTILE, severity=HOSTILE)
            for item in report.findings
        ),
    )


@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_runs_and_nothing_is_fetched(honest: Audited, *, hostile: bool) -> None:
    report = spoiled(honest.report) if hostile else honest.report
    soup = page(report)
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form"} & {
        item.name for item in elements(soup)
    }
    for item in elements(soup):
        assert not [name for name in item.attrs if name.lower().startswith("on")]
        for name in ADDRESSES:
            assert str(item.get(name, "#")).startswith("#"), item
    text = render_html(report)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "49" not in str(soup.title)


def test_the_policy_allows_the_one_style_sheet_alone(honest: Audited) -> None:
    soup = page(honest.report)
    (style,) = soup.find_all("style")
    digest = base64.b64encode(hashlib.sha256(str(style.string).encode()).digest()).decode()
    meta = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert isinstance(meta, Tag)
    policy = str(meta["content"])
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in str(style.string)


def test_it_says_what_the_other_formats_say(honest: Audited) -> None:
    text = page(honest.report).get_text(" ", strip=True)
    assert honest.report.verdict.value.upper() in text
    for check in honest.report.subjects[0].checks:
        assert check.id in text
        assert check.summary in text
    for claim in honest.report.subjects[0].claims:
        assert claim.name in text
    assert honest.report.bundle_digest in text


def test_every_drawing_has_a_text_and_every_link_a_place(honest: Audited) -> None:
    soup = page(honest.report)
    ids = [str(item["id"]) for item in elements(soup) if item.get("id")]
    assert len(ids) == len(set(ids))
    for link in soup.find_all("a"):
        assert isinstance(link, Tag)
        assert str(link["href"])[1:] in ids
    drawings = [item for item in elements(soup) if item.name == "svg"]
    assert len(drawings) == 2
    for drawing in drawings:
        assert set(str(drawing["aria-labelledby"]).split()) <= set(ids)
        assert drawing.find("desc").get_text(strip=True)  # type: ignore[union-attr]
    headings = [int(item.name[1]) for item in elements(soup) if re.fullmatch("h[1-6]", item.name)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


def test_a_report_without_attesters_or_history(honest: Audited) -> None:
    bare = replace(honest.report, subjects=(), sources=(), findings=(), timeline=None)
    text = page(bare).get_text(" ", strip=True)
    assert "No check was evaluated" in text
    assert "There are none" in text


def test_it_is_small(honest: Audited) -> None:
    assert len(render_html(honest.report).encode()) < 500_000
