"""What the tests of this room share."""

import os

import pytest


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power: what the system was told survives the end of a program."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
