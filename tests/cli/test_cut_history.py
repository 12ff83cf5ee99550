"""A history that the budget cuts off: what was read is kept, and how much is left is said."""

import re
import time
from pathlib import Path

from tests.cli.command import Run
from tests.cli.test_timeline import Asked, document, served, with_cache

SECONDS = 10


def test_the_next_run_goes_on_where_the_budget_ended(run: Run, tmp_path: Path) -> None:
    asked, cache = Asked(delay=0.5), tmp_path / "cache"
    for live in served(tmp_path, asked, log_range=60_000):
        began = time.monotonic()
        first = with_cache(run, live, cache, "--timeout", str(SECONDS))
        assert time.monotonic() - began < SECONDS + 15
        assert first.code == 3
        said = first.out + first.err
        assert re.search(r"[\d,]+ of [\d,]+ blocks are missing, about \d+ \w+ more", said)
        assert "what was read is kept for the next audit" in said
        asked.delay = 0.0
        again = with_cache(run, live, cache)
        assert (again.code, again.err) == (0, "")
        assert sum(item["cached"] for item in document(again)["coverage"])
