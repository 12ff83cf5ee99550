"""What a watch says of an upgrade, an outage and a downgrade is what the documentation shows."""

from tests.watch.story import PAGE, story


def test_the_example_of_the_documentation_is_what_a_watch_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == story()
