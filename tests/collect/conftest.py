"""Loopback servers for the tests of collection."""

from collections.abc import Callable, Iterator
from ssl import SSLContext

import pytest

from tests.collect.loopback import Script, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers with `serve(script, …, tls=context)`; they stop when the test ends."""
    servers: list[Server] = []

    def start(*scripts: Script, tls: SSLContext | None = None) -> Server:
        servers.append(Server(list(scripts), tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
