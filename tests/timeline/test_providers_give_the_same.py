"""One history behind every provider: whatever ranges it shows, the timeline is the same bytes."""

import json
from bisect import insort
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.evm import audits
from tests.evm.anvil import NODE, running
from tests.evm.audits import ONE, TWO, Audit, Scene
from tests.evm.world import key
from tests.timeline.providers import (
    PROVIDERS,
    SILENT_LIES,
    Chain,
    Lie,
    Policy,
    Shim,
    alchemy_free,
    chainstack,
    drpc_free,
    publicnode,
)
from verifier.collect import histories
from verifier.collect.network import System
from verifier.collect.scan import Node
from verifier.errors import MissingEvidence
from verifier.evidence.codec import JsonObject
from verifier.report.timeline.json import render_json

pytestmark = pytest.mark.skipif(
    not NODE.exists(), reason="no Node packages in tests/evm: `make node` installs them"
)
WIDE, NARROW = 12_000, 1_200
"""Blocks before the first log, for providers that show thousands at once, and for the others."""
NARROW_PROVIDERS = (alchemy_free, chainstack)


class Held(Chain):
    """The blocks of a scene in which there are logs, as far as a provider's limits look at them."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(first=scene.chain.first, head=scene.chain.head, count=1)
        self.heights: list[int] = []
        for contract in (scene.deployment.kms, scene.app.contract):
            for log in contract.logs():
                block = int(log["blockNumber"], 16)
                if block not in self.heights:
                    insort(self.heights, block)


@pytest.fixture(scope="module")
def scenes() -> Iterator[dict[int, Scene]]:
    """One history, asked for over a wide and over a narrow range of blocks; all of it finalized."""
    with running() as chain:
        scene = audits.scene(chain, "G5")
        owner, contract = chain.accounts[1], scene.app.contract
        for label in ("second", "third", "fourth"):
            contract.send(owner, "addComposeHash", key(label))
            chain.mine(20)
        contract.send(owner, "removeComposeHash", key("third"))
        chain.mine(audits.SETTLED_BLOCKS)
        yield {
            blocks: replace(scene, reference=partial(asked_from, blocks))
            for blocks in (WIDE, NARROW)
        }


def asked_from(blocks: int, document: JsonObject) -> JsonObject:
    """Reference values that place the KMS so many blocks before it was deployed."""
    assert isinstance(document["kms"], list)
    row = document["kms"][0]
    assert isinstance(row, dict)
    assert isinstance(row["deployed_block"], int)
    row["deployed_block"] -= blocks
    return document


@pytest.fixture(scope="module")
def plain(scenes: dict[int, Scene]) -> dict[int, dict[str, Any]]:
    """What nodes without any limit say."""
    return {blocks: document(scene.audit(settle=0)) for blocks, scene in scenes.items()}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between requests, which take no time."""
    found: list[float] = []
    patient = partial(Node, system=System(sleep=found.append))
    monkeypatch.setattr(histories, "Node", patient)
    return found


def document(audit: Audit) -> dict[str, Any]:
    """A timeline without what names endpoints, and what they lack."""
    found: dict[str, Any] = json.loads(render_json(audit.timeline))
    for item in found["coverage"]:
        item["sources"] = len(item["sources"])
        item["partial"] = None
    return found


def behind(
    scene: Scene, policy: Policy, *urls: str, lie: Lie = lambda body: body
) -> tuple[Audit, Shim]:
    """An audit where a provider stands before the node at these endpoints."""
    with Shim(Held(scene), policy, lie, upstream=scene.chain.url) as shim:
        scene.urls = dict.fromkeys(urls, shim.url)
        try:
            return scene.audit(settle=0), shim
        finally:
            scene.urls = {}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_gives_the_same_timeline(
    scenes: dict[int, Scene], plain: dict[int, dict[str, Any]], name: str
) -> None:
    blocks = NARROW if PROVIDERS[name] in NARROW_PROVIDERS else WIDE
    audit, shim = behind(scenes[blocks], PROVIDERS[name], ONE, TWO)
    assert shim.asked
    assert document(audit) == plain[blocks]
    assert audit.timeline.complete
    assert audit.statuses("authorization.")["history"] == "pass"


def test_the_plain_timeline_is_whole(plain: dict[int, dict[str, Any]]) -> None:
    for found in plain.values():
        assert found["complete"]
        assert not found["single_source"]
        assert [item["sources"] for item in found["coverage"]] == [2] * len(found["coverage"])
        hashes = set(found["state"]["app"]["compose_hashes"])
        assert {key("second").hex(), key("fourth").hex()} < hashes
        assert key("third").hex() not in hashes


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("policy", [publicnode, drpc_free])
def test_what_one_provider_refuses_comes_from_the_other_alone(
    scenes: dict[int, Scene], plain: dict[int, dict[str, Any]], policy: Policy
) -> None:
    audit, _ = behind(scenes[WIDE], policy, TWO)
    timeline = audit.timeline
    assert timeline.complete
    assert timeline.single_source
    for item in timeline.coverage:
        assert item.sources == (ONE.rstrip("/"),)
        ((source, missing),) = item.partial
        assert source == TWO.rstrip("/")
        assert "use another endpoint" in missing
    found = document(audit)
    for name in ("events", "state", "exposures", "governance"):
        assert found[name] == plain[WIDE][name]
    check = audit.check("authorization.history")
    assert check.status.value == "warn"
    assert "one operator only" in check.summary


@pytest.mark.usefixtures("pauses")
def test_what_all_refuse_is_no_history(scenes: dict[int, Scene]) -> None:
    audit, _ = behind(scenes[WIDE], drpc_free, ONE, TWO)
    with pytest.raises(
        MissingEvidence, match=r"no endpoint gave the logs of .* free plan"
    ) as raised:
        _ = audit.timeline
    assert "--rpc-url" in (raised.value.hint or "")
    assert audit.check("authorization.history").status.value == "skip"


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("name", ["mainnet.base.org", "unlimited"])
def test_providers_that_disagree_are_named(scenes: dict[int, Scene], name: str) -> None:
    audit, _ = behind(scenes[WIDE], PROVIDERS[name], TWO, lie=SILENT_LIES["drops a log"])
    disputed = [text for item in audit.timeline.coverage for text in item.disputed]
    assert disputed
    assert any(
        text.startswith(f"{ONE.rstrip('/')} gives the log ")
        and text.endswith(f"which {TWO.rstrip('/')} does not have")
        for text in disputed
    )
    assert audit.check("authorization.history").status.value == "error"
    assert not audit.timeline.complete
