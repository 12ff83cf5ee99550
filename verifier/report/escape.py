r"""Hostile text made harmless, in one place per format.

Every string that was collected may have been written by an attacker. A terminal obeys
control characters, a reader believes reordered or invisible ones, and Markdown is a language. So
each format has one function that takes any text and gives text that cannot act:

    visible         terminal: characters that act or cannot be seen become `\u{HEX}`
    markdown        Markdown prose and table cells
    markdown_code   Markdown code spans
    csv_cell        cells of a CSV file, which spreadsheets may take for formulas

Apply exactly one of them, once: each escapes its own escapes.
"""

import re
from itertools import groupby
from typing import Final

from verifier.patterns import pattern

_UNSEEN: Final = (
    "\x00-\x1f\x7f-\x9f"  # C0 controls, DEL, C1 controls
    "\ud800-\udfff"  # lone surrogates
    # Unicode DerivedCoreProperties, Default_Ignorable_Code_Point: bidi controls, zero-width
    # characters, fillers, variation selectors, tags
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufff9-\ufffc\U00013430-\U0001343f"  # other format controls
    "\u2800\ufdd0-\ufdef\ufffe\uffff"  # the blank braille pattern, noncharacters
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use: any font draws what it likes
)
_COMBINING: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_HOSTILE: Final = pattern(
    f"[{_UNSEEN}]"
    r"|[^\S ]"  # white space other than the space, with line and paragraph separators
    f"|(?<=[{_COMBINING}]{{2}})[{_COMBINING}]"  # a third mark on one letter draws over other lines
    r"|\\(?=u\{)"  # so that no text can look like an escape of ours
)

_TOKEN: Final = pattern(r"(?P<gap> *)(?P<word>`(?P<quoted>[^`]+)`|[^ `]+|`)")
# Words that Markdown renderers leave alone: no ASCII punctuation that is syntax anywhere.
_PLAIN_WORD: Final = pattern(r"(?:[A-Za-z0-9,.;:'\"()/+=%?!-]|[^\x00-\x7f])+")
_QUOTED: Final = pattern(r"`([^`]+)`")
_BEFORE: Final = "([\"'"
_AFTER: Final = ".,;:!?)]\"'"
_BRACKET: Final = pattern(r"[\[\]]")
# What sites turn into something else, even when it is escaped: links, issue and commit references,
# emoji shortcodes. Only code spans are exempt from all of it.
_AUTOLINKED: Final = pattern(
    r"://|mailto:|xmpp:|www\.|\bGH-\d|:[\w+-]+:|\b(?:0x)?[0-9a-f]{7,}\b", re.IGNORECASE | re.ASCII
)
# As the first word of a block: a list item, or a line that makes the one above a heading.
_BLOCK_START: Final = pattern(r"[-+=]+|\d{1,9}[.)]", re.ASCII)

_CELL_OR_TEMPLATE: Final = pattern(r"\||\{(?=[{%#])")
# What spreadsheets take for the start of a formula, in full width too, behind any white space.
_FORMULA: Final = pattern(r"\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")
_SURROGATE: Final = pattern("[\ud800-\udfff]")


def visible(text: str) -> str:
    r"""`text` with every character that acts, hides or breaks lines written as `\u{HEX}`."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text  # nearly all of it
    return _HOSTILE.sub(lambda match: _escape(match[0]), text)


def markdown(text: str) -> str:
    """`text` as one line of Markdown that renders as these words and nothing else.

    Plain words stay; what stands between two backticks, words with any other syntax in them, and
    what a site would turn into a link become code spans of one word each, without the brackets and
    the punctuation around it. Runs of spaces become one.
    """
    chunks: list[list[re.Match[str]]] = []
    for token in _TOKEN.finditer(visible(text)):
        if token["gap"] or not chunks:
            chunks.append([])
        chunks[-1].append(token)
    return " ".join(map(_chunk, chunks))


def markdown_code(text: str) -> str:
    """`text` as one Markdown code span, safe in paragraphs and in table cells."""
    return _code_span(visible(text))


def csv_cell(text: str) -> str:
    """`text` as one quoted cell (RFC 4180) that no spreadsheet computes: an apostrophe before it
    where it would begin a formula. A quoted cell cannot be left by a separator of any locale."""
    shown = visible(text)
    guard = "'" if _FORMULA.match(shown) else ""
    return f'"{guard}{shown.replace(chr(34), chr(34) * 2)}"'


def without_surrogates(text: str) -> str:
    r"""`text` with lone surrogates, which UTF-8 and JSON cannot carry, as `\u{HEX}`."""
    return text if text.isascii() else _SURROGATE.sub(lambda match: _escape(match[0]), text)


def _chunk(tokens: list[re.Match[str]]) -> str:
    """What stands between two spaces; code that would touch other code is one span with it."""
    pieces: list[str] = []
    for is_code, run in groupby(tokens, key=_needs_code):
        words = [token["word"] for token in run]
        if not is_code:
            pieces.append(_BRACKET.sub(r"\\\g<0>", "".join(words)))
        elif len(words) > 1:
            pieces.append(_code_span("".join(words)))
        elif quoted := _QUOTED.fullmatch(words[0]):
            pieces.append(_code_span(quoted[1]))
        else:
            before, core, after = _around(words[0]) if len(tokens) == 1 else ("", words[0], "")
            pieces.append(f"{before}{_code_span(core)}{after}")
    return "".join(pieces)


def _around(word: str) -> tuple[str, str, str]:
    """Brackets and punctuation before a word, the word, and what follows it; all of it is the word
    where nothing else is."""
    rest = word.lstrip(_BEFORE)
    core = rest.rstrip(_AFTER)
    if not core:
        return "", word, ""
    before, after = word[: len(word) - len(rest)], rest[len(core) :]
    return _BRACKET.sub(r"\\\g<0>", before), core, _BRACKET.sub(r"\\\g<0>", after)


def _needs_code(token: re.Match[str]) -> bool:
    word = token["word"]
    if token.start() == 0 and _BLOCK_START.fullmatch(word):
        return True
    bare = word.lstrip(_BEFORE).rstrip(_AFTER) or "x" * (not set(word) - {*_BEFORE, *_AFTER})
    return not _PLAIN_WORD.fullmatch(bare) or _AUTOLINKED.search(word) is not None


def _code_span(text: str) -> str:
    """A code span (CommonMark 6.1) of text without line breaks.

    A pipe would end a table cell even here, and doubled braces start a template in site
    generators, so both are escaped. The fence is longer than any run of backticks inside; one
    space on each side is stripped again by the reader.
    """
    inner = _CELL_OR_TEMPLATE.sub(lambda match: _escape(match[0]), text)
    fence = "`" * (max(map(len, re.findall("`+", inner)), default=0) + 1)
    padding = " " if inner[:1] in ("`", " ") or inner[-1:] in ("`", " ") else ""
    return f"{fence}{padding}{inner}{padding}{fence}" if inner.strip() else "(empty)"


def _escape(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
