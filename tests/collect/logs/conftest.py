"""A client, a synthetic chain, and a cache for the tests of log scans."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.timeline.providers import LOOPBACK
from tests.timeline.world import NOW, World
from verifier.collect.http import HttpClient
from verifier.collect.log_cache import LogCache


@pytest.fixture(scope="module")
def client() -> Iterator[HttpClient]:
    with HttpClient(clock=lambda: NOW, allow_hosts={LOOPBACK}) as started:
        yield started


@pytest.fixture
def world(client: HttpClient) -> World:
    return World(client)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[LogCache]:
    with LogCache(tmp_path / "logs.sqlite3") as opened:
        yield opened
        assert opened.problem == ""
