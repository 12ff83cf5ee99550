"""Each way in which a server fails has a cause of its own, and a hint that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collect.loopback import ADDRESS, Server, answer, hang, send
from tests.collect.test_http_network import QUICK, World, https
from verifier.collect.http import HttpClient
from verifier.errors import Cause, CollectError, EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind, load, save
from verifier.evidence.unanswered import hint_for

Serve = Callable[..., Server]
GENERAL = "check everything"


def local() -> HttpClient:
    """A client whose user named this machine."""
    return HttpClient(clock=lambda: 0, allow_hosts={ADDRESS})


def cause_of(client: HttpClient, url: str) -> Cause:
    with client, pytest.raises(CollectError) as caught:
        client.get(url, limits=QUICK)
    assert caught.value.hint
    return caught.value.cause


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("404 Not Found", Cause.NOT_FOUND),
        ("403 Forbidden", Cause.DENIED),
        ("429 Too Many Requests", Cause.THROTTLED),
        ("503 Service Unavailable", Cause.FAILING),
    ],
)
def test_a_status(serve: Serve, status: str, cause: Cause) -> None:
    server = serve(answer(status, b"no", "Retry-After: 60"))
    assert cause_of(local(), server.url) is cause


def test_a_connection(serve: Serve) -> None:
    world = World()
    world.answers = [[]]
    found = {
        "dns": cause_of(world.client(), "https://no.example/"),
        "refused": cause_of(local(), "http://127.0.0.1:9/"),
        "private": cause_of(HttpClient(clock=lambda: 0), "https://10.0.0.1/"),
        "plain": cause_of(World().client(ADDRESS), https(serve(answer("200 OK")))),
        "unknown": cause_of(
            World().client(ADDRESS),
            https(serve(answer("200 OK"), tls=World().server_tls("app.example"))),
        ),
        "silent": cause_of(local(), serve(hang()).url),
        "broken": cause_of(local(), serve(send(b"SSH-2.0-x\r\n")).url),
        "elsewhere": cause_of(
            local(),
            serve(answer("302 Found", b"", "Location: https://x.y/")).url,
        ),
    }
    assert found == {
        "dns": Cause.NO_ADDRESS,
        "refused": Cause.UNREACHABLE,
        "private": Cause.NOT_PUBLIC,
        "plain": Cause.NO_TLS,
        "unknown": Cause.UNTRUSTED,
        "silent": Cause.TOO_SLOW,
        "broken": Cause.GARBLED,
        "elsewhere": Cause.ELSEWHERE,
    }


def test_no_two_causes_share_a_hint() -> None:
    hints = [hint_for([cause], GENERAL) for cause in Cause if cause is not Cause.OTHER]
    assert len(set(hints)) == len(hints)
    assert GENERAL not in hints
    assert hint_for([Cause.OTHER], GENERAL) == hint_for([], GENERAL) == GENERAL


def test_the_most_frequent_cause_decides() -> None:
    causes = [Cause.OTHER, Cause.NO_TLS, Cause.TOO_SLOW, Cause.TOO_SLOW]
    assert hint_for(causes, GENERAL) == hint_for([Cause.TOO_SLOW], GENERAL)


def test_a_bundle_keeps_the_cause(tmp_path: Path) -> None:
    builder = BundleBuilder()
    builder.add_failure(Kind.INFO, source="x", collected_at=0, error="no", cause=Cause.NO_TLS)
    builder.add_failure(Kind.PAGE, source="x", collected_at=0, error="no")
    bundle = builder.build()
    save(bundle, tmp_path / "kept")
    assert load(tmp_path / "kept") == bundle
    assert bundle.manifest.count(b'"cause"') == 1
    manifest = tmp_path / "kept" / "manifest.json"
    manifest.write_bytes(bundle.manifest.replace(b"no-tls", b"run-this"))
    with pytest.raises(EvidenceError, match="unknown cause"):
        load(tmp_path / "kept")
