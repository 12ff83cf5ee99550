"""Lists of apps: comments, names, duplicates, and lines that name none."""

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


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    listing = read_targets(text, lambda word: word)
    assert len({item.text for item in listing.targets}) == len(listing.targets)
