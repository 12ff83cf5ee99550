"""Which sources answer from here: real servers on loopback, and what an audit can rest on."""

import socket
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from tests.timeline.explorers import given, refusal
from verifier.cli.question import simulated_reference
from verifier.collect.canaries import canaries
from verifier.collection import Sources, examine_sources
from verifier.errors import Cause
from verifier.evidence.sources import Outlook, Purpose, Sounding, outlook, short_of_operators
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response as Answer
from verifier.lab.serve import serve
from verifier.lab.world import KMS_URL, PCS_URL, RPC_URLS, World, build
from verifier.reference.values import ReferenceValues, embedded

Routes = Mapping[str, tuple[str, int]]
OTHERS = (
    *("registry-1.docker.io", "ghcr.io", "api.github.com"),
    *("download.dstack.org", "dns.google", "cloudflare-dns.com", "cloud-api.phala.com"),
)


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def reference(world: World) -> ReferenceValues:
    return simulated_reference(world.reference())


@pytest.fixture(scope="module")
def routes(world: World) -> Iterator[Routes]:
    with serve(world.respond) as served:
        address = next(iter(served.routes.values()))
        yield {**served.routes, **dict.fromkeys(OTHERS, address)}


def examined(
    reference: ReferenceValues, routes: Routes, timeout: float = 5.0
) -> dict[str, Sounding]:
    found = examine_sources(reference, Sources(routes=routes, timeout=timeout), lambda: 0)
    return {item.place: item for item in found if item.works or item.purpose is not Purpose.KMS}


def host(url: str) -> str:
    return url.removeprefix("https://").rstrip("/")


@pytest.fixture(scope="module")
def nobody() -> Iterator[tuple[str, int]]:
    """A port at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield "127.0.0.1", reserved.getsockname()[1]


def test_a_source_works_that_answers_as_an_audit_needs_it(
    reference: ReferenceValues, routes: Routes
) -> None:
    found = examined(reference, routes)
    for url in (PCS_URL, KMS_URL, *RPC_URLS.values()):
        assert found[host(url)].works, found[host(url)]
    gateway = next(item for item in found.values() if item.purpose is Purpose.GUESTS)
    assert gateway.works
    assert found["api.github.com"].said == "status 404"
    assert outlook(found.values()) is Outlook.ENOUGH
    assert short_of_operators(found.values()) == ()


def test_an_endpoint_of_another_chain_and_one_that_is_gone_do_not_work(
    reference: ReferenceValues, routes: Routes, nobody: tuple[str, int]
) -> None:
    a, b = (host(url) for url in RPC_URLS.values())
    with serve(build(Knobs(chain_id=1)).respond) as other:
        moved = {**routes, a: other.routes[a], b: nobody}
        found = examined(reference, moved)
    assert "chain '0x1'" in found[a].said
    assert found[b].cause is Cause.UNREACHABLE
    assert short_of_operators(found.values()) == ("chain 8453",)
    assert outlook(found.values()) is Outlook.TOO_FEW


def test_without_a_network_nothing_works_and_it_is_said(
    reference: ReferenceValues, routes: Routes, nobody: tuple[str, int]
) -> None:
    found = examine_sources(
        reference, Sources(routes=dict.fromkeys(routes, nobody), timeout=0.3), lambda: 0
    )
    assert not [item for item in found if item.works]
    assert outlook(found) is Outlook.NO_NETWORK


def test_all_are_asked_side_by_side_for_as_long_as_the_time_out(
    world: World, reference: ReferenceValues
) -> None:
    with serve(world.respond, delay=20.0) as served:
        address = next(iter(served.routes.values()))
        slow = {**served.routes, **dict.fromkeys(OTHERS, address)}
        began = time.monotonic()
        found = examine_sources(reference, Sources(routes=slow, timeout=0.4), lambda: 0)
        taken = time.monotonic() - began
    assert len(found) > 8
    assert not [item for item in found if item.works]
    assert Cause.TOO_SLOW in {item.cause for item in found}
    assert taken < 10


def sounding(purpose: Purpose, *, works: bool, operator: str = "a", group: str = "") -> Sounding:
    return Sounding(
        purpose=purpose,
        place=operator,
        operator=operator,
        group=group,
        said="" if works else "status 500",
    )


@pytest.mark.parametrize("silent", list(Purpose))
def test_an_audit_needs_collateral_a_gateway_and_a_chain(silent: Purpose) -> None:
    found = [sounding(purpose, works=purpose is not silent) for purpose in Purpose]
    needed = {Purpose.COLLATERAL, Purpose.GUESTS, Purpose.CHAIN}
    assert outlook(found) is (Outlook.TOO_FEW if silent in needed else Outlook.ENOUGH)
    assert outlook([item for item in found if item.works] * 2) in (Outlook.ALL, Outlook.TOO_FEW)


def test_one_of_several_is_enough_but_for_the_collateral() -> None:
    every = [sounding(purpose, works=True) for purpose in Purpose]
    assert outlook(every) is Outlook.ALL
    for purpose in Purpose:
        doubled = [*every, sounding(purpose, works=False, operator="b")]
        lacking = purpose is Purpose.COLLATERAL
        assert outlook(doubled) is (Outlook.TOO_FEW if lacking else Outlook.ENOUGH)


def test_every_embedded_source_is_asked() -> None:
    reference = embedded()
    asked = {urlsplit(item.request.url).hostname or "" for item in canaries(reference)}
    urls = [*(row.url for row in reference.rpc), *(row.url for row in reference.reserves)]
    urls += [url for record in reference.kms for url in record.urls]
    assert {urlsplit(url).hostname for url in urls} <= asked
    for row in reference.gateways:
        assert any(name.endswith(f"{urlsplit(row.url).hostname}") for name in asked)


@pytest.mark.parametrize(
    ("body", "works"),
    [
        (given([]), True),
        (refusal("NOTOK", "Free API access is not supported for this chain"), False),
        (b"<html>", False),
    ],
)
def test_an_explorer_works_that_lists_the_logs_of_an_address(body: bytes, *, works: bool) -> None:
    asked: list[str] = []

    def respond(_method: str, url: str, _headers: Mapping[str, str], _body: bytes) -> Answer:
        asked.append(url)
        return Answer(status=200, body=body, headers={})

    reference = replace(embedded(), gateways=(), kms=(), rpc=())
    found = examine_sources(reference, Sources(responder=respond), lambda: 0)
    explorers = [item for item in found if "blockscout" in item.place]
    assert {item.works for item in explorers} == {works}
    assert {item.group for item in explorers} == {"chain 1", "chain 8453"}
    assert any("module=logs" in url and "toBlock=1" in url for url in asked)
