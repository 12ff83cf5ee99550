"""Attacker-written text in every string of a timeline changes no format's structure."""

import csv
import json
import re
from collections.abc import Callable
from io import StringIO

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec.structs import replace

from tests.report.test_hostile_text import NASTY, assert_plain
from tests.report.test_timeline_reports import SCHEMA, URL, terminal
from tests.report.timelines import TROUBLED, rewritten
from verifier.model.timeline import Timeline
from verifier.report.escape import csv_cell
from verifier.report.timeline.csv import COLUMNS, render_csv
from verifier.report.timeline.json import render_json
from verifier.report.timeline.markdown import render_markdown
from verifier.report.timeline.terminal import render_terminal

FORMULA = "=+-@|%\uff1d\uff0b\uff0d\uff20"


def infect(nasty: str) -> Callable[[str], str]:
    """Every text becomes the nasty one, and stays apart from the others."""
    return lambda text: nasty + text[:9] if text else text


def starts(text: str) -> list[str]:
    """The columns of marks and labels, where only our own text may stand."""
    return [line[:4].rstrip() for line in text.splitlines() if line[:4].strip()]


def pipes(text: str) -> list[int]:
    return [line.count("|") for line in text.splitlines()]


def chart(text: str) -> str:
    """The diagram of a document."""
    return text.partition("```mermaid\n")[2].partition("```\n")[0]


def structure(text: str) -> list[tuple[str, str]]:
    """Block tokens of a document; asserts that what stands in them is inert."""
    found = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        found.append((token.type, token.tag))
        for child in token.children or []:
            assert_inert(child)
    return found


def assert_inert(token: Token) -> None:
    """Text, code, our own bold, or a link to an explorer; text has nothing a site would link."""
    allowed = {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    if token.type == "link_open":
        assert URL.fullmatch(str(token.attrs["href"]))
    else:
        assert token.type in {*allowed, "link_close"}, token
    if token.type == "text":
        assert not re.search(r"://|www\.|[@$#<>`|]|:\w+:|\]\(", token.content), token.content


# Whether a text names a gateway is a matter of its content, which changes what there is to say.
FULLEST = replace(TROUBLED, kms_state=replace(TROUBLED.kms_state, gateway_app_id=""))
HARMLESS = rewritten(FULLEST, infect("x"))


@pytest.fixture(params=sorted(NASTY))
def hostile(request: pytest.FixtureRequest) -> Timeline:
    """The troubled timeline with hostile text in every string."""
    found: Timeline = rewritten(FULLEST, infect(NASTY[request.param]))
    return found


@pytest.mark.parametrize("verbose", [0, 1])
def test_hostile_text_in_a_terminal(hostile: Timeline, verbose: int) -> None:
    text = terminal(hostile, verbose=verbose)
    assert starts(text) == starts(terminal(HARMLESS, verbose=verbose))
    assert_plain(text.replace("\n", ""))
    colored = render_terminal(hostile, color=True, width=80, verbose=verbose)
    assert_plain(re.sub(r"\x1b\[[0-9;]*m|\n", "", colored))


def test_hostile_text_in_markdown(hostile: Timeline) -> None:
    text, harmless = render_markdown(hostile), render_markdown(HARMLESS)
    assert pipes(text) == pipes(harmless)
    assert structure(text) == structure(harmless)
    assert chart(text) == chart(harmless) != ""
    assert_plain(text.replace("\n", ""))


def test_only_links_to_explorers() -> None:
    text = render_markdown(TROUBLED)
    assert structure(text)
    assert text.count("](https://basescan.org/tx/0x") == len(
        {item.transaction for item in TROUBLED.events}
    )


def test_hostile_text_in_csv(hostile: Timeline) -> None:
    text = render_csv(hostile)
    assert_plain(text.replace("\r\n", ""))
    rows = list(csv.reader(StringIO(text, newline=""), strict=True))
    assert len(rows) == len(hostile.events) + 1
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert not [cell for row in rows for cell in row if cell.strip()[:1] in tuple(FORMULA)]


def test_hostile_text_in_json(hostile: Timeline) -> None:
    document = json.loads(render_json(hostile))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    if "\ud800" not in hostile.app:
        assert document["app"] == hostile.app
        assert [item["args"] for item in document["events"]] == [
            dict(item.args) for item in hostile.events
        ]


@given(st.text(st.sampled_from("=+-@|%\uff1d\t\r\n \"',;a1\u202e")))
def test_csv_cells_are_one_cell_and_no_formula(text: str) -> None:
    written = csv_cell(text)
    assert_plain(written)
    row = next(csv.reader(StringIO(f"{written},{written}\r\n", newline=""), strict=True))
    assert len(row) == 2
    assert row[0].strip()[:1] not in tuple(FORMULA)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('a "b"', '"a ""b"""'),
        ("=1+1", '"\'=1+1"'),
        (" @SUM(A1)", '"\' @SUM(A1)"'),
        ("a\r\nb", '"a\\u{d}\\u{a}b"'),
    ],
)
def test_csv_cell_examples(text: str, written: str) -> None:
    assert csv_cell(text) == written
