"""What holds for every test: loopback alone, the same examples in every run, no silent gap, and no
trace in the user's own cache.

An audit hook refuses foreign addresses below every library that is written in Python; native code
that opens sockets of its own and child processes are not seen by it.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

EVIDENCE: Final = Path(__file__).parents[2] / "shared" / "evidence"
_RESOLVERS: Final = {"socket.getaddrinfo", "socket.gethostbyname"}
_SENDERS: Final = {"socket.connect", "socket.sendto", "socket.sendmsg"}

# Fixed examples and no deadline: a slow machine fails no test, a failure repeats everywhere.
# `pytest --hypothesis-profile default` searches at random.
settings.load_profile("ci")


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _RESOLVERS:
        host = arguments[0]
    elif event in _SENDERS and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return  # not the network, or a socket in the file system
    if not _is_local(host):
        pytest.fail(f"a test reached for the network: {event} {host!r}")


def _is_local(host: str | bytes | None) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


sys.addaudithook(_refuse_network)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test keeps between audits, it keeps in a directory of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def evidence_dir() -> Path:
    """The folder of real recorded evidence, which is not part of this project."""
    if not EVIDENCE.is_dir():
        pytest.skip("shared evidence is not beside this checkout")
    return EVIDENCE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """In CI, a test of real evidence that skips although the evidence is there has failed."""
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get("CI") and EVIDENCE.is_dir():
        asked = "evidence_dir" in getattr(item, "fixturenames", ())
        if asked or re.search("shared.evidence", str(report.longrepr)):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} skips although {EVIDENCE} is there"
    return report
