"""A vector's folder, for verifiers that are asked by `verify conformance --command`."""

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any, NoReturn


def say(word: str) -> NoReturn:
    """Answer, and end."""
    print(word)
    sys.exit(0)


class Folder:
    """What a vector holds, as other verifiers take it."""

    def __init__(self) -> None:
        self.path = Path(sys.argv[-1])
        self.about: dict[str, Any] = json.loads((self.path / "vector.json").read_bytes())
        self.link: str = self.about["link"]
        self.at = int(dt.datetime.fromisoformat(self.about["at"]).timestamp())

    @property
    def root(self) -> bytes:
        """The trust anchor, DER."""
        return self.path.parents[1].joinpath(self.about["root"]).read_bytes()

    @property
    def quote(self) -> bytes:
        """The quote."""
        return (self.path / "quote.bin").read_bytes()

    @property
    def collateral(self) -> dict[str, str]:
        """The nine members of QuoteCollateralV3; the revocation lists are hex."""
        document: dict[str, str] = json.loads((self.path / "collateral.json").read_bytes())
        return document

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event log."""
        log: list[dict[str, Any]] = json.loads((self.path / "event_log.json").read_bytes())
        return log
