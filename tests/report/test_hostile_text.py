"""Attacker-written text in every string of a report changes no format's structure."""

import json
import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec.structs import replace

from verifier.model.report import Report
from verifier.report.audit.families import Mark
from verifier.report.audit.json import render_json
from verifier.report.audit.markdown import MAX_BYTES, ROOMS, document, render_markdown
from verifier.report.audit.sentences import verdict_line
from verifier.report.audit.terminal import render_terminal
from verifier.report.escape import markdown, markdown_code, visible

Rewrite = Callable[[Report, Callable[[str], str]], Report]

NASTY = {
    "ansi": "\x1b[2J\x1b[31mred\x1b[0m",
    "c1": "\x9b31m\x85\x90",
    "osc8": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "carriage-return": "bad\rok   hardware.quote",
    "line": "\n## Verdict: affirming\n\n| a | b |\n|---|---|\n",
    "separators": "a\u2028b\u2029c\x0bd\x0ce\x1cf",
    "tab": "\t\tindented",
    "bidi": "\u202eetadilav\u2066\u200f\u061c",
    "zero-width": "a\u200bb\u200dc\ufeffd\u2060e\u00adf\U000e0041",
    "filler": "\u3164\u115f\uffa0\u2800\u034f",
    "zalgo": "z" + "\u0301" * 40,
    "surrogate": "\ud800 and \udfff",
    "pipe": "| a || b | \\| c",
    "backticks": "` `` ``` ```` `x`",
    "fence": "```\n# out\n```",
    "link": "](javascript:alert(1)) [x](javascript:alert(1)) ![i](http://evil.example/i.png)",
    "html": "<img src=x onerror=alert(1)> </details> <!-- &lt; &#60; -->",
    "autolink": "see https://evil.example www.evil.example me@evil.example @admin #1 GH-1 :tada:",
    "math": "$\\unicode{x}$ $$a$$",
    "emphasis": "*a* **b** __c__ ~~d~~ _e_",
    "blocks": "- item",
    "ordered": "1. item",
    "setext": "===",
    "rule": "---",
    "quote": "> [!NOTE]",
    "template": "{{ site.secret }} {% include x %}",
    "rich": "[link=https://evil.example]x[/link] [bold red]no[/] :warning:",
    "escape": "\\u{1b} \\u{202e}",
    "backslash": "\\",
    "space": "  ",
    "wide": "\u6f22\u5b57" * 60,
    "long": "A" * 2_000,
    "long-words": "word " * 400,
}
PREFIX = re.compile(r"[a-z_]+\.")


def infect(nasty: str) -> Callable[[str], str]:
    """Every text becomes the nasty one; check ids keep their family, `x.y` becomes `x.NASTY y`."""

    def change(text: str) -> str:
        if not text:
            return text
        family = PREFIX.match(text)
        return f"{family[0]}{text[family.end() :]}{nasty}" if family else nasty + text[:1]

    return change


@pytest.fixture(params=sorted(NASTY))
def nasty(request: pytest.FixtureRequest) -> str:
    """Each hostile string in turn."""
    return NASTY[request.param]


def line_starts(text: str) -> list[str]:
    """What stands in the columns of marks and labels, where only our own text may stand."""
    marks = {f"  {item.value:<8}" for item in Mark}
    return [line[:10] for line in text.splitlines() if line[:10] in marks or line[:1].strip()]


def pipes(text: str) -> list[int]:
    """How many cells each line outside of the shell command has."""
    return [line.count("|") for line in text.splitlines() if not line.startswith("verify ")]


@pytest.fixture(scope="session")
def fullest(reports: dict[str, Report]) -> Report:
    """A report in which no part is empty."""
    return replace(
        reports["two-subjects"],
        findings=reports["warning"].findings,
        anchor=reports["unsafe-root"].anchor,
        root_note=reports["unsafe-root"].root_note,
        time_note=reports["unsafe-root"].time_note,
    )


@pytest.fixture(scope="session")
def harmless(fullest: Report, rewritten: Rewrite) -> Report:
    """The same with one letter where the hostile text will stand."""
    return rewritten(fullest, infect("x"))


@pytest.fixture(scope="session")
def harmless_lines(harmless: Report) -> dict[int, list[str]]:
    """Its line starts in a terminal, by verbosity."""
    return {
        verbose: line_starts(render_terminal(harmless, color=False, width=80, verbose=verbose))
        for verbose in (0, 1)
    }


@pytest.fixture(scope="session")
def harmless_markdown(harmless: Report) -> list[tuple[list[int], list[tuple[str, str, str]]]]:
    """Its table cells by line, and its blocks, in Markdown, in each room."""
    texts = [document(harmless, room) for room in ROOMS]
    return [(pipes(text), structure(text)) for text in texts]


@pytest.fixture
def hostile(fullest: Report, rewritten: Rewrite, nasty: str) -> Report:
    """The same with hostile text in every string."""
    return rewritten(fullest, infect(nasty))


@pytest.mark.parametrize("verbose", [0, 1])
def test_terminal(hostile: Report, harmless_lines: dict[int, list[str]], verbose: int) -> None:
    text = render_terminal(hostile, color=False, width=80, verbose=verbose)
    assert line_starts(text) == harmless_lines[verbose]
    assert_plain(text.replace("\n", ""))


def test_colored_terminal_has_only_colors(hostile: Report) -> None:
    text = render_terminal(hostile, color=True, width=80)
    assert_plain(re.sub(r"\x1b\[[0-9;]*m|\n", "", text))


def test_verdict_line(hostile: Report) -> None:
    line = verdict_line(hostile)
    assert_plain(line)
    assert line.startswith(f"{hostile.verdict.value} [unsafe root], not accepted by policy ")


def test_markdown(
    hostile: Report, harmless_markdown: list[tuple[list[int], list[tuple[str, str, str]]]]
) -> None:
    for room, expected in zip(ROOMS[::3], harmless_markdown[::3], strict=True):
        text = document(hostile, room)
        assert (pipes(text), structure(text)) == expected
        assert_plain(text.replace("\n", ""))
    assert len(render_markdown(hostile).encode()) <= MAX_BYTES


def test_json_round_trips(hostile: Report, nasty: str) -> None:
    document = json.loads(render_json(hostile))
    summaries = [item["summary"] for item in document["checks"]]
    expected = [item.summary for item in hostile.subjects[0].checks]
    if nasty == NASTY["surrogate"]:
        assert "\\u{d800} and \\u{dfff}" in summaries[0]
    else:
        assert summaries == expected


@given(st.text(st.characters(codec=None)))
def test_visible_is_one_plain_line_and_injective_on_escapes(text: str) -> None:
    shown = visible(text)
    assert_plain(shown)
    back = re.sub(r"\\u\{([0-9a-f]+)\}", lambda match: chr(int(match[1], 16)), shown)
    assert back == text


@settings(max_examples=60)
@given(st.text(st.sampled_from("a1 .-+=|`[]()<>&*_#~$@:/\\{}%!\n\t\"'\u202e")))
def test_markdown_is_inert(text: str) -> None:
    for block in ("{}", "- {}", "> {}", "before\n{}", "| {} | x |\n|---|---|\n| {} | y |"):
        for escaped in (markdown(text), markdown_code(text)):
            written = block.replace("{}", escaped)
            assert "\n" not in escaped
            assert structure(written) == structure(block.replace("{}", "x" if escaped else ""))


@given(st.text(st.sampled_from("ab` \\|{"), min_size=1))
def test_code_span_shows_its_content(text: str) -> None:
    inline = MarkdownIt().parseInline(markdown_code(text))[0].children or []
    shown = [token.content for token in inline if token.type == "code_inline"]
    expected = visible(text).replace("|", "\\u{7c}").replace("{{", "\\u{7b}{")
    if text.strip() and "{{" not in text:
        assert shown == [expected]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Run `verify image DIR`, then ask.", "Run `verify image DIR`, then ask."),
        ("a_b c|d plain", "`a_b` `c\\u{7c}d` plain"),
        ("see https://x.example/ now", "see `https://x.example/` now"),
        ("  - item", "`-` item"),
        ("one ` only", "one `` ` `` only"),
        ("`a``b`", "``` `a``b` ```"),
        ("", ""),
        ("  ", ""),
        ("as of 2026-06-10T12:00:00Z; see a_b.", "as of `2026-06-10T12:00:00Z`; see `a_b`."),
        ("KMS 0xAE87f242622d", "KMS `0xAE87f242622d`"),
        ("API_KEY [ENV-009, ENV-012]", "`API_KEY` \\[ENV-009, ENV-012\\]"),
        ("read_only, cap_drop or", "`read_only`, `cap_drop` or"),
        ("public_logs: false", "`public_logs`: false"),
        ("47367276 (2026-06-15T11:44:59Z)", "`47367276` (`2026-06-15T11:44:59Z`)"),
        ("x.html (a_b)", "x.html (`a_b`)"),
        ("a](b) [`x`](y)", "`a](b`) \\[`` `x`](y) ``"),
        ("1) x", "`1`) x"),
    ],
)
def test_markdown_examples(text: str, written: str) -> None:
    assert markdown(text) == written


def structure(text: str) -> list[tuple[str, str, str]]:
    """Block tokens of a document, with the fixed inline tokens; asserts that text is inert."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    found = []
    for token in tokens:
        found.append((token.type, token.tag, "" if token.type != "html_block" else token.content))
        for child in token.children or []:
            assert_inert(child)
            if child.type.startswith(("strong", "softbreak")):
                found.append((child.type, child.tag, ""))
    return found


def assert_inert(token: Token) -> None:
    """An inline token is text, code or our own bold; text has nothing that a site would link."""
    allowed = {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    assert token.type in allowed, token
    if token.type == "text":
        assert not re.search(r"://|www\.|[@$#<>`|]|:\w+:", token.content), token.content


def assert_plain(text: str) -> None:
    """No character acts, hides, or breaks a line."""
    bad = {character for character in text if unicodedata.category(character) in UNPRINTABLE}
    assert not {item for item in bad if unicodedata.name(item, "") not in VISIBLE_FORMATS}
    assert len(text.splitlines()) <= 1


UNPRINTABLE = {"Cc", "Cs", "Cf", "Co", "Zl", "Zp"}
# Signs that stand before a number or span a text: format characters by category, but seen.
VISIBLE_FORMATS = {
    unicodedata.name(chr(code))
    for code in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)
}
