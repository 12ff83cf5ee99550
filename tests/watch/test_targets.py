"""Lists of apps: comments, names, duplicates, and lines that name none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.cli.target import parse_target
from verifier.watch.targets import Listed, read_targets

APP = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"
OTHER = "dc30" * 10


def _spelled(text: str) -> str:
    return parse_target(text).text


def test_a_list_is_read_in_its_order_with_names_and_comments() -> None:
    listing = read_targets(
        f"\ufeff# ours\n\n{OTHER}\r\n  {APP}   the public api  # since May\n./b#1.tar\n", _spelled
    )
    assert listing.targets == (
        Listed(3, OTHER, OTHER),
        Listed(4, APP, "the public api"),
        Listed(5, "./b#1.tar", "./b#1.tar"),
    )
    assert not listing.refused
    assert not listing.repeated


def test_the_same_app_counts_once_however_it_is_written() -> None:
    listing = read_targets(f"{APP} one\n0x{APP.upper()} two\n{APP}\n", _spelled)
    assert [item.name for item in listing.targets] == ["one"]
    assert [(item.line, item.first) for item in listing.repeated] == [(2, 1), (3, 1)]


def test_a_line_that_names_nothing_is_said_by_its_number_and_hides_no_other() -> None:
    listing = read_targets(f"{APP[:-1]}\n{OTHER}\n", _spelled)
    assert [item.text for item in listing.targets] == [OTHER]
    assert [(item.line, item.text) for item in listing.refused] == [(1, APP[:-1])]
    assert "no app id" in listing.refused[0].reason


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(end: str) -> None:
    listing = read_targets(end.join([f"{APP} one", "# ours", f"{OTHER} two", ""]), _spelled)
    assert listing.targets == (Listed(1, APP, "one"), Listed(3, OTHER, "two"))
    assert not listing.refused


@pytest.mark.parametrize(
    "end", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0", "\x1b"]
)
@pytest.mark.parametrize("before", ["", "# ", f"{APP} a name # "])
def test_a_line_that_may_be_two_is_refused(end: str, before: str) -> None:
    listing = read_targets(f"{before}{APP}{end}{OTHER}\n./{OTHER}.tar\n", _spelled)
    assert [item.line for item in listing.targets] == [2]
    assert [item.line for item in listing.refused] == [1]
    assert f"U+{ord(end):04X}" in listing.refused[0].reason
    assert listing.refused[0].text.isprintable()


@pytest.mark.parametrize("word", ["x" * 3_000_000, "./" + "x" * 3_000_000, "é" * 4000])
def test_of_a_line_without_end_a_little_is_told(word: str) -> None:
    (refused,) = read_targets(word, _spelled).refused
    assert len(refused.reason) < 500
    assert len(refused.text) < 500


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    listing = read_targets(text, lambda word: word)
    assert len({item.text for item in listing.targets}) == len(listing.targets)
